"""Effects of interventions as text: a sentence for each playbook, and the rows of a small table."""

from __future__ import annotations

from renewals.models.ranking.playbooks import ANY_PLAYBOOK
from renewals.models.ranking.treatment_effect import EffectEstimate, NoEstimate
from renewals.reports.sanitize import make_printable
from renewals.reports.words import Messages

TABLE_COLUMNS = (
    *("playbook", "treated", "renewed", "without", "points", "interval", "log_odds"),
    *("unadjusted_difference", "verdict"),
)


def playbook_name(playbook: str, messages: Messages) -> str:
    """Name of a playbook for readers."""
    return (
        messages.text("effect.any")
        if playbook == ANY_PLAYBOOK
        else messages.value("playbook", make_printable(playbook))
    )


def effect_sentence(estimate: EffectEstimate | NoEstimate, messages: Messages) -> str:
    """Sentence on the estimated effect of one playbook, or on why there is no estimate."""
    name = playbook_name(estimate.playbook, messages)
    if isinstance(estimate, NoEstimate):
        return messages.text(f"effect.{estimate.reason}", playbook=name, **estimate.figures)
    without = estimate.renewed - estimate.points
    return messages.text(
        f"effect.{estimate.verdict}", playbook=name, treated=estimate.treated, renewed=estimate.renewed,
        without=without, points=100 * estimate.points, low=100 * estimate.low, high=100 * estimate.high,
    )  # fmt: skip


def table_headings(messages: Messages, confidence: float) -> list[str]:
    """Column headings of the table."""
    return [messages.text(f"effect.column.{column}", confidence=confidence) for column in TABLE_COLUMNS]


def table_row(estimate: EffectEstimate | NoEstimate, messages: Messages) -> list[str]:
    """One playbook as a row of the table; without an estimate, only its name, the number treated and the verdict."""
    first = [playbook_name(estimate.playbook, messages), str(estimate.treated)]
    if isinstance(estimate, NoEstimate):
        return [*first, *[messages.text("effect.dash")] * 6, messages.text("effect.verdict.no_estimate")]
    figures = (f"{estimate.renewed:.0%}", f"{estimate.renewed - estimate.points:.0%}", f"{100 * estimate.points:+.1f}",
            f"{100 * estimate.low:+.1f} … {100 * estimate.high:+.1f}",
            messages.text("effect.dash") if estimate.log_odds is None else f"{estimate.log_odds:+.2f}",
            f"{100 * estimate.unadjusted_difference:+.1f}")  # fmt: skip
    return [*first, *figures, messages.text(f"effect.verdict.{estimate.verdict}")]

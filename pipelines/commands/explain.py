"""Command `renewals explain`: explain the score and the rank of one account on a published list."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from renewals.features.family import KEY, RENEWAL_KEY
from renewals.features.patterns import normalize_text
from renewals.models.explanation.reasons import REASON_COUNT, STRENGTH_COUNT, base_feature, theme_contributions
from renewals.models.ranking.expected_value import MAX_PLAYS
from renewals.pipelines.runtime.console import is_interactive
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage import artifacts, data_files
from renewals.pipelines.storage.artifacts import (
    CONTRIBUTIONS,
    PEER_GROUP,
    PEER_MEDIANS,
    PRESCRIBED_PLAYBOOKS,
    read_archived_catalogue,
)
from renewals.pipelines.storage.published import list_archive
from renewals.pipelines.storage.scored_list import read_scored_list
from renewals.reports.render_failures import RenderFailures
from renewals.reports.sanitize import make_printable
from renewals.reports.sentences import disagreements as disagreement_sentences
from renewals.reports.sentences import playbooks
from renewals.reports.sentences.alerts import alert_sentences
from renewals.reports.words import Messages

if TYPE_CHECKING:
    from rich.console import Console

ACCOUNT_COLUMNS = (
    "account_id",
    "account_name",
    "csm",
    "stage",
    "size_band",
    *("renewal_id", "is_main", "renewal_date", "days_to_renewal", "notice_date", "decision_date", "products"),
    *("arr", "account_arr", "currency", "contract_amount", "contract_currency", "signed"),
)
SCORE_COLUMNS = (
    *("status", "status_reason", "renewal_probability", "risk_band", "arr_at_risk", "rank", "within_capacity"),
    *("expansion_probability", "upsell_probability", "cross_sell_probability", "quadrant"),
    *("renewal_model", "expansion_model"),
)
MAX_SAFE_INTEGER = 2**53
"""Above this, programs that read JSON numbers as floats (JavaScript, jq) cannot distinguish whole numbers."""
MAX_CONTRIBUTIONS = 15
"""Number of contributions printed on a terminal; the result holds all of them."""


def explain(job: Job, account: str) -> dict[str, Any]:
    """Explain one account of the published list of the as-of date; on a terminal also print tables.

    Raises MissingInputError if there is no list of that date or the account is not on it; the message suggests similar
    ids and names.
    """
    result = list_archive.read_archived_list(job, lambda day: explain_account(day, account))
    if is_interactive():
        from rich.console import Console

        print_explanation(result, Messages(job.settings.list.language), Console(stderr=True))
    return result


def explain_account(day: Job, account: str) -> dict[str, Any]:
    """The explanation of one account as a JSON object; `day` is the job of `read_archived_list`."""
    summary, listed = read_scored_list(day)
    row = listed.iloc[account_position(listed, account)]
    texts = Messages(day.settings.list.language)
    return {
        "as_of": day.day.isoformat(),
        "account": {name: json_value(row[name]) for name in ACCOUNT_COLUMNS},
        "scores": {name: json_value(row[name]) for name in SCORE_COLUMNS},
        "reasons": [_reason(row, k) for k in range(1, REASON_COUNT + 1) if row[f"reason_{k}"]],
        "strengths": [row[f"strength_{k}"] for k in range(1, STRENGTH_COUNT + 1) if row[f"strength_{k}"]],
        "other_renewals": _other_renewals(listed, row),
        **_prescribed_playbooks(day, row, summary["playbooks"], texts),
        "interventions_since_last_list": _interventions_text(day, row, texts),
        **_contributions(day, row),
        "disagreement": _disagreement_text(day, row["account_id"], texts),
        "alerts": account_alerts(day, row["account_id"]),
        "rows_per_table": rows_per_table(day, row["account_id"]),
    }


def account_position(listed: pd.DataFrame, account: str) -> int:
    """Row number of an account's main renewal by its id as text, or of any renewal by its `renewal_id`.

    Raises MissingInputError if it is not there.
    """
    ids = listed["account_id"].astype(str)
    for found in (ids.eq(account) & listed["is_main"], listed["renewal_id"].eq(account)):
        positions = found.to_numpy(bool).nonzero()[0]
        if len(positions):
            return int(positions[0])
    names = listed["account_name"].fillna("").astype(str)
    raise MissingInputError(
        _unknown_account_message(account, list(zip(ids, names, strict=True)), listed["as_of"].iloc[0].date())
    )


def _unknown_account_message(account: str, accounts: list[tuple[str, str]], as_of: Any) -> str:
    requested = normalize_text(account)
    match_names = len(requested) > 1 or not requested.isascii()  # a single ASCII letter occurs in too many names
    matches = (
        (i, n)
        for i, n in accounts
        if requested == normalize_text(i) or (match_names and requested in normalize_text(n))
    )
    suggestions = list(islice(matches, 5))
    if not suggestions:
        by_text = {normalize_text(text): (i, n) for i, n in accounts[:20_000] for text in (n, i) if text}
        suggestions = [by_text[text] for text in difflib.get_close_matches(requested, by_text, n=5, cutoff=0.6)]
    hint = "; ".join(
        f"{make_printable(i)} ({make_printable(n)})" if n else make_printable(i) for i, n in dict.fromkeys(suggestions)
    )
    return f"no account {make_printable(account)!r} on the list of {as_of} ({len(accounts)} rows). " + (
        f"Did you mean: {hint}?" if hint else "Give its account_id as in the input tables."
    )


def _other_renewals(listed: pd.DataFrame, row: pd.Series) -> list[dict[str, Any]]:
    """The account's other rows on the list."""
    names = ("renewal_id", "renewal_date", "products", "arr", "status", "renewal_probability", "risk_band")
    others = listed[listed["account_id"].eq(row["account_id"]) & listed["renewal_id"].ne(row["renewal_id"])]
    return [{name: json_value(other[name]) for name in names} for _, other in others.iterrows()]


def renewal_rows(path: Path, row: pd.Series, columns: list[str] | None = None) -> pd.DataFrame:
    """Rows of a file of the list that belong to one of its rows; files of older releases have one row per account."""
    rows = data_files.load_frame(path, filters=[("account_id", "==", row["account_id"])])
    mine = rows[rows["renewal_id"].eq(row["renewal_id"])] if "renewal_id" in rows else rows
    return mine if columns is None else mine[columns]


def account_alerts(job: Job, account_id: Any) -> list[dict[str, Any]]:
    """The account's alerts: code, evidence, whether it is new, and a sentence."""
    alerts = artifacts.read_alerts(job)
    texts = Messages(job.settings.list.language)
    rows = [
        {name: json_value(value) for name, value in row.items()}
        for row in alerts[alerts["account_id"] == account_id].drop(columns=list(KEY)).to_dict("records")
    ]
    sentences = alert_sentences("explain", rows, [account_id] * len(rows), texts, RenderFailures())
    return [row | {"sentence": text} for row, text in zip(rows, sentences, strict=True)]


def _reason(row: pd.Series, k: int) -> dict[str, Any]:
    names = ("feature", "contribution", "family", "theme", "actionable")
    parts = {part: json_value(row[f"reason_{k}_{part}"]) for part in names}
    return {"sentence": row[f"reason_{k}"], **parts}


def _prescribed_playbooks(
    job: Job, row: pd.Series, library: Mapping[str, playbooks.PlaybookRecord], texts: Messages
) -> dict[str, Any]:
    """The row's playbooks with steps, and the expected gain of the best one; empty without a score."""
    prescription = renewal_rows(job.folder / PRESCRIBED_PLAYBOOKS, row).iloc[0]
    ids = [prescription[f"play_{k}"] for k in range(1, MAX_PLAYS + 1) if pd.notna(prescription[f"play_{k}"])]
    playbook_records = [
        {
            "id": key,
            "name": library[key]["name"][texts.language],
            "owner": library[key]["owner"][texts.language],
            "hours": library[key]["hours"],
            "effect": playbooks.effect_text(library[key], texts),
            "steps": playbooks.numbered_steps(library[key], texts),
        }
        for key in ids
    ]
    return {
        "playbooks": playbook_records,
        "worth": {name: json_value(prescription[name]) for name in ("expected_gain", "hours", "gain_per_hour")},
    }


def _interventions_text(day: Job, row: pd.Series, texts: Messages) -> str | None:
    """Sentence on interventions for the account since the last list; None if there is no earlier list."""
    recent = list_archive.load_interventions_since(day)
    if recent is None:
        return None
    account_rows = recent.interventions[recent.interventions["account_id"] == row["account_id"]]
    return playbooks.intervention_sentence(recent.last_list_day, account_rows, texts)


def _disagreement_text(job: Job, account_id: Any, texts: Messages) -> str | None:
    """Sentence on the manager's last disagreement with the list, with the outcome if known; None without one."""
    stored = artifacts.read_disagreements(job)
    rows = [] if stored is None else stored[0][stored[0]["account_id"] == account_id].to_dict("records")
    return (
        disagreement_sentences.disagreement_sentence(max(rows, key=lambda row: row["as_of"]), texts) if rows else None
    )


def _contributions(job: Job, row: pd.Series) -> dict[str, Any]:
    """All contributions with the account's and the peers' values, and their sum by theme; empty without a score."""
    contribution_row = renewal_rows(job.folder / CONTRIBUTIONS, row)
    if contribution_row.empty:
        return {"themes": {}, "features": []}
    catalogue = {str(feature["name"]): feature for feature in read_archived_catalogue(job.folder)}
    peers = data_files.load_frame(job.folder / PEER_MEDIANS).loc[contribution_row[PEER_GROUP].iloc[0]]
    values = renewal_rows(job.folder / artifacts.SCORING, row).iloc[0]
    keys = [name for name in (*RENEWAL_KEY, PEER_GROUP) if name in contribution_row]
    contributions = contribution_row.drop(columns=keys).iloc[0].astype("float64").sort_values()
    features = [
        {
            "feature": name,
            "base_feature": base_feature(catalogue[name]) if name in catalogue else name,
            **{part: catalogue.get(name, {}).get(part, "other") for part in ("family", "theme")},
            "value": json_value(values.get(name)),
            "peer_value": json_value(peers.get(name)),
            "contribution": float(contribution),
        }
        for name, contribution in zip(contributions.index.astype(str), contributions, strict=True)
    ]
    return {"themes": theme_contributions(contributions, list(catalogue.values())), "features": features}


def rows_per_table(day: Job, account_id: Any) -> dict[str, int]:
    """Number of the account's rows in each input table that were known at the as-of date."""
    rows = data_files.load_frame(day.folder / list_archive.ROW_COUNTS_FILE, filters=[("account_id", "==", account_id)])
    return {name: int(rows[name].sum()) for name in rows.columns if name != "account_id"}


def json_value(value: Any) -> Any:
    """A value for JSON; whole numbers above `MAX_SAFE_INTEGER` (only ids) become text, so they stay exact."""
    if value is None or pd.isna(value):
        return None
    if isinstance(value, date):
        return value.isoformat()[:10]
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class ExplanationTable:
    """One table of the printed explanation."""

    title: str
    rows: Sequence[tuple[str, ...]]
    headings: tuple[str, ...] = ()


def print_explanation(result: dict[str, Any], texts: Messages, console: Console) -> None:
    """Print the explanation as tables; text is not parsed as markup, and control characters are made visible."""
    from rich.table import Table

    first = (_overview_section(result, texts), _alert_section(result, texts))
    last = (
        *_reason_sections(result, texts),
        *_playbook_sections(result, texts),
        *_contribution_sections(result, texts),
        _row_count_section(result, texts),
    )
    for section in (*first, *last):
        table = Table(*section.headings, show_header=bool(section.headings))
        for row in section.rows:
            table.add_row(*map(_safe_text, row))
        console.print(_safe_text(section.title), style="bold")
        console.print(table)


def _overview_section(result: dict[str, Any], texts: Messages) -> ExplanationTable:
    account = result["account"]["account_name"] or result["account"]["account_id"]
    values = (result["account"] | result["scores"]).items()
    rows = [(texts.heading(name), _format_value(name, value, texts)) for name, value in values if value is not None]
    return ExplanationTable(texts.text("explain.title", account=account, as_of=result["as_of"]), rows)


def _reason_sections(result: dict[str, Any], texts: Messages) -> list[ExplanationTable]:
    none = (texts.text("explain.none"),)
    reasons: list[tuple[str, ...]] = [
        (texts.theme(r["theme"], r["actionable"]), r["sentence"], f"{r['contribution']:+.2f}")
        for r in result["reasons"]
    ]
    strengths: list[tuple[str, ...]] = [(strength,) for strength in result["strengths"]]
    return [
        ExplanationTable(texts.text("explain.reasons"), reasons or [none]),
        ExplanationTable(texts.text("explain.strengths"), strengths or [none]),
    ]


def _playbook_sections(result: dict[str, Any], texts: Messages) -> list[ExplanationTable]:
    rows: list[tuple[str, ...]] = [
        ("\n".join((texts.text("explain.playbook", **play), *play["steps"])),) for play in result["playbooks"]
    ]
    if rows:
        rows.append((texts.text("explain.worth", **result["worth"]),))
    interventions = (
        [ExplanationTable(texts.text("explain.interventions"), [(result["interventions_since_last_list"],)])]
        if result["interventions_since_last_list"]
        else []
    )
    disagreement = (
        [ExplanationTable(texts.text("explain.disagreement"), [(result["disagreement"],)])]
        if result["disagreement"]
        else []
    )
    return [
        ExplanationTable(texts.text("explain.playbooks"), rows or [(texts.text("explain.no_playbook"),)]),
        *interventions,
        *disagreement,
    ]


def _alert_section(result: dict[str, Any], texts: Messages) -> ExplanationTable:
    rows: list[tuple[str, ...]] = [
        (texts.value("alerts", a["code"]), a["sentence"], _alert_age(a, texts)) for a in result["alerts"]
    ]
    return ExplanationTable(texts.text("explain.alerts"), rows or [(texts.text("explain.no_alerts"),)])


def _alert_age(alert: dict[str, Any], texts: Messages) -> str:
    return (
        texts.text("explain.new") if alert["is_new"] else texts.text("explain.reported", day=alert["first_reported_on"])
    )


def _contribution_sections(result: dict[str, Any], texts: Messages) -> list[ExplanationTable]:
    text = texts.text
    themes = [(texts.value("theme", theme), f"{contribution:+.2f}") for theme, contribution in result["themes"].items()]
    strongest = sorted(result["features"], key=lambda f: -abs(f["contribution"]))[:MAX_CONTRIBUTIONS]
    features: list[tuple[str, ...]] = [
        (f["feature"], _format_number(f["value"]), _format_number(f["peer_value"]), f"{f['contribution']:+.2f}")
        for f in sorted(strongest, key=lambda f: float(f["contribution"]))
    ]
    columns = ("feature", "value", "peer", "contribution")
    return [
        ExplanationTable(text("explain.themes"), themes, (text("explain.theme"), text("explain.contribution"))),
        ExplanationTable(text("explain.features"), features, tuple(text(f"explain.{column}") for column in columns)),
    ]


def _row_count_section(result: dict[str, Any], texts: Messages) -> ExplanationTable:
    rows: list[tuple[str, ...]] = [(name, f"{count:,}") for name, count in result["rows_per_table"].items()]
    return ExplanationTable(
        texts.text("explain.rows"), rows, (texts.text("explain.table"), texts.text("explain.count"))
    )


def _safe_text(text: str) -> Any:
    from rich.text import Text

    return Text(make_printable(text))


def _format_number(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, (int, float)) else str("–" if value is None else value)


def _format_value(name: str, value: Any, texts: Messages) -> str:
    if isinstance(value, bool):
        return texts.flag(value)
    if isinstance(value, float):
        return f"{value:.0%}" if name.endswith("probability") else f"{value:,.0f}"
    return texts.value(name, value)


if __name__ == "__main__":
    main(explain, writes=False)

"""Alerts in words: what a rule saw, in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from renewals.features.alerts import NOW
from renewals.features.families.sentiment import FOLLOW_UP_DAYS
from renewals.reports.render_failures import Losses
from renewals.reports.words import Words


def sentences(
    output: str, told: Sequence[Mapping[str, Any]], accounts: Iterable[Any], words: Words, losses: Losses
) -> list[str]:
    """The sentence of each alert; its name alone where what was seen cannot be said."""

    def make(alert: Mapping[str, Any]) -> str:
        return sentence(alert, words)

    def named(alert: Mapping[str, Any]) -> str:
        return words.value("alerts", alert["code"])

    return losses.each(output, "alerts", make, told, accounts, named)


def sentence(alert: Mapping[str, Any], words: Words) -> str:
    """One alert with its evidence: `alert` holds `code`, `began`, `concerned`, `tier`, `figure` and `usual`."""
    tier = alert["tier"]
    return words.say(
        f"alert.{alert['code']}",
        **{name: alert[name] for name in ("concerned", "figure", "usual")},
        began=words.day(alert["began"]),
        who=words.say("alert.who", tier=words.value("tier", tier)) if tier else "",
        days=NOW,
        follow_up=FOLLOW_UP_DAYS,
    )

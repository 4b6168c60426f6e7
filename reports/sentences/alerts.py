"""Alerts as sentences: the evidence of one alert in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from renewals.features.alert import CURRENT_DAYS
from renewals.features.families.sentiment import FOLLOW_UP_DAYS
from renewals.reports.render_failures import RenderFailures
from renewals.reports.words import Messages


def alert_sentences(
    output: str,
    alerts: Sequence[Mapping[str, Any]],
    accounts: Iterable[Any],
    messages: Messages,
    failures: RenderFailures,
) -> list[str]:
    """Sentence of each alert, one per alert; only the alert's name if the sentence cannot be made (counted in
    `failures`)."""

    def make(alert: Mapping[str, Any]) -> str:
        return alert_sentence(alert, messages)

    def alert_name(alert: Mapping[str, Any]) -> str:
        return messages.value("alerts", alert["code"])

    return failures.render_each(output, "alerts", make, alerts, accounts, alert_name)


def alert_sentence(alert: Mapping[str, Any], messages: Messages) -> str:
    """Sentence of one alert with its evidence: `alert` holds `code`, `started_on`, `count`, `tier`, `value` and
    `expected`."""
    tier = alert["tier"]
    return messages.text(
        f"alert.{alert['code']}",
        **{name: alert[name] for name in ("count", "value", "expected")},
        started_on=messages.day(alert["started_on"]),
        who=messages.text("alert.who", tier=messages.value("tier", tier)) if tier else "",
        days=CURRENT_DAYS,
        follow_up=FOLLOW_UP_DAYS,
    )

"""What a search of settings found, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from renewals.reports.words import Words


def sentences(report: Mapping[str, Any], words: Words) -> list[str]:
    """What was tried, what came of it, and how to take it over; or why nothing was searched."""
    target = words.value("target", report["target"])
    if not report["searched"]:
        return [words.say("tune.refused", target=target, reason=report["reason"])]
    ended = [trial["state"] for trial in report["trials"]]
    tried = words.say(
        "tune.tried", target=target, trials=len(ended) - ended.count("cut_off"), early=ended.count("stopped_early"),
        day=report["stood_on"], **report["log_loss"],
    )  # fmt: skip
    held = report["held_out"]
    judged = words.say(f"tune.{held['verdict']}", **_figures(held))
    if not report["take_over"]:
        return [tried, judged]
    settings = " ".join(f"--set {change}" for change in report["take_over"])
    return [tried, judged, words.say("tune.take_over", until=report["until"], settings=settings)]


def _figures(held: Mapping[str, Any]) -> dict[str, Any]:
    return {"terms": held.get("terms"), "events": held.get("events"), **held.get("gain", {})}

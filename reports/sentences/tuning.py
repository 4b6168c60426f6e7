"""Results of a hyperparameter search as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from renewals.reports.words import Messages


def tuning_sentences(report: Mapping[str, Any], messages: Messages) -> list[str]:
    """Sentences on the trials, the result on held-out data, and how to adopt the best settings; or on why there was no
    search."""
    target = messages.value("target", report["target"])
    if not report["searched"]:
        return [messages.text("tune.refused", target=target, reason=report["reason"])]
    ended = [trial["state"] for trial in report["trials"]]
    tried = messages.text(
        "tune.tried", target=target, trials=len(ended) - ended.count("failed"), early=ended.count("pruned"),
        day=report["cutoff"], **report["log_loss"],
    )  # fmt: skip
    holdout = report["holdout"]
    verdict = messages.text(f"tune.{holdout['verdict']}", **_gain_fields(holdout))
    if not report["overrides"]:
        return [tried, verdict]
    settings = " ".join(f"--set {change}" for change in report["overrides"])
    return [tried, verdict, messages.text("tune.adopt", until=report["until"], settings=settings)]


def _gain_fields(held_out: Mapping[str, Any]) -> dict[str, Any]:
    return {"terms": held_out.get("terms"), "events": held_out.get("events"), **held_out.get("gain", {})}

"""A small list and its parts: six accounts, two managers, hostile names."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from renewals.models.explanation.reasons import PeerStatistics, explain_scores, peer_statistics
from renewals.models.ranking.expected_value import AvailablePlaybooks, prescribe_playbooks
from renewals.models.ranking.playbooks import combine_effects
from renewals.pipelines.storage.playbook_library import DEFAULT_LIBRARY, read_library
from renewals.reports.columns import RENEWAL_HIGH, RENEWAL_LOW
from renewals.reports.risk_list import build_risk_list, name_playbooks
from renewals.reports.settings import ListOptions

HOSTILE = (
    "=1+1",
    "+SUM(A1:A9)",
    "-2+3",
    "@x",
    "<script>alert(1)</script>",
    'say "hi", twice',
    "https://example.invalid/?a=1&b=2",
    "mailto:x@example.invalid",
    "\u202eevil\u202c",
    "客户 🚀 é",
    "[/bold] 'quoted'",
    "line\nbreak",
    "_x0041_",
    "{=1+1}",
    "007",
    "1e5",
    "NaN",
    "x" * 40_000,
)
MODELS = {"renewal": "renewals-renewal/3", "expansion": "renewals-expansion/1"}


def observations(
    names: Sequence[str] = ("acme", "beta", "gamma", "quiet", "fresh", "giant"), ids: Sequence[Any] | None = None
) -> pd.DataFrame:
    """One row per account, with one renewal that is due: the spine's columns and `status`."""
    count = len(names)
    account_ids = [f"a{i}" for i in range(count)] if ids is None else list(ids)
    arr = [1000.0 * (i + 1) for i in range(count)]
    rows = pd.DataFrame(
        {
            "account_id": account_ids,
            "renewal_id": [f"{account}:2026-09-01" for account in account_ids],
            "as_of": pd.Timestamp("2026-06-01"),
            "renewal_state": "due",
            "is_main": True,
            "runs": True,
            "account_name": list(names),
            "csm": ["li", "ann"] * (count // 2) + ["li"] * (count % 2),
            "stage": "steady",
            "size_band": "small",
            "renewal_date": pd.Timestamp("2026-09-01"),
            "days_to_renewal": 92,
            "notice_date": None,
            "decision_date": pd.Timestamp("2026-09-01"),
            "days_to_decision": 92,
            "notice_given": False,
            "products": "core",
            "arr": arr,
            "account_arr": arr,
            "currency": "USD",
            "contract_amount": arr,
            "contract_currency": "USD",
            "renewal_signed": False,
            "signed": False,
            "status": "scored",
        }
    )
    return rows.assign(**{day: rows[day].dt.date for day in ("as_of", "renewal_date", "decision_date")})


def not_due(rows: pd.DataFrame) -> pd.DataFrame:
    """These accounts with nothing due: without a date, with the status `not_due`."""
    dates = dict.fromkeys(("renewal_date", "days_to_renewal", "decision_date", "days_to_decision"))
    return rows.assign(renewal_id=[f"{account}:" for account in rows["account_id"]], status="not_due", **dates)


def second_renewal(rows: pd.DataFrame, arr: float = 500.0) -> pd.DataFrame:
    """Another renewal of these accounts, due a month after the main one."""
    day = pd.Timestamp("2026-10-01").date()
    return rows.assign(
        renewal_id=[f"{account}:{day}" for account in rows["account_id"]],
        is_main=False,
        renewal_date=day,
        days_to_renewal=122,
        decision_date=day,
        days_to_decision=122,
        arr=arr,
        contract_amount=arr,
    )


def previous(
    account_ids: Sequence[Any], probabilities: Sequence[float], days: Sequence[str] | None = None
) -> pd.DataFrame:
    """Scores of an earlier list: one row per renewal, due on 1 September unless `days` tells another."""
    ends = ["2026-09-01"] * len(account_ids) if days is None else days
    return pd.DataFrame(
        {
            "account_id": pd.Series(list(account_ids), dtype=None if len(account_ids) else object),
            "renewal_id": [f"{account}:{end}" for account, end in zip(account_ids, ends, strict=True)],
            "renewal_probability": pd.Series(list(probabilities), dtype=float),
        }
    )


def catalogue() -> list[dict[str, Any]]:
    """Metadata of two features with their sentences."""
    shared = {"actionable": True, "params": {"days": 28}, "kind": "number", "unit": "people"}
    people = {
        "name": "people_28d",
        "family": "usage",
        "theme": "adoption",
        "risk": "low",
        "en": "{value:.0f} people used the product in the last {days} days (peers: {peer:.0f})",
        "zh": "近 {days} 天有 {value:.0f} 人使用产品(同类客户:{peer:.0f} 人)",
    }
    bugs = {
        "name": "bugs_28d",
        "family": "tickets",
        "theme": "support",
        "risk": "high",
        "en": "{value:.0f} bugs reported in the last {days} days (peers: {peer:.0f})",
        "zh": "近 {days} 天报告缺陷 {value:.0f} 个(同类客户:{peer:.0f} 个)",
    }
    return [people | shared, bugs | shared]


def reasons_for(rows: pd.DataFrame, language: str = "en") -> pd.DataFrame:
    """Reasons and strengths, which depend on the row's index; one row per observation."""
    from renewals.reports.words import Messages

    index = rows.index
    values = pd.DataFrame(
        {"people_28d": [float(i % 5) for i in index], "bugs_28d": [float(i % 3) for i in index]}, rows.index
    )
    contributions = pd.DataFrame(
        {"people_28d": [i % 5 - 2.1 for i in index], "bugs_28d": [1.1 - i % 3 for i in index]}, rows.index
    )
    peers: PeerStatistics = peer_statistics(values, rows["size_band"], rows["stage"], 1)
    return explain_scores(contributions, values, catalogue(), peers, Messages(language).phrases())


def make_list(rows: pd.DataFrame, options: ListOptions | None = None, **probabilities: Any) -> pd.DataFrame:
    """The list of these observations; probabilities of `renewal` and further targets by name."""
    return build_risk_list(*parts_of(rows, options, **probabilities), MODELS, options or ListOptions()).rows


def parts_of(rows: pd.DataFrame, options: ListOptions | None = None, **probabilities: Any) -> tuple[pd.DataFrame, ...]:
    """The parts of a list: observations, probabilities, reasons and playbooks."""
    columns = {"renewal": [0.1 + 0.8 * i / max(len(rows) - 1, 1) for i in range(len(rows))]} | probabilities
    columns = {
        RENEWAL_LOW: [0.9 * value for value in columns["renewal"]],
        RENEWAL_HIGH: [0.1 + 0.9 * value for value in columns["renewal"]],
    } | columns
    options = options or ListOptions()
    table, reasons = pd.DataFrame(columns, index=rows.index), reasons_for(rows, options.language)
    return rows, table, reasons, plays_for(rows, table, reasons, options)


def plays_for(
    rows: pd.DataFrame, probabilities: pd.DataFrame, reasons: pd.DataFrame, options: ListOptions
) -> pd.DataFrame:
    """Playbooks of the shipped library, one row per observation."""
    library = read_library(DEFAULT_LIBRARY)
    scored = probabilities.where(rows["status"] == "scored")
    prescribed = prescribe_playbooks(
        rows,
        scored,
        reasons,
        AvailablePlaybooks(library, combine_effects(library, {}), 60),
        options.expansion_threshold,
    )
    return name_playbooks(prescribed, library, options.language)

"""The risk list as a web page: one file that opens without a network and contains every language.

The rows are JSON by column, in an element that no browser runs. Each feature's sentence template is included once per
language, and each value as Python formats it; the page inserts the values into the templates, so its sentences are the
same as in the list. Text from outside is set as text, never as markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from renewals.features.family import THEMES
from renewals.features.policy import TIERS
from renewals.models.explanation.reasons import (
    PEER_VALUE,
    REASON_COUNT,
    STRENGTH_COUNT,
    format_value,
    sentence_template,
)
from renewals.models.explanation.reasons import FeatureMeta as Feature
from renewals.models.ranking.expected_value import PLAY_COLUMNS
from renewals.models.ranking.health import HEALTH
from renewals.models.ranking.worklist import QUADRANTS, RISK_BANDS, SCORED
from renewals.reports.html.bundle import render_offline_page
from renewals.reports.list_summary import summarize_list
from renewals.reports.render_failures import RenderFailures
from renewals.reports.sanitize import make_printable
from renewals.reports.sentences import alerts, playbooks
from renewals.reports.settings import ListOptions
from renewals.reports.words import MESSAGES, Messages

DETAIL_FEATURES: Mapping[str, tuple[str, ...]] = {
    "usage": (
        *("active_people_28d", "seat_activation_28d", "active_days_28d", "core_workflow_share_28d"),
        *("days_since_last_use", "core_users_active_share"),
    ),
    "past": (
        "usage_vs_baseline_28d",
        "usage_vs_baseline_90d",
        "active_people_change_90d",
        "active_days_year_over_year",
        "lapsed_people_share",
    ),
    "people": ("decision_makers_contacted_share_90d", "sponsors_silent", "people_left_s_90d", "people_left_a_90d"),
    "tickets": (
        *(
            "tickets_total_90d",
            "backlog",
            "backlog_age",
            "sla_breaches_90d",
            "first_response_hours_90d",
            "tickets_escalated_90d",
        ),
        "requests_unanswered",
    ),
    "opinion": (
        "latest_survey_score_nps",
        "latest_survey_score_csat",
        "survey_response_rate",
        "low_scores_without_follow_up",
    ),
    "contract": ("term_length", "seats", "plan", "auto_renew", "follow_on_signed", "unpaid_terms", "cancelled_so_far"),
}
"""Features shown for every account, by panel; features without an input table are left out."""
TIER_FEATURES = (
    *("people_known_{tier}", "people_active_{tier}_28d", "days_since_use_{tier}", "days_since_contact_{tier}"),
    "nps_of_{tier}",
)
"""Features shown for the people of each tier, one column per tier."""
TERM_AGE = "term_age"
"""Feature from which the page computes the start day of the contract."""
REASON_FEATURE_COLUMNS = (
    *(f"reason_{k}_feature" for k in range(1, REASON_COUNT + 1)),
    *(f"strength_{k}_feature" for k in range(1, STRENGTH_COUNT + 1)),
)
"""Columns with the names of the features behind the reasons and strengths."""
CATEGORY_COLUMNS: Mapping[str, Sequence[str]] = {
    "risk_band": RISK_BANDS,
    "quadrant": QUADRANTS,
    "health": HEALTH,
    "reason_1_theme": THEMES,
}
TEXT_COLUMNS = (
    *("account_id", "account_name", "csm", "stage", "size_band", "status", "alerts", "renewal_date"),
    *("notice_date", "products", "contract_currency"),
)
NUMBER_COLUMNS = {
    **{"rank": 0, "days_to_renewal": 0, "arr": 0, "account_arr": 0, "contract_amount": 0, "arr_at_risk": 0},
    **dict.fromkeys(("renewal_probability", "renewal_low", "renewal_high", "probability_change"), 4),
    **dict.fromkeys(("expansion_probability", "upsell_probability", "cross_sell_probability"), 3),
}
"""Numeric columns of a row, with their number of decimals."""
PAGE_KEY_PATTERN = re.compile(
    r"(page|heading|stage|size_band|status|risk_band|health|quadrant|theme|alerts|tier)\.|forecast\.(arr_|quarter)|whatif.caveat$"
)
"""Keys of the messages that the page uses."""


@dataclass(frozen=True)
class PageData:
    """Data behind the rows of the list.

    Unless stated otherwise, a table has one row per row of the list, on its index, and no row for an account that is
    not scored.
    """

    features: Sequence[Feature]
    """The feature catalogue."""
    feature_values: pd.DataFrame
    """The account's value of each feature that the page uses."""
    peer_values: pd.DataFrame
    """One row per peer group: the typical value of each feature."""
    peer_group: pd.Series
    """The account's peer group, as in the index of `peer_values`."""
    strengths: pd.DataFrame
    """Columns `strength_k_feature`."""
    theme_contributions: pd.DataFrame
    """Sum of the contributions of each theme, in log-odds; negative values point to a loss."""
    change_texts: pd.DataFrame
    """By language: why the probability changed."""
    not_scored_reasons: pd.DataFrame
    """By language: why the account has no score; one row per row of the list without a score."""
    past_probabilities: pd.DataFrame
    """By day, oldest first: the probability of the same renewal on an earlier list."""
    what_if_grid: pd.DataFrame
    """One row per (row of the list, `feature`, `value`): the predicted `probability` if the feature had this value."""
    alerts: pd.DataFrame
    """One row per (row of the list, `code`), with its evidence and whether it `is_new`."""
    prescribed_playbooks: pd.DataFrame
    """Playbook ids, the `best` of them, its `expected_gain` and its `hours`."""
    library: Mapping[str, playbooks.PlaybookRecord]
    """Playbooks by id."""
    forecast: Sequence[Mapping[str, Any]] = ()
    """The company's forecast of the day: records with `period_kind`, `period`, `measure`, `expected`, `low`, `high`."""
    notices: Sequence[Mapping[str, str]] = ()
    """Notices to read before the list: texts by language."""
    history: Sequence[Mapping[str, str]] = ()
    """What the models did with columns of which only today's value is known: texts by language."""


def page_features(
    risk_list: pd.DataFrame, strengths: pd.DataFrame, what_if_grid: pd.DataFrame, catalogue: Iterable[Feature]
) -> list[str]:
    """Names of the features that the page uses for these rows, in the catalogue's order."""
    reason_features = set(_reason_features(risk_list, strengths).to_numpy(object).ravel())
    wanted = reason_features | _detail_features() | set(what_if_grid["feature"]) | {TERM_AGE}
    return [str(feature["name"]) for feature in catalogue if feature["name"] in wanted]


def _reason_features(risk_list: pd.DataFrame, strengths: pd.DataFrame) -> pd.DataFrame:
    return risk_list.join(strengths).reindex(columns=list(REASON_FEATURE_COLUMNS))


def _detail_features() -> set[str]:
    return {name for names in (*DETAIL_FEATURES.values(), *_tier_features().values()) for name in names}


def _tier_features() -> dict[str, list[str]]:
    return {tier: [name.format(tier=tier.lower()) for name in TIER_FEATURES] for tier in TIERS}


def render_list_page(
    risk_list: pd.DataFrame,
    page_data: PageData,
    options: ListOptions,
    linked_page: str = "",
    failures: RenderFailures | None = None,
) -> bytes:
    """Render the page of the list as bytes.

    It shows the first `options.page_rows` accounts of the list and sums up all of them; it states if not all are shown.
    `linked_page` is a page in the same folder to link to. Texts of an account that cannot be made are left out and
    counted in `failures`. The same values give the same bytes.
    """
    shown = risk_list.head(options.page_rows)
    messages = Messages(options.language)
    title = messages.text(
        "page.title", as_of="" if risk_list.empty else messages.day(risk_list["as_of"].iloc[0].date())
    )
    payload = build_payload(risk_list, shown, page_data, options, failures or RenderFailures())
    vendored = (["tabulator.min.js"], ["tabulator.min.css"])
    return render_offline_page("risk_list", title, options.language, payload, *vendored, linked_page, page_data.notices)


# --- the page's data --------------------------------------------------------------------------------


def build_payload(
    risk_list: pd.DataFrame, shown: pd.DataFrame, page_data: PageData, options: ListOptions, failures: RenderFailures
) -> dict[str, Any]:
    """Build all data that the page's code reads; `rows` holds by column one entry per account shown."""
    names = page_features(shown, page_data.strengths.reindex(shown.index), page_data.what_if_grid, page_data.features)
    catalogue = {str(feature["name"]): feature for feature in page_data.features}
    features = [catalogue[name] for name in names if name in page_data.feature_values.columns]
    return {
        "as_of": "" if risk_list.empty else str(risk_list["as_of"].iloc[0].date()),
        "language": options.language,
        "languages": list(MESSAGES),
        "currency": _single_value(risk_list["currency"]),
        "accounts": len(risk_list),
        "shown": len(shown),
        "words": {language: page_messages(language, options) for language in MESSAGES},
        "rows": _pack_rows(shown, page_data),
        **_pack_features(shown, page_data, features, failures),
        "themes": {
            name: _round_numbers(page_data.theme_contributions[name].reindex(shown.index), 3)
            for name in THEMES
            if name in page_data.theme_contributions
        },
        "changes": {
            language: _pack_texts(page_data.change_texts[language].reindex(shown.index))
            for language in MESSAGES
            if language in page_data.change_texts
        },
        "not_scored_reasons": {
            language: _pack_texts(page_data.not_scored_reasons[language].reindex(shown.index)) for language in MESSAGES
        },
        "probability_history": {
            str(day): _round_numbers(past.reindex(shown.index), 4) for day, past in page_data.past_probabilities.items()
        },
        "started": _contract_ages(shown, page_data.feature_values),
        "whatif": _pack_what_if(shown, page_data, features),
        "alerts": _pack_alerts(shown, page_data.alerts, failures),
        "plays": _pack_playbooks(shown, page_data.prescribed_playbooks, page_data.library),
        "summary": summarize_list(risk_list, options) | {"forecast": list(page_data.forecast)},
        "history": {language: [one[language] for one in page_data.history] for language in MESSAGES},
    }


def page_messages(language: str, options: ListOptions) -> dict[str, str]:
    """Messages in one language that the page uses, including the descriptions of the columns."""
    texts, messages = MESSAGES[language], Messages(language)
    used = {key: text for key, text in texts.items() if PAGE_KEY_PATTERN.match(key)}
    return used | {key: messages.text(key, **options.explanation_values) for key in texts if key.startswith("about.")}


def _pack_rows(shown: pd.DataFrame, page_data: PageData) -> dict[str, Any]:
    texts = {name: _pack_texts(shown[name].map(_to_text, na_action="ignore")) for name in TEXT_COLUMNS}
    numbers = {name: _round_numbers(shown[name], digits) for name, digits in NUMBER_COLUMNS.items()}
    codes = {name: _encode(shown[name], values) for name, values in CATEGORY_COLUMNS.items()}
    flags = {
        name: _encode(shown[name], (False, True))
        for name in ("within_capacity", *(f"reason_{k}_actionable" for k in range(1, REASON_COUNT + 1)))
    }
    return (
        texts
        | numbers
        | codes
        | flags
        | {"group": _encode(page_data.peer_group.reindex(shown.index), page_data.peer_values.index)}
    )


def _to_text(value: Any) -> str:
    return str(value.date()) if isinstance(value, pd.Timestamp) else make_printable(str(value))


def _pack_features(
    shown: pd.DataFrame, page_data: PageData, features: Sequence[Feature], failures: RenderFailures
) -> dict[str, Any]:
    """Pack the features' texts and values, and by account which features its reasons and strengths use.

    `shown_reasons` has a pair of lists for each reason and strength, with one entry per account: the index of the
    feature and the index of its value. `figures` has the value indexes of each feature that is shown for every account.
    -1 means none.
    """
    position = {str(feature["name"]): number for number, feature in enumerate(features)}
    always = _detail_features().union(page_data.what_if_grid["feature"])
    reasons = _reason_features(shown, page_data.strengths).reset_index(drop=True)
    feature_codes = np.array([_encode(reasons[name], list(position)) for name in REASON_FEATURE_COLUMNS]).reshape(
        len(REASON_FEATURE_COLUMNS), len(shown)
    )
    value_codes = np.full(feature_codes.shape, -1)
    scored = shown["status"].eq(SCORED).to_numpy(bool)
    texts_per_feature, figures = [], {}
    for name, number in position.items():
        used = feature_codes == number
        rows = np.flatnonzero(scored if name in always else used.any(axis=0))
        codes = np.full(len(shown), -1)
        values = page_data.feature_values[name].reindex(shown.index).iloc[rows]
        codes[rows], texts = _format_values(features[number], values, shown["account_id"].iloc[rows], failures)
        texts_per_feature.append(_feature_texts(features[number], texts, page_data.peer_values))
        value_codes[used] = np.broadcast_to(codes, feature_codes.shape)[used]
        if name in always:
            figures[number] = codes.tolist()
    panels = {head: [position[name] for name in names if name in position] for head, names in DETAIL_FEATURES.items()}
    tiers = {tier: [position.get(name, -1) for name in names] for tier, names in _tier_features().items()}
    return {
        "features": texts_per_feature,
        "shown_reasons": [list(pair) for pair in zip(feature_codes.tolist(), value_codes.tolist(), strict=True)],
        "figures": figures,
        "panels": panels,
        "tiers": tiers,
    }


def _format_values(
    feature: Feature, values: pd.Series, accounts: pd.Series, failures: RenderFailures
) -> tuple[Any, list[tuple[str, ...]]]:
    """Format the values of a feature in all languages.

    Returns for each value the index of its text, -1 if it is missing or cannot be formatted, and the distinct texts,
    each a tuple with one entry per language.
    """
    codes, distinct = pd.factorize(values)
    phrases = [Messages(language).phrases() for language in MESSAGES]

    def make(value: Any) -> tuple[str, ...]:
        return tuple(make_printable(format_value(feature, value, one)) for one in phrases)

    first = np.zeros(len(distinct) + 1, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # the last entry is for missing values, code -1
    texts = failures.render_each("page", str(feature["name"]), make, distinct, accounts.iloc[first[:-1]])
    position = {text: number for number, text in enumerate(dict.fromkeys(text for text in texts if text))}
    text_codes = np.array([*(position.get(text, -1) for text in texts), -1])  # the last entry is for missing values
    return text_codes[codes], list(position)


def _feature_texts(feature: Feature, texts: Iterable[tuple[str, ...]], peer_values: pd.DataFrame) -> dict[str, Any]:
    """Pack a feature's theme and, per language, its sentence templates and formatted values (accounts and peers)."""
    typical = (
        peer_values[str(feature["name"])]
        if str(feature["name"]) in peer_values
        else pd.Series(None, peer_values.index, dtype=object)
    )
    packed: dict[str, Any] = {"theme": feature["theme"]}
    by_language = list(zip(*texts, strict=True)) or [()] * len(MESSAGES)
    for language, language_texts in zip(MESSAGES, by_language, strict=True):
        phrases = Messages(language).phrases()
        packed[language] = {
            "known": sentence_template(feature, phrases),
            "unknown": sentence_template(feature, phrases, is_known=False),
            "own": language_texts,
            "peers": [
                make_printable(format_value(feature, None if pd.isna(v) else v, phrases, PEER_VALUE)) for v in typical
            ],
        }
    return packed


def _contract_ages(shown: pd.DataFrame, feature_values: pd.DataFrame) -> list[float | int | None]:
    """Age of each account's contract in days at the date of the list."""
    return _round_numbers(feature_values.reindex(columns=[TERM_AGE], index=shown.index)[TERM_AGE], 0)


def _pack_what_if(shown: pd.DataFrame, page_data: PageData, features: Sequence[Feature]) -> list[dict[str, Any]]:
    """Pack the what-if grid: the predicted probabilities at other values of the features, one dict per feature.

    `steps` holds by language the formatted values tried in each peer group, rising. `chances` has for each position in
    these steps a list over the accounts, in whole percent, -1 if an account has no such step. `below` is the number of
    an account's steps below its actual value.
    """
    tried = page_data.what_if_grid[page_data.what_if_grid.index.isin(shown.index)]
    position = {str(feature["name"]): number for number, feature in enumerate(features)}
    groups = np.array(_encode(page_data.peer_group.reindex(shown.index), page_data.peer_values.index))
    packed = []
    for name, grid in tried.groupby("feature", sort=False):
        if name in position:
            rows, values = shown.index.get_indexer(grid.index), grid["value"].to_numpy(np.float64)
            steps, chances = _align_steps(
                groups, len(page_data.peer_values), rows, values, _round_percents(grid["probability"])
            )
            lower = values < page_data.feature_values[name].reindex(grid.index).to_numpy(np.float64, na_value=np.nan)
            packed.append(
                {
                    "feature": position[str(name)],
                    "steps": _format_steps(features[position[str(name)]], steps),
                    "chances": chances.tolist(),
                    "below": np.bincount(rows[lower], minlength=len(shown)).tolist(),
                }
            )
    return packed


def _align_steps(groups: Any, count: int, rows: Any, values: Any, percents: Any) -> tuple[list[Any], Any]:
    """Align the values tried in each peer group: their sorted values, and a matrix of the accounts' probabilities.

    The matrix has a row per position in the steps and a column per account; -1 if the account has no such step.
    """
    steps = [np.unique(values[groups[rows] == group]) for group in range(count)]
    chances = np.full((max(map(len, steps)), len(groups)), -1)
    for group, step in enumerate(steps):
        in_group = groups[rows] == group
        chances[np.searchsorted(step, values[in_group]), rows[in_group]] = percents[in_group]
    return steps, chances


def _round_percents(probabilities: pd.Series) -> Any:
    """Probabilities in whole percent, rounded as the format `.0%` rounds them."""
    return np.rint(100 * probabilities.to_numpy(np.float64)).astype(np.int64)


def _format_steps(feature: Feature, steps: Iterable[Any]) -> dict[str, list[list[str]]]:
    """Format the values tried in each peer group, by language."""
    phrases = {language: Messages(language).phrases() for language in MESSAGES}
    return {
        language: [[make_printable(format_value(feature, value, one)) for value in step.tolist()] for step in steps]
        for language, one in phrases.items()
    }


def _pack_alerts(shown: pd.DataFrame, alert_rows: pd.DataFrame, failures: RenderFailures) -> dict[str, Any]:
    """Pack the alerts of the accounts shown: row, code, whether it is new, and its sentence in every language."""
    shown_alerts = alert_rows[alert_rows.index.isin(shown.index)]
    evidence: list[Any] = shown_alerts.astype(object).where(shown_alerts.notna(), None).to_dict("records")
    accounts = shown["account_id"].reindex(shown_alerts.index)
    # A failure is counted once, not once per language.
    failures_by_language = dict.fromkeys(MESSAGES, RenderFailures()) | {"en": failures}
    sentences = {
        lang: alerts.alert_sentences("page", evidence, accounts, Messages(lang), failures_by_language[lang])
        for lang in MESSAGES
    }
    return {
        "row": shown.index.get_indexer(shown_alerts.index).tolist(),
        "code": _pack_texts(shown_alerts["code"]),
        "new": shown_alerts["is_new"].astype(int).tolist(),
        "sentences": {
            language: _pack_texts(pd.Series(map(make_printable, texts), dtype=object))
            for language, texts in sentences.items()
        },
    }


def _pack_playbooks(
    shown: pd.DataFrame, prescribed_playbooks: pd.DataFrame, library: Mapping[str, playbooks.PlaybookRecord]
) -> dict[str, Any]:
    """Pack the library's texts, and by account the library positions of its playbooks and of the best one; -1 if
    none."""
    prescribed = prescribed_playbooks.reindex(shown.index)
    return {
        "library": [
            {
                "hours": playbook["hours"],
                **{language: _playbook_texts(playbook, Messages(language)) for language in MESSAGES},
            }
            for playbook in library.values()
        ],
        "slots": [_encode(prescribed[name], library) for name in PLAY_COLUMNS],
        "best": _encode(prescribed["best"], library),
        "gain": _round_numbers(prescribed["expected_gain"], 0),
    }


def _playbook_texts(playbook: playbooks.PlaybookRecord, messages: Messages) -> dict[str, Any]:
    return {
        "name": make_printable(playbook["name"][messages.language]),
        "owner": make_printable(playbook["owner"][messages.language]),
        "steps": [make_printable(step) for step in playbook["steps"][messages.language]],
        "effect": playbooks.effect_text(playbook, messages),
    }


def _pack_texts(values: pd.Series) -> dict[str, Any]:
    """Encode texts by their index in the list of distinct texts; -1 if missing."""
    codes, distinct = pd.factorize(values.astype(object))
    return {"codes": codes.tolist(), "texts": list(distinct)}


def _encode(values: pd.Series, categories: Iterable[Any]) -> list[int]:
    """Position of each value in `categories`, -1 if it is not among them."""
    return [int(code) for code in pd.Index(list(categories), dtype=object).get_indexer(values.astype(object))]


def _round_numbers(values: pd.Series, digits: int) -> list[float | int | None]:
    """Round numbers; whole numbers become integers, missing and infinite ones None."""
    rounded = values.to_numpy(np.float64, na_value=np.nan).round(digits)
    numbers = [
        int(number) if digits == 0 or number.is_integer() else number for number in np.nan_to_num(rounded).tolist()
    ]
    return [number if finite else None for number, finite in zip(numbers, np.isfinite(rounded), strict=True)]


def _single_value(values: pd.Series) -> str | None:
    """The only distinct value as text; None if there is no value or more than one."""
    distinct = values.dropna().unique()
    return make_printable(str(distinct[0])) if len(distinct) == 1 else None

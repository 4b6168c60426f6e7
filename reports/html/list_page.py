"""The list as one page: a file that holds all it needs, opens without a network, and speaks every language we have.

The rows travel as JSON in an element that no browser runs, by column. A sentence travels in pieces, once per feature
and language, beside each figure as Python writes it: the page only puts them together, and so says what the list
says, word for word. Whatever comes from outside is set as text, never as markup.
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
    REFUSAL_REASONS,
    STRENGTH_COUNT,
    format_value,
    sentence_template,
)
from renewals.models.explanation.reasons import FeatureMeta as Feature
from renewals.models.ranking.expected_value import PLAY_COLUMNS
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
"""What the page tells of every account, by heading; what no table was given for is left out."""
TIER_FEATURES = (
    *("people_known_{tier}", "people_active_{tier}_28d", "days_since_use_{tier}", "days_since_contact_{tier}"),
    "nps_of_{tier}",
)
"""What it tells of the people of each tier, a column each."""
TERM_AGE = "term_age"
"""Of this feature the page tells the day: when the contract began."""
REASON_FEATURE_COLUMNS = (
    *(f"reason_{k}_feature" for k in range(1, REFUSAL_REASONS + 1)),
    *(f"strength_{k}_feature" for k in range(1, STRENGTH_COUNT + 1)),
)
"""The features behind the reasons and strengths."""
CATEGORY_COLUMNS: Mapping[str, Sequence[str]] = {
    "risk_band": RISK_BANDS,
    "quadrant": QUADRANTS,
    "reason_1_theme": THEMES,
}
TEXT_COLUMNS = ("account_id", "account_name", "csm", "stage", "size_band", "status", "alerts", "renewal_date")
NUMBER_COLUMNS = {
    **{"rank": 0, "days_to_renewal": 0, "arr": 0, "arr_at_risk": 0},
    **dict.fromkeys(("renewal_probability", "renewal_low", "renewal_high", "probability_change"), 4),
    **dict.fromkeys(("expansion_probability", "upsell_probability", "cross_sell_probability"), 3),
}
"""The numbers of a row, and to how many digits."""
PAGE_KEY_PATTERN = re.compile(
    r"(page|heading|stage|size_band|status|risk_band|quadrant|theme|alerts|tier)\.|forecast\.(arr_|quarter)|whatif.caveat$"
)
"""The words that the page itself asks for."""


@dataclass(frozen=True)
class PageData:
    """What stands behind the rows; each table has one row per row of the list, on its index, or none where the account
    is not scored."""

    features: Sequence[Feature]
    """The catalogue."""
    feature_values: pd.DataFrame
    """The account's figure of each feature that is spoken of."""
    peer_values: pd.DataFrame
    """One row per group of peers: the usual figure of each feature."""
    peer_group: pd.Series
    """The account's group, as `peer_values` names it."""
    strengths: pd.DataFrame
    """`strength_k_feature`."""
    theme_contributions: pd.DataFrame
    """What each theme adds in all, in log-odds, negative towards loss."""
    change_texts: pd.DataFrame
    """By language: why the chance changed."""
    not_scored_reasons: pd.DataFrame
    """By language: why there is no score; one row per row of the list without one."""
    past_probabilities: pd.DataFrame
    """By day, oldest first: the chance that an earlier list gave the same renewal."""
    what_if_grid: pd.DataFrame
    """One row per (row of the list, `feature`, `value`) that was tried: the `probability` at it."""
    alerts: pd.DataFrame
    """One row per (row of the list, `code`), with its evidence and whether it `is_new`."""
    prescribed_playbooks: pd.DataFrame
    """The ids of the plays and of the `best` of them, the `gain` expected of it and the `hours` it takes."""
    library: Mapping[str, playbooks.PlaybookRecord]
    """The plays by id."""
    forecast: Sequence[Mapping[str, Any]] = ()
    """What the forecast of the day says of the whole company: `period_kind`, `period`, `measure`, `expected`, `low`,
    `high`."""
    notices: Sequence[Mapping[str, str]] = ()
    """What is to be known before the list is read: sentences by language."""


def page_features(
    risk_list: pd.DataFrame, strengths: pd.DataFrame, what_if_grid: pd.DataFrame, catalogue: Iterable[Feature]
) -> list[str]:
    """The features that the page of these rows speaks of, in the catalogue's order."""
    speakers = set(_reason_features(risk_list, strengths).to_numpy(object).ravel())
    wanted = speakers | _detail_features() | set(what_if_grid["feature"]) | {TERM_AGE}
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
    """The page's bytes. It shows the first `options.page_rows` accounts of the list, sums up all of them, and says so
    where there are more. `linked_page` is a page in the same folder that it links to. The same values give the same
    bytes. What cannot be said of an account is left out and counted in `failures`.
    """
    shown = risk_list.head(options.page_rows)
    words = Messages(options.language)
    title = words.text("page.title", as_of="" if risk_list.empty else words.day(risk_list["as_of"].iloc[0].date()))
    given = build_payload(risk_list, shown, page_data, options, failures or RenderFailures())
    vendored = (["tabulator.min.js"], ["tabulator.min.css"])
    return render_offline_page("risk_list", title, options.language, given, *vendored, linked_page, page_data.notices)


# --- what the page is given -------------------------------------------------------------------------


def build_payload(
    risk_list: pd.DataFrame, shown: pd.DataFrame, page_data: PageData, options: ListOptions, failures: RenderFailures
) -> dict[str, Any]:
    """Everything the page's code reads; `rows` has one entry per account shown, by column."""
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
            str(day): _round_numbers(own.reindex(shown.index), 4) for day, own in page_data.past_probabilities.items()
        },
        "started": _contract_ages(shown, page_data.feature_values),
        "whatif": _pack_what_if(shown, page_data, features),
        "alerts": _pack_alerts(shown, page_data.alerts, failures),
        "plays": _pack_playbooks(shown, page_data.prescribed_playbooks, page_data.library),
        "summary": summarize_list(risk_list, options) | {"forecast": list(page_data.forecast)},
    }


def page_messages(language: str, options: ListOptions) -> dict[str, str]:
    """The words that the page asks for, and what the columns mean."""
    own, words = MESSAGES[language], Messages(language)
    said = {key: text for key, text in own.items() if PAGE_KEY_PATTERN.match(key)}
    return said | {key: words.text(key, **options.explanation_values) for key in own if key.startswith("about.")}


def _pack_rows(shown: pd.DataFrame, page_data: PageData) -> dict[str, Any]:
    texts = {name: _pack_texts(shown[name].map(_to_text, na_action="ignore")) for name in TEXT_COLUMNS}
    numbers = {name: _round_numbers(shown[name], digits) for name, digits in NUMBER_COLUMNS.items()}
    codes = {name: _encode(shown[name], values) for name, values in CATEGORY_COLUMNS.items()}
    flags = {
        name: _encode(shown[name], (False, True))
        for name in ("within_capacity", *(f"reason_{k}_actionable" for k in range(1, REFUSAL_REASONS + 1)))
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
    """The features in words, and by account which of them speak and what they show.

    `shown_reasons` has a pair of lists for each reason and strength: the feature's place, and that of its figure.
    `figures` has a list for each feature that is told of every account. -1 is nothing.
    """
    place = {str(feature["name"]): number for number, feature in enumerate(features)}
    always = _detail_features().union(page_data.what_if_grid["feature"])
    asked = _reason_features(shown, page_data.strengths).reset_index(drop=True)
    who = np.array([_encode(asked[name], list(place)) for name in REASON_FEATURE_COLUMNS]).reshape(
        len(REASON_FEATURE_COLUMNS), len(shown)
    )
    said = np.full(who.shape, -1)
    scored = shown["status"].eq(SCORED).to_numpy(bool)
    words, figures = [], {}
    for name, number in place.items():
        speaking = who == number
        rows = np.flatnonzero(scored if name in always else speaking.any(axis=0))
        own = np.full(len(shown), -1)
        asked_of = page_data.feature_values[name].reindex(shown.index).iloc[rows]
        own[rows], texts = _format_values(features[number], asked_of, shown["account_id"].iloc[rows], failures)
        words.append(_feature_texts(features[number], texts, page_data.peer_values))
        said[speaking] = np.broadcast_to(own, who.shape)[speaking]
        if name in always:
            figures[number] = own.tolist()
    panels = {head: [place[name] for name in names if name in place] for head, names in DETAIL_FEATURES.items()}
    tiers = {tier: [place.get(name, -1) for name in names] for tier, names in _tier_features().items()}
    return {
        "features": words,
        "shown_reasons": [list(pair) for pair in zip(who.tolist(), said.tolist(), strict=True)],
        "figures": figures,
        "panels": panels,
        "tiers": tiers,
    }


def _format_values(
    feature: Feature, values: pd.Series, accounts: pd.Series, failures: RenderFailures
) -> tuple[Any, list[tuple[str, ...]]]:
    """Each figure's place among those that are written differently in some language, -1 where it is not known or cannot
    be written; and how these are written, language by language."""
    codes, met = pd.factorize(values)
    phrases = [Messages(language).phrases() for language in MESSAGES]

    def make(value: Any) -> tuple[str, ...]:
        return tuple(make_printable(format_value(feature, value, own)) for own in phrases)

    first = np.zeros(len(met) + 1, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # the last place is that of those not known
    texts = failures.render_each("page", str(feature["name"]), make, met, accounts.iloc[first[:-1]])
    place = {text: number for number, text in enumerate(dict.fromkeys(text for text in texts if text))}
    again = np.array([*(place.get(text, -1) for text in texts), -1])  # the last for those not known
    return again[codes], list(place)


def _feature_texts(feature: Feature, texts: Iterable[tuple[str, ...]], peer_values: pd.DataFrame) -> dict[str, Any]:
    """A feature's sentence in every language: its pieces, and its figures and its peers' as they are written there."""
    usual = (
        peer_values[str(feature["name"])]
        if str(feature["name"]) in peer_values
        else pd.Series(None, peer_values.index, dtype=object)
    )
    told: dict[str, Any] = {"theme": feature["theme"]}
    own = list(zip(*texts, strict=True)) or [()] * len(MESSAGES)
    for language, texts_there in zip(MESSAGES, own, strict=True):
        phrases = Messages(language).phrases()
        told[language] = {
            "known": sentence_template(feature, phrases),
            "unknown": sentence_template(feature, phrases, is_known=False),
            "own": texts_there,
            "peers": [
                make_printable(format_value(feature, None if pd.isna(v) else v, phrases, PEER_VALUE)) for v in usual
            ],
        }
    return told


def _contract_ages(shown: pd.DataFrame, feature_values: pd.DataFrame) -> list[float | int | None]:
    """How many days before the list each contract began."""
    return _round_numbers(feature_values.reindex(columns=[TERM_AGE], index=shown.index)[TERM_AGE], 0)


def _pack_what_if(shown: pd.DataFrame, page_data: PageData, features: Sequence[Feature]) -> list[dict[str, Any]]:
    """What the model would say of other figures, feature by feature.

    `steps` are the figures tried of each group as they are written, rising; `probabilities` has a list for each of
    their places, in whole percent, -1 where an account has no such step; `below` says how many of an account's steps
    lie below its own figure.
    """
    tried = page_data.what_if_grid[page_data.what_if_grid.index.isin(shown.index)]
    place = {str(feature["name"]): number for number, feature in enumerate(features)}
    groups = np.array(_encode(page_data.peer_group.reindex(shown.index), page_data.peer_values.index))
    told = []
    for name, own in tried.groupby("feature", sort=False):
        if name in place:
            rows, figures = shown.index.get_indexer(own.index), own["value"].to_numpy(np.float64)
            steps, chances = _align_steps(
                groups, len(page_data.peer_values), rows, figures, _round_percents(own["probability"])
            )
            lower = figures < page_data.feature_values[name].reindex(own.index).to_numpy(np.float64, na_value=np.nan)
            told.append(
                {
                    "feature": place[str(name)],
                    "steps": _format_steps(features[place[str(name)]], steps),
                    "chances": chances.tolist(),
                    "below": np.bincount(rows[lower], minlength=len(shown)).tolist(),
                }
            )
    return told


def _align_steps(groups: Any, count: int, rows: Any, values: Any, percents: Any) -> tuple[list[Any], Any]:
    """The figures tried of each group, rising; and by place among them the chance of every account, -1 for none."""
    steps = [np.unique(values[groups[rows] == group]) for group in range(count)]
    chances = np.full((max(map(len, steps)), len(groups)), -1)
    for group, step in enumerate(steps):
        mine = groups[rows] == group
        chances[np.searchsorted(step, values[mine]), rows[mine]] = percents[mine]
    return steps, chances


def _round_percents(probabilities: pd.Series) -> Any:
    """As `.0%` writes them."""
    return np.rint(100 * probabilities.to_numpy(np.float64)).astype(np.int64)


def _format_steps(feature: Feature, steps: Iterable[Any]) -> dict[str, list[list[str]]]:
    """The figures tried of each group as they are written, by language."""
    phrases = {language: Messages(language).phrases() for language in MESSAGES}
    return {
        language: [[make_printable(format_value(feature, figure, own)) for figure in step.tolist()] for step in steps]
        for language, own in phrases.items()
    }


def _pack_alerts(shown: pd.DataFrame, alert_rows: pd.DataFrame, failures: RenderFailures) -> dict[str, Any]:
    """Every alert of an account shown: its row, code, whether it is new, and its sentence in every language."""
    own = alert_rows[alert_rows.index.isin(shown.index)]
    evidence: list[Any] = own.astype(object).where(own.notna(), None).to_dict("records")
    accounts = shown["account_id"].reindex(own.index)
    counted = dict.fromkeys(MESSAGES, RenderFailures()) | {"en": failures}  # each once, not once per language
    said = {
        lang: alerts.alert_sentences("page", evidence, accounts, Messages(lang), counted[lang]) for lang in MESSAGES
    }
    return {
        "row": shown.index.get_indexer(own.index).tolist(),
        "code": _pack_texts(own["code"]),
        "new": own["is_new"].astype(int).tolist(),
        "sentences": {
            language: _pack_texts(pd.Series(map(make_printable, texts), dtype=object))
            for language, texts in said.items()
        },
    }


def _pack_playbooks(
    shown: pd.DataFrame, prescribed_playbooks: pd.DataFrame, library: Mapping[str, playbooks.PlaybookRecord]
) -> dict[str, Any]:
    """The library in words, and the places in it of each account's plays and of the best; -1 is none."""
    own = prescribed_playbooks.reindex(shown.index)
    return {
        "library": [
            {
                "hours": play["hours"],
                **{language: _playbook_texts(play, Messages(language)) for language in MESSAGES},
            }
            for play in library.values()
        ],
        "slots": [_encode(own[name], library) for name in PLAY_COLUMNS],
        "best": _encode(own["best"], library),
        "gain": _round_numbers(own["expected_gain"], 0),
    }


def _playbook_texts(playbook: playbooks.PlaybookRecord, messages: Messages) -> dict[str, Any]:
    return {
        "name": make_printable(playbook["name"][messages.language]),
        "owner": make_printable(playbook["owner"][messages.language]),
        "steps": [make_printable(step) for step in playbook["steps"][messages.language]],
        "effect": playbooks.effect_text(playbook, messages),
    }


def _pack_texts(values: pd.Series) -> dict[str, Any]:
    """Texts by their place among those that differ; -1 for none."""
    codes, met = pd.factorize(values.astype(object))
    return {"codes": codes.tolist(), "texts": list(met)}


def _encode(values: pd.Series, categories: Iterable[Any]) -> list[int]:
    """Each value's place among those known, -1 for none of them."""
    return [int(code) for code in pd.Index(list(categories), dtype=object).get_indexer(values.astype(object))]


def _round_numbers(values: pd.Series, digits: int) -> list[float | int | None]:
    """Rounded numbers, whole ones without a point; None where there is none."""
    rounded = values.to_numpy(np.float64, na_value=np.nan).round(digits)
    plain = [int(own) if digits == 0 or own.is_integer() else own for own in np.nan_to_num(rounded).tolist()]
    return [own if there else None for own, there in zip(plain, np.isfinite(rounded), strict=True)]


def _single_value(values: pd.Series) -> str | None:
    """The one value that there is; None where there are several."""
    met = values.dropna().unique()
    return make_printable(str(met[0])) if len(met) == 1 else None

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
from renewals.models.explanation.reasons import PEER, REASONS, STRENGTHS, frame, written
from renewals.models.explanation.reasons import Words as Feature
from renewals.models.ranking.expected_value import PLAYS
from renewals.models.ranking.worklist import QUADRANTS, RISK_BANDS, SCORED
from renewals.reports.html.bundle import offline
from renewals.reports.list_summary import summary
from renewals.reports.render_failures import Losses
from renewals.reports.sanitize import printable
from renewals.reports.sentences import alerts, playbooks
from renewals.reports.settings import ListOptions
from renewals.reports.words import LANGUAGES, Words

FIGURES: Mapping[str, tuple[str, ...]] = {
    "usage": (
        *("active_people_28d", "seat_activation_28d", "active_days_28d", "core_workflow_share_28d"),
        *("days_since_last_use", "core_users_active"),
    ),
    "past": ("own_pace_28d", "own_pace_90d", "active_people_change_90d", "season_change", "people_lost"),
    "people": ("deciders_reached_90d", "sponsors_silent", "people_left_s_90d", "people_left_a_90d"),
    "tickets": (
        *("tickets_total_90d", "backlog", "backlog_age", "breaches_90d", "answer_hours_90d", "escalated_90d"),
        "requests_unanswered",
    ),
    "opinion": ("latest_score_nps", "latest_score_csat", "answer_share", "low_not_followed_up"),
    "contract": ("term_length", "seats", "plan", "auto_renew", "follow_on_signed", "unpaid", "cancelled_so_far"),
}
"""What the page tells of every account, by heading; what no table was given for is left out."""
BY_TIER = (
    *("people_known_{tier}", "people_active_{tier}_28d", "days_since_use_{tier}", "days_since_contact_{tier}"),
    "nps_of_{tier}",
)
"""What it tells of the people of each tier, a column each."""
AGE = "term_age"
"""Of this feature the page tells the day: when the contract began."""
SPEAKING = (
    *(f"reason_{k}_feature" for k in range(1, REASONS + 1)),
    *(f"strength_{k}_feature" for k in range(1, STRENGTHS + 1)),
)
"""The features behind the reasons and strengths."""
CODED: Mapping[str, Sequence[str]] = {"risk_band": RISK_BANDS, "quadrant": QUADRANTS, "reason_1_theme": THEMES}
TEXTS = ("account_id", "account_name", "csm", "stage", "size_band", "status", "alerts", "renewal_date")
NUMBERS = {
    **{"rank": 0, "days_to_renewal": 0, "arr": 0, "arr_at_risk": 0},
    **dict.fromkeys(("renewal_probability", "renewal_low", "renewal_high", "probability_change"), 4),
    **dict.fromkeys(("expansion_probability", "upsell_probability", "cross_sell_probability"), 3),
}
"""The numbers of a row, and to how many digits."""
SPOKEN = re.compile(
    r"(page|heading|stage|size_band|status|risk_band|quadrant|theme|alerts|tier)\.|forecast\.(arr_|quarter)|whatif.caveat$"
)
"""The words that the page itself asks for."""


@dataclass(frozen=True)
class Behind:
    """What stands behind the rows; each table has one row per row of the list, on its index, or none where the account
    is not scored."""

    features: Sequence[Feature]
    """The catalogue."""
    figures: pd.DataFrame
    """The account's figure of each feature that is spoken of."""
    peers: pd.DataFrame
    """One row per group of peers: the usual figure of each feature."""
    group: pd.Series
    """The account's group, as `peers` names it."""
    strengths: pd.DataFrame
    """`strength_k_feature`."""
    themes: pd.DataFrame
    """What each theme adds in all, in log-odds, negative towards loss."""
    changes: pd.DataFrame
    """By language: why the chance changed."""
    unscored: pd.DataFrame
    """By language: why there is no score; one row per row of the list without one."""
    earlier: pd.DataFrame
    """By day, oldest first: the chance that an earlier list gave the same renewal."""
    tried: pd.DataFrame
    """One row per (row of the list, `feature`, `figure`) that was tried: the `probability` at it."""
    alerts: pd.DataFrame
    """One row per (row of the list, `code`), with its evidence and whether it `is_new`."""
    plays: pd.DataFrame
    """The ids of the plays and of the `best` of them, the `gain` expected of it and the `hours` it takes."""
    library: Mapping[str, playbooks.Play]
    """The plays by id."""
    forecast: Sequence[Mapping[str, Any]] = ()
    """What the forecast of the day says of the whole company: `period_kind`, `period`, `measure`, `expected`, `low`,
    `high`."""
    notices: Sequence[Mapping[str, str]] = ()
    """What is to be known before the list is read: sentences by language."""


def spoken_of(
    listed: pd.DataFrame, strengths: pd.DataFrame, tried: pd.DataFrame, catalogue: Iterable[Feature]
) -> list[str]:
    """The features that the page of these rows speaks of, in the catalogue's order."""
    speakers = set(_speakers(listed, strengths).to_numpy(object).ravel())
    wanted = speakers | _told_of_all() | set(tried["feature"]) | {AGE}
    return [str(feature["name"]) for feature in catalogue if feature["name"] in wanted]


def _speakers(listed: pd.DataFrame, strengths: pd.DataFrame) -> pd.DataFrame:
    return listed.join(strengths).reindex(columns=list(SPEAKING))


def _told_of_all() -> set[str]:
    return {name for names in (*FIGURES.values(), *_tiers().values()) for name in names}


def _tiers() -> dict[str, list[str]]:
    return {tier: [name.format(tier=tier.lower()) for name in BY_TIER] for tier in TIERS}


def as_page(
    listed: pd.DataFrame, behind: Behind, options: ListOptions, beside: str = "", losses: Losses | None = None
) -> bytes:
    """The page's bytes. It shows the first `options.page_rows` accounts of the list, sums up all of them, and says so
    where there are more. `beside` is a page in the same folder that it links to. The same values give the same bytes.
    What cannot be said of an account is left out and counted in `losses`.
    """
    shown = listed.head(options.page_rows)
    words = Words(options.language)
    title = words.say("page.title", as_of="" if listed.empty else words.day(listed["as_of"].iloc[0].date()))
    given = payload(listed, shown, behind, options, losses or Losses())
    vendored = (["tabulator.min.js"], ["tabulator.min.css"])
    return offline("risk_list", title, options.language, given, *vendored, beside, behind.notices)


# --- what the page is given -------------------------------------------------------------------------


def payload(
    listed: pd.DataFrame, shown: pd.DataFrame, behind: Behind, options: ListOptions, losses: Losses
) -> dict[str, Any]:
    """Everything the page's code reads; `rows` has one entry per account shown, by column."""
    names = spoken_of(shown, behind.strengths.reindex(shown.index), behind.tried, behind.features)
    catalogue = {str(feature["name"]): feature for feature in behind.features}
    features = [catalogue[name] for name in names if name in behind.figures.columns]
    return {
        "as_of": "" if listed.empty else str(listed["as_of"].iloc[0].date()),
        "language": options.language,
        "languages": list(LANGUAGES),
        "currency": _only(listed["currency"]),
        "accounts": len(listed),
        "shown": len(shown),
        "words": {language: spoken(language, options) for language in LANGUAGES},
        "rows": _rows(shown, behind),
        **_told(shown, behind, features, losses),
        "themes": {
            name: _numbers(behind.themes[name].reindex(shown.index), 3) for name in THEMES if name in behind.themes
        },
        "changes": {
            language: _packed(behind.changes[language].reindex(shown.index))
            for language in LANGUAGES
            if language in behind.changes
        },
        "unscored": {language: _packed(behind.unscored[language].reindex(shown.index)) for language in LANGUAGES},
        "earlier": {str(day): _numbers(own.reindex(shown.index), 4) for day, own in behind.earlier.items()},
        "started": _started(shown, behind.figures),
        "whatif": _steps(shown, behind, features),
        "alerts": _alerts(shown, behind.alerts, losses),
        "plays": _plays(shown, behind.plays, behind.library),
        "summary": summary(listed, options) | {"forecast": list(behind.forecast)},
    }


def spoken(language: str, options: ListOptions) -> dict[str, str]:
    """The words that the page asks for, and what the columns mean."""
    own, words = LANGUAGES[language], Words(language)
    said = {key: text for key, text in own.items() if SPOKEN.match(key)}
    return said | {key: words.say(key, **options.said) for key in own if key.startswith("about.")}


def _rows(shown: pd.DataFrame, behind: Behind) -> dict[str, Any]:
    texts = {name: _packed(shown[name].map(_text, na_action="ignore")) for name in TEXTS}
    numbers = {name: _numbers(shown[name], digits) for name, digits in NUMBERS.items()}
    codes = {name: _codes(shown[name], values) for name, values in CODED.items()}
    flags = {
        name: _codes(shown[name], (False, True))
        for name in ("within_capacity", *(f"reason_{k}_actionable" for k in range(1, REASONS + 1)))
    }
    return texts | numbers | codes | flags | {"group": _codes(behind.group.reindex(shown.index), behind.peers.index)}


def _text(value: Any) -> str:
    return str(value.date()) if isinstance(value, pd.Timestamp) else printable(str(value))


def _told(shown: pd.DataFrame, behind: Behind, features: Sequence[Feature], losses: Losses) -> dict[str, Any]:
    """The features in words, and by account which of them speak and what they show.

    `speakers` has a pair of lists for each reason and strength: the feature's place, and that of its figure.
    `figures` has a list for each feature that is told of every account. -1 is nothing.
    """
    place = {str(feature["name"]): number for number, feature in enumerate(features)}
    always = _told_of_all().union(behind.tried["feature"])
    asked = _speakers(shown, behind.strengths).reset_index(drop=True)
    who = np.array([_codes(asked[name], list(place)) for name in SPEAKING]).reshape(len(SPEAKING), len(shown))
    said = np.full(who.shape, -1)
    scored = shown["status"].eq(SCORED).to_numpy(bool)
    words, figures = [], {}
    for name, number in place.items():
        speaking = who == number
        rows = np.flatnonzero(scored if name in always else speaking.any(axis=0))
        own = np.full(len(shown), -1)
        asked_of = behind.figures[name].reindex(shown.index).iloc[rows]
        own[rows], texts = _written(features[number], asked_of, shown["account_id"].iloc[rows], losses)
        words.append(_in_words(features[number], texts, behind.peers))
        said[speaking] = np.broadcast_to(own, who.shape)[speaking]
        if name in always:
            figures[number] = own.tolist()
    shelf = {head: [place[name] for name in names if name in place] for head, names in FIGURES.items()}
    tiers = {tier: [place.get(name, -1) for name in names] for tier, names in _tiers().items()}
    return {
        "features": words,
        "speakers": [list(pair) for pair in zip(who.tolist(), said.tolist(), strict=True)],
        "figures": figures,
        "shelf": shelf,
        "tiers": tiers,
    }


def _written(
    feature: Feature, figures: pd.Series, accounts: pd.Series, losses: Losses
) -> tuple[Any, list[tuple[str, ...]]]:
    """Each figure's place among those that are written differently in some language, -1 where it is not known or cannot
    be written; and how these are written, language by language."""
    codes, met = pd.factorize(figures)
    phrases = [Words(language).phrases() for language in LANGUAGES]

    def make(value: Any) -> tuple[str, ...]:
        return tuple(printable(written(feature, value, own)) for own in phrases)

    first = np.zeros(len(met) + 1, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # the last place is that of those not known
    texts = losses.each("page", str(feature["name"]), make, met, accounts.iloc[first[:-1]])
    place = {text: number for number, text in enumerate(dict.fromkeys(text for text in texts if text))}
    again = np.array([*(place.get(text, -1) for text in texts), -1])  # the last for those not known
    return again[codes], list(place)


def _in_words(feature: Feature, texts: Iterable[tuple[str, ...]], peers: pd.DataFrame) -> dict[str, Any]:
    """A feature's sentence in every language: its pieces, and its figures and its peers' as they are written there."""
    usual = peers[str(feature["name"])] if str(feature["name"]) in peers else pd.Series(None, peers.index, dtype=object)
    told: dict[str, Any] = {"theme": feature["theme"]}
    own = list(zip(*texts, strict=True)) or [()] * len(LANGUAGES)
    for language, texts_there in zip(LANGUAGES, own, strict=True):
        phrases = Words(language).phrases()
        told[language] = {
            "known": frame(feature, phrases),
            "unknown": frame(feature, phrases, known=False),
            "own": texts_there,
            "peers": [printable(written(feature, None if pd.isna(v) else v, phrases, PEER)) for v in usual],
        }
    return told


def _started(shown: pd.DataFrame, figures: pd.DataFrame) -> list[float | int | None]:
    """How many days before the list each contract began."""
    return _numbers(figures.reindex(columns=[AGE], index=shown.index)[AGE], 0)


def _steps(shown: pd.DataFrame, behind: Behind, features: Sequence[Feature]) -> list[dict[str, Any]]:
    """What the model would say of other figures, feature by feature.

    `steps` are the figures tried of each group as they are written, rising; `chances` has a list for each of their
    places, in whole percent, -1 where an account has no such step; `below` says how many of an account's steps lie
    below its own figure.
    """
    tried = behind.tried[behind.tried.index.isin(shown.index)]
    place = {str(feature["name"]): number for number, feature in enumerate(features)}
    groups = np.array(_codes(behind.group.reindex(shown.index), behind.peers.index))
    told = []
    for name, own in tried.groupby("feature", sort=False):
        if name in place:
            rows, figures = shown.index.get_indexer(own.index), own["figure"].to_numpy(np.float64)
            steps, chances = _by_place(groups, len(behind.peers), rows, figures, _percent(own["probability"]))
            lower = figures < behind.figures[name].reindex(own.index).to_numpy(np.float64, na_value=np.nan)
            told.append(
                {
                    "feature": place[str(name)],
                    "steps": _said(features[place[str(name)]], steps),
                    "chances": chances.tolist(),
                    "below": np.bincount(rows[lower], minlength=len(shown)).tolist(),
                }
            )
    return told


def _by_place(groups: Any, count: int, rows: Any, figures: Any, percent: Any) -> tuple[list[Any], Any]:
    """The figures tried of each group, rising; and by place among them the chance of every account, -1 for none."""
    steps = [np.unique(figures[groups[rows] == group]) for group in range(count)]
    chances = np.full((max(map(len, steps)), len(groups)), -1)
    for group, step in enumerate(steps):
        mine = groups[rows] == group
        chances[np.searchsorted(step, figures[mine]), rows[mine]] = percent[mine]
    return steps, chances


def _percent(chances: pd.Series) -> Any:
    """As `.0%` writes them."""
    return np.rint(100 * chances.to_numpy(np.float64)).astype(np.int64)


def _said(feature: Feature, steps: Iterable[Any]) -> dict[str, list[list[str]]]:
    """The figures tried of each group as they are written, by language."""
    phrases = {language: Words(language).phrases() for language in LANGUAGES}
    return {
        language: [[printable(written(feature, figure, own)) for figure in step.tolist()] for step in steps]
        for language, own in phrases.items()
    }


def _alerts(shown: pd.DataFrame, told: pd.DataFrame, losses: Losses) -> dict[str, Any]:
    """Every alert of an account shown: its row, code, whether it is new, and its sentence in every language."""
    own = told[told.index.isin(shown.index)]
    evidence: list[Any] = own.astype(object).where(own.notna(), None).to_dict("records")
    accounts = shown["account_id"].reindex(own.index)
    counted = dict.fromkeys(LANGUAGES, Losses()) | {"en": losses}  # each once, not once per language
    said = {lang: alerts.sentences("page", evidence, accounts, Words(lang), counted[lang]) for lang in LANGUAGES}
    return {
        "row": shown.index.get_indexer(own.index).tolist(),
        "code": _packed(own["code"]),
        "new": own["is_new"].astype(int).tolist(),
        "said": {language: _packed(pd.Series(map(printable, texts), dtype=object)) for language, texts in said.items()},
    }


def _plays(shown: pd.DataFrame, plays: pd.DataFrame, library: Mapping[str, playbooks.Play]) -> dict[str, Any]:
    """The library in words, and the places in it of each account's plays and of the best; -1 is none."""
    own = plays.reindex(shown.index)
    return {
        "library": [
            {
                "hours": play["hours"],
                **{language: _in_steps(play, Words(language)) for language in LANGUAGES},
            }
            for play in library.values()
        ],
        "slots": [_codes(own[name], library) for name in PLAYS],
        "best": _codes(own["best"], library),
        "gain": _numbers(own["gain"], 0),
    }


def _in_steps(play: playbooks.Play, words: Words) -> dict[str, Any]:
    return {
        "name": printable(play["name"][words.language]),
        "owner": printable(play["owner"][words.language]),
        "steps": [printable(step) for step in play["steps"][words.language]],
        "effect": playbooks.effect(play, words),
    }


def _packed(values: pd.Series) -> dict[str, Any]:
    """Texts by their place among those that differ; -1 for none."""
    codes, met = pd.factorize(values.astype(object))
    return {"codes": codes.tolist(), "texts": list(met)}


def _codes(values: pd.Series, known: Iterable[Any]) -> list[int]:
    """Each value's place among those known, -1 for none of them."""
    return [int(code) for code in pd.Index(list(known), dtype=object).get_indexer(values.astype(object))]


def _numbers(values: pd.Series, digits: int) -> list[float | int | None]:
    """Rounded numbers, whole ones without a point; None where there is none."""
    rounded = values.to_numpy(np.float64, na_value=np.nan).round(digits)
    plain = [int(own) if digits == 0 or own.is_integer() else own for own in np.nan_to_num(rounded).tolist()]
    return [own if there else None for own, there in zip(plain, np.isfinite(rounded), strict=True)]


def _only(values: pd.Series) -> str | None:
    """The one value that there is; None where there are several."""
    met = values.dropna().unique()
    return printable(str(met[0])) if len(met) == 1 else None

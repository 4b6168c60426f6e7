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

from features.family import THEMES
from features.policy import TIERS
from lists.offline import offline
from lists.options import ListOptions
from lists.risk_list import NAMES
from lists.sums import summary
from lists.text import printable
from lists.words import LANGUAGES, Words
from models.reasons import PEER, REASONS, STRENGTHS, frame, written
from models.reasons import Words as Feature
from models.worklist import QUADRANTS, RISK_BANDS, SCORED

FIGURES: Mapping[str, tuple[str, ...]] = {
    "usage": (
        *("active_people_28d", "seat_activation_28d", "active_days_28d", "own_pace_28d", "own_pace_90d"),
        *("core_workflow_share_28d", "days_since_last_use"),
    ),
    "people": ("deciders_reached_90d", "sponsors_silent", "people_left_s_90d", "people_left_a_90d"),
    "tickets": ("tickets_total_90d", "backlog", "backlog_age", "breaches_90d", "answer_hours_90d", "escalated_90d"),
    "contract": ("term_age", "term_length", "seats", "plan", "auto_renew", "follow_on_signed", "unpaid"),
}
"""What the page tells of every account, by heading; what no table was given for is left out."""
BY_TIER = ("people_known_{tier}", "people_active_{tier}_28d", "days_since_use_{tier}", "days_since_contact_{tier}")
"""What it tells of the people of each tier, a column each."""
SPEAKING = (
    *(f"reason_{k}_feature" for k in range(1, REASONS + 1)),
    *(f"strength_{k}_feature" for k in range(1, STRENGTHS + 1)),
)
"""The features behind the reasons and strengths."""
CODED: Mapping[str, Sequence[str]] = {"risk_band": RISK_BANDS, "quadrant": QUADRANTS, "reason_1_theme": THEMES}
TEXTS = (
    *("account_id", "account_name", "csm", "stage", "size_band", "status", "alerts", "renewal_date"),
    *(name for name in NAMES if re.fullmatch(r"playbook_\d", name)),
)
NUMBERS = {
    **{"rank": 0, "days_to_renewal": 0, "arr": 0, "arr_at_risk": 0},
    **dict.fromkeys(("renewal_probability", "renewal_low", "renewal_high", "probability_change"), 4),
    **dict.fromkeys(("expansion_probability", "upsell_probability", "cross_sell_probability"), 3),
}
"""The numbers of a row, and to how many digits."""
SPOKEN = re.compile(
    r"(page|heading|stage|size_band|status|risk_band|quadrant|theme|alerts|tier)\.|forecast\.(arr_|quarter)"
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
    earlier: pd.DataFrame
    """By day, oldest first: the chance that an earlier list gave the same renewal."""
    forecast: Sequence[Mapping[str, Any]] = ()
    """What the forecast of the day says of the whole company: `period_kind`, `period`, `measure`, `expected`, `low`,
    `high`."""


def spoken_of(listed: pd.DataFrame, strengths: pd.DataFrame, catalogue: Iterable[Feature]) -> list[str]:
    """The features that the page of these rows speaks of, in the catalogue's order."""
    speakers = set(_speakers(listed, strengths).to_numpy(object).ravel())
    wanted = speakers.union(*FIGURES.values(), (name for names in _tiers().values() for name in names))
    return [str(feature["name"]) for feature in catalogue if feature["name"] in wanted]


def _speakers(listed: pd.DataFrame, strengths: pd.DataFrame) -> pd.DataFrame:
    return listed.join(strengths).reindex(columns=list(SPEAKING))


def _tiers() -> dict[str, list[str]]:
    return {tier: [name.format(tier=tier.lower()) for name in BY_TIER] for tier in TIERS}


def as_page(listed: pd.DataFrame, behind: Behind, options: ListOptions, beside: str = "") -> bytes:
    """The page's bytes. It shows the first `options.page_rows` accounts of the list, sums up all of them, and says so
    where there are more. `beside` is a page in the same folder that it links to. The same values give the same bytes.
    """
    shown = listed.head(options.page_rows)
    as_of = "" if listed.empty else str(listed["as_of"].iloc[0].date())
    title = Words(options.language).say("page.title", as_of=as_of)
    given = payload(listed, shown, behind, options)
    return offline("risk_list", title, options.language, given, ["tabulator.min.js"], ["tabulator.min.css"], beside)


# --- what the page is given -------------------------------------------------------------------------


def payload(listed: pd.DataFrame, shown: pd.DataFrame, behind: Behind, options: ListOptions) -> dict[str, Any]:
    """Everything the page's code reads; `rows` has one entry per account shown, by column."""
    names = spoken_of(shown, behind.strengths.reindex(shown.index), behind.features)
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
        **_told(shown, behind, features),
        "themes": {
            name: _numbers(behind.themes[name].reindex(shown.index), 3) for name in THEMES if name in behind.themes
        },
        "changes": {
            language: _packed(behind.changes[language].reindex(shown.index))
            for language in LANGUAGES
            if language in behind.changes
        },
        "earlier": {str(day): _numbers(own.reindex(shown.index), 4) for day, own in behind.earlier.items()},
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


def _told(shown: pd.DataFrame, behind: Behind, features: Sequence[Feature]) -> dict[str, Any]:
    """The features in words, and by account which of them speak and what they show.

    `speakers` has a pair of lists for each reason and strength: the feature's place, and that of its figure.
    `figures` has a list for each feature that is told of every account. -1 is nothing.
    """
    place = {str(feature["name"]): number for number, feature in enumerate(features)}
    always = {name for names in (*FIGURES.values(), *_tiers().values()) for name in names}
    asked = _speakers(shown, behind.strengths).reset_index(drop=True)
    who = np.array([_codes(asked[name], list(place)) for name in SPEAKING]).reshape(len(SPEAKING), len(shown))
    said = np.full(who.shape, -1)
    scored = shown["status"].eq(SCORED).to_numpy(bool)
    words, figures = [], {}
    for name, number in place.items():
        speaking = who == number
        rows = np.flatnonzero(scored if name in always else speaking.any(axis=0))
        own = np.full(len(shown), -1)
        own[rows], texts = _written(features[number], behind.figures[name].reindex(shown.index).iloc[rows])
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


def _written(feature: Feature, figures: pd.Series) -> tuple[Any, list[tuple[str, ...]]]:
    """Each figure's place among those that are written differently in some language, -1 where it is not known; and
    how these are written, language by language."""
    codes, met = pd.factorize(figures)
    phrases = [Words(language).phrases() for language in LANGUAGES]
    texts = [tuple(printable(written(feature, value, own)) for own in phrases) for value in met]
    place = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    again = np.array([*(place[text] for text in texts), -1])  # the last for those not known
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

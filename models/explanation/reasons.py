"""Why an account's probability is what it is: contributions turned into sentences.

A contribution is what one feature adds to the margin of the model (log-odds before calibration): positive
towards renewal, negative towards loss. A theme (what an account manager would name as the cause) speaks once: the
contributions of its columns are summed. Its sentence is that of its strongest idea (one feature function, seen through
several windows or tiers), of which the column speaks that pushes most. A column speaks only where its figure agrees
with what is said: nobody is told that more use than their peers' is a reason for loss.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from string import Formatter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from renewals.models.explanation.reason_selection import Rules

YES_OR_NO = "yes or no"
ROUNDED = re.compile(r"\{value:[^}]*\.(?P<digits>\d+)(?P<unit>[f%])\}")
"""How a sentence rounds the account's figure."""
VALUE = re.compile(r"\{value(?::,?\.(?P<digits>\d)(?P<unit>[f%])|[^}]*)\}")
"""A place for the account's figure, with how it is rounded there.

Not where a sign is asked for: +0 % and 0 % are one number and two sentences."""
SURE = 1e-6
"""So near the middle between two rounded figures, multiplying may round otherwise than writing does."""
REASONS = 5
STRENGTHS = 3
OWN, PEER = 0, 1
"""Where a sentence holds the account's figure, and where that of its peers."""
_MARKS = ("\ue000", "\ue001")
"""Letters that no sentence of ours holds."""
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Words = Mapping[str, Any]
"""One entry of the feature catalogue: name, family, theme, unit, risk, actionable, en, zh, params, kind."""


@dataclass(frozen=True)
class Phrases:
    """The words around a feature's own sentence, in one language."""

    language: str
    missing: str
    """Stands where a figure is not known."""
    no_figure: str
    """The sentence of an account without a figure; holds `{sentence}`."""
    yes: str
    no: str
    """How the figure of a feature whose unit is "yes or no" is said."""
    params: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """How a parameter's value is said: `{"tier": {"S": "decision makers"}}`."""


@dataclass(frozen=True)
class Peers:
    """What is usual among an account's peers: the figures of each group, and which group a row belongs to."""

    figures: pd.DataFrame
    """One row per group of peers: the median of each number, the commonest of each category."""
    group: Places


class Columns(Protocol):
    """A table that can be gone through column by column, such as a frame."""

    def items(self) -> Iterable[tuple[Hashable, pd.Series]]:
        """Each column with its name."""
        ...


def idea(feature: Words) -> str:
    """The feature's function: as declared, or its column name without the parameters that were joined to it."""
    if feature.get("function"):
        return str(feature["function"])
    params = dict(feature.get("params") or {})
    days = params.pop("days", None)
    said = [str(value).lower() for value in params.values()] + ([f"{days}d"] if days is not None else [])
    return str(feature["name"]).removesuffix("_" + "_".join(said)) if said else str(feature["name"])


class Circles(NamedTuple):
    """Who is a peer of whom."""

    names: list[str]
    """The groups, in order."""
    group: Places
    """The group of each row."""
    members: list[Places]
    """The rows that are the peers of each group."""


def circles(size_band: pd.Series, stage: pd.Series, at_least: int) -> Circles:
    """The peers of each row: same size band and stage; where fewer than `at_least`, same band; else everyone."""
    band = size_band.astype("string").fillna("?").reset_index(drop=True)
    full = band + " / " + stage.astype("string").fillna("?").reset_index(drop=True)
    enough = [(own.map(own.value_counts()) >= at_least).to_numpy(bool) for own in (full, band)]
    label = pd.Series(np.select(enough, [full.to_numpy(object), band.to_numpy(object)], "*"), dtype=object)
    names = sorted(label.unique())
    members = [np.flatnonzero((full == name) | (band == name) | (name == "*")) for name in names]
    return Circles(names, label.map({name: place for place, name in enumerate(names)}).to_numpy(np.int64), members)


def peers_of(values: Columns, size_band: pd.Series, stage: pd.Series, at_least: int) -> Peers:
    """What is usual among the peers of each row (`circles`)."""
    own = circles(size_band, stage, at_least)
    figures = {name: _usual(column, own.members) for name, column in values.items()}
    return Peers(pd.DataFrame(figures, index=own.names, dtype=object), own.group)


def _usual(column: pd.Series, members: Sequence[Places]) -> list[Any]:
    """The middle of each group's numbers, or the commonest of its categories."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        figures = column.to_numpy(np.float64, na_value=np.nan)
        return [_median(figures[own]) for own in members]
    return [next(iter(column.iloc[own].dropna().astype(str).mode()), None) for own in members]


def _median(figures: Floats) -> float:
    known = figures[~np.isnan(figures)]
    return float(np.median(known)) if len(known) else np.nan


def told(
    contributions: pd.DataFrame,
    values: pd.DataFrame,
    features: Sequence[Words],
    peers: Peers,
    phrases: Phrases,
    share: float = 0.02,
) -> pd.DataFrame:
    """The five strongest reasons towards loss and three strengths, one theme each; one row per row of `contributions`.

    `contributions` and `values` have a column per feature (towards renewal in the margin; as given to the
    model). `reason_k_contribution` is the sum over the theme's columns, in log-odds, negative = towards loss.
    What makes up less than `share` of all the row's contributions is left empty. A column without an entry in
    `features` counts in that total but cannot be told. Raises ValueError where the two tables do not fit.
    """
    named = tellable(features, contributions.columns)
    choice = chosen(contributions, values, named, peers.figures, peers.group, phrases.language, share)
    return worded(choice, values.__getitem__, named, peers, phrases).set_axis(contributions.index)


def tellable(features: Sequence[Words], names: Iterable[str]) -> list[Words]:
    """The features among `names` that have words, in the order of `names`."""
    catalogue = {str(feature["name"]): feature for feature in features}
    return [catalogue[name] for name in names if name in catalogue]


class Chosen(NamedTuple):
    """Who speaks, by the feature's place: rows × reasons and rows × strengths, -1 for nobody."""

    loss: Places
    weight: Floats
    """What the reason's theme adds in all, towards loss; rows × reasons."""
    gain: Places


def chosen(
    contributions: pd.DataFrame,
    values: pd.DataFrame,
    features: Sequence[Words],
    figures: pd.DataFrame,
    group: Places,
    language: str,
    share: float,
) -> Chosen:
    """The features that speak for each row, of those given; `figures` are the peers', and a row's are at its `group`.

    Each row stands for itself: a million can be given in blocks.
    """
    # Brings the compiler, which the words alone can do without.
    from renewals.models.explanation.reason_selection import Rows, strongest

    if len(contributions) != len(values) or len(group) != len(values):
        raise ValueError(f"{len(contributions)} rows of contributions, {len(values)} of figures, {len(group)} of peers")
    names = [str(feature["name"]) for feature in features]
    if absent := [name for name in names if name not in values.columns]:
        raise ValueError(f"no figures for {', '.join(absent)}")
    rules = _rules(features, language, share)
    push, own = contributions[names].to_numpy(np.float64), _numbers(values, features)
    usual = _numbers(figures, features)
    for place, feature in enumerate(features):
        if feature.get("kind") == "category" and feature["risk"] == "either":
            common = figures[names[place]].to_numpy(object)[group]
            # What is risky neither way need only differ: 1 for a category that is not most peers', beside 0.
            own[:, place], usual[:, place] = values[names[place]].astype(object).to_numpy() != common, 0.0
    silent = np.abs(contributions.drop(columns=names).to_numpy(np.float64)).sum(axis=1)
    shown = np.rint(usual * rules.scale) / rules.scale
    rows = Rows(np.ascontiguousarray(push), own, shown, group, silent)
    return Chosen(*strongest(rows, rules, REASONS, STRENGTHS))


def together(choices: Sequence[Chosen]) -> Chosen:
    """The choices of several blocks as one; without a block, of no row."""
    none = Chosen(np.zeros((0, REASONS), np.int64), np.zeros((0, REASONS)), np.zeros((0, STRENGTHS), np.int64))
    return Chosen(*map(np.concatenate, zip(none, *choices, strict=True)))


def worded(
    choice: Chosen, column: Callable[[str], pd.Series], features: Sequence[Words], peers: Peers, phrases: Phrases
) -> pd.DataFrame:
    """Who speaks, and in what words; one row per row of the choice.

    `column` gives all figures of one feature. Feature by feature, so that only one column need be at hand, and each
    sentence that differs is made once, however many accounts share it.
    """
    speaker = np.hstack([choice.loss, choice.gain])
    words = np.full(speaker.size, None, dtype=object)
    order = np.argsort(speaker.ravel(), kind="stable")
    ends = np.searchsorted(speaker.ravel()[order], np.arange(-1, len(features)), side="right")
    for feature, (start, end) in zip(features, itertools.pairwise(ends), strict=True):
        if start < end:
            rows = order[start:end] // speaker.shape[1]
            usual = peers.figures[str(feature["name"])].to_numpy(object)
            own = column(str(feature["name"])).take(rows)
            words[order[start:end]] = _sentences(feature, own, usual, peers.group[rows], phrases)
    return _framed(_columns(choice, words.reshape(speaker.shape), features))


def _sentences(feature: Words, own: pd.Series, usual: Any, group: Places, phrases: Phrases) -> Any:
    """One feature's sentence for each figure, beside what is usual in its group."""
    alike = _numbered(_alike(own, _coarse(feature, phrases.language)))
    which, met = pd.factorize(alike * len(usual) + group)
    first = np.zeros(len(met), np.int64)
    first[which[::-1]] = np.arange(len(which))[::-1]
    pairs = zip(own.take(first), usual[group[first]], strict=True)
    told = [sentence(feature, _known(figure), _known(peer), phrases) for figure, peer in pairs]
    return np.array(told, object)[which]


def _known(figure: Any) -> Any:
    return None if pd.isna(figure) else figure


def _columns(choice: Chosen, words: Any, features: Sequence[Words]) -> dict[str, Any]:
    names = np.array([*(str(feature["name"]) for feature in features), None], object)
    families, themes = (np.array([*(own[key] for own in features), None], object) for key in ("family", "theme"))
    actionable = np.array([*(bool(feature["actionable"]) for feature in features), False])
    columns: dict[str, Any] = {}
    for k, speaker in enumerate(choice.loss.T):
        columns |= {
            f"reason_{k + 1}": words[:, k],
            f"reason_{k + 1}_feature": names[speaker],
            f"reason_{k + 1}_contribution": np.where(speaker >= 0, -choice.weight[:, k], np.nan),
            f"reason_{k + 1}_family": families[speaker],
            f"reason_{k + 1}_theme": themes[speaker],
            f"reason_{k + 1}_actionable": pd.arrays.BooleanArray(actionable[speaker], speaker < 0),
        }
    for k, speaker in enumerate(choice.gain.T):
        columns |= {f"strength_{k + 1}": words[:, REASONS + k], f"strength_{k + 1}_feature": names[speaker]}
    return columns


def _rules(features: Sequence[Words], language: str, share: float) -> Rules:
    from renewals.models.explanation.reason_selection import RISKS, Rules

    themes: dict[str, list[int]] = {}
    for place, feature in enumerate(features):
        themes.setdefault(str(feature["theme"]), []).append(place)
    member = [place for own in themes.values() for place in own]
    return Rules(
        risk=np.array([RISKS[feature["risk"]] for feature in features], np.int64),
        scale=10.0 ** np.array([digits(str(feature[language])) for feature in features], np.float64),
        first=np.cumsum([0, *map(len, themes.values())]),
        member=np.array(member, np.int64),
        idea=_numbered(
            pd.Series([f"{features[place]['family']} {idea(features[place])}" for place in member], dtype=object)
        ),
        share=share,
    )


def _coarse(feature: Words, language: str) -> tuple[float, float] | None:
    """By what a figure is multiplied to be rounded as it is shown, and from where on it is "so much or more".

    None where figures are not rounded in one way, and two sentences may differ however little they do.
    """
    shown = set(VALUE.findall(str(feature[language])))
    if feature.get("unit") == YES_OR_NO or feature.get("kind") == "category" or len(shown) != 1:
        return None
    digits, unit = shown.pop()
    if not unit:
        return None
    return 10.0 ** (int(digits) + (2 if unit == "%" else 0)), float(feature.get("empty") or np.inf)


def _alike(own: pd.Series, coarse: tuple[float, float] | None) -> Places:
    """A number for each figure, the same where the sentences are: where it is the same as shown, and alike in being
    "so much or more". A figure so near the middle between two that it might be written as either is alike only itself.
    """
    if coarse is None or not pd.api.types.is_numeric_dtype(own):
        return _numbered(own.to_numpy() if pd.api.types.is_numeric_dtype(own) else own.to_numpy(object))
    scale, most = coarse
    figures = own.to_numpy(np.float64, na_value=np.nan)
    figures = np.where(np.isinf(figures), np.nan, figures)  # both are told as not known
    whole = np.rint(figures * scale)
    sure = (np.abs(np.abs(figures * scale - whole) - 0.5) > SURE) & (np.abs(whole) < 1e9)
    themselves = _numbered(np.where(sure, np.inf, figures))
    return _numbered(np.where(sure, whole + 0.25 * (figures >= most), 0.0)) * (len(own) + 1) + themselves


def _numbered(figures: Any) -> Places:
    return pd.factorize(figures, use_na_sentinel=False)[0]


def _framed(columns: dict[str, Any]) -> pd.DataFrame:
    """The columns as a table; words are plain objects, or an all-empty column would get another type."""
    return pd.DataFrame(
        {n: pd.Series(own, dtype=object if own.dtype == object else None) for n, own in columns.items()}
    )


def _numbers(values: pd.DataFrame, features: Sequence[Words]) -> Floats:
    """The figures as floats; a category, which has no more or less, as unknown; rows × features."""
    numbers = np.full((len(values), len(features)), np.nan)
    for place, feature in enumerate(features):
        if feature.get("kind") != "category":
            numbers[:, place] = _floats(values[str(feature["name"])])
    return numbers


def _floats(column: pd.Series) -> Floats:
    if not pd.api.types.is_numeric_dtype(column):
        column = pd.to_numeric(column, errors="coerce")
    return column.to_numpy(np.float64, na_value=np.nan)


def sentence(feature: Words, value: Any, peer: Any, phrases: Phrases) -> str:
    """A feature's sentence about one account, in the language of `phrases`.

    Raises ValueError where the sentence asks for a field that the feature does not have.
    """
    params = dict(feature.get("params") or {})
    said = {name: phrases.params.get(name, {}).get(str(own), own) for name, own in params.items()}
    fields = {name: _figure(feature, own, phrases) for name, own in (("value", value), ("peer", peer))}
    try:
        template = str(feature[phrases.language])
        words = template.format(**(said | fields))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"the {phrases.language} sentence of {feature['name']} cannot be said: {error!r}") from None
    if not template.startswith("{value"):
        words = words[:1].upper() + words[1:]
    return phrases.no_figure.format(sentence=words) if fields["value"].unknown else words


def frame(feature: Words, phrases: Phrases, known: bool = True) -> list[str | int]:
    """A feature's sentence in pieces: text, `OWN` where the account's figure stands, `PEER` where the peers' does.

    With `written` in those places it is what `sentence` says, where the figure is known and where it is not.
    """
    own = _MARKS[OWN] if known else None
    said = re.split(f"([{''.join(_MARKS)}])", sentence(feature, own, _MARKS[PEER], phrases))
    return [_MARKS.index(piece) if piece in _MARKS else piece for piece in said if piece]


def written(feature: Words, value: Any, phrases: Phrases, place: int = OWN) -> str:
    """A figure as the feature's sentence writes it, for the account or for its peers."""
    return format(_figure(feature, value, phrases), _spec(str(feature[phrases.language]), place))


@cache
def _spec(template: str, place: int) -> str:
    name = ("value", "peer")[place]
    return next((str(spec) for _, field, spec, _ in Formatter().parse(template) if field == name), "")


def digits(template: str) -> int:
    """To how many digits after the point a sentence rounds its figure; all of them where it does not."""
    rounded = ROUNDED.search(template)
    return 15 if rounded is None else int(rounded["digits"]) + (2 if rounded["unit"] == "%" else 0)


def _figure(feature: Words, value: Any, phrases: Phrases) -> Figure:
    if feature.get("unit") == YES_OR_NO and isinstance(value, (int, float)) and np.isfinite(value):
        value = phrases.yes if value >= 0.5 else phrases.no
    return Figure(value, phrases.missing, feature.get("empty") or None)


class Figure:
    """A number or a category within a sentence.

    Says so when it is not known, never says minus nothing, and marks with a plus the number that stands for
    "never" or "longer than anyone looked" (a feature's `empty` other than nought: 366+ days ago).
    """

    def __init__(self, value: Any, missing: str, most: float | None = None) -> None:
        self.unknown = value is None or (isinstance(value, float) and not np.isfinite(value))
        self.value, self.missing, self.most = value, missing, most

    def __format__(self, spec: str) -> str:
        if self.unknown:
            return self.missing
        if isinstance(self.value, str):
            return self.value
        words = format(float(self.value) + 0.0, spec or "g")  # minus nought is nought, and equal to it
        if not set(words) & set("123456789"):
            return words.lstrip("+-")
        return f"{words}+" if self.most and self.value >= self.most else words


def by_theme(contributions: pd.Series, features: Sequence[Words]) -> dict[str, float]:
    """The sum of one account's contributions per theme, the strongest towards loss first."""
    theme = {str(feature["name"]): str(feature["theme"]) for feature in features}
    summed = contributions.groupby([theme.get(str(name), "other") for name in contributions.index]).sum()
    return {str(name): float(value) for name, value in summed.sort_values().items()}

"""Why an account's probability is what it is: contributions turned into sentences.

A contribution is what one feature adds to the margin of the model (log-odds before calibration): positive
towards renewal, negative towards loss. Columns that are one idea seen through several windows or tiers (one
feature function) speak once: their contributions are summed, and the sentence is that of the column which
pushes most. A column speaks only where its figure agrees with what is said: nobody is told that more use
than their peers' is a reason for loss.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from models.strongest import Rules

YES_OR_NO = "yes or no"
ROUNDED = re.compile(r"\{value:[^}]*\.(?P<digits>\d+)(?P<unit>[f%])\}")
"""How a sentence rounds the account's figure."""
VALUE = re.compile(r"\{value(?::,?\.0(?P<unit>[f%])|[^}]*)\}")
"""A place for the account's figure; with its unit, where the figure is shown there as a whole number.

Not where a sign is asked for: +0 % and 0 % are one number and two sentences."""
REASONS = 5
STRENGTHS = 3
BLOCK = 50_000
"""Rows worked on at a time, so that a million accounts do not need a million rows of copies."""

KEPT = 200_000
"""Sentences remembered at a time; most figures are small counts that many accounts share."""

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Words = Mapping[str, Any]
"""One entry of the feature catalogue: name, family, unit, risk, actionable, en, zh, params, kind."""


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


def idea(feature: Words) -> str:
    """The feature's function: as declared, or its column name without the parameters that were joined to it."""
    if feature.get("function"):
        return str(feature["function"])
    params = dict(feature.get("params") or {})
    days = params.pop("days", None)
    said = [str(value).lower() for value in params.values()] + ([f"{days}d"] if days is not None else [])
    return str(feature["name"]).removesuffix("_" + "_".join(said)) if said else str(feature["name"])


def peers_of(values: pd.DataFrame, size_band: pd.Series, stage: pd.Series, at_least: int) -> Peers:
    """The peers of each row: same size band and stage; where fewer than `at_least`, same band; else everyone."""
    band = size_band.astype("string").fillna("?").reset_index(drop=True)
    full = band + " / " + stage.astype("string").fillna("?").reset_index(drop=True)
    enough = [(own.map(own.value_counts()) >= at_least).to_numpy(bool) for own in (full, band)]
    label = pd.Series(np.select(enough, [full.to_numpy(object), band.to_numpy(object)], "*"), dtype=object)
    names = sorted(label.unique())
    members = [((full == name) | (band == name) | (name == "*")).to_numpy(bool) for name in names]
    figures = [_usual(values[own]) for own in members]
    group = label.map({name: place for place, name in enumerate(names)}).to_numpy(np.intp)
    return Peers(pd.DataFrame(figures, index=names, columns=values.columns), group)


def _usual(values: pd.DataFrame) -> pd.Series:
    """The middle of each number and the commonest of each category."""
    usual: dict[str, Any] = {}
    for name, column in values.items():
        if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            usual[str(name)] = column.astype("float64").median()
        else:
            usual[str(name)] = next(iter(column.dropna().astype(str).mode()), None)
    return pd.Series(usual, dtype=object)


def told(
    contributions: pd.DataFrame,
    values: pd.DataFrame,
    features: Sequence[Words],
    peers: Peers,
    phrases: Phrases,
    share: float = 0.02,
) -> pd.DataFrame:
    """The five strongest reasons towards loss and three strengths, one row per row of `contributions`.

    `contributions` and `values` have a column per feature (towards renewal in the margin; as given to the
    model). `reason_k_contribution` is the sum over the idea's columns, in log-odds, negative = towards loss.
    What makes up less than `share` of all the row's contributions is left empty. A column without an entry in
    `features` counts in that total but cannot be told. Raises ValueError where the two tables do not fit.
    """
    if len(contributions) != len(values) or len(peers.group) != len(values):
        raise ValueError(
            f"{len(contributions)} rows of contributions, {len(values)} of figures, {len(peers.group)} of peers"
        )
    catalogue = {str(feature["name"]): feature for feature in features}
    named = [name for name in contributions.columns if name in catalogue]
    if absent := [name for name in named if name not in values.columns]:
        raise ValueError(f"no figures for {', '.join(absent)}")
    teller = _Teller([catalogue[name] for name in named], phrases, share)
    if not named:
        return teller.nothing(contributions.index)
    silent = contributions.drop(columns=named).abs().sum(axis=1).to_numpy(np.float64)
    blocks = [
        teller.block(contributions[named].iloc[rows], values[named].iloc[rows], peers, peers.group[rows], silent[rows])
        for rows in _blocks(len(values))
    ]
    return pd.concat(blocks) if blocks else teller.nothing(contributions.index)


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, rows, BLOCK))


class _Teller:
    """Tells many rows over the same features: the ideas, and each sentence once made, are kept."""

    def __init__(self, features: Sequence[Words], phrases: Phrases, share: float) -> None:
        self.features, self.phrases = features, phrases
        self.names = [str(feature["name"]) for feature in features]
        self.rules = _rules(features, phrases.language, share)
        self.coarse = [_coarse(feature, phrases.language) for feature in features]
        self.sentences: dict[tuple[int, Any, Any], str] = {}

    def nothing(self, index: pd.Index) -> pd.DataFrame:
        """The table without a word in it; one row per entry of `index`."""
        none = np.full((len(index), REASONS), -1, np.int64)
        words = np.full((len(index), REASONS), None, object)
        return _framed(self._columns(none, np.zeros(none.shape), words, words[:, :STRENGTHS]), index)

    def block(
        self, contributions: pd.DataFrame, values: pd.DataFrame, peers: Peers, group: Places, silent: Floats
    ) -> pd.DataFrame:
        """Reasons and strengths of some rows; one row per row of `contributions`."""
        from models.strongest import Rows, strongest  # brings the compiler, which the words alone can do without

        usual = np.round(self._numbers(peers.figures[self.names]) * self.rules.scale) / self.rules.scale
        own = self._numbers(values)
        self._compare_categories(own, usual, values, peers, group)
        push = np.ascontiguousarray(contributions.to_numpy(np.float64))
        loss, weight, gain = strongest(Rows(push, own, usual, group, silent), self.rules, REASONS, STRENGTHS)
        reasons, strengths = (self._say(speaker, values, peers, group) for speaker in (loss, gain))
        return _framed(self._columns(loss, weight, reasons, strengths), contributions.index)

    def _numbers(self, values: pd.DataFrame) -> Floats:
        """The figures as floats; a category, which has no more or less, as unknown; rows × features."""
        numbers = np.empty(values.shape)
        for place, feature in enumerate(self.features):
            numbers[:, place] = np.nan if feature.get("kind") == "category" else _floats(values.iloc[:, place])
        return numbers

    def _compare_categories(
        self, own: Floats, usual: Floats, values: pd.DataFrame, peers: Peers, group: Places
    ) -> None:
        """What is neither way risky need only differ: 1 for a category that is not most peers', beside 0."""
        for place, feature in enumerate(self.features):
            if feature.get("kind") == "category" and feature["risk"] == "either":
                common = peers.figures[self.names[place]].to_numpy(object)[group]
                own[:, place] = values.iloc[:, place].astype(object).to_numpy() != common
                usual[:, place] = 0.0

    def _columns(self, speaker: Places, weight: Floats, reasons: Any, strengths: Any) -> dict[str, Any]:
        said, columns = speaker >= 0, {}
        names = np.array([*self.names, None], object)
        families = np.array([*(feature["family"] for feature in self.features), None], object)
        actionable = np.array([*(bool(feature["actionable"]) for feature in self.features), False])
        for k in range(REASONS):
            columns |= {
                f"reason_{k + 1}": reasons[:, k],
                f"reason_{k + 1}_feature": names[speaker[:, k]],
                f"reason_{k + 1}_contribution": np.where(said[:, k], -weight[:, k], np.nan),
                f"reason_{k + 1}_family": families[speaker[:, k]],
                f"reason_{k + 1}_actionable": pd.arrays.BooleanArray(actionable[speaker[:, k]], ~said[:, k]),
            }
        return columns | {f"strength_{k + 1}": strengths[:, k] for k in range(STRENGTHS)}

    def _say(self, speaker: Places, values: pd.DataFrame, peers: Peers, group: Places) -> Any:
        """The sentence of each speaker; an array of the same shape, None where nobody speaks."""
        words = np.full(speaker.size, None, dtype=object)
        order = np.argsort(speaker, axis=None, kind="stable")
        ends = np.searchsorted(speaker.ravel()[order], np.arange(-1, len(self.features)), side="right")
        for feature, (start, end) in enumerate(itertools.pairwise(ends)):
            places = order[start:end]
            if len(places):
                rows = places // speaker.shape[1]
                words[places] = self._sentences(feature, values.iloc[:, feature].take(rows), peers, group[rows])
        return words.reshape(speaker.shape)

    def _sentences(self, feature: int, own: pd.Series, peers: Peers, group: Places) -> Any:
        """One feature's sentence for each figure; each that differs is made once."""
        usual = peers.figures[self.names[feature]].to_numpy(object)
        kinds, _ = pd.factorize(_alike(own, self.coarse[feature]), use_na_sentinel=False)
        which, met = pd.factorize(kinds * len(usual) + group)
        first = np.full(len(met), -1)
        first[which[::-1]] = np.arange(len(which))[::-1]
        told = [self._sentence(feature, o, usual[g]) for o, g in zip(own.take(first), group[first], strict=True)]
        return np.array(told, object)[which]

    def _sentence(self, feature: int, own: Any, usual: Any) -> str:
        own, usual = (None if pd.isna(figure) else figure for figure in (own, usual))
        key = (feature, own, usual)
        if key not in self.sentences:
            if len(self.sentences) >= KEPT:
                self.sentences.clear()
            self.sentences[key] = sentence(self.features[feature], own, usual, self.phrases)
        return self.sentences[key]


def _rules(features: Sequence[Words], language: str, share: float) -> Rules:
    from models.strongest import RISKS, Rules

    ideas: dict[tuple[str, str], list[int]] = {}
    for place, feature in enumerate(features):
        ideas.setdefault((str(feature["family"]), idea(feature)), []).append(place)
    return Rules(
        risk=np.array([RISKS[feature["risk"]] for feature in features], np.int64),
        scale=10.0 ** np.array([_digits(str(feature[language])) for feature in features], np.float64),
        first=np.cumsum([0, *map(len, ideas.values())]),
        member=np.array([place for own in ideas.values() for place in own], np.int64),
        share=share,
    )


def _coarse(feature: Words, language: str) -> tuple[float, float] | None:
    """By what a figure is multiplied before it is shown as a whole number, and from where on it is "so much or more".

    None where figures are not shown as whole numbers, and two sentences may differ however little they do.
    """
    shown = set(VALUE.findall(str(feature[language])))
    if feature.get("unit") == YES_OR_NO or feature.get("kind") == "category" or len(shown) != 1:
        return None
    scale = {"f": 1.0, "%": 100.0}.get(shown.pop())
    return None if scale is None else (scale, float(feature.get("empty") or np.inf))


def _alike(own: pd.Series, coarse: tuple[float, float] | None) -> Any:
    """Figures, or numbers that are equal where the sentences are: whole as shown, and a quarter more from "most" on."""
    if coarse is None or not pd.api.types.is_numeric_dtype(own):
        return own.to_numpy() if pd.api.types.is_numeric_dtype(own) else own.to_numpy(object)
    scale, most = coarse
    figures = own.to_numpy(np.float64, na_value=np.nan)
    return np.rint(figures * scale) + 0.25 * (figures >= most)


def _framed(columns: dict[str, Any], index: pd.Index) -> pd.DataFrame:
    """The columns as a table; words are plain objects, or an all-empty block would get another type."""
    return pd.DataFrame(
        {
            name: pd.Series(own, index, dtype=object) if own.dtype == object else pd.Series(own, index)
            for name, own in columns.items()
        },
        index=index,
    )


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


def _digits(template: str) -> int:
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
        words = format(float(self.value), spec or "g")
        if not set(words) & set("123456789"):
            return words.replace("-", "")
        return f"{words}+" if self.most and self.value >= self.most else words


def by_family(contributions: pd.Series, features: Sequence[Words]) -> dict[str, float]:
    """The sum of one account's contributions per family, the strongest towards loss first."""
    family = {str(feature["name"]): str(feature["family"]) for feature in features}
    summed = contributions.groupby([family.get(str(name), "other") for name in contributions.index]).sum()
    return {str(name): float(value) for name, value in summed.sort_values().items()}

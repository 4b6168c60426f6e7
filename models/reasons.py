"""Why an account's probability is what it is: contributions turned into sentences.

A contribution is what one feature adds to the margin of the model (log-odds before calibration): positive
towards renewal, negative towards loss. Columns that are one idea seen through several windows or tiers (one
feature function) speak once: their contributions are summed, and the sentence is that of the column which
pushes most. A column speaks only where its figure agrees with what is said: nobody is told that more use
than their peers' is a reason for loss.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

YES_OR_NO = "yes or no"
ROUNDED = re.compile(r"\{value:[^}]*\.(?P<digits>\d+)(?P<unit>[f%])\}")
"""How a sentence rounds the account's figure."""
REASONS = 5
STRENGTHS = 3
BLOCK = 50_000
"""Rows worked on at a time, so that a million accounts do not need a million rows of copies."""

KEPT = 200_000
"""Sentences remembered at a time; most figures are small counts that many accounts share."""

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
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
        self.features, self.phrases, self.share = features, phrases, share
        self.names = [str(feature["name"]) for feature in features]
        self.digits = [_digits(str(feature[phrases.language])) for feature in features]
        ideas = [(str(feature["family"]), idea(feature)) for feature in features]
        self.ideas = list(dict.fromkeys(ideas))
        self.members = _padded([[place for place, own in enumerate(ideas) if own == one] for one in self.ideas])
        self.sentences: dict[tuple[int, Any, Any], str] = {}

    def nothing(self, index: pd.Index) -> pd.DataFrame:
        """The table without a word in it; one row per entry of `index`."""
        empty: Places = np.full((len(index), REASONS), -1, np.intp)
        columns: dict[str, Any] = {}
        for place in range(REASONS):
            columns |= self._column("reason", place, empty[:, place], np.empty(len(index)), [None] * len(index))
        for place in range(STRENGTHS):
            columns[f"strength_{place + 1}"] = [None] * len(index)
        return _framed(columns, index)

    def block(
        self, contributions: pd.DataFrame, values: pd.DataFrame, peers: Peers, group: Places, silent: Floats
    ) -> pd.DataFrame:
        """Reasons and strengths of some rows; one row per row of `contributions`."""
        push = contributions.to_numpy(np.float64)
        own = self._as_shown(_numbers(values))
        usual = self._as_shown(_numbers(peers.figures[self.names]))[group]
        like = self._like(values, peers, group)
        size = np.abs(self._summed(push)).sum(axis=1) + silent
        columns: dict[str, Any] = {}
        loss, weight = self._strongest(-push, self._agrees(own, usual, like, towards_loss=True), size, REASONS)
        for place in range(REASONS):
            words = self._say(loss[:, place], values, peers, group)
            columns |= self._column("reason", place, loss[:, place], -weight[:, place], words)
        gain, _ = self._strongest(push, self._agrees(own, usual, like, towards_loss=False), size, STRENGTHS)
        for place in range(STRENGTHS):
            columns[f"strength_{place + 1}"] = self._say(gain[:, place], values, peers, group)
        return _framed(columns, contributions.index)

    def _as_shown(self, figures: Floats) -> Floats:
        """Figures rounded as the sentences round them: 11.3 hours beside 10.8 would be read as 11 beside 11."""
        return np.column_stack([np.round(figures[:, j], digits) for j, digits in enumerate(self.digits)])

    def _summed(self, push: Floats) -> Floats:
        """The contribution of each idea: rows by ideas."""
        padded = np.hstack([push, np.zeros((len(push), 1))])
        return np.stack([padded[:, columns].sum(axis=1) for columns in self.members], axis=1)

    def _like(self, values: pd.DataFrame, peers: Peers, group: Places) -> Flags:
        """Which categories are those of most peers, and so tell nothing; rows by columns."""
        like = np.zeros(values.shape, bool)
        for place, feature in enumerate(self.features):
            if feature.get("kind") == "category":
                usual = peers.figures[self.names[place]].to_numpy(object)[group]
                like[:, place] = values.iloc[:, place].astype(object).to_numpy() == usual
        return like

    def _agrees(self, own: Floats, usual: Floats, like: Flags, towards_loss: bool) -> Flags:
        """Whether a figure may be told as a push in this direction, beside what is usual.

        It must lie on its side of the peers' figure, or be unknown. Nothing at all counts as a low figure even
        where the peers have nothing either: no contact with anyone is a reason, and no breach a strength. What is
        risky neither way need only differ from the peers'.
        """
        risk = np.array([feature["risk"] for feature in self.features])
        told_when_high = (risk == "high") == towards_loss
        with np.errstate(invalid="ignore"):
            high = ~(own <= usual) & ~(own <= 0)
            low = ~(own >= usual) | (own <= 0)
        agrees: Flags = np.where(risk == "either", ~like & (own != usual), np.where(told_when_high, high, low))
        return agrees

    def _strongest(self, push: Floats, agrees: Flags, size: Floats, count: int) -> tuple[Places, Floats]:
        """The columns that speak for the `count` strongest ideas (-1: none), and the ideas' contributions."""
        summed = self._summed(push)
        allowed = np.hstack([np.where(agrees, push, 0.0), np.zeros((len(push), 1))])
        able = np.stack([allowed[:, columns].max(axis=1) for columns in self.members], axis=1) > 0
        rank_by = np.where(able & (summed >= self.share * size[:, None]), summed, 0.0)
        order = np.argsort(-rank_by, axis=1, kind="stable")[:, :count]
        order = np.pad(order, ((0, 0), (0, count - order.shape[1])))
        weight = np.take_along_axis(rank_by, order, axis=1)
        weight[:, len(self.ideas) :] = 0.0
        columns = self.members[order]
        rows = np.arange(len(push))[:, None]
        speaker = np.take_along_axis(columns, allowed[rows[..., None], columns].argmax(axis=2)[..., None], axis=2)[
            ..., 0
        ]
        return np.where(weight > 0, speaker, -1), weight

    def _column(
        self, kind: str, place: int, speaker: Places, weight: Floats, words: list[str | None]
    ) -> dict[str, Any]:
        said = speaker >= 0
        name = f"{kind}_{place + 1}"
        return {
            name: words,
            f"{name}_feature": [self.names[i] if i >= 0 else None for i in speaker],
            f"{name}_contribution": np.where(said, weight, np.nan),
            f"{name}_family": [self.features[i]["family"] if i >= 0 else None for i in speaker],
            f"{name}_actionable": pd.array(
                [bool(self.features[i]["actionable"]) if i >= 0 else None for i in speaker], dtype="boolean"
            ),
        }

    def _say(self, speaker: Places, values: pd.DataFrame, peers: Peers, group: Places) -> list[str | None]:
        words = np.full(len(speaker), None, dtype=object)
        for feature in np.unique(speaker[speaker >= 0]):
            rows = np.flatnonzero(speaker == feature)
            own = values.iloc[rows, feature].tolist()
            usual = peers.figures[self.names[feature]].to_numpy(object)[group[rows]].tolist()
            words[rows] = [self._sentence(int(feature), o, u) for o, u in zip(own, usual, strict=True)]
        return list(words)

    def _sentence(self, feature: int, own: Any, usual: Any) -> str:
        own, usual = (None if pd.isna(figure) else figure for figure in (own, usual))
        key = (feature, own, usual)
        if key not in self.sentences:
            if len(self.sentences) >= KEPT:
                self.sentences.clear()
            self.sentences[key] = sentence(self.features[feature], own, usual, self.phrases)
        return self.sentences[key]


def _framed(columns: dict[str, Any], index: pd.Index) -> pd.DataFrame:
    """The columns as a table; words are plain objects, or an all-empty block would get another type."""
    words = {name: pd.Series(own, index, dtype=object) for name, own in columns.items() if isinstance(own, list)}
    return pd.DataFrame(columns | words, index=index)


def _padded(lists: list[list[int]]) -> Places:
    """Lists of column places made equally long with -1, the place of the zero column put at the end."""
    longest = max(map(len, lists), default=1)
    padded = [own + [-1] * (longest - len(own)) for own in lists]
    return np.array(padded, dtype=np.intp).reshape(len(lists), longest)


def _numbers(values: pd.DataFrame) -> Floats:
    """The figures as floats; a category, which has no more or less, as unknown."""
    return np.stack(
        [pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan) for _, column in values.items()]
        or [np.empty(len(values))],
        axis=1,
    )


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

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
    from renewals.models.explanation.reason_selection import ReasonRules

YES_OR_NO = "yes or no"
ROUNDING_PATTERN = re.compile(r"\{value:[^}]*\.(?P<digits>\d+)(?P<unit>[f%])\}")
"""How a sentence rounds the account's figure."""
VALUE_PATTERN = re.compile(r"\{value(?::,?\.(?P<digits>\d)(?P<unit>[f%])|[^}]*)\}")
"""A place for the account's figure, with how it is rounded there.

Not where a sign is asked for: +0 % and 0 % are one number and two sentences."""
ROUNDING_TOLERANCE = 1e-6
"""So near the middle between two rounded figures, multiplying may round otherwise than writing does."""
REFUSAL_REASONS = 5
STRENGTH_COUNT = 3
ACCOUNT_VALUE, PEER_VALUE = 0, 1
"""Where a sentence holds the account's figure, and where that of its peers."""
_PLACEHOLDERS = ("\ue000", "\ue001")
"""Letters that no sentence of ours holds."""
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FeatureMeta = Mapping[str, Any]
"""One entry of the feature catalogue: name, family, theme, unit, risk, actionable, en, zh, params, kind."""


@dataclass(frozen=True)
class Phrases:
    """The words around a feature's own sentence, in one language."""

    language: str
    missing_text: str
    """Stands where a figure is not known."""
    missing_template: str
    """The sentence of an account without a figure; holds `{sentence}`."""
    yes: str
    no: str
    """How the figure of a feature whose unit is "yes or no" is said."""
    params: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """How a parameter's value is said: `{"tier": {"S": "decision makers"}}`."""


@dataclass(frozen=True)
class PeerStatistics:
    """What is usual among an account's peers: the figures of each group, and which group a row belongs to."""

    typical_values: pd.DataFrame
    """One row per group of peers: the median of each number, the commonest of each category."""
    group: Ints


class ColumnTable(Protocol):
    """A table that can be gone through column by column, such as a frame."""

    def items(self) -> Iterable[tuple[Hashable, pd.Series]]:
        """Each column with its name."""
        ...


def base_feature(feature: FeatureMeta) -> str:
    """The feature's function: as declared, or its column name without the parameters that were joined to it."""
    if feature.get("function"):
        return str(feature["function"])
    params = dict(feature.get("params") or {})
    days = params.pop("days", None)
    said = [str(value).lower() for value in params.values()] + ([f"{days}d"] if days is not None else [])
    return str(feature["name"]).removesuffix("_" + "_".join(said)) if said else str(feature["name"])


class PeerGroups(NamedTuple):
    """Who is a peer of whom."""

    names: list[str]
    """The groups, in order."""
    group: Ints
    """The group of each row."""
    members: list[Ints]
    """The rows that are the peers of each group."""


def peer_groups(size_band: pd.Series, stage: pd.Series, min_peers: int) -> PeerGroups:
    """The peers of each row: same size band and stage; where fewer than `min_peers`, same band; else everyone."""
    band = size_band.astype("string").fillna("?").reset_index(drop=True)
    full = band + " / " + stage.astype("string").fillna("?").reset_index(drop=True)
    enough = [(own.map(own.value_counts()) >= min_peers).to_numpy(bool) for own in (full, band)]
    label = pd.Series(np.select(enough, [full.to_numpy(object), band.to_numpy(object)], "*"), dtype=object)
    names = sorted(label.unique())
    members = [np.flatnonzero((full == name) | (band == name) | (name == "*")) for name in names]
    return PeerGroups(names, label.map({name: place for place, name in enumerate(names)}).to_numpy(np.int64), members)


def peer_statistics(values: ColumnTable, size_band: pd.Series, stage: pd.Series, min_peers: int) -> PeerStatistics:
    """What is usual among the peers of each row (`peer_groups`)."""
    own = peer_groups(size_band, stage, min_peers)
    figures = {name: _typical_values(column, own.members) for name, column in values.items()}
    return PeerStatistics(pd.DataFrame(figures, index=own.names, dtype=object), own.group)


def _typical_values(column: pd.Series, members: Sequence[Ints]) -> list[Any]:
    """The middle of each group's numbers, or the commonest of its categories."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        figures = column.to_numpy(np.float64, na_value=np.nan)
        return [_median(figures[own]) for own in members]
    return [next(iter(column.iloc[own].dropna().astype(str).mode()), None) for own in members]


def _median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else np.nan


def explain_scores(
    contributions: pd.DataFrame,
    values: pd.DataFrame,
    features: Sequence[FeatureMeta],
    peers: PeerStatistics,
    phrases: Phrases,
    min_share: float = 0.02,
) -> pd.DataFrame:
    """The five strongest reasons towards loss and three strengths, one theme each; one row per row of `contributions`.

    `contributions` and `values` have a column per feature (towards renewal in the margin; as given to the
    model). `reason_k_contribution` is the sum over the theme's columns, in log-odds, negative = towards loss.
    What makes up less than `min_share` of all the row's contributions is left empty. A column without an entry in
    `features` counts in that total but cannot be told. Raises ValueError where the two tables do not fit.
    """
    named = features_with_sentences(features, contributions.columns)
    choice = select_reasons(
        contributions, values, named, peers.typical_values, peers.group, phrases.language, min_share
    )
    return render_reasons(choice, values.__getitem__, named, peers, phrases).set_axis(contributions.index)


def features_with_sentences(features: Sequence[FeatureMeta], names: Iterable[str]) -> list[FeatureMeta]:
    """The features among `names` that have words, in the order of `names`."""
    catalogue = {str(feature["name"]): feature for feature in features}
    return [catalogue[name] for name in names if name in catalogue]


class SelectedReasons(NamedTuple):
    """Who speaks, by the feature's place: rows × reasons and rows × strengths, -1 for nobody."""

    reason_features: Ints
    reason_weights: Floats
    """What the reason's theme adds in all, towards loss; rows × reasons."""
    strength_features: Ints


def select_reasons(
    contributions: pd.DataFrame,
    values: pd.DataFrame,
    features: Sequence[FeatureMeta],
    peer_values: pd.DataFrame,
    group: Ints,
    language: str,
    min_share: float,
) -> SelectedReasons:
    """The features that speak for each row, of those given; `figures` are the peers', and a row's are at its `group`.

    Each row stands for itself: a million can be given in blocks.
    """
    # Brings the compiler, which the words alone can do without.
    from renewals.models.explanation.reason_selection import ReasonInputs, select_strongest

    if len(contributions) != len(values) or len(group) != len(values):
        raise ValueError(f"{len(contributions)} rows of contributions, {len(values)} of figures, {len(group)} of peers")
    names = [str(feature["name"]) for feature in features]
    if absent := [name for name in names if name not in values.columns]:
        raise ValueError(f"no figures for {', '.join(absent)}")
    rules = _reason_rules(features, language, min_share)
    push, own = contributions[names].to_numpy(np.float64), _numeric_values(values, features)
    usual = _numeric_values(peer_values, features)
    for place, feature in enumerate(features):
        if feature.get("kind") == "category" and feature["risk"] == "either":
            common = peer_values[names[place]].to_numpy(object)[group]
            # What is risky neither way need only differ: 1 for a category that is not most peers', beside 0.
            own[:, place], usual[:, place] = values[names[place]].astype(object).to_numpy() != common, 0.0
    silent = np.abs(contributions.drop(columns=names).to_numpy(np.float64)).sum(axis=1)
    shown = np.rint(usual * rules.scale) / rules.scale
    rows = ReasonInputs(np.ascontiguousarray(push), own, shown, group, silent)
    return SelectedReasons(*select_strongest(rows, rules, REFUSAL_REASONS, STRENGTH_COUNT))


def concatenate_reasons(selections: Sequence[SelectedReasons]) -> SelectedReasons:
    """The choices of several blocks as one; without a block, of no row."""
    none = SelectedReasons(
        np.zeros((0, REFUSAL_REASONS), np.int64),
        np.zeros((0, REFUSAL_REASONS)),
        np.zeros((0, STRENGTH_COUNT), np.int64),
    )
    return SelectedReasons(*map(np.concatenate, zip(none, *selections, strict=True)))


def render_reasons(
    selection: SelectedReasons,
    column: Callable[[str], pd.Series],
    features: Sequence[FeatureMeta],
    peers: PeerStatistics,
    phrases: Phrases,
) -> pd.DataFrame:
    """Who speaks, and in what words; one row per row of the choice.

    `column` gives all figures of one feature. Feature by feature, so that only one column need be at hand, and each
    sentence that differs is made once, however many accounts share it.
    """
    speaker = np.hstack([selection.reason_features, selection.strength_features])
    words = np.full(speaker.size, None, dtype=object)
    order = np.argsort(speaker.ravel(), kind="stable")
    ends = np.searchsorted(speaker.ravel()[order], np.arange(-1, len(features)), side="right")
    for feature, (start, end) in zip(features, itertools.pairwise(ends), strict=True):
        if start < end:
            rows = order[start:end] // speaker.shape[1]
            usual = peers.typical_values[str(feature["name"])].to_numpy(object)
            own = column(str(feature["name"])).take(rows)
            words[order[start:end]] = _render_sentences(feature, own, usual, peers.group[rows], phrases)
    return _to_frame(_reason_columns(selection, words.reshape(speaker.shape), features))


def _render_sentences(feature: FeatureMeta, values: pd.Series, peer_values: Any, group: Ints, phrases: Phrases) -> Any:
    """One feature's sentence for each figure, beside what is usual in its group."""
    alike = _factorize(_display_groups(values, _display_rounding(feature, phrases.language)))
    which, met = pd.factorize(alike * len(peer_values) + group)
    first = np.zeros(len(met), np.int64)
    first[which[::-1]] = np.arange(len(which))[::-1]
    pairs = zip(values.take(first), peer_values[group[first]], strict=True)
    told = [
        render_sentence(feature, _none_if_missing(figure), _none_if_missing(peer), phrases) for figure, peer in pairs
    ]
    return np.array(told, object)[which]


def _none_if_missing(value: Any) -> Any:
    return None if pd.isna(value) else value


def _reason_columns(selection: SelectedReasons, sentences: Any, features: Sequence[FeatureMeta]) -> dict[str, Any]:
    names = np.array([*(str(feature["name"]) for feature in features), None], object)
    families, themes = (np.array([*(own[key] for own in features), None], object) for key in ("family", "theme"))
    actionable = np.array([*(bool(feature["actionable"]) for feature in features), False])
    columns: dict[str, Any] = {}
    for k, speaker in enumerate(selection.reason_features.T):
        columns |= {
            f"reason_{k + 1}": sentences[:, k],
            f"reason_{k + 1}_feature": names[speaker],
            f"reason_{k + 1}_contribution": np.where(speaker >= 0, -selection.reason_weights[:, k], np.nan),
            f"reason_{k + 1}_family": families[speaker],
            f"reason_{k + 1}_theme": themes[speaker],
            f"reason_{k + 1}_actionable": pd.arrays.BooleanArray(actionable[speaker], speaker < 0),
        }
    for k, speaker in enumerate(selection.strength_features.T):
        columns |= {f"strength_{k + 1}": sentences[:, REFUSAL_REASONS + k], f"strength_{k + 1}_feature": names[speaker]}
    return columns


def _reason_rules(features: Sequence[FeatureMeta], language: str, min_share: float) -> ReasonRules:
    from renewals.models.explanation.reason_selection import RISK_CODES, ReasonRules

    themes: dict[str, list[int]] = {}
    for place, feature in enumerate(features):
        themes.setdefault(str(feature["theme"]), []).append(place)
    member = [place for own in themes.values() for place in own]
    return ReasonRules(
        risk=np.array([RISK_CODES[feature["risk"]] for feature in features], np.int64),
        scale=10.0 ** np.array([decimal_places(str(feature[language])) for feature in features], np.float64),
        first=np.cumsum([0, *map(len, themes.values())]),
        member=np.array(member, np.int64),
        idea=_factorize(
            pd.Series(
                [f"{features[place]['family']} {base_feature(features[place])}" for place in member], dtype=object
            )
        ),
        share=min_share,
    )


def _display_rounding(feature: FeatureMeta, language: str) -> tuple[float, float] | None:
    """By what a figure is multiplied to be rounded as it is shown, and from where on it is "so much or more".

    None where figures are not rounded in one way, and two sentences may differ however little they do.
    """
    shown = set(VALUE_PATTERN.findall(str(feature[language])))
    if feature.get("unit") == YES_OR_NO or feature.get("kind") == "category" or len(shown) != 1:
        return None
    digits, unit = shown.pop()
    if not unit:
        return None
    return 10.0 ** (int(digits) + (2 if unit == "%" else 0)), float(feature.get("empty") or np.inf)


def _display_groups(values: pd.Series, rounding: tuple[float, float] | None) -> Ints:
    """A number for each figure, the same where the sentences are: where it is the same as shown, and alike in being
    "so much or more". A figure so near the middle between two that it might be written as either is alike only itself.
    """
    if rounding is None or not pd.api.types.is_numeric_dtype(values):
        return _factorize(values.to_numpy() if pd.api.types.is_numeric_dtype(values) else values.to_numpy(object))
    scale, most = rounding
    figures = values.to_numpy(np.float64, na_value=np.nan)
    figures = np.where(np.isinf(figures), np.nan, figures)  # both are told as not known
    whole = np.rint(figures * scale)
    sure = (np.abs(np.abs(figures * scale - whole) - 0.5) > ROUNDING_TOLERANCE) & (np.abs(whole) < 1e9)
    themselves = _factorize(np.where(sure, np.inf, figures))
    return _factorize(np.where(sure, whole + 0.25 * (figures >= most), 0.0)) * (len(values) + 1) + themselves


def _factorize(values: Any) -> Ints:
    return pd.factorize(values, use_na_sentinel=False)[0]


def _to_frame(columns: dict[str, Any]) -> pd.DataFrame:
    """The columns as a table; words are plain objects, or an all-empty column would get another type."""
    return pd.DataFrame(
        {n: pd.Series(own, dtype=object if own.dtype == object else None) for n, own in columns.items()}
    )


def _numeric_values(values: pd.DataFrame, features: Sequence[FeatureMeta]) -> Floats:
    """The figures as floats; a category, which has no more or less, as unknown; rows × features."""
    numbers = np.full((len(values), len(features)), np.nan)
    for place, feature in enumerate(features):
        if feature.get("kind") != "category":
            numbers[:, place] = _to_floats(values[str(feature["name"])])
    return numbers


def _to_floats(column: pd.Series) -> Floats:
    if not pd.api.types.is_numeric_dtype(column):
        column = pd.to_numeric(column, errors="coerce")
    return column.to_numpy(np.float64, na_value=np.nan)


def render_sentence(feature: FeatureMeta, value: Any, peer: Any, phrases: Phrases) -> str:
    """A feature's sentence about one account, in the language of `phrases`.

    Raises ValueError where the sentence asks for a field that the feature does not have.
    """
    params = dict(feature.get("params") or {})
    said = {name: phrases.params.get(name, {}).get(str(own), own) for name, own in params.items()}
    fields = {name: _display_value(feature, own, phrases) for name, own in (("value", value), ("peer", peer))}
    try:
        template = str(feature[phrases.language])
        words = template.format(**(said | fields))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"the {phrases.language} sentence of {feature['name']} cannot be said: {error!r}") from None
    if not template.startswith("{value"):
        words = words[:1].upper() + words[1:]
    return phrases.missing_template.format(sentence=words) if fields["value"].unknown else words


def sentence_template(feature: FeatureMeta, phrases: Phrases, is_known: bool = True) -> list[str | int]:
    """A feature's sentence in pieces: text, `ACCOUNT_VALUE` where the account's figure stands, `PEER_VALUE` where the
    peers' does.

    With `format_value` in those places it is what `render_sentence` says, where the figure is known and where it is
    not.
    """
    own = _PLACEHOLDERS[ACCOUNT_VALUE] if is_known else None
    said = re.split(f"([{''.join(_PLACEHOLDERS)}])", render_sentence(feature, own, _PLACEHOLDERS[PEER_VALUE], phrases))
    return [_PLACEHOLDERS.index(piece) if piece in _PLACEHOLDERS else piece for piece in said if piece]


def format_value(feature: FeatureMeta, value: Any, phrases: Phrases, place: int = ACCOUNT_VALUE) -> str:
    """A figure as the feature's sentence writes it, for the account or for its peers."""
    return format(_display_value(feature, value, phrases), _format_spec(str(feature[phrases.language]), place))


@cache
def _format_spec(template: str, place: int) -> str:
    name = ("value", "peer")[place]
    return next((str(spec) for _, field, spec, _ in Formatter().parse(template) if field == name), "")


def decimal_places(template: str) -> int:
    """To how many digits after the point a sentence rounds its figure; all of them where it does not."""
    rounded = ROUNDING_PATTERN.search(template)
    return 15 if rounded is None else int(rounded["digits"]) + (2 if rounded["unit"] == "%" else 0)


def _display_value(feature: FeatureMeta, value: Any, phrases: Phrases) -> DisplayValue:
    if feature.get("unit") == YES_OR_NO and isinstance(value, (int, float)) and np.isfinite(value):
        value = phrases.yes if value >= 0.5 else phrases.no
    return DisplayValue(value, phrases.missing_text, feature.get("empty") or None)


class DisplayValue:
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


def theme_contributions(contributions: pd.Series, features: Sequence[FeatureMeta]) -> dict[str, float]:
    """The sum of one account's contributions per theme, the strongest towards loss first."""
    theme = {str(feature["name"]): str(feature["theme"]) for feature in features}
    summed = contributions.groupby([theme.get(str(name), "other") for name in contributions.index]).sum()
    return {str(name): float(value) for name, value in summed.sort_values().items()}

"""Reasons for an account's probability: contributions of features as sentences.

A contribution (SHAP) is the amount that one feature adds to the margin of the model (log-odds before calibration):
positive towards renewal, negative towards loss. A theme (a cause in an account manager's terms) appears at most once:
the contributions of its columns are summed. Its sentence is that of the column with the largest contribution within its
strongest base feature (one feature function with all its windows and tiers). A column qualifies only if its value
agrees with the direction: more use than the peers' is never shown as a reason for loss.
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
"""Rounding of the account's value in a sentence."""
VALUE_PATTERN = re.compile(r"\{value(?::,?\.(?P<digits>\d)(?P<unit>[f%])|[^}]*)\}")
"""A placeholder of the account's value, with its rounding.

Placeholders with a sign do not match: +0 % and 0 % are one number but two sentences."""
ROUNDING_TOLERANCE = 1e-6
"""So near the middle between two rounded values, multiplication and formatting may round differently."""
REASON_COUNT = 5
STRENGTH_COUNT = 3
ACCOUNT_VALUE, PEER_VALUE = 0, 1
"""Numbers of the two placeholders of a sentence: the account's value and the peers' value."""
_PLACEHOLDERS = ("\ue000", "\ue001")
"""Characters that occur in no sentence."""
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FeatureMeta = Mapping[str, Any]
"""One entry of the feature catalogue: name, family, theme, unit, risk, actionable, en, zh, params, kind."""


@dataclass(frozen=True)
class Phrases:
    """Texts around the sentences of the features, in one language."""

    language: str
    missing_text: str
    """Text in place of a missing value."""
    missing_template: str
    """Sentence for an account with a missing value; contains `{sentence}`."""
    yes: str
    no: str
    """Texts of the values of a feature with the unit "yes or no"."""
    params: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Texts of parameter values: `{"tier": {"S": "decision makers"}}`."""


@dataclass(frozen=True)
class PeerStatistics:
    """Typical feature values of the peer groups, and the group of each row."""

    typical_values: pd.DataFrame
    """One row per peer group: the median of each number, the most frequent value of each category."""
    group: Ints


class ColumnTable(Protocol):
    """A table that can be read column by column, such as a data frame."""

    def items(self) -> Iterable[tuple[Hashable, pd.Series]]:
        """Each column with its name."""
        ...


def base_feature(feature: FeatureMeta) -> str:
    """Name of the feature's function: as declared, or the column name without its parameters."""
    if feature.get("function"):
        return str(feature["function"])
    params = dict(feature.get("params") or {})
    days = params.pop("days", None)
    suffixes = [str(value).lower() for value in params.values()] + ([f"{days}d"] if days is not None else [])
    return str(feature["name"]).removesuffix("_" + "_".join(suffixes)) if suffixes else str(feature["name"])


class PeerGroups(NamedTuple):
    """Peer groups and their members."""

    names: list[str]
    """Names of the groups, in order."""
    group: Ints
    """Group of each row."""
    members: list[Ints]
    """Rows that are the peers of each group."""


def peer_groups(size_band: pd.Series, stage: pd.Series, min_peers: int) -> PeerGroups:
    """Group rows by size band and stage; by band alone below `min_peers` rows; below it again, all rows are peers."""
    band = size_band.astype("string").fillna("?").reset_index(drop=True)
    full = band + " / " + stage.astype("string").fillna("?").reset_index(drop=True)
    enough = [(column.map(column.value_counts()) >= min_peers).to_numpy(bool) for column in (full, band)]
    label = pd.Series(np.select(enough, [full.to_numpy(object), band.to_numpy(object)], "*"), dtype=object)
    names = sorted(label.unique())
    members = [np.flatnonzero((full == name) | (band == name) | (name == "*")) for name in names]
    return PeerGroups(
        names, label.map({name: position for position, name in enumerate(names)}).to_numpy(np.int64), members
    )


def peer_statistics(values: ColumnTable, size_band: pd.Series, stage: pd.Series, min_peers: int) -> PeerStatistics:
    """Typical values among the peers of each row (`peer_groups`)."""
    groups = peer_groups(size_band, stage, min_peers)
    typical_values = {name: _typical_values(column, groups.members) for name, column in values.items()}
    return PeerStatistics(pd.DataFrame(typical_values, index=groups.names, dtype=object), groups.group)


def _typical_values(column: pd.Series, members: Sequence[Ints]) -> list[Any]:
    """Median of each group's numbers, or its most frequent category."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        numbers = column.to_numpy(np.float64, na_value=np.nan)
        return [_median(numbers[rows]) for rows in members]
    return [next(iter(column.iloc[rows].dropna().astype(str).mode()), None) for rows in members]


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
    """Up to five reasons towards loss and three strengths, one theme each; one row per row of `contributions`.

    `contributions` (towards renewal, in the margin) and `values` (as the model reads them) have a column per feature.
    `reason_k_contribution` is the sum over the theme's columns, in log-odds, negative = towards loss. A theme with less
    than `min_share` of the row's total (absolute sums of the themes) is left out. A column without an entry in
    `features` counts in that total but cannot be a reason. Raises ValueError if the two tables do not match.
    """
    named = features_with_sentences(features, contributions.columns)
    choice = select_reasons(
        contributions, values, named, peers.typical_values, peers.group, phrases.language, min_share
    )
    return render_reasons(choice, values.__getitem__, named, peers, phrases).set_axis(contributions.index)


def features_with_sentences(features: Sequence[FeatureMeta], names: Iterable[str]) -> list[FeatureMeta]:
    """Catalogue entries of the features among `names` that have one, in the order of `names`."""
    catalogue = {str(feature["name"]): feature for feature in features}
    return [catalogue[name] for name in names if name in catalogue]


class SelectedReasons(NamedTuple):
    """Positions of the selected features: rows × reasons and rows × strengths, -1 for none."""

    reason_features: Ints
    reason_weights: Floats
    """Total contribution of the reason's theme, towards loss; rows × reasons."""
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
    """Select the features of each row's reasons and strengths, as positions in `features`.

    `peer_values` has one row per peer group, and `group` is the group of each row. Rows are independent of each other,
    so a large table can be passed in blocks. Raises ValueError if the tables do not match.
    """
    # Imports the compiler, which rendering of sentences does not need.
    from renewals.models.explanation.reason_selection import ReasonInputs, select_strongest

    if len(contributions) != len(values) or len(group) != len(values):
        raise ValueError(
            f"{len(contributions)} rows of contributions, {len(values)} of values, {len(group)} of peer groups"
        )
    names = [str(feature["name"]) for feature in features]
    if missing := [name for name in names if name not in values.columns]:
        raise ValueError(f"no values for {', '.join(missing)}")
    rules = _reason_rules(features, language, min_share)
    contribution_values, numbers = contributions[names].to_numpy(np.float64), _numeric_values(values, features)
    peer_numbers = _numeric_values(peer_values, features)
    for position, feature in enumerate(features):
        if feature.get("kind") == "category" and feature["risk"] == "either":
            frequent = peer_values[names[position]].to_numpy(object)[group]
            # Only a difference matters here: 1 for a category that differs from the peers' most frequent one, else 0.
            differs = values[names[position]].astype(object).to_numpy() != frequent
            numbers[:, position], peer_numbers[:, position] = differs, 0.0
    without_sentence = np.abs(contributions.drop(columns=names).to_numpy(np.float64)).sum(axis=1)
    shown = np.rint(peer_numbers * rules.scale) / rules.scale
    rows = ReasonInputs(np.ascontiguousarray(contribution_values), numbers, shown, group, without_sentence)
    return SelectedReasons(*select_strongest(rows, rules, REASON_COUNT, STRENGTH_COUNT))


def concatenate_reasons(selections: Sequence[SelectedReasons]) -> SelectedReasons:
    """Concatenate the selections of several blocks; without a block the result has no rows."""
    none = SelectedReasons(
        np.zeros((0, REASON_COUNT), np.int64),
        np.zeros((0, REASON_COUNT)),
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
    """Write the sentences of the selected reasons and strengths; one row per row of `selection`.

    `column` returns all values of one feature. Features are processed one by one, so only one column is in memory at a
    time, and each distinct sentence is written once for all accounts that share it.
    """
    selected = np.hstack([selection.reason_features, selection.strength_features])
    sentences = np.full(selected.size, None, dtype=object)
    order = np.argsort(selected.ravel(), kind="stable")
    ends = np.searchsorted(selected.ravel()[order], np.arange(-1, len(features)), side="right")
    for feature, (start, end) in zip(features, itertools.pairwise(ends), strict=True):
        if start < end:
            rows = order[start:end] // selected.shape[1]
            peer_values = peers.typical_values[str(feature["name"])].to_numpy(object)
            values = column(str(feature["name"])).take(rows)
            sentences[order[start:end]] = _render_sentences(feature, values, peer_values, peers.group[rows], phrases)
    return _to_frame(_reason_columns(selection, sentences.reshape(selected.shape), features))


def empty_reasons() -> pd.DataFrame:
    """The columns of `render_reasons`, without rows."""
    none = np.zeros((0, REASON_COUNT), np.int64)
    selection = SelectedReasons(none, none.astype(np.float64), np.zeros((0, STRENGTH_COUNT), np.int64))
    return _to_frame(_reason_columns(selection, np.empty((0, REASON_COUNT + STRENGTH_COUNT), object), []))


def _render_sentences(feature: FeatureMeta, values: pd.Series, peer_values: Any, group: Ints, phrases: Phrases) -> Any:
    """One feature's sentence for each value, compared with the typical value of its group."""
    display_groups = _factorize(_display_groups(values, _display_rounding(feature, phrases.language)))
    codes, distinct = pd.factorize(display_groups * len(peer_values) + group)
    first = np.zeros(len(distinct), np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    pairs = zip(values.take(first), peer_values[group[first]], strict=True)
    sentences = [
        render_sentence(feature, _none_if_missing(value), _none_if_missing(peer), phrases) for value, peer in pairs
    ]
    return np.array(sentences, object)[codes]


def _none_if_missing(value: Any) -> Any:
    return None if pd.isna(value) else value


def _reason_columns(selection: SelectedReasons, sentences: Any, features: Sequence[FeatureMeta]) -> dict[str, Any]:
    names = np.array([*(str(feature["name"]) for feature in features), None], object)
    families, themes = (
        np.array([*(feature[key] for feature in features), None], object) for key in ("family", "theme")
    )
    actionable = np.array([*(bool(feature["actionable"]) for feature in features), False])
    columns: dict[str, Any] = {}
    for k, selected in enumerate(selection.reason_features.T):
        columns |= {
            f"reason_{k + 1}": sentences[:, k],
            f"reason_{k + 1}_feature": names[selected],
            f"reason_{k + 1}_contribution": np.where(selected >= 0, -selection.reason_weights[:, k], np.nan),
            f"reason_{k + 1}_family": families[selected],
            f"reason_{k + 1}_theme": themes[selected],
            f"reason_{k + 1}_actionable": pd.arrays.BooleanArray(actionable[selected], selected < 0),
        }
    for k, selected in enumerate(selection.strength_features.T):
        columns |= {
            f"strength_{k + 1}": sentences[:, REASON_COUNT + k],
            f"strength_{k + 1}_feature": names[selected],
        }
    return columns


def _reason_rules(features: Sequence[FeatureMeta], language: str, min_share: float) -> ReasonRules:
    from renewals.models.explanation.reason_selection import RISK_CODES, ReasonRules

    themes: dict[str, list[int]] = {}
    for position, feature in enumerate(features):
        themes.setdefault(str(feature["theme"]), []).append(position)
    member = [position for positions in themes.values() for position in positions]
    return ReasonRules(
        risk=np.array([RISK_CODES[feature["risk"]] for feature in features], np.int64),
        scale=10.0 ** np.array([decimal_places(str(feature[language])) for feature in features], np.float64),
        first=np.cumsum([0, *map(len, themes.values())]),
        member=np.array(member, np.int64),
        base_feature=_factorize(
            pd.Series(
                [f"{features[position]['family']} {base_feature(features[position])}" for position in member],
                dtype=object,
            )
        ),
        share=min_share,
    )


def _display_rounding(feature: FeatureMeta, language: str) -> tuple[float, float] | None:
    """Factor for rounding a value as shown, and the value from which on it is shown as "so much or more".

    None if the sentence does not round the value in one way; then every distinct value may give another sentence.
    """
    shown = set(VALUE_PATTERN.findall(str(feature[language])))
    if feature.get("unit") == YES_OR_NO or feature.get("kind") == "category" or len(shown) != 1:
        return None
    digits, unit = shown.pop()
    if not unit:
        return None
    return 10.0 ** (int(digits) + (2 if unit == "%" else 0)), float(feature.get("empty") or np.inf)


def _display_groups(values: pd.Series, rounding: tuple[float, float] | None) -> Ints:
    """A number for each value, equal for values with the same sentence.

    Values have the same sentence if they are equal as shown and on the same side of "so much or more". A value so near
    the middle between two rounded values that it might be written as either has its own number.
    """
    if rounding is None or not pd.api.types.is_numeric_dtype(values):
        return _factorize(values.to_numpy() if pd.api.types.is_numeric_dtype(values) else values.to_numpy(object))
    scale, plus_from = rounding
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    numbers = np.where(np.isinf(numbers), np.nan, numbers)  # both are shown as missing
    rounded = np.rint(numbers * scale)
    unambiguous = (np.abs(np.abs(numbers * scale - rounded) - 0.5) > ROUNDING_TOLERANCE) & (np.abs(rounded) < 1e9)
    exact_codes = _factorize(np.where(unambiguous, np.inf, numbers))
    return (
        _factorize(np.where(unambiguous, rounded + 0.25 * (numbers >= plus_from), 0.0)) * (len(values) + 1)
        + exact_codes
    )


def _factorize(values: Any) -> Ints:
    return pd.factorize(values, use_na_sentinel=False)[0]


def _to_frame(columns: dict[str, Any]) -> pd.DataFrame:
    """The columns as a table; text has the dtype object, because an all-empty column would get another one."""
    return pd.DataFrame(
        {name: pd.Series(column, dtype=object if column.dtype == object else None) for name, column in columns.items()}
    )


def _numeric_values(values: pd.DataFrame, features: Sequence[FeatureMeta]) -> Floats:
    """The values as floats, rows × features; categories, which have no order, become NaN."""
    numbers = np.full((len(values), len(features)), np.nan)
    for position, feature in enumerate(features):
        if feature.get("kind") != "category":
            numbers[:, position] = _to_floats(values[str(feature["name"])])
    return numbers


def _to_floats(column: pd.Series) -> Floats:
    if not pd.api.types.is_numeric_dtype(column):
        column = pd.to_numeric(column, errors="coerce")
    return column.to_numpy(np.float64, na_value=np.nan)


def render_sentence(feature: FeatureMeta, value: Any, peer: Any, phrases: Phrases) -> str:
    """Write a feature's sentence about one account, in the language of `phrases`.

    Raises ValueError if the sentence uses a field that the feature does not have.
    """
    params = dict(feature.get("params") or {})
    params_text = {name: phrases.params.get(name, {}).get(str(item), item) for name, item in params.items()}
    fields = {name: _display_value(feature, item, phrases) for name, item in (("value", value), ("peer", peer))}
    try:
        template = str(feature[phrases.language])
        sentence = template.format(**(params_text | fields))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"the {phrases.language} sentence of {feature['name']} cannot be written: {error!r}") from None
    if not template.startswith("{value"):
        sentence = sentence[:1].upper() + sentence[1:]
    return phrases.missing_template.format(sentence=sentence) if fields["value"].unknown else sentence


def sentence_template(feature: FeatureMeta, phrases: Phrases, is_known: bool = True) -> list[str | int]:
    """Split a feature's sentence into text and placeholders: `ACCOUNT_VALUE` and `PEER_VALUE`.

    With the results of `format_value` in the placeholders it equals the sentence of `render_sentence`, for a known and
    for a missing value (`is_known`).
    """
    value = _PLACEHOLDERS[ACCOUNT_VALUE] if is_known else None
    pieces = re.split(
        f"([{''.join(_PLACEHOLDERS)}])", render_sentence(feature, value, _PLACEHOLDERS[PEER_VALUE], phrases)
    )
    return [_PLACEHOLDERS.index(piece) if piece in _PLACEHOLDERS else piece for piece in pieces if piece]


def format_value(feature: FeatureMeta, value: Any, phrases: Phrases, placeholder: int = ACCOUNT_VALUE) -> str:
    """Format a value as in the feature's sentence, for the account or for its peers."""
    return format(_display_value(feature, value, phrases), _format_spec(str(feature[phrases.language]), placeholder))


@cache
def _format_spec(template: str, placeholder: int) -> str:
    name = ("value", "peer")[placeholder]
    return next((str(spec) for _, field, spec, _ in Formatter().parse(template) if field == name), "")


def decimal_places(template: str) -> int:
    """Number of decimal places to which a sentence rounds its value; 15 if it does not round."""
    rounded = ROUNDING_PATTERN.search(template)
    return 15 if rounded is None else int(rounded["digits"]) + (2 if rounded["unit"] == "%" else 0)


def _display_value(feature: FeatureMeta, value: Any, phrases: Phrases) -> DisplayValue:
    if feature.get("unit") == YES_OR_NO and isinstance(value, (int, float)) and np.isfinite(value):
        value = phrases.yes if value >= 0.5 else phrases.no
    return DisplayValue(value, phrases.missing_text, feature.get("empty") or None)


class DisplayValue:
    """A number or a category within a sentence.

    A missing value is written as `missing`. Zero has no sign. A number that means "never" or "longer than the data go
    back" gets a plus (at least the feature's `empty`, if that is not zero: 366+ days ago).
    """

    def __init__(self, value: Any, missing: str, plus_from: float | None = None) -> None:
        self.unknown = value is None or (isinstance(value, float) and not np.isfinite(value))
        self.value, self.missing, self.plus_from = value, missing, plus_from

    def __format__(self, spec: str) -> str:
        if self.unknown:
            return self.missing
        if isinstance(self.value, str):
            return self.value
        text = format(float(self.value) + 0.0, spec or "g")  # turns -0.0 into 0.0
        if not set(text) & set("123456789"):
            return text.lstrip("+-")
        return f"{text}+" if self.plus_from and self.value >= self.plus_from else text


def theme_contributions(contributions: pd.Series, features: Sequence[FeatureMeta]) -> dict[str, float]:
    """Sum of one account's contributions per theme, the strongest towards loss first."""
    theme = {str(feature["name"]): str(feature["theme"]) for feature in features}
    summed = contributions.groupby([theme.get(str(name), "other") for name in contributions.index]).sum()
    return {str(name): float(value) for name, value in summed.sort_values().items()}

"""The risk list: every column of the data contract, in its order, of fixed types, checked before anyone reads it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.alerts import CODES
from features.family import THEMES
from lists.options import ListOptions
from models import worklist
from models.playbooks import SIZE_BANDS, STAGES, Library
from models.reasons import REASONS, STRENGTHS
from models.worth import SLOTS

TARGETS = ("renewal", "upsell", "cross_sell", "expansion")

Kind = Literal["id", "date", "text", "integer", "number", "probability", "flag"]


@dataclass(frozen=True)
class Column:
    """One column of the list."""

    name: str
    kind: Kind
    required: bool = False
    """Filled in every row."""
    values: tuple[str, ...] = ()
    """The only values it may hold, where these are fixed."""
    scored_only: bool = False
    """Empty unless the account is scored."""


def _scored(name: str, kind: Kind, values: tuple[str, ...] = ()) -> Column:
    return Column(name, kind, values=values, scored_only=True)


def _reason(number: int) -> list[Column]:
    name = f"reason_{number}"
    return [
        _scored(f"{name}_feature", "text"),
        _scored(f"{name}_contribution", "number"),
        _scored(f"{name}_family", "text"),
        _scored(f"{name}_theme", "text", values=THEMES),
        _scored(f"{name}_actionable", "flag"),
    ]


ALERTS = tuple(";".join(code for k, code in enumerate(CODES) if mask >> k & 1) for mask in range(2 ** len(CODES)))
"""What the column of alerts may say: by the sum of 2 to the place of each code, the codes in their order."""

LOW, HIGH = "renewal_low", "renewal_high"

COLUMNS: tuple[Column, ...] = (
    Column("as_of", "date", required=True),
    Column("account_id", "id", required=True),
    Column("account_name", "text"),
    Column("csm", "text"),
    Column("stage", "text", required=True, values=STAGES),
    Column("size_band", "text", values=SIZE_BANDS),
    Column("renewal_date", "date", required=True),
    Column("days_to_renewal", "integer", required=True),
    Column("arr", "number"),
    Column("currency", "text"),
    Column("status", "text", required=True, values=worklist.STATUSES),
    _scored("renewal_probability", "probability"),
    _scored(LOW, "probability"),
    _scored(HIGH, "probability"),
    _scored("risk_band", "text", values=worklist.RISK_BANDS),
    _scored("arr_at_risk", "number"),
    _scored("upsell_probability", "probability"),
    _scored("cross_sell_probability", "probability"),
    _scored("expansion_probability", "probability"),
    _scored("quadrant", "text", values=worklist.QUADRANTS),
    _scored("rank", "integer"),
    _scored("within_capacity", "flag"),
    *(_scored(f"reason_{k}", "text") for k in range(1, REASONS + 1)),
    *(column for k in range(1, REASONS + 1) for column in _reason(k)),
    *(_scored(f"strength_{k}", "text") for k in range(1, STRENGTHS + 1)),
    *(_scored(f"playbook_{k}", "text") for k in range(1, SLOTS + 1)),
    Column("alerts", "text", values=ALERTS[1:]),
    _scored("probability_change", "number"),
    _scored("reason_change", "text"),
    Column("renewal_model", "text", required=True),
    Column("expansion_model", "text"),
)
ALWAYS = ("renewal_probability", LOW, HIGH)
"""What every scored account has."""
NAMES = tuple(column.name for column in COLUMNS)
_DTYPES: dict[str, Any] = {
    "text": object,
    "integer": "Int64",
    "number": "float64",
    "probability": "float64",
    "flag": "boolean",
}
_ARROW = {
    "date": pa.date32(),
    "text": pa.string(),
    "integer": pa.int32(),
    "number": pa.float64(),
    "probability": pa.float64(),
    "flag": pa.bool_(),
}


def risk_list(
    observations: pd.DataFrame,
    probabilities: pd.DataFrame,
    told: pd.DataFrame,
    prescribed: pd.DataFrame,
    models: Mapping[str, str],
    options: ListOptions,
) -> pd.DataFrame:
    """The list in rank order, with exactly `COLUMNS`; one row per observation.

    `observations` holds the spine's columns, `status` and `alerts`; `probabilities` a column for each target that has a
    model, and the interval of the renewal's; `told` what `models.reasons.told` gave; `prescribed` the plays by name
    (`playbooks`), the hours of the best and its worth; all on one index. `models` names each target's model as
    `name/version`. Raises ValueError where the outcome breaks the contract.
    """
    listed = pd.DataFrame({name: observations.get(name) for name in NAMES[:11]}, index=observations.index)
    scored = listed["status"].eq(worklist.SCORED)
    chances = probabilities.reindex(columns=list(TARGETS)).where(scored)
    listed["alerts"] = observations.get("alerts")
    listed["renewal_probability"] = chances["renewal"]
    listed[[LOW, HIGH]] = probabilities.reindex(columns=[LOW, HIGH]).where(scored)
    for target in TARGETS[1:]:
        listed[f"{target}_probability"] = chances[target]
    plays = prescribed.where(scored)
    listed = listed.join(placed(listed, plays["worth"], plays["hours"], options)).join(told.where(scored))
    listed = listed.join(plays.drop(columns=["worth", "hours"]))
    listed["renewal_model"] = models["renewal"]
    listed["expansion_model"] = models.get("expansion")
    listed = typed(listed).iloc[_order(listed)].reset_index(drop=True)
    check(listed)
    return listed


def playbooks(prescribed: pd.DataFrame, library: Library, language: str) -> pd.DataFrame:
    """The plays that `models.worth.prescribed` gave, by name, and what they are worth; one row per row given."""
    names = np.array([*(getattr(play.name, language) for play in library.plays.values()), None], object)
    named = {f"playbook_{k}": names[prescribed[f"play_{k}"].to_numpy()] for k in range(1, SLOTS + 1)}
    said = pd.DataFrame({name: pd.Series(own, prescribed.index, dtype=object) for name, own in named.items()})
    return said.join(prescribed[["hours", "worth"]])


def alert_codes(accounts: pd.Series, alerts: pd.DataFrame) -> pd.Series:
    """The codes of each account, parted by semicolons; None where no rule speaks. `alerts` has one row per code."""
    place = pd.Index(accounts).get_indexer(pd.Index(alerts["account_id"]))
    bit = 1 << pd.Index(CODES).get_indexer(pd.Index(alerts["code"]))
    mask = np.bincount(place[place >= 0], bit[place >= 0], len(accounts)).astype(np.int64)
    texts = np.array([None, *ALERTS[1:]], object)
    return pd.Series(texts[mask], accounts.index, dtype=object)


def placed(listed: pd.DataFrame, worth: pd.Series, hours: pd.Series, options: ListOptions) -> pd.DataFrame:
    """What follows from the probabilities and worth: band, money, group, rank; one row per row of the list."""
    renewal = listed["renewal_probability"]
    band = worklist.risk_band(renewal, options.bands.high, options.bands.medium)
    at_risk = worklist.arr_at_risk(listed["arr"], renewal)
    whose = (listed["arr"], listed["csm"], listed["account_id"])
    ranks = worklist.ranked(worth, *whose, options.capacity.of, hours, at_risk)
    groups = worklist.quadrant(band, listed["expansion_probability"], options.expansion_high)
    return ranks.assign(risk_band=band, arr_at_risk=at_risk, quadrant=groups)


def _order(listed: pd.DataFrame) -> np.ndarray:
    """Places in rank order: everyone's first, everyone's second, …; the larger sum at risk first among equals."""
    keys = pd.DataFrame(
        {
            "rank": listed["rank"].astype("float64"),
            "worth": -listed["arr_at_risk"].fillna(0.0),
            "arr": -listed["arr"].fillna(0.0),
            "key": worklist.order_key(listed["account_id"]),
        }
    ).reset_index(drop=True)
    return keys.sort_values(["rank", "worth", "arr", "key"], na_position="last", kind="stable").index.to_numpy()


def typed(listed: pd.DataFrame) -> pd.DataFrame:
    """Every column of the list in its order and of its type; absent ones empty; one row per row given."""
    return pd.DataFrame({column.name: _typed(listed, column) for column in COLUMNS}, index=listed.index)


def _typed(listed: pd.DataFrame, column: Column) -> pd.Series:
    values = listed.get(column.name, pd.Series(None, index=listed.index, dtype=object))
    if column.kind == "id":
        return values
    if column.kind == "date":
        return pd.to_datetime(values).astype("datetime64[s]")
    if column.kind == "text":
        return values.astype(object).where(values.notna(), None)
    return values.astype(_DTYPES[column.kind])


def check(listed: pd.DataFrame) -> None:
    """Raises ValueError with every way in which the list breaks its contract."""
    if list(listed.columns) != list(NAMES):
        raise ValueError(f"the list has other columns than its contract: {sorted(set(listed.columns) ^ set(NAMES))}")
    scored = listed["status"].eq(worklist.SCORED).to_numpy(bool)
    faults = [fault for column in COLUMNS for fault in _faults(column, listed[column.name], scored)]
    doubled = int(listed.duplicated(["as_of", "account_id"]).sum())
    if doubled:
        faults.append(f"{doubled} accounts are listed twice")
    if not _is_inside(listed[scored]):
        faults.append("renewal_probability lies outside its own interval")
    if not _ranks_are_whole(listed):
        faults.append("rank does not count 1, 2, 3, … within each manager in the order of the list")
    if faults:
        raise ValueError("the list breaks its contract: " + "; ".join(faults))


def _faults(column: Column, values: pd.Series, scored: np.ndarray) -> list[str]:
    there = values.notna().to_numpy()
    given = values[there] if column.values or column.kind in ("probability", "number") else values[:0]
    strange = sorted(set(given.unique()) - set(column.values)) if column.values else []
    tests = {
        "is empty in some rows": column.required and not there.all(),
        "lies outside 0 to 1": column.kind == "probability" and not given.between(0, 1).all(),
        "is not finite": column.kind == "number" and not np.isfinite(given.to_numpy(np.float64)).all(),
        f"holds {strange}": bool(strange),
        "is filled for accounts that are not scored": column.scored_only and (there & ~scored).any(),
        "is empty for scored accounts": column.name in ALWAYS and (scored & ~there).any(),
    }
    return [f"{column.name} {fault}" for fault, broken in tests.items() if broken]


def _is_inside(scored: pd.DataFrame) -> bool:
    """What is missing is told of elsewhere."""
    chance, low, high = (scored[name] for name in ALWAYS)
    return not ((chance < low) | (chance > high)).any()


def _ranks_are_whole(listed: pd.DataFrame) -> bool:
    ranked = listed[listed["rank"].notna()]
    place = ranked.groupby("csm", dropna=False, sort=False).cumcount() + 1
    return bool((ranked["rank"].astype("int64") == place).all())


def as_arrow(listed: pd.DataFrame) -> pa.Table:
    """The list with the fixed types of its contract; account ids as they were given."""
    fields = [(c.name, _arrow_type(c, listed[c.name])) for c in COLUMNS]
    return pa.Table.from_pandas(listed[list(NAMES)], schema=pa.schema(fields), preserve_index=False)


def _arrow_type(column: Column, values: pd.Series) -> pa.DataType:
    if column.kind != "id":
        return _ARROW[column.kind]
    return pa.int64() if pd.api.types.is_integer_dtype(values) else pa.string()


def as_parquet(listed: pd.DataFrame) -> bytes:
    """The list as a Parquet file; the same list gives the same bytes."""
    sink = io.BytesIO()
    pq.write_table(as_arrow(listed).replace_schema_metadata(None), sink, compression="zstd")
    return sink.getvalue()


def counts(listed: pd.DataFrame) -> dict[str, Any]:
    """How many rows of each status and risk band."""
    return {
        "rows": len(listed),
        "status": {str(k): int(v) for k, v in listed["status"].value_counts().sort_index().items()},
        "risk_band": {str(k): int(v) for k, v in listed["risk_band"].value_counts().sort_index().items()},
    }

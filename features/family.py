"""Features and feature families: declarations of computed columns with their sentences.

A feature requires sentences (English and Chinese), a unit, the direction in which it is risky, and whether a manager
can act on it. Its column name is computed from the function's name and its parameters.

A family has *sources*: functions that return a table at a finer grain than the observation, with `account_id` and
`as_of`. A feature is a function whose first parameter is the name of a source and whose other parameters are filled
with the declared values; it returns one aggregate over that source's rows. If the source has no row for an observation,
the column is `empty`.

A family has a *theme*: what an account manager would name as the cause. A feature with another theme, also only for one
value of a parameter (the staff's tier), declares it.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from typing import Any, Literal, get_args

import ibis
import ibis.expr.types as ir

from renewals.features.tables import TABLES

KEY = ("account_id", "as_of")
RENEWAL_KEY = ("account_id", "renewal_id", "as_of")
"""Key of an observation: an account has one for each of its renewals that are due within the horizon."""

Risk = Literal["low", "high", "either"]
"""Direction in which a value is risky: low values, high values, or either."""
Theme = Literal["value", "adoption", "support", "sponsor", "fit", "first_value", "contract", "care"]
"""Subject of a reason, as an account manager would name it.

value        the decision makers see it: their use and opinion, contact with them, goals reached (S2, S4, J4, T3)
adoption     how far the staff use it (U1 to U5, J3)
support      how well tickets are answered, and customers' opinion of it (T1, T2)
sponsor      decision makers who left or went silent (S3)
fit          kind of customer, price, and payment (C1, C2)
first_value  the start: first value and the first half year (J2)
contract     the terms: length, stage, size of the commitment; a manager cannot change them
care         the playbooks that were run (M1)
"""
THEMES: tuple[Theme, ...] = get_args(Theme)


@dataclass(frozen=True)
class Feature:
    """One feature column: its name, sentences, meaning and computation."""

    name: str
    family: str
    meaning: str
    unit: str
    risk: Risk
    actionable: bool
    theme: Theme
    en: str
    zh: str
    params: Mapping[str, Any]
    source: str
    compute: Callable[..., ir.Value]
    empty: float | None
    kind: Literal["number", "category"] = "number"
    action: bool = False
    """True if it reads what our people log of their own actions: computed and shown, but read by no model (M5)."""
    clock: bool = False
    """True if it depends only on the contract's dates and the calendar, and so changes without any event."""

    def expression(self, table: ir.Table) -> ir.Value:
        """The aggregate of `table` that computes this feature, named after it."""
        return self.compute(table, **self.params).name(self.name)


TableMapping = Mapping[str, ir.Table]
"""Tables that a family may read, by name: `spine`, `windows` tables and the tables of the data contract."""


@dataclass
class Family:
    """Group of features over the same tables; absent if a table it needs is missing."""

    name: str
    en: str
    """Name for readers, in English and Chinese."""
    zh: str
    theme: Theme
    """Theme of its features unless they declare another."""
    needs: tuple[str, ...] = ()
    sources: dict[str, Callable[..., ir.Table]] = field(default_factory=dict)
    features: list[Feature] = field(default_factory=list)

    def source(self, make: Callable[..., ir.Table]) -> Callable[..., ir.Table]:
        """Register a source; its parameters name the tables that it reads."""
        self.sources[make.__name__] = make
        return make

    def feature(
        self,
        *,
        unit: str,
        risk: Risk,
        actionable: bool,
        en: str,
        zh: str,
        empty: float | None = None,
        category: bool = False,
        clock: bool = False,
        theme: Theme | Mapping[str, Theme] | None = None,
        **values: Sequence[Any],
    ) -> Callable[[Callable[..., ir.Value]], Callable[..., ir.Value]]:
        """Register one feature for every combination of the declared parameter values.

        `theme` applies to all of them, or by parameter value: `{"B": "adoption"}`.
        """

        def register(compute: Callable[..., ir.Value]) -> Callable[..., ir.Value]:
            source = next(iter(inspect.signature(compute).parameters))
            meaning = inspect.getdoc(compute)
            if not meaning:
                raise TypeError(f"feature {compute.__name__} has no docstring; write its meaning there")
            for combination in itertools.product(*values.values()):
                params = dict(zip(values, combination, strict=True))
                self.features.append(
                    Feature(
                        name=column_name(compute.__name__, params),
                        family=self.name,
                        meaning=meaning,
                        unit=unit,
                        risk=risk,
                        actionable=actionable,
                        theme=_theme(theme, params) or self.theme,
                        en=en,
                        zh=zh,
                        params=params,
                        source=source,
                        compute=compute,
                        empty=empty,
                        kind="category" if category else "number",
                        clock=clock,
                        action=source in self.sources and reads_actions(self.sources[source]),
                    )
                )
            return compute

        return register


def reads_actions(make: Callable[..., ir.Table]) -> bool:
    """True if a source has a parameter named after a table that logs our actions, not only after evidence from it."""
    parameters = inspect.signature(make).parameters
    return any(name in TABLES and TABLES[name].logs_actions for name in parameters)


def _theme(theme: Theme | Mapping[str, Theme] | None, params: Mapping[str, Any]) -> Theme | None:
    if isinstance(theme, Mapping):
        return next((theme[value] for value in params.values() if value in theme), None)
    return theme


QUANTUM = 1 / 1024
"""Rounding unit of summed values: finer than cents, and floats add its multiples exactly."""


HALF_LIFE_DAYS = 180
"""Half-life, in days, of the weight of a past event."""


def decay_weight(days_ago: ir.NumericColumn, half_life_days: int = HALF_LIFE_DAYS) -> ir.FloatingValue:
    """Weight of an event so many days ago: 1 on its day, 1/2 after `half_life_days` days; null for null."""
    return quantize((days_ago.cast("float64") * (-log(2) / half_life_days)).exp())


def quantize(number: ir.Value) -> ir.FloatingValue:
    """Round a number to the nearest multiple of `QUANTUM`, so that a sum does not depend on the order of addition.

    The order varies with the number of threads. From 2 to the 43rd on a float is coarser than that and is returned
    unchanged.
    """
    number, step = number.cast("float64"), ibis.literal(QUANTUM, "float64")
    rounded = (number / step + 0.5).floor().cast("float64") * step
    return (number.abs() < 2.0**43).ifelse(rounded, number)


def as_number(flag: ir.BooleanValue) -> ir.FloatingValue:
    """1.0 for true, 0.0 for false, null for null, as float64; PostgreSQL casts a boolean only to int32."""
    return flag.cast("int32").cast("float64")


def column_name(function: str, params: Mapping[str, Any]) -> str:
    """Column name of a function and its parameters: `active_people` over 28 days of tier S is `active_people_s_28d`."""
    days = params.get("days")
    parts = [str(value).lower() for key, value in params.items() if key != "days"]
    return "_".join([function, *parts, *([f"{days}d"] if days is not None else [])])

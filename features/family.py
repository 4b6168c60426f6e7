"""A feature and its family: what is computed, and the words it is told in.

A feature cannot exist without its sentences (English and Chinese), its unit, the direction in which
it is risky and whether a manager can act on it. Its column name is computed from the function's name
and its parameters, never typed.

A family names *sources*: functions that return a table at a finer grain than the observation, with
`account_id` and `as_of`. A feature is a function whose first parameter is the name of a source and
whose other parameters are filled from the declared values; it returns one reduction over that
source's rows. Where the source holds no row for an observation the column is `empty`.

A feature declared on the source `row` is computed last, from the finished columns of its own family.

A family says which *theme* its features speak of: what an account manager would name as the cause. Where one of them
speaks of another, or does so for one value of a parameter (the staff's tier), it says so itself.
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

Risk = Literal["low", "high", "either"]
"""The direction in which a value is risky: when it is low, when it is high, or either way."""
Theme = Literal["value", "adoption", "support", "sponsor", "fit", "first_value", "contract", "care"]
"""What a reason is about, as an account manager would name it.

value        whether the deciders see it: their use and opinion, contact with them, goals reached (S2, S4, J4, T3)
adoption     how far the staff use it (U1 to U5, J3)
support      how well tickets are answered, and what people say of it (T1, T2)
sponsor      deciders who left or fell silent (S3)
fit          whom it was sold to, at what price, and whether they pay (C1, C2)
first_value  the start: first value and the first half year (J2)
contract     the terms: length, stage, size of the commitment; what a manager meets as given
care         the playbooks that were run (M1)
"""
THEMES: tuple[Theme, ...] = get_args(Theme)


@dataclass(frozen=True)
class Feature:
    """One column: its name, its words and what it means."""

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
    """Whether it reads what our people log of what they do: it is computed and shown, and no model reads it (M5)."""
    clock: bool = False
    """Whether it follows from the contract's dates and the calendar alone, and so moves though nothing has happened."""

    def expression(self, table: ir.Table) -> ir.Value:
        """The reduction of `table` that is this feature, under its name."""
        return self.compute(table, **self.params).name(self.name)


TableMapping = Mapping[str, ir.Table]
"""What a family may read, by name: `spine`, `windows` tables and the tables of the data contract."""


@dataclass
class Family:
    """A group of features over the same tables; absent where a table it needs is absent."""

    name: str
    theme: Theme
    """What its features speak of unless they say otherwise."""
    needs: tuple[str, ...] = ()
    sources: dict[str, Callable[..., ir.Table]] = field(default_factory=dict)
    features: list[Feature] = field(default_factory=list)

    def source(self, make: Callable[..., ir.Table]) -> Callable[..., ir.Table]:
        """Register a table at a finer grain; its parameters name what it reads."""
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

        `theme` is that of all of them, or of those that have a certain value: `{"B": "adoption"}`.
        """

        def register(compute: Callable[..., ir.Value]) -> Callable[..., ir.Value]:
            source = next(iter(inspect.signature(compute).parameters))
            meaning = inspect.getdoc(compute)
            if not meaning:
                raise TypeError(f"feature {compute.__name__} has no docstring to say what it means")
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
    """Whether a source asks for a table in which our people log what they do, and not for the evidence in it alone."""
    asked = inspect.signature(make).parameters
    return any(name in TABLES and TABLES[name].logs_actions for name in asked)


def _theme(theme: Theme | Mapping[str, Theme] | None, params: Mapping[str, Any]) -> Theme | None:
    if isinstance(theme, Mapping):
        return next((theme[own] for own in params.values() if own in theme), None)
    return theme


QUANTUM = 1 / 1024
"""The grain of what is added up: fine enough for cents, and floats add its multiples exactly."""


HALF_LIFE_DAYS = 180
"""Days after which what happened to an account is taken to have left half of its mark."""


def decay_weight(days_ago: ir.NumericColumn, half_life_days: int = HALF_LIFE_DAYS) -> ir.FloatingValue:
    """What something so many days ago still counts: 1 on its day, half after `half_life_days` days; null where null."""
    return quantize((days_ago.cast("float64") * (-log(2) / half_life_days)).exp())


def quantize(number: ir.Value) -> ir.FloatingValue:
    """A number as the nearest multiple of `QUANTUM`: added in any order, on any number of threads, the sum is the same.

    Beyond 2 to the 43rd a float is coarser than that already, and stays as it is.
    """
    number, step = number.cast("float64"), ibis.literal(QUANTUM, "float64")
    stepped = (number / step + 0.5).floor().cast("float64") * step
    return (number.abs() < 2.0**43).ifelse(stepped, number)


def as_number(flag: ir.BooleanValue) -> ir.FloatingValue:
    """1.0 for yes, 0.0 for no, null where it is not known: PostgreSQL makes only an int32 of a yes or no."""
    return flag.cast("int32").cast("float64")


def column_name(function: str, params: Mapping[str, Any]) -> str:
    """The column of a function and its parameters: `active_people` over 28 days of tier S is `active_people_s_28d`."""
    days = params.get("days")
    parts = [str(value).lower() for key, value in params.items() if key != "days"]
    return "_".join([function, *parts, *([f"{days}d"] if days is not None else [])])

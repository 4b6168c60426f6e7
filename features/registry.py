"""Registry of all feature families, and the wide table of a family for a spine."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import ibis.expr.types as ir

from renewals.features import evidence, families
from renewals.features import spine as spines
from renewals.features.discovery import module_names
from renewals.features.families.stakeholders import people_then
from renewals.features.family import KEY, RENEWAL_KEY, Family, Feature
from renewals.features.policy import Policy
from renewals.features.tables import TABLES

FAMILIES: dict[str, Family] = {
    name: getattr(import_module(f"renewals.features.families.{name}"), name)
    for name in module_names(families.__path__, families.ORDER)
}
"""All families in `features/families/`, by name, in their order."""


EVIDENCE_SOURCES = (evidence.customer_touchpoints, evidence.survey_outcomes, evidence.goal_outcomes)
"""Sources of customer behaviour in the tables that log our actions."""


STAGE_TABLES = (
    "observations",
    "person_windows",
    "account_windows",
    "first_uses",
    "term_states",
    "outcomes",
    "activity",
)
"""Tables that earlier stages compute and pass on."""


class FeatureInputs:
    """Tables and derived tables that a source can request by parameter name.

    Each derived table is computed once: `materialize(name, table)` may store it and return the stored table.
    `is_missing(name)` is true if something requires a table that was not given.
    """

    def __init__(
        self,
        tables: Mapping[str, ir.Table],
        policy: Policy,
        materialize: Callable[[str, ir.Table], ir.Table] = lambda _name, table: table,
    ) -> None:
        self._materialize = materialize
        self._cache: dict[str, Any] = {**tables, "policy": policy, "rates": tables.get("rates")}
        self._builders: dict[str, Callable[..., ir.Table]] = {
            "spine": _build_spine,
            "terms": _build_terms,
            "people_then": people_then,
            **{make.__name__: make for make in EVIDENCE_SOURCES},
        }

    def is_missing(self, name: str) -> bool:
        """True if `name` cannot be computed from the given tables."""
        return bool(self.missing_dependencies(name))

    def missing_dependencies(self, name: str) -> set[str]:
        """Names of the missing tables that `name` requires. Raises `KeyError` if nothing has this name."""
        if name in self._cache:
            return set()
        if name in self._builders:
            return set().union(*map(self.missing_dependencies, _parameter_names(self._builders[name])))
        if name not in TABLES and name not in STAGE_TABLES:
            raise KeyError(f"a source has a parameter {name!r}, which is neither a table nor derived from one")
        return {name}

    def __getitem__(self, name: str) -> Any:
        if name not in self._cache:
            self._cache[name] = self._materialize(name, self.call_source(self._builders[name]))
        return self._cache[name]

    def call_source(self, make: Callable[..., ir.Table]) -> ir.Table:
        """Call a source with the inputs that its parameters name."""
        return make(**{name: self[name] for name in _parameter_names(make)})


def _parameter_names(make: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(make).parameters)


def _build_spine(observations: ir.Table) -> ir.Table:
    """The main row of each account: one row per (account_id, as_of)."""
    return observations.filter(observations.is_main)


def _build_terms(term_states: ir.Table, rates: ir.Table | None, spine: ir.Table, policy: Policy) -> ir.Table:
    return spines.terms(term_states, rates, spine, policy)


def available_features(family: Family, inputs: FeatureInputs) -> list[Feature]:
    """Features of a family that can be computed from the given tables."""
    if any(map(inputs.is_missing, family.needs)):
        return []
    usable = {name for name, make in family.sources.items() if not any(map(inputs.is_missing, _parameter_names(make)))}
    return [feature for feature in family.features if feature.source in usable]


def action_features() -> frozenset[str]:
    """Names of all features that read what our people log of their own actions: no model may read them (domain M5)."""
    return frozenset(feature.name for family in FAMILIES.values() for feature in family.features if feature.action)


def missing_tables(family: Family, inputs: FeatureInputs) -> list[str]:
    """Sorted names of missing tables because of which the family, or a part of it, is absent."""
    names = {*family.needs, *(name for make in family.sources.values() for name in _parameter_names(make))}
    return sorted(set[str]().union(*map(inputs.missing_dependencies, names)))


def family_table(family: Family, inputs: FeatureInputs) -> ir.Table:
    """Feature columns of a family: one row per observation (account_id, renewal_id, as_of).

    The features of a source with `renewal_id` are computed per renewal, all others per account.
    """
    features = available_features(family, inputs)
    rows = inputs["observations"].select(*RENEWAL_KEY)
    for source in dict.fromkeys(feature.source for feature in features):
        source_features = [feature for feature in features if feature.source == source]
        table = inputs.call_source(family.sources[source])
        key = RENEWAL_KEY if "renewal_id" in table.columns else KEY
        columns = table.group_by(*key).agg(*(feature.expression(table) for feature in source_features))
        rows = rows.left_join(columns, key).drop(*(f"{name}_right" for name in key))
    return rows.mutate(**{feature.name: _finish_column(rows[feature.name], feature) for feature in features})


def _finish_column(column: ir.Value, feature: Feature) -> ir.Value:
    if feature.kind == "category":
        return column.cast("string")
    return (column if feature.empty is None else column.fill_null(feature.empty)).cast("float64")


def feature_metadata(features: list[Feature]) -> list[dict[str, Any]]:
    """Metadata of features as JSON-compatible values, stored with a model and used for the texts of a list."""
    names = (
        *("name", "family", "meaning", "unit", "risk", "actionable", "action", "theme", "kind", "clock"),
        *("en", "zh"),
    )
    return [
        {name: getattr(feature, name) for name in names}
        | {"params": dict(feature.params), "function": feature.compute.__name__, "empty": feature.empty}
        for feature in features
    ]

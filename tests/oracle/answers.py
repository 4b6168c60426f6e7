"""Oracle answers for a world: every feature of the catalogue, one account and one day at a time."""

from __future__ import annotations

from datetime import date
from typing import Any

from renewals.features.family import Feature
from renewals.features.policy import Policy
from renewals.features.registry import FAMILIES
from tests.oracle.adoption import Adoption
from tests.oracle.advocacy import Advocacy
from tests.oracle.care import Care
from tests.oracle.contact import Contact
from tests.oracle.fit import Fit
from tests.oracle.known import AccountView, Row, World
from tests.oracle.sentiment import Sentiment
from tests.oracle.stakeholders import Stakeholders
from tests.oracle.terms import Commitment, observations
from tests.oracle.tickets import Tickets
from tests.oracle.use import Use
from tests.oracle.value import Value

ORACLES: dict[str, Any] = {
    "commitment": Commitment,
    "usage": Use,
    "adoption": Adoption,
    "stakeholders": Stakeholders,
    "tickets": Tickets,
    "sentiment": Sentiment,
    "value": Value,
    "fit": Fit,
    "contact": Contact,
    "advocacy": Advocacy,
    "care": Care,
}
"""By family, a class with one method per feature function, under the name of the function."""


def answers(world: World, dates: list[date], policy: Policy) -> dict[str, dict[tuple[Any, date], Row]]:
    """The spine and every family, in the form of `Engine.answers`."""
    result: dict[str, dict] = {name: {} for name in ("spine", *FAMILIES)}
    for account_id, account_world in worlds_by_account(world).items():
        for as_of in dates:
            view = AccountView(account_world, account_id, as_of, policy)
            for observed in observations(view):
                key = (account_id, as_of, observed["renewal_id"])
                result["spine"][key], view.renewal = observed, observed
                for name in FAMILIES:
                    result[name][key] = family_row(name, view)
    return result


def worlds_by_account(world: World) -> dict[Any, World]:
    """One world per account: its rows without exact duplicates, and the rates of all."""
    worlds: dict[Any, World] = {}
    for table, rows in world.items():
        for row in {tuple(row.items()): row for row in rows}.values():
            if table != "rates":
                worlds.setdefault(row["account_id"], {name: [] for name in world} | {"rates": world["rates"]})[
                    table
                ].append(row)
    return worlds


def family_row(name: str, view: AccountView) -> Row:
    """Columns of a family for one observation."""
    oracle = ORACLES[name](view)
    return {feature.name: value_of(oracle, feature) for feature in FAMILIES[name].features}


def value_of(oracle: Any, feature: Feature) -> Any:
    """Value of one feature; fail if the oracle lacks the feature, because it must be added there."""
    compute = getattr(oracle, feature.compute.__name__, None)
    assert compute is not None, f"tests/oracle has no {feature.family}.{feature.compute.__name__}: write it there first"
    return compute(**feature.params)

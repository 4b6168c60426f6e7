"""The oracle's answer for a whole world: one account and one day at a time, every feature of the catalogue."""

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
from tests.oracle.known import Row, Then, World
from tests.oracle.sentiment import Sentiment
from tests.oracle.stakeholders import Stakeholders
from tests.oracle.terms import Commitment, observation
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
"""By family, a class whose methods are named as the functions of its features."""


def answers(world: World, dates: list[date], policy: Policy) -> dict[str, dict[tuple[Any, date], Row]]:
    """The spine and every family, as `Engine.answers` gives them."""
    found: dict[str, dict] = {name: {} for name in ("spine", *FAMILIES)}
    for account_id, mine in apart(world).items():
        for as_of in dates:
            then = Then(mine, account_id, as_of, policy)
            observed = observation(then)
            if observed is not None:
                found["spine"][account_id, as_of] = observed
                for name in FAMILIES:
                    found[name][account_id, as_of] = family_row(name, then)
    return found


def apart(world: World) -> dict[Any, World]:
    """Each account's own little world: its rows, each once, and the rates that all share."""
    own: dict[Any, World] = {}
    for table, rows in world.items():
        for row in {tuple(row.items()): row for row in rows}.values():
            if table != "rates":
                own.setdefault(row["account_id"], {name: [] for name in world} | {"rates": world["rates"]})[
                    table
                ].append(row)
    return own


def family_row(name: str, then: Then) -> Row:
    """All columns of a family for one observation."""
    oracle = ORACLES[name](then)
    return {feature.name: value_of(oracle, feature) for feature in FAMILIES[name].features}


def value_of(oracle: Any, feature: Feature) -> Any:
    """What the oracle says of one feature; a feature that it does not know must be added to it."""
    ask = getattr(oracle, feature.compute.__name__, None)
    assert ask is not None, f"tests/oracle has no {feature.family}.{feature.compute.__name__}: write it there first"
    return ask(**feature.params)

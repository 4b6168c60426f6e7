"""Products, features and prices of the example company, and the levels of use (U1 to U3)."""

from __future__ import annotations

from typing import Literal

import numpy as np

FEATURES = (
    "login",
    "dashboard.view",
    "report.view",
    "search.run",
    "analysis.run",
    "segment.build",
    "export.csv",
    "workflow.create",
    "workflow.approve",
    "task.assign",
    "alert.configure",
    "api.sync",
)
"""Every product feature with recorded use."""

NORTH_STAR: tuple[str, ...] = (
    "report.view",
    "analysis.run",
    "segment.build",
    "workflow.create",
    "workflow.approve",
    "task.assign",
)
"""The actions that count as active use (U1): a login or a look at the home page does not count."""

CORE_WORKFLOW: tuple[str, ...] = ("workflow.*", "task.assign")
"""The customer's business process inside the product (S4)."""

LEVELS: dict[Literal["view", "analyse", "act"], tuple[str, ...]] = {
    "view": ("dashboard.view", "report.view", "search.run"),
    "analyse": ("analysis.run", "segment.build", "export.csv"),
    "act": ("workflow.*", "task.assign", "alert.configure", "api.sync"),
}
"""Features of each level of use (U3), in the form of `renewals.features.policy.Usage.levels`."""

VIEW_FEATURE_SHARES = ((1, 0.60), (2, 0.30), (3, 0.10))
ANALYSE_FEATURE_SHARES = ((4, 0.50), (5, 0.30), (6, 0.20))
ACT_FEATURE_SHARES = ((7, 0.20), (8, 0.35), (9, 0.30), (10, 0.07), (11, 0.08))
"""Index in `FEATURES` and share of the actions, within each level."""

PRODUCTS = ("core", "insights", "connect")
ADD_ON_COUNT = len(PRODUCTS) - 1
PLANS = ("starter", "business", "enterprise")
SEAT_PRICES = np.array([900.0, 1_800.0, 3_600.0])
"""Annual list price of a seat, by plan, in US dollars."""
CURRENCIES = ("USD", "EUR", "CNY")
LIST_RATES = np.array([1.0, 1.08, 0.14])
"""US dollars per unit of each currency, the basis of the price list."""

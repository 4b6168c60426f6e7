"""Rows of a backtest: one probability column for the model and for each baseline; and the settings of the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from renewals.models.evaluation.baselines import BASELINE_NAMES
from renewals.models.metrics import Resampling
from renewals.models.ranking import worklist
from renewals.models.settings import GateSettings

Floats = npt.NDArray[np.float64]
JsonObject = dict[str, Any]
MODEL = "model"


@dataclass(frozen=True)
class BacktestSettings:
    """Settings of a backtest report: the target, the gate, and the capacity of a manager."""

    target: str
    gate: GateSettings
    portfolio_limits: Callable[[str | None], worklist.PortfolioLimits]
    assumed_effect: float = 0.0
    """Log-odds of renewing that a playbook is assumed to add."""
    decided_days: int = 0
    """Days before the end of the contract by which the decision has been made."""

    @property
    def resampling(self) -> Resampling:
        """Resampling settings of every interval."""
        return Resampling(self.gate.bootstrap_samples, self.gate.confidence)


def compared_models(predictions: pd.DataFrame) -> list[str]:
    """Names of the model and of the baselines that have a column in `predictions`."""
    return [name for name in (MODEL, *BASELINE_NAMES) if name in predictions.columns]

"""Run another SHAP explainer in its own environment: `python bench/shap_peers.py NAME MODEL VALUES OUT`.

Explains the rows of VALUES (.npy) with the LightGBM text MODEL, writes the contributions (.npy) to OUT, and prints
one JSON line of CPU and wall seconds. Imports nothing of this project: FastTreeSHAP needs an older NumPy.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import lightgbm as lgb
import numpy as np

Explain = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]


def pred_contrib(booster: lgb.Booster) -> Explain:
    """Explain with LightGBM's `pred_contrib`."""
    return lambda values: np.asarray(booster.predict(values, pred_contrib=True))[:, :-1]


def shap(booster: lgb.Booster) -> Explain:
    """Explain with shap's TreeExplainer, which calls LightGBM for a LightGBM booster."""
    import shap

    return _last_class(shap.TreeExplainer(booster).shap_values)


def fasttreeshap(booster: lgb.Booster) -> Explain:
    """Explain with FastTreeSHAP v2, which tabulates too; without its check of the sum, which rejects the result."""
    import fasttreeshap

    explainer = fasttreeshap.TreeExplainer(booster, algorithm="v2", n_jobs=-1)
    return _last_class(lambda values: explainer.shap_values(values, check_additivity=False))


def _last_class(explain: Callable[[np.ndarray[Any, Any]], Any]) -> Explain:
    def last(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        result = explain(values)
        return np.asarray(result[-1] if isinstance(result, list) else result)

    return last


PEERS = {"LightGBM pred_contrib": pred_contrib, "shap TreeExplainer": shap, "FastTreeSHAP v2": fasttreeshap}


def main(name: str, model: str, values: str, out: str) -> None:
    explain, rows = PEERS[name](lgb.Booster(model_file=model)), np.load(values)
    explain(rows[:50])
    cpu, wall = time.process_time(), time.perf_counter()
    contributions = explain(rows)
    print(json.dumps({"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}))
    np.save(out, contributions)


if __name__ == "__main__":
    main(*sys.argv[1:])

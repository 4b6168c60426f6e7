"""What else explains a booster: `python bench/shap_peers.py NAME MODEL VALUES OUT`, in an environment that has it.

Explains the rows of VALUES (.npy) by the LightGBM text MODEL, writes contributions and base (.npy) to OUT, and prints
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
    """LightGBM's own."""
    return lambda values: np.asarray(booster.predict(values, pred_contrib=True))[:, :-1]


def shap(booster: lgb.Booster) -> Explain:
    """shap's TreeExplainer; for a LightGBM booster it asks LightGBM."""
    import shap

    return _told(shap.TreeExplainer(booster).shap_values)


def fasttreeshap(booster: lgb.Booster) -> Explain:
    """FastTreeSHAP v2, which tabulates too; without its own check of the sum, which refuses the answer."""
    import fasttreeshap

    explainer = fasttreeshap.TreeExplainer(booster, algorithm="v2", n_jobs=-1)
    return _told(lambda values: explainer.shap_values(values, check_additivity=False))


def _told(explain: Callable[[np.ndarray[Any, Any]], Any]) -> Explain:
    def last(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        told = explain(values)
        return np.asarray(told[-1] if isinstance(told, list) else told)

    return last


PEERS = {"LightGBM pred_contrib": pred_contrib, "shap TreeExplainer": shap, "FastTreeSHAP v2": fasttreeshap}


def main(name: str, model: str, values: str, out: str) -> None:
    explain, rows = PEERS[name](lgb.Booster(model_file=model)), np.load(values)
    explain(rows[:50])
    cpu, wall = time.process_time(), time.perf_counter()
    told = explain(rows)
    print(json.dumps({"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}))
    np.save(out, told)


if __name__ == "__main__":
    main(*sys.argv[1:])

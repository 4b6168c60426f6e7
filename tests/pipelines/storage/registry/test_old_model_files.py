"""Reading of models registered before the keys of their files were renamed."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from renewals.models.evaluation.drift import compare_feature
from renewals.models.settings import DriftSettings
from renewals.models.training.additive import AdditiveModel, CategoryEffects, NearTermEffects, PiecewiseLinear
from renewals.models.training.calibration import SigmoidCalibration
from renewals.pipelines.storage.artifacts import sha256
from renewals.pipelines.storage.old_names import rename_model_files
from renewals.pipelines.storage.registry import model_registry
from renewals.pipelines.storage.registry.old_model_files import upgrade_model_files

NAMES = ("arr", "plan")
LINEAR = """{
 "schema": "abc",
 "share_of_trees": 0.2,
 "intercept": 0.3,
 "parts": {
  "arr": {"at": [1.0, 2.0], "height": [-0.1, 0.4], "missing": 0.05},
  "plan": {"height": [0.2, -0.2], "missing": 0.0}
 },
 "near": {
  "feature": "arr",
  "days": 90,
  "parts": {
   "arr": {"at": [1.0, 2.0], "height": [0.0, 0.1], "missing": 0.0},
   "plan": {"height": [0.0, 0.0], "missing": 0.0}
  }
 },
 "uncertainty": 0.01
}
"""
CALIBRATION = """{
 "schema": "abc",
 "method": "sigmoid",
 "near_days": 90,
 "spread": 0.35,
 "slope": 0.9,
 "level": 0.1,
 "near_slope": 0.2,
 "near_level": -0.1,
 "segments": {"size_band": {"small": 0.03}}
}
"""
REFERENCE = """{
 "accounts": 40,
 "from": "2025-07-01",
 "to": "2026-06-01",
 "features": {
  "arr": {"edges": [1.0, 2.0], "shares": [0.5, 0.3, 0.2], "missing": 0.1, "swing": 0.4, "missing_swing": 0.2}
 },
 "score": {"accounts": 40, "edges": [0.5], "shares": [0.5, 0.5], "missing": 0.0, "swing": 0.3, "missing_swing": 0.0}
}
"""
OLD = {"linear.json": LINEAR.encode(), "calibration.json": CALIBRATION.encode(), "reference.json": REFERENCE.encode()}


def upgraded(name: str) -> dict:
    return json.loads(upgrade_model_files(OLD)[name])


def test_old_additive_model_has_equal_effects():
    model = AdditiveModel.from_json(upgraded("linear.json"), NAMES)
    assert upgraded("linear.json")["tree_weight"] == 0.2
    assert model.intercept == 0.3
    assert model.margin_variance == 0.01
    assert model.effects == (
        PiecewiseLinear((1.0, 2.0), (-0.1, 0.4), 0.05),
        CategoryEffects((0.2, -0.2), 0.0),
    )
    assert model.near_term == NearTermEffects(
        0, 90, (PiecewiseLinear((1.0, 2.0), (0.0, 0.1), 0.0), CategoryEffects((0.0, 0.0), 0.0))
    )


def test_old_additive_model_without_near_term_effects_is_readable():
    old = {"linear.json": json.dumps({**json.loads(LINEAR), "near": None}).encode()}
    assert AdditiveModel.from_json(json.loads(upgrade_model_files(old)["linear.json"]), NAMES).near_term is None


def test_old_calibration_has_equal_values():
    tree = upgraded("calibration.json")
    assert (tree["near_term_days"], tree["account_effect_sd"]) == (90, 0.35)
    assert SigmoidCalibration.from_json(tree) == SigmoidCalibration(0.9, 0.1, 0.2, -0.1, {"size_band": {"small": 0.03}})


def test_old_drift_reference_has_equal_limits():
    column = pd.Series([0.5] * 20 + [1.5] * 12 + [2.5] * 8)
    reference = upgraded("reference.json")
    inputs, missing = compare_feature("arr", column, reference["features"]["arr"], 40, DriftSettings())
    assert (inputs.limit, missing.limit) == pytest.approx((1.5 * 0.4, 1.5 * 0.2))
    assert reference["score"]["max_period_psi"] == 0.3


def test_files_with_present_keys_are_unchanged():
    now = upgrade_model_files(OLD)
    assert upgrade_model_files(now) == now
    assert upgrade_model_files({"model.txt": b"tree", "schema.json": b"{}"}) == {
        "model.txt": b"tree",
        "schema.json": b"{}",
    }


def test_registry_verifies_old_bytes_and_returns_files_under_present_names(monkeypatch):
    manifest = model_registry.build_manifest(OLD)
    version = SimpleNamespace(name="renewals-renewal", version="1", tags={})
    version.tags[model_registry.MANIFEST_TAG] = sha256(manifest)
    monkeypatch.setattr(model_registry, "_download_files", lambda *_: {**OLD, model_registry.MANIFEST: manifest})
    assert model_registry.verified_files(None, version) == upgrade_model_files(rename_model_files(OLD))

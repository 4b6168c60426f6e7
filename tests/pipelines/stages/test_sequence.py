"""Order of the stages: each stage is discovered in its folder and runs after the stage that it names."""

from __future__ import annotations

import ast

import pytest

from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.stages.sequence import ROOMS, find_stages, order_steps
from tests.root import ROOT

PREPARE = ["check", "freshness", "rollup", "ledger", "spine", "windows"]


def stage_names(*args, **options) -> list[str]:
    return [stage.__name__ for stage in find_stages(*args, **options)]


def ordered(command, *expected: str, **options) -> bool:
    """Whether the stages run in this order; other stages may run between them."""
    return [name for name in stage_names(command, **options) if name in expected] == list(expected)


def test_learn_runs_all_stages_up_to_the_training_table_and_then_the_models() -> None:
    assert ordered("learn", *PREPARE, "featurize", "label", "assemble")
    assert ordered("learn", "train", "evaluate", "register", per_target=True)


def test_score_computes_alerts_and_reasons_before_the_optional_stages() -> None:
    assert ordered("score", *PREPARE, "featurize", "alerts", "assemble", "score")
    assert ordered("score", "ledger", "disagreements", "score")
    assert ordered("score", "scorecard", "forecast", optional=True)


def test_the_scorecard_needs_no_features() -> None:
    assert ordered("scorecard", "check", "freshness", "rollup", "ledger")
    assert "featurize" not in stage_names("scorecard")


def test_every_stage_that_declares_a_step_is_discovered() -> None:
    declared = {
        path.stem
        for room in ROOMS
        for path in (ROOT / "pipelines" / "stages" / room).glob("*.py")
        if "STEP" in assigned_names(path.read_text())
    }
    discovered = {name for command in ("learn", "score", "scorecard") for name in stage_names(command)}
    discovered |= {*stage_names("learn", per_target=True), *stage_names("score", optional=True)}
    assert discovered == declared


def assigned_names(source: str) -> set[str]:
    """Names that the top level of a module assigns."""
    return {ast.unparse(node.targets[0]) for node in ast.parse(source).body if isinstance(node, ast.Assign)}


def test_stages_after_the_same_stage_are_ordered_by_name() -> None:
    first, later = Step(None, ("learn",)), Step("one", ("learn",))
    assert order_steps({"b": later, "one": first, "a": later, "z": Step("a", ("learn",))}) == ["one", "a", "b", "z"]


def test_a_stage_after_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stage 'a' runs after 'b', which is no stage"):
        order_steps({"a": Step("b", ("learn",))})

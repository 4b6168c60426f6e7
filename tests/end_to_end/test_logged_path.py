"""Logged actions of managers change nothing on the list except the columns that show actions (M5)."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path

import pandas as pd
import pytest

from renewals.features.policy import CONTACT_KINDS
from renewals.features.registry import action_features
from renewals.models.ranking.playbooks import PlaybookLibrary
from renewals.pipelines.commands.score import run_score
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage import playbook_library
from tests.end_to_end.conftest import DAY

pytestmark = pytest.mark.slow

LAST_NIGHT = datetime.combine(DAY, time()) - timedelta(hours=6)
SHOWS_ACTIONS = ["alerts"]
"""Columns of the list that may show logged actions: an alert ends after a meeting or a follow-up of a survey."""
SCORES = (
    "prescribed_playbooks.parquet",
    "contributions.parquet",
    "peer_medians.parquet",
    "strength_features.parquet",
    "what_if_grid.parquet",
)


@pytest.fixture(scope="module")
def without_actions(learned, tmp_path_factory) -> Job:
    """Job of the list of the day, without further logged actions."""
    work = tmp_path_factory.mktemp("before")
    shutil.copytree(
        learned[0].data, work / "data", ignore=shutil.ignore_patterns("lists", "act", "list_archive", "alert_history")
    )
    job = replace(learned[0], until=None, as_of=DAY, data=work / "data", lists=work / "lists")
    run_score(job)
    return job


@pytest.fixture(scope="module")
def with_actions(without_actions, tmp_path_factory) -> Job:
    """The same job with each playbook and kind of contact logged for each account, and all answers followed up."""
    work = tmp_path_factory.mktemp("after")
    shutil.copytree(without_actions.tables, work / "tables", ignore=shutil.ignore_patterns("ground_truth"))
    log_everything(work / "tables", playbook_library.load_library(without_actions))
    shutil.copytree(
        without_actions.data, work / "data", ignore=shutil.ignore_patterns("act", "list_archive", "alert_history")
    )
    job = replace(without_actions, tables=str(work / "tables"), data=work / "data", lists=work / "lists")
    run_score(job)
    return job


def log_everything(tables: Path, library: PlaybookLibrary) -> None:
    people = pd.read_parquet(tables / "people.parquet")[["account_id", "user_id"]]
    accounts = people[["account_id"]].drop_duplicates()
    plays = accounts.merge(pd.DataFrame({"playbook": list(library.plays)}), "cross")
    append(tables / "interventions.parquet", plays.assign(started_at=LAST_NIGHT))
    kinds = pd.DataFrame({"kind": CONTACT_KINDS, "initiated_by": ["us", None] * 3})
    append(tables / "touchpoints.parquet", people.merge(kinds, "cross").assign(occurred_at=LAST_NIGHT))
    append(tables / "value_goals.parquet", accounts.assign(goal="save an hour", set_at=LAST_NIGHT))
    surveys = pd.read_parquet(tables / "surveys.parquet")
    answered = surveys["answered_at"] < LAST_NIGHT
    surveys.loc[answered, "followed_up_at"] = LAST_NIGHT
    surveys.to_parquet(tables / "surveys.parquet", index=False)
    append(tables / "surveys.parquet", people.assign(kind="nps", sent_at=LAST_NIGHT))


def append(file: Path, rows: pd.DataFrame) -> None:
    existing = pd.read_parquet(file)
    new = rows.reindex(columns=existing.columns).astype(existing.dtypes.to_dict())
    pd.concat([existing, new], ignore_index=True).to_parquet(file, index=False)


def features_of(job: Job) -> pd.DataFrame:
    return pd.read_parquet(job.folder / "scoring.parquet").set_index("account_id")


def test_logged_actions_change_the_features(without_actions, with_actions):
    """Without this, the following tests would prove nothing."""
    was, now = features_of(without_actions), features_of(with_actions)
    plays = len(playbook_library.load_library(without_actions).plays)
    assert (now["playbooks_started_90d"] - was["playbooks_started_90d"] == plays).all()
    assert (now["contacts_total_28d"] > was["contacts_total_28d"]).mean() > 0.9
    assert now["low_scores_without_follow_up"].sum() == 0 < was["low_scores_without_follow_up"].sum()


def test_the_score_table_has_the_same_bytes(without_actions, with_actions):
    was, now = (
        pd.read_parquet(job.folder / "list.parquet").drop(columns=SHOWS_ACTIONS)
        for job in (without_actions, with_actions)
    )
    pd.testing.assert_frame_equal(was, now, check_exact=True)
    assert was.to_csv().encode() == now.to_csv().encode()


@pytest.mark.parametrize("name", SCORES)
def test_the_tables_of_the_list_have_the_same_bytes(without_actions, with_actions, name):
    """Prescribed playbooks, contributions, peer medians, strengths and the what-if grid."""
    assert (without_actions.folder / name).read_bytes() == (with_actions.folder / name).read_bytes()


def values_in(table: pd.DataFrame, columns: str) -> set[str]:
    """Distinct values in the columns with matching names."""
    return set(table.filter(regex=columns).stack().dropna())


def test_no_reason_and_no_what_if_feature_is_an_action(without_actions):
    features = values_in(pd.read_parquet(without_actions.folder / "list.parquet"), r"^reason_\d_feature$")
    features |= values_in(
        pd.read_parquet(without_actions.folder / "strength_features.parquet"), r"^strength_\d_feature$"
    )
    tried = set(pd.read_parquet(without_actions.folder / "what_if_grid.parquet")["feature"])
    assert not (features | tried | set(without_actions.settings.list.what_if_features)) & action_features()
    assert features
    assert tried


def test_every_theme_of_a_reason_has_a_playbook(without_actions):
    """`care` is the theme of playbooks already started; no reason has it."""
    listed = pd.read_parquet(without_actions.folder / "list.parquet")
    themes = values_in(listed, r"^reason_\d_theme$")
    playbook_themes = {
        theme for playbook in playbook_library.load_library(without_actions).plays.values() for theme in playbook.themes
    }
    assert themes <= playbook_themes
    assert "care" not in themes
    assert listed["playbook_1"].notna().any()

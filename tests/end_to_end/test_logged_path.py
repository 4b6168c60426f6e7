"""A manager logs what they did, the list is made again, and nothing on it has moved but what shows the action (M5)."""

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

LAST_NIGHT = datetime.combine(DAY, time()) - timedelta(hours=6)
SHOWS_ACTIONS = ["alerts"]
"""The columns of the list that may show what was logged: an alert ends when somebody was met or an answer followed."""
SCORES = (
    "prescribed_playbooks.parquet",
    "contributions.parquet",
    "peer_medians.parquet",
    "strength_features.parquet",
    "what_if_grid.parquet",
)


@pytest.fixture(scope="module")
def before(learned, tmp_path_factory) -> Job:
    """The list of the day, with nothing logged."""
    work = tmp_path_factory.mktemp("before")
    shutil.copytree(
        learned[0].data, work / "data", ignore=shutil.ignore_patterns("lists", "act", "list_archive", "alert_history")
    )
    job = replace(learned[0], until=None, as_of=DAY, data=work / "data", lists=work / "lists")
    run_score(job)
    return job


@pytest.fixture(scope="module")
def after(before, tmp_path_factory) -> Job:
    """The same list once every play and every kind of contact was logged for every account, and answers followed up."""
    work = tmp_path_factory.mktemp("after")
    shutil.copytree(before.tables, work / "tables", ignore=shutil.ignore_patterns("ground_truth"))
    log_everything(work / "tables", playbook_library.load_library(before))
    shutil.copytree(before.data, work / "data", ignore=shutil.ignore_patterns("act", "list_archive", "alert_history"))
    job = replace(before, tables=str(work / "tables"), data=work / "data", lists=work / "lists")
    run_score(job)
    return job


def log_everything(tables: Path, library: PlaybookLibrary) -> None:
    people = pd.read_parquet(tables / "people.parquet")[["account_id", "user_id"]]
    accounts = people[["account_id"]].drop_duplicates()
    plays = accounts.merge(pd.DataFrame({"playbook": list(library.plays)}), "cross")
    add(tables / "interventions.parquet", plays.assign(started_at=LAST_NIGHT))
    kinds = pd.DataFrame({"kind": CONTACT_KINDS, "initiated_by": ["us", None] * 3})
    add(tables / "touchpoints.parquet", people.merge(kinds, "cross").assign(occurred_at=LAST_NIGHT))
    add(tables / "value_goals.parquet", accounts.assign(goal="save an hour", set_at=LAST_NIGHT))
    surveys = pd.read_parquet(tables / "surveys.parquet")
    answered = surveys["answered_at"] < LAST_NIGHT
    surveys.loc[answered, "followed_up_at"] = LAST_NIGHT
    surveys.to_parquet(tables / "surveys.parquet", index=False)
    add(tables / "surveys.parquet", people.assign(kind="nps", sent_at=LAST_NIGHT))


def add(file: Path, rows: pd.DataFrame) -> None:
    there = pd.read_parquet(file)
    new = rows.reindex(columns=there.columns).astype(there.dtypes.to_dict())
    pd.concat([there, new], ignore_index=True).to_parquet(file, index=False)


def figures(job: Job) -> pd.DataFrame:
    return pd.read_parquet(job.folder / "scoring.parquet").set_index("account_id")


def test_what_was_logged_is_known_to_the_list(before, after):
    """Or the tests below would show nothing."""
    was, now = figures(before), figures(after)
    plays = len(playbook_library.load_library(before).plays)
    assert (now["playbooks_started_90d"] - was["playbooks_started_90d"] == plays).all()
    assert (now["contacts_total_28d"] > was["contacts_total_28d"]).mean() > 0.9
    assert now["low_scores_without_follow_up"].sum() == 0 < was["low_scores_without_follow_up"].sum()


def test_the_score_table_is_the_same_to_the_byte(before, after):
    was, now = (pd.read_parquet(job.folder / "list.parquet").drop(columns=SHOWS_ACTIONS) for job in (before, after))
    pd.testing.assert_frame_equal(was, now, check_exact=True)
    assert was.to_csv().encode() == now.to_csv().encode()


@pytest.mark.parametrize("name", SCORES)
def test_what_stands_behind_it_is_the_same_to_the_byte(before, after, name):
    """Plays and their worth, contributions, peers, strengths, and the figures to be tried."""
    assert (before.folder / name).read_bytes() == (after.folder / name).read_bytes()


def spoken_of(table: pd.DataFrame, columns: str) -> set[str]:
    """What stands in the columns whose names match."""
    return set(table.filter(regex=columns).stack().dropna())


def test_no_reason_and_no_figure_to_be_tried_speaks_of_an_action(before):
    named = spoken_of(pd.read_parquet(before.folder / "list.parquet"), r"^reason_\d_feature$")
    named |= spoken_of(pd.read_parquet(before.folder / "strength_features.parquet"), r"^strength_\d_feature$")
    tried = set(pd.read_parquet(before.folder / "what_if_grid.parquet")["feature"])
    assert not (named | tried | set(before.settings.list.what_if_features)) & action_features()
    assert named
    assert tried


def test_every_theme_that_reasons_speak_of_has_a_play(before):
    """`care` is the theme of plays that were run, and no reason speaks of it any more."""
    listed = pd.read_parquet(before.folder / "list.parquet")
    spoken = spoken_of(listed, r"^reason_\d_theme$")
    answered = {theme for play in playbook_library.load_library(before).plays.values() for theme in play.themes}
    assert spoken <= answered
    assert "care" not in spoken
    assert listed["playbook_1"].notna().any()

"""What DVC cannot see and is told: the raw tables, the registry, and what came before a list."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from renewals.pipelines.commands import models
from renewals.pipelines.runtime.errors import ConfigError, MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.paths import DVC_ROOT
from renewals.pipelines.stages.act.champions import champions
from renewals.pipelines.stages.act.context import context
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.tables import tables
from renewals.pipelines.storage.published import list_archive
from tests.pipelines import answered_company
from tests.pipelines.answered_company import JULY, JUNE, Company
from tests.pipelines.registered_models import TARGET, copied, three_versions
from tests.pipelines.storage.engine.test_warehouse import as_csv, as_duckdb, as_parquet, job

# --- tables ------------------------------------------------------------------------------------------


def told(own: Job) -> bytes:
    tables(own)
    return (own.data / "tables.json").read_bytes()


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


SOURCES: dict[str, Callable[[Path], Any]] = {
    "parquet": lambda root: as_parquet(root / "raw"),
    "csv": lambda root: as_csv(root / "raw"),
    "duckdb": lambda root: (as_duckdb(root / "raw.duckdb"), root / "raw.duckdb")[1],
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_digests_are_those_of_the_certificate(source: str, tmp_path: Path) -> None:
    made = SOURCES[source](tmp_path)
    own = job(f"duckdb:///{made}" if source == "duckdb" else made, tmp_path / "data")
    before = everything(Path(made)) if source != "duckdb" else Path(made).read_bytes()
    standing = json.loads(told(own))
    check(own)
    certified = json.loads((own.data / "validation_report.json").read_bytes())["tables"]
    assert standing == {"tables": {n: one["fingerprint"] for n, one in certified.items()}, "feedback": None}
    assert (everything(Path(made)) if source != "duckdb" else Path(made).read_bytes()) == before
    assert [path.name for path in own.data.glob("*.tmp")] == []


def test_a_changed_table_a_new_one_and_an_action_are_seen(tmp_path: Path) -> None:
    company = answered_company.company(tmp_path)
    seen = [told(company.job()), told(company.job())]
    assert seen[0] == seen[1]
    company.write("accounts", [{"account_id": i, "account_name": "new", "csm": "Anna"} for i in company.ids.values()])
    seen.append(told(company.job()))
    company.write("referrals", [{"account_id": "acme", "referred_at": "2026-01-01"}])
    seen.append(told(company.job()))
    act_on(company)
    seen.append(told(company.job()))
    assert len(set(seen)) == len(seen) - 1


def act_on(company: Company) -> None:
    book = company.book("anna.xlsx", {"Anna": [("acme", "Will be lost", "Visit the boss", date(2026, 6, 5), "asked")]})
    company.collect(book)


@pytest.mark.parametrize("there", [False, True])
def test_without_tables_it_says_which_command_makes_an_example_and_where_own_tables_go(
    there: bool, tmp_path: Path
) -> None:
    if there:
        (tmp_path / "raw").mkdir()
    with pytest.raises(MissingInputError) as stop:
        tables(job(tmp_path / "raw", tmp_path / "data"))
    assert str(tmp_path / "raw") in str(stop.value)
    for word in ("`renewals example --out demo/company`", "`tables`", "params.yaml", "--tables"):
        assert word in str(stop.value)


def test_what_later_stages_would_meet_is_said_before_any_table_is_read(tmp_path: Path) -> None:
    company = answered_company.company(tmp_path)
    (tmp_path / "own.yaml").write_text("plays: {x: {}}\n")
    with pytest.raises(ConfigError, match=r"own\.yaml"):
        tables(company.job(list={"playbooks": str(tmp_path / "own.yaml")}))
    with pytest.raises(ConfigError, match="no target 'profit'"):
        tables(company.job(targets=["profit"]))


def test_where_one_table_is_missing_no_example_is_offered(tmp_path: Path) -> None:
    as_parquet(tmp_path / "raw")
    (tmp_path / "raw" / "contracts.parquet").unlink()
    with pytest.raises(MissingInputError, match=r"contracts is missing; found accounts, usage_events$"):
        tables(job(tmp_path / "raw", tmp_path / "data"))


def test_in_the_copy_of_an_experiment_the_answers_are_those_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = answered_company.company(tmp_path / "project")
    act_on(company)
    copy = tmp_path / "project" / ".dvc" / "tmp" / "exps" / "tmp1"
    (copy / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    at_home = told(replace(company.job(), data=Path("data")))
    monkeypatch.chdir(copy)
    monkeypatch.setenv(DVC_ROOT, str(tmp_path / "project"))
    assert told(replace(company.job(), data=Path("data"))) == at_home
    assert json.loads(at_home)["feedback"]


# --- champions ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return three_versions(tmp_path_factory.mktemp("registry") / "data")


def serves(own: Job) -> Any:
    champions(own)
    return json.loads((own.folder / "champions.json").read_bytes())


def test_promoting_and_rolling_back_are_seen(kept: Job, tmp_path: Path) -> None:
    own = copied(kept, tmp_path / "data")
    first = serves(own)
    assert first[TARGET]["champion"]["version"] == "2"
    assert serves(own) == first
    models.rollback(own, TARGET)
    second = serves(own)
    assert second[TARGET]["champion"]["version"] == "1"
    assert second[TARGET]["champion"]["manifest_sha256"] != first[TARGET]["champion"]["manifest_sha256"]
    models.promote(own, TARGET, 2, None, False)
    assert serves(own) == first


def test_without_a_registry_nothing_serves_and_none_is_made(tmp_path: Path) -> None:
    own = replace(job("", tmp_path / "data"), as_of=JUNE)
    assert serves(own) == dict.fromkeys(("renewal", "upsell", "cross_sell", "expansion"))
    assert not (own.data / "mlflow.db").exists()


# --- what came before --------------------------------------------------------------------------------


def before(company: Company) -> bytes:
    own = company.job(JULY)
    context(own)
    return (own.folder / "context.json").read_bytes()


def keep(company: Company, day: date, key: str) -> None:
    """What stands behind a list is kept."""
    folder = list_archive.archive_folder(company.job(), day)
    folder.mkdir(parents=True)
    (folder / list_archive.METADATA_FILE).write_text(json.dumps({"key": key}))


def test_whatever_a_list_builds_on_is_seen(tmp_path: Path) -> None:
    company = answered_company.company(tmp_path)
    data = company.root / "data"
    seen = [before(company)]
    assert before(company) == seen[0]

    def changes(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"changed")
        seen.append(before(company))

    changes(data / "effect" / "effect.json")
    changes(data / "told" / "2026-06-01.parquet")
    keep(company, JUNE, "another")
    seen.append(before(company))
    act_on(company)
    seen.append(before(company))
    company.publish(JUNE, made=2)
    seen.append(before(company))
    shutil.rmtree(company.root / "lists" / "2026-06-01")
    seen.append(before(company))
    assert len(set(seen)) == len(seen)


def test_a_library_of_the_company_s_own_is_followed(tmp_path: Path) -> None:
    company = answered_company.company(tmp_path)
    library = tmp_path / "own.yaml"
    own = company.job(JULY, list={"playbooks": str(library)})
    seen = []
    for text in ("plays: {}\n", "plays: {}\n# edited\n"):
        library.write_text(text)
        context(own)
        seen.append((own.folder / "context.json").read_bytes())
    assert seen[0] != seen[1]


def test_what_the_day_itself_publishes_changes_nothing(tmp_path: Path) -> None:
    """Otherwise each run would find the list of the run before, and score anew."""
    company = answered_company.company(tmp_path)
    seen = before(company)
    company.publish(JULY)
    (company.root / "data" / "alert_history").mkdir()
    (company.root / "data" / "alert_history" / "2026-07-01.parquet").write_bytes(b"of the day")
    keep(company, JULY, "own")
    assert before(company) == seen

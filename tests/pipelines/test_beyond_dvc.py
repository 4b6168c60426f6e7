"""Files that make changes outside DVC visible to it: raw tables, registry, and the context of a list."""

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


def table_digests(run: Job) -> bytes:
    tables(run)
    return (run.data / "tables.json").read_bytes()


def file_contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


SOURCES: dict[str, Callable[[Path], Any]] = {
    "parquet": lambda root: as_parquet(root / "raw"),
    "csv": lambda root: as_csv(root / "raw"),
    "duckdb": lambda root: (as_duckdb(root / "raw.duckdb"), root / "raw.duckdb")[1],
}


@pytest.mark.parametrize("source", SOURCES)
def test_digests_equal_those_of_the_certificate(source: str, tmp_path: Path) -> None:
    source_at = SOURCES[source](tmp_path)
    run = job(f"duckdb:///{source_at}" if source == "duckdb" else source_at, tmp_path / "data")
    before = file_contents(Path(source_at)) if source != "duckdb" else Path(source_at).read_bytes()
    digests = json.loads(table_digests(run))
    check(run)
    certified = json.loads((run.data / "validation_report.json").read_bytes())["tables"]
    assert digests == {"tables": {n: table["fingerprint"] for n, table in certified.items()}, "feedback": None}
    assert (file_contents(Path(source_at)) if source != "duckdb" else Path(source_at).read_bytes()) == before
    assert [path.name for path in run.data.glob("*.tmp")] == []


def test_changed_tables_new_tables_and_actions_change_the_digests(tmp_path: Path) -> None:
    company = answered_company.company(tmp_path)
    seen = [table_digests(company.job()), table_digests(company.job())]
    assert seen[0] == seen[1]
    company.write("accounts", [{"account_id": i, "account_name": "new", "csm": "Anna"} for i in company.ids.values()])
    seen.append(table_digests(company.job()))
    company.write("referrals", [{"account_id": "acme", "referred_at": "2026-01-01"}])
    seen.append(table_digests(company.job()))
    collect_action(company)
    seen.append(table_digests(company.job()))
    assert len(set(seen)) == len(seen) - 1


def collect_action(company: Company) -> None:
    book = company.book("anna.xlsx", {"Anna": [("acme", "Will be lost", "Visit the boss", date(2026, 6, 5), "asked")]})
    company.collect(book)


@pytest.mark.parametrize("folder_exists", [False, True])
def test_the_message_about_missing_tables_names_the_example_command_and_the_settings(
    folder_exists: bool, tmp_path: Path
) -> None:
    if folder_exists:
        (tmp_path / "raw").mkdir()
    with pytest.raises(MissingInputError) as stop:
        tables(job(tmp_path / "raw", tmp_path / "data"))
    assert str(tmp_path / "raw") in str(stop.value)
    for part in ("`renewals example --out demo/company`", "`tables`", "params.yaml", "--tables"):
        assert part in str(stop.value)


def test_configuration_errors_of_later_stages_are_reported_before_any_table_is_read(tmp_path: Path) -> None:
    company = answered_company.company(tmp_path)
    (tmp_path / "own.yaml").write_text("plays: {x: {}}\n")
    with pytest.raises(ConfigError, match=r"own\.yaml"):
        tables(company.job(list={"playbooks": str(tmp_path / "own.yaml")}))
    with pytest.raises(ConfigError, match="no target 'profit'"):
        tables(company.job(targets=["profit"]))


def test_the_message_about_one_missing_table_offers_no_example(tmp_path: Path) -> None:
    as_parquet(tmp_path / "raw")
    (tmp_path / "raw" / "contracts.parquet").unlink()
    with pytest.raises(MissingInputError, match=r"contracts is missing; found accounts, usage_events$"):
        tables(job(tmp_path / "raw", tmp_path / "data"))


def test_the_copy_of_an_experiment_uses_the_feedback_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = answered_company.company(tmp_path / "project")
    collect_action(company)
    copy = tmp_path / "project" / ".dvc" / "tmp" / "exps" / "tmp1"
    (copy / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    in_project = table_digests(replace(company.job(), data=Path("data")))
    monkeypatch.chdir(copy)
    monkeypatch.setenv(DVC_ROOT, str(tmp_path / "project"))
    assert table_digests(replace(company.job(), data=Path("data"))) == in_project
    assert json.loads(in_project)["feedback"]


# --- champions ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return three_versions(tmp_path_factory.mktemp("registry") / "data")


def champions_file(run: Job) -> Any:
    champions(run)
    return json.loads((run.folder / "champions.json").read_bytes())


def test_promotion_and_rollback_change_the_champions_file(registered: Job, tmp_path: Path) -> None:
    run = copied(registered, tmp_path / "data")
    first = champions_file(run)
    assert first[TARGET]["champion"]["version"] == "2"
    assert champions_file(run) == first
    models.rollback(run, TARGET)
    second = champions_file(run)
    assert second[TARGET]["champion"]["version"] == "1"
    assert second[TARGET]["champion"]["manifest_sha256"] != first[TARGET]["champion"]["manifest_sha256"]
    models.promote(run, TARGET, 2, None, False)
    assert champions_file(run) == first


def test_without_a_registry_no_champion_is_listed_and_no_registry_is_created(tmp_path: Path) -> None:
    run = replace(job("", tmp_path / "data"), as_of=JUNE)
    assert champions_file(run) == dict.fromkeys(("renewal", "upsell", "cross_sell", "expansion"))
    assert not (run.data / "mlflow.db").exists()


# --- context -----------------------------------------------------------------------------------------


def context_file(company: Company) -> bytes:
    run = company.job(JULY)
    context(run)
    return (run.folder / "context.json").read_bytes()


def archive_metadata(company: Company, day: date, key: str) -> None:
    """Archive the metadata of a list."""
    folder = list_archive.archive_folder(company.job(), day)
    folder.mkdir(parents=True)
    (folder / list_archive.METADATA_FILE).write_text(json.dumps({"key": key}))


def test_every_input_of_a_list_changes_the_context(tmp_path: Path) -> None:
    company = answered_company.company(tmp_path)
    data = company.root / "data"
    seen = [context_file(company)]
    assert context_file(company) == seen[0]

    def change_file(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"changed")
        seen.append(context_file(company))

    change_file(data / "effect" / "effect.json")
    change_file(data / "told" / "2026-06-01.parquet")
    archive_metadata(company, JUNE, "another")
    seen.append(context_file(company))
    collect_action(company)
    seen.append(context_file(company))
    company.publish(JUNE, edition=2)
    seen.append(context_file(company))
    shutil.rmtree(company.root / "lists" / "2026-06-01")
    seen.append(context_file(company))
    assert len(set(seen)) == len(seen)


def test_an_edited_custom_playbook_library_changes_the_context(tmp_path: Path) -> None:
    company = answered_company.company(tmp_path)
    library = tmp_path / "own.yaml"
    run = company.job(JULY, list={"playbooks": str(library)})
    seen = []
    for text in ("plays: {}\n", "plays: {}\n# edited\n"):
        library.write_text(text)
        context(run)
        seen.append((run.folder / "context.json").read_bytes())
    assert seen[0] != seen[1]


def test_outputs_of_the_same_day_do_not_change_the_context(tmp_path: Path) -> None:
    """If they did, each run would see the list of the run before and score again."""
    company = answered_company.company(tmp_path)
    seen = context_file(company)
    company.publish(JULY)
    (company.root / "data" / "alert_history").mkdir()
    (company.root / "data" / "alert_history" / "2026-07-01.parquet").write_bytes(b"of the day")
    archive_metadata(company, JULY, "own")
    assert context_file(company) == seen

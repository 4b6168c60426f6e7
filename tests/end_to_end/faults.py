"""Faults with their documented exit codes.

`python -m tests.end_to_end.faults DATA LISTS TABLES` prints one line per fault for a company with
models and a list: name, expected code, code, state, message.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from renewals.pipelines import cli
from renewals.pipelines.runtime.lock import exclusive_lock
from tests.end_to_end.conftest import DAY, QUICK

CLOSED_PORT = "127.0.0.1:1"
"""Address of a port without a server."""


@dataclass
class CompanyCopy:
    """Copy of a company's tables, data folder and lists, in which faults are created."""

    root: Path
    params: list[str] = field(default_factory=list)
    during: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext

    @property
    def tables(self) -> Path:
        return self.root / "tables"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def lists(self) -> Path:
        return self.root / "lists"

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.tables / f"{name}.parquet")

    def write(self, name: str, rows: pd.DataFrame) -> None:
        rows.to_parquet(self.tables / f"{name}.parquet")

    def as_csv(self, name: str) -> Path:
        path = self.tables / f"{name}.csv"
        self.table(name).to_csv(path, index=False)
        (self.tables / f"{name}.parquet").unlink()
        return path

    def model_file(self, name: str) -> Path:
        """A file of the registered model of renewals."""
        folders = (path.parent for path in (self.data / "mlartifacts").rglob("extra_files/schema.json"))
        of = {json.loads((folder / "schema.json").read_bytes())["target"]: folder for folder in folders}
        return of["renewal"] / name


Damage = Callable[[CompanyCopy], Any]


@dataclass(frozen=True)
class Fault:
    """One fault: its exit code, the arguments of the command, and the damage before the command runs."""

    name: str
    code: int
    arguments: tuple[str, ...]
    damage: Damage = lambda company: None
    message: str = ""
    """A part of the message."""
    slow: bool = False
    """True if the command fails only near its end."""


SCORE = ("score", "--as-of", str(DAY))
LEARN = ("learn", "--until", str(DAY))
CHECK = ("check",)
EXPLAIN = ("explain", "{account}", "--as-of", str(DAY))
PUBLISH = ("publish", "--as-of", str(DAY), "--to")


def replace_columns(name: str, **columns: Any) -> Damage:
    """Replace columns of a table."""
    return lambda company: company.write(name, company.table(name).assign(**columns))


def drop_column(name: str, column: str) -> Damage:
    return lambda company: company.write(name, company.table(name).drop(columns=column))


def truncate(path: Callable[[CompanyCopy], Path], share: float = 0.5) -> Damage:
    def damage(company: CompanyCopy) -> None:
        content = path(company).read_bytes()
        path(company).write_bytes(content[: int(len(content) * share)])

    return damage


def replace_bytes(path: Callable[[CompanyCopy], Path], old: bytes, new: bytes) -> Damage:
    def damage(company: CompanyCopy) -> None:
        content = path(company).read_bytes()
        assert old in content
        path(company).write_bytes(content.replace(old, new, 1))

    return damage


def write_bytes(path: Callable[[CompanyCopy], Path], content: bytes) -> Damage:
    def damage(company: CompanyCopy) -> None:
        path(company).parent.mkdir(parents=True, exist_ok=True)
        path(company).write_bytes(content)

    return damage


def write_not_utf8(company: CompanyCopy) -> None:
    path = company.as_csv("accounts")
    path.write_bytes(path.read_bytes() + "A9,东方".encode("gb18030") + b"\n")


def write_short_line(company: CompanyCopy) -> None:
    path = company.as_csv("contracts")
    path.write_text(path.read_text() + "a,b\n")


def write_table_twice(company: CompanyCopy) -> None:
    company.table("accounts").to_csv(company.tables / "accounts.csv", index=False)


def remove_interventions(company: CompanyCopy) -> None:
    (company.tables / "interventions.parquet").unlink(missing_ok=True)


def replace_by_file(path: str) -> Damage:
    """Replace a folder by a file."""

    def damage(company: CompanyCopy) -> None:
        shutil.rmtree(company.root / path, ignore_errors=True)
        (company.root / path).write_text("not a folder")

    return damage


def lock_data_folder(company: CompanyCopy) -> None:
    company.during = lambda: exclusive_lock(company.data, "backtest")


def lock_lists(company: CompanyCopy) -> None:
    from filelock import FileLock

    company.during = lambda: FileLock(company.lists / ".lock")


def fill_disk(name: str) -> Damage:
    """Simulate a full disk when a file with this name is written."""

    def damage(company: CompanyCopy) -> None:
        company.during = lambda: disk_full(name)

    return damage


@contextmanager
def disk_full(name: str) -> Iterator[None]:
    before = Path.write_bytes

    def write(path: Path, content: bytes) -> int:
        if name in path.name:
            raise OSError(28, "No space left on device", str(path))
        return before(path, content)

    Path.write_bytes = write  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        Path.write_bytes = before  # type: ignore[method-assign]


def damage_database(company: CompanyCopy) -> None:
    (company.data / "mlflow.db").write_bytes(b"SQLite format 3\x00" + b"\x07" * 4000)


def remove_aliases(company: CompanyCopy) -> None:
    """Remove the aliases, as if no model had passed the gate."""
    with sqlite3.connect(company.data / "mlflow.db") as database:
        database.execute("DELETE FROM registered_model_aliases")


def reject_version(company: CompanyCopy) -> None:
    with sqlite3.connect(company.data / "mlflow.db") as database:
        database.execute("UPDATE model_version_tags SET value = 'refused' WHERE key = 'gate'")
        database.execute("DELETE FROM registered_model_aliases")


def duckdb_file(company: CompanyCopy) -> Path:
    return company.root / "company.duckdb"


def hold_duckdb_file(company: CompanyCopy) -> None:
    """Keep the DuckDB file open for writing in a second process."""
    import subprocess

    code = (
        "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); c.execute('CREATE TABLE t(i INT)'); "
        "print('held', flush=True); time.sleep(60)"
    )

    @contextmanager
    def process_with_file() -> Iterator[None]:
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(duckdb_file(company))], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield
        finally:
            child.kill()
            child.wait()
            child.stdout.close()

    company.during = process_with_file


def create_broken_view(company: CompanyCopy) -> None:
    with duckdb.connect(str(duckdb_file(company))) as database:
        database.execute("CREATE TABLE gone(i INT); CREATE VIEW accounts AS SELECT * FROM gone; DROP TABLE gone")


FAULTS = (
    # The command line: 2.
    Fault("an unknown command", 2, ("sorce",), message="sorce"),
    Fault("an unknown option", 2, (*CHECK, "--colour"), message="--colour"),
    Fault("a missing option", 2, ("score",), message="--as-of"),
    Fault("an invalid target on the command line", 2, (*("tune", "--until", str(DAY), "--target", "profit"),), message="profit"),
    Fault("--force without a reason", 2, ("promote", "renewal", "--version", "1", "--force"), message="--reason"),
    # The tables: 65.
    Fault("a column of the wrong type", 65, CHECK, replace_columns("contracts", arr="many"), message="contracts"),
    Fault("a required column is missing", 65, SCORE, drop_column("contracts", "end_date"), message="end_date"),
    Fault("too many invalid rows", 65, CHECK, replace_columns("contracts", arr=-1.0), message="contracts"),
    Fault("a CSV file in another encoding", 65, CHECK, write_not_utf8, message="accounts.csv is not utf-8"),
    Fault("a line with too few cells", 65, CHECK, write_short_line, message="cells where the header has"),
    Fault("a truncated Parquet file", 65, CHECK, truncate(lambda p: p.tables / "accounts.parquet"), message="accounts"),
    Fault("a table that exists twice", 65, CHECK, write_table_twice, message="accounts exists twice"),
    Fault("ids of two types", 65, CHECK, replace_columns("contracts", account_id=1), message="must have one type"),
    Fault("a required table without rows", 65, CHECK, lambda p: p.write("contracts", p.table("contracts").head(0)), message="no rows"),
    Fault("currencies without rates", 65, CHECK, lambda p: (p.tables / "rates.parquet").unlink(), message="rates"),
    Fault("a file that is not a DuckDB database", 65, (*CHECK, "--tables", "duckdb:///{root}/company.duckdb"), write_bytes(duckdb_file, b"x" * 9000), message="company.duckdb"),
    Fault("a DuckDB view of a dropped table", 65, (*CHECK, "--tables", "duckdb:///{root}/company.duckdb"), create_broken_view, message="accounts"),
    Fault("tables that end long before the day", 65, ("score", "--as-of", "2026-01-01"), message="freshness.usage_events.stop_days"),
    Fault("no account has a contract on the day", 65, ("score", "--as-of", "2035-01-01", "--allow-stale"), message="no account"),
    # Models, lists and files of the project: 65.
    Fault("a truncated model file", 65, SCORE, truncate(lambda p: p.model_file("model.txt")), message="changed since registration"),
    Fault("a changed digit in a model file", 65, SCORE, replace_bytes(lambda p: p.model_file("model.txt"), b"0", b"1"), message="changed since registration"),
    Fault("an unknown file among a model's files", 65, SCORE, write_bytes(lambda p: p.model_file("model.txt").with_name("x.pkl"), b"x"), message="x.pkl"),
    Fault("missing model files", 65, SCORE, lambda p: shutil.rmtree(p.data / "mlartifacts"), message="cannot be read"),
    Fault("a published list was edited", 65, (*PUBLISH, "duckdb:///{root}/out.duckdb"), write_bytes(lambda p: p.lists / str(DAY) / "risk_list.csv", b"x"), message="risk_list.csv"),
    Fault("a published list's manifest is damaged", 65, (*PUBLISH, "duckdb:///{root}/out.duckdb"), write_bytes(lambda p: p.lists / str(DAY) / "manifest.json", b"{"), message="manifest.json"),
    Fault("the archive of a list is damaged", 65, EXPLAIN, truncate(lambda p: p.data / "list_archive" / str(DAY) / "contributions.parquet"), message="contributions.parquet"),
    Fault("the index of an archived list is damaged", 65, EXPLAIN, write_bytes(lambda p: p.data / "list_archive" / str(DAY) / "list.json", b"{"), message="list.json"),
    Fault("the measured effects are damaged", 65, SCORE, write_bytes(lambda p: p.data / "effect" / "effect.json", b"{"), message="effect.json"),
    Fault("the feedback log is damaged", 65, SCORE, write_bytes(lambda p: p.data / "feedback" / "feedback_log.parquet", b"PAR1"), message="feedback_log.parquet"),
    Fault("the index of the roll-up is damaged", 65, SCORE, write_bytes(lambda p: p.data / "rollup" / "parts.json", b"{"), message="parts.json"),
    Fault("a returned file that is not a workbook", 65, ("collect", "{root}/book.xlsx"), write_bytes(lambda p: p.root / "book.xlsx", b"PK nothing"), message="book.xlsx"),
    # Missing files, tables, models and lists: 66.
    Fault("a missing folder of tables", 66, (*CHECK, "--tables", "{root}/nowhere"), message="nowhere"),
    Fault("a required table is missing", 66, SCORE, lambda p: (p.tables / "contracts.parquet").unlink(), message="contracts"),
    Fault("a missing DuckDB file", 66, (*CHECK, "--tables", "duckdb:///{root}/company.duckdb"), message="company.duckdb"),
    Fault("a missing parameter file", 66, (*CHECK, "--params", "{root}/none.yaml"), message="none.yaml"),
    Fault("a missing playbook library", 66, (*SCORE, "--set", "list.playbooks={root}/none.yaml"), message="none.yaml"),
    Fault("no trained model", 66, SCORE, lambda p: (p.data / "mlflow.db").unlink(), message="renewals learn"),
    Fault("no champion", 66, SCORE, remove_aliases, message="renewals promote"),
    Fault("an unregistered version", 66, ("promote", "renewal", "--version", "99"), message="99"),
    Fault("nothing to roll back to", 66, ("rollback", "renewal"), message="no earlier champion"),
    Fault("an account that is not on the list", 66, ("explain", "nobody", "--as-of", str(DAY)), message="nobody"),
    Fault("a day without a list", 66, ("explain", "A00001", "--as-of", "2024-01-01"), message="renewals score --as-of 2024-01-01"),
    Fault("an unpublished list", 66, ("publish", "--as-of", "2024-01-01", "--to", "duckdb:///{root}/out.duckdb"), message="2024-01-01"),
    Fault("a missing returned file", 66, ("collect", "{root}/none.xlsx"), message="none.xlsx"),
    Fault("a missing table of interventions", 66, ("effect", "--as-of", str(DAY)), remove_interventions, message="interventions"),
    # Services that do not answer: 69.
    Fault("PostgreSQL does not answer", 69, (*CHECK, "--tables", f"postgresql://u:pa55@{CLOSED_PORT}/x"), message="refused"),
    Fault("PostgreSQL does not answer to publish", 69, (*PUBLISH, f"postgresql://u:pa55@{CLOSED_PORT}/x"), message="nothing was written"),
    Fault("Spark does not answer", 69, (*SCORE, "--set", f"warehouse=sc://{CLOSED_PORT}"), message="no Spark answers"),
    Fault("an MLflow server does not answer", 69, (*SCORE, "--set", f"tracking.uri=http://{CLOSED_PORT}"), message="MLflow"),
    Fault("a registry's database is damaged", 69, SCORE, damage_database, message="MLflow"),
    Fault("a DuckDB file that another process writes", 69, (*CHECK, "--tables", "duckdb:///{root}/company.duckdb"), hold_duckdb_file, message="another process"),
    # The disk: 74.
    Fault("the data folder cannot be created", 74, (*CHECK, "--data", "{root}/lists/.lock/data"), message="cannot be written"),
    Fault("the lists folder cannot be written", 74, SCORE, replace_by_file("lists"), message="lists"),
    Fault("a file in place of a list folder", 74, SCORE, replace_by_file(f"lists/{DAY}"), message="not a folder: move it"),
    Fault("the disk is full in a stage", 74, SCORE, fill_disk("list.parquet"), message="No space left"),
    # Another run: 75.
    Fault("a different run holds the lock", 75, SCORE, lock_data_folder, message="renewals backtest"),
    Fault("a different run publishes", 75, SCORE, lock_lists, message="publishing", slow=True),
    # Settings: 78.
    Fault("an unknown setting", 78, (*CHECK, "--set", "grace.after=3"), message="unknown key"),
    Fault("a setting with a value of the wrong type", 78, (*CHECK, "--set", "grace.after_days=soon"), message="grace.after_days"),
    Fault("a parameter file that is not YAML", 78, (*CHECK, "--params", "{root}/p.yaml"), write_bytes(lambda p: p.root / "p.yaml", b"a: [1"), message="p.yaml"),
    Fault("an invalid date", 78, ("score", "--as-of", "2025-02-30"), message="not a date"),
    Fault("a forecast in the middle of a month", 78, ("forecast", "--as-of", "2025-01-15"), message="2025-01-01"),
    Fault("a list of a day before the training day", 78, ("score", "--as-of", "2024-12-01"), message="--hindsight"),
    Fault("a forecast of a day before the training day", 78, ("forecast", "--as-of", "2024-12-01"), message="--hindsight"),
    Fault("an unknown kind of address", 78, (*CHECK, "--tables", "oracle://x"), message="oracle"),
    Fault("an invalid playbook library", 78, (*SCORE, "--set", "list.playbooks={root}/p.yaml"), write_bytes(lambda p: p.root / "p.yaml", b"plays: {x: {}}"), message="p.yaml"),
    Fault("an unknown target in the settings", 78, (*LEARN, "--set", "targets=[profit]"), message="profit"),
    Fault("no training data before the day", 78, ("learn", "--until", "2019-01-01", "--allow-stale"), message="no training data before"),
    Fault("an invalid schema name", 78, (*PUBLISH, "duckdb:///{root}/out.duckdb", "--schema", "a b"), message="--schema"),
    Fault("an unknown feature", 78, ("whatif", "{account}", "--as-of", str(DAY), "--set", "luck=1"), message="luck"),
    # The gate: 80.
    Fault("the gate rejects the model", 80, (*LEARN, "--set", "gate.min_renewals=100000"), message="not promoted", slow=True),
    Fault("a rejected version is promoted", 80, ("promote", "renewal", "--version", "1"), reject_version, message="--force"),
)  # fmt: skip


def run(fault: Fault, company: CompanyCopy) -> tuple[int, dict[str, Any], str]:
    """Create a fault and run its command; return the exit code, the JSON line and standard error."""
    fault.damage(company)
    command, *rest = fault.arguments
    account = str(pd.read_parquet(company.lists / str(DAY) / "risk_list.parquet").query("status == 'scored'")["account_id"].iloc[0]) if "{account}" in rest else ""  # fmt: skip
    folders = options(command, rest, company)
    argv = [command, *folders, *(argument.format(root=company.root, account=account) for argument in rest)]
    out, err = io.StringIO(), io.StringIO()
    with company.during(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main(argv)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1, (fault.name, lines, err.getvalue())
    return code, json.loads(lines[0]), err.getvalue()


def options(command: str, arguments: list[str], company: CompanyCopy) -> list[str]:
    """Options for the folders of tables, data and lists that a command has and `arguments` does not set."""
    folders = {"--data": company.data}
    if command in ("check", "learn", "backtest", "tune", "score", "scorecard", "forecast", "effect"):
        folders["--tables"] = company.tables
    if command in ("score", "publish", "explain", "whatif", "collect"):
        folders["--lists"] = company.lists
    if command == "sorce":
        return []
    quick = [part for key in QUICK for part in ("--set", key)] if command in ("learn", "effect") else []
    missing = [part for name, path in folders.items() if name not in arguments for part in (name, str(path))]
    return [*quick, *missing]


def copy_company(data: Path, lists: Path, tables: Path | str, root: Path) -> CompanyCopy:
    """Copy a company's tables, data folder and lists below `root`."""
    company = CompanyCopy(root)
    for source, target in ((Path(tables), company.tables), (data, company.data), (lists, company.lists)):
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("lists") if source == data else None)
    return company


if __name__ == "__main__":
    import tempfile

    for fault in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            code, output, _ = run(fault, copy_company(*map(Path, sys.argv[1:4]), Path(folder) / "x"))
            mark = (
                "" if code == fault.code and fault.message in output.get("message", "") else "   <-- not as documented"
            )
            print(f"{fault.name} | {fault.code} | {code} | {output.get('state')} | {output.get('message', '').partition(chr(10))[0][:160]}{mark}", flush=True)  # fmt: skip

"""Faults that a run may meet, each with the exit code that the documentation promises.

`python -m tests.end_to_end.faults DATA LISTS TABLES` prints, for a company that was learned from and listed, what became of
each: expected code, code, message.
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

DEAD = "127.0.0.1:1"
"""Where nobody listens."""


@dataclass
class Place:
    """A copy of a company's tables, data folder and lists, to be harmed."""

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


Harm = Callable[[Place], Any]


@dataclass(frozen=True)
class Fault:
    """One fault: the exit code that is promised, the command line, and what is done to the place before."""

    name: str
    code: int
    words: tuple[str, ...]
    harm: Harm = lambda place: None
    says: str = ""
    """A part of the message."""
    slow: bool = False
    """Whether it is met only after most of a run."""


SCORE = ("score", "--as-of", str(DAY))
LEARN = ("learn", "--until", str(DAY))
CHECK = ("check",)
EXPLAIN = ("explain", "{account}", "--as-of", str(DAY))
PUBLISH = ("publish", "--as-of", str(DAY), "--to")


def changed(name: str, **columns: Any) -> Harm:
    """Give a table other columns."""
    return lambda place: place.write(name, place.table(name).assign(**columns))


def without(name: str, column: str) -> Harm:
    return lambda place: place.write(name, place.table(name).drop(columns=column))


def truncated(path: Callable[[Place], Path], share: float = 0.5) -> Harm:
    def harm(place: Place) -> None:
        content = path(place).read_bytes()
        path(place).write_bytes(content[: int(len(content) * share)])

    return harm


def replaced(path: Callable[[Place], Path], old: bytes, new: bytes) -> Harm:
    def harm(place: Place) -> None:
        content = path(place).read_bytes()
        assert old in content
        path(place).write_bytes(content.replace(old, new, 1))

    return harm


def written(path: Callable[[Place], Path], content: bytes) -> Harm:
    def harm(place: Place) -> None:
        path(place).parent.mkdir(parents=True, exist_ok=True)
        path(place).write_bytes(content)

    return harm


def not_utf8(place: Place) -> None:
    path = place.as_csv("accounts")
    path.write_bytes(path.read_bytes() + "A9,东方".encode("gb18030") + b"\n")


def ragged(place: Place) -> None:
    path = place.as_csv("contracts")
    path.write_text(path.read_text() + "a,b\n")


def twice(place: Place) -> None:
    place.table("accounts").to_csv(place.tables / "accounts.csv", index=False)


def no_interventions(place: Place) -> None:
    (place.tables / "interventions.parquet").unlink(missing_ok=True)


def in_file(path: str) -> Harm:
    """A file stands where a folder should be."""

    def harm(place: Place) -> None:
        shutil.rmtree(place.root / path, ignore_errors=True)
        (place.root / path).write_text("not a folder")

    return harm


def locked(place: Place) -> None:
    place.during = lambda: exclusive_lock(place.data, "backtest")


def publishing(place: Place) -> None:
    from filelock import FileLock

    place.during = lambda: FileLock(place.lists / ".lock")


def full(name: str) -> Harm:
    """The disk is full when a file of this name is written."""

    def harm(place: Place) -> None:
        place.during = lambda: disk_full(name)

    return harm


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


def broken_database(place: Place) -> None:
    (place.data / "mlflow.db").write_bytes(b"SQLite format 3\x00" + b"\x07" * 4000)


def no_alias(place: Place) -> None:
    """As where no model passed the gate."""
    with sqlite3.connect(place.data / "mlflow.db") as database:
        database.execute("DELETE FROM registered_model_aliases")


def refused(place: Place) -> None:
    with sqlite3.connect(place.data / "mlflow.db") as database:
        database.execute("UPDATE model_version_tags SET value = 'refused' WHERE key = 'gate'")
        database.execute("DELETE FROM registered_model_aliases")


def duckdb_file(place: Place) -> Path:
    return place.root / "company.duckdb"


def held(place: Place) -> None:
    """A DuckDB file that another process writes."""
    import subprocess

    code = (
        "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); c.execute('CREATE TABLE t(i INT)'); "
        "print('held', flush=True); time.sleep(60)"
    )

    @contextmanager
    def holding() -> Iterator[None]:
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(duckdb_file(place))], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield
        finally:
            child.kill()
            child.wait()
            child.stdout.close()

    place.during = holding


def wrong_view(place: Place) -> None:
    with duckdb.connect(str(duckdb_file(place))) as database:
        database.execute("CREATE TABLE gone(i INT); CREATE VIEW accounts AS SELECT * FROM gone; DROP TABLE gone")


FAULTS = (
    # The command line: 2.
    Fault("a command that is none", 2, ("sorce",), says="sorce"),
    Fault("an option that is none", 2, (*CHECK, "--colour"), says="--colour"),
    Fault("an option is missing", 2, ("score",), says="--as-of"),
    Fault("a value that is none", 2, (*("tune", "--until", str(DAY), "--target", "profit"),), says="profit"),
    Fault("--force without a reason", 2, ("promote", "renewal", "--version", "1", "--force"), says="--reason"),
    # The tables: 65.
    Fault("a column of the wrong type", 65, CHECK, changed("contracts", arr="many"), says="contracts"),
    Fault("a required column is missing", 65, SCORE, without("contracts", "end_date"), says="end_date"),
    Fault("too many rows break the contract", 65, CHECK, changed("contracts", arr=-1.0), says="contracts"),
    Fault("a CSV file in another encoding", 65, CHECK, not_utf8, says="accounts.csv is not utf-8"),
    Fault("a line with too few cells", 65, CHECK, ragged, says="cells where the header has"),
    Fault("half a Parquet file", 65, CHECK, truncated(lambda p: p.tables / "accounts.parquet"), says="accounts"),
    Fault("a table that is there twice", 65, CHECK, twice, says="accounts exists twice"),
    Fault("ids of two types", 65, CHECK, changed("contracts", account_id=1), says="must have one type"),
    Fault("a required table without rows", 65, CHECK, lambda p: p.write("contracts", p.table("contracts").head(0)), says="no rows"),
    Fault("currencies without rates", 65, CHECK, lambda p: (p.tables / "rates.parquet").unlink(), says="rates"),
    Fault("a DuckDB file that is none", 65, (*CHECK, "--tables", "duckdb:///{root}/company.duckdb"), written(duckdb_file, b"x" * 9000), says="company.duckdb"),
    Fault("a DuckDB view of what is gone", 65, (*CHECK, "--tables", "duckdb:///{root}/company.duckdb"), wrong_view, says="accounts"),
    Fault("tables that end long before the day", 65, ("score", "--as-of", "2026-01-01"), says="freshness.usage_events.stop_days"),
    Fault("no account has a contract on the day", 65, ("score", "--as-of", "2035-01-01", "--allow-stale"), says="no account"),
    # Models, lists and files of ours: 65.
    Fault("half a model file", 65, SCORE, truncated(lambda p: p.model_file("model.txt")), says="changed since registration"),
    Fault("a digit of a model changed", 65, SCORE, replaced(lambda p: p.model_file("model.txt"), b"0", b"1"), says="changed since registration"),
    Fault("a foreign file among a model's", 65, SCORE, written(lambda p: p.model_file("model.txt").with_name("x.pkl"), b"x"), says="x.pkl"),
    Fault("a model's files are gone", 65, SCORE, lambda p: shutil.rmtree(p.data / "mlartifacts"), says="cannot be read"),
    Fault("a published list was edited", 65, (*PUBLISH, "duckdb:///{root}/out.duckdb"), written(lambda p: p.lists / str(DAY) / "risk_list.csv", b"x"), says="risk_list.csv"),
    Fault("a published list's manifest is damaged", 65, (*PUBLISH, "duckdb:///{root}/out.duckdb"), written(lambda p: p.lists / str(DAY) / "manifest.json", b"{"), says="manifest.json"),
    Fault("what stands behind a list is damaged", 65, EXPLAIN, truncated(lambda p: p.data / "list_archive" / str(DAY) / "contributions.parquet"), says="contributions.parquet"),
    Fault("the index of a kept day is damaged", 65, EXPLAIN, written(lambda p: p.data / "list_archive" / str(DAY) / "list.json", b"{"), says="list.json"),
    Fault("the measured effects are damaged", 65, SCORE, written(lambda p: p.data / "effect" / "effect.json", b"{"), says="effect.json"),
    Fault("the log of answers is damaged", 65, SCORE, written(lambda p: p.data / "feedback" / "feedback_log.parquet", b"PAR1"), says="feedback_log.parquet"),
    Fault("the index of the roll-up is damaged", 65, SCORE, written(lambda p: p.data / "rollup" / "parts.json", b"{"), says="parts.json"),
    Fault("a returned workbook that is none", 65, ("collect", "{root}/book.xlsx"), written(lambda p: p.root / "book.xlsx", b"PK nothing"), says="book.xlsx"),
    # What is not there: 66.
    Fault("no folder of tables", 66, (*CHECK, "--tables", "{root}/nowhere"), says="nowhere"),
    Fault("a required table is missing", 66, SCORE, lambda p: (p.tables / "contracts.parquet").unlink(), says="contracts"),
    Fault("a DuckDB file that is not there", 66, (*CHECK, "--tables", "duckdb:///{root}/company.duckdb"), says="company.duckdb"),
    Fault("no parameter file", 66, (*CHECK, "--params", "{root}/none.yaml"), says="none.yaml"),
    Fault("no library of plays", 66, (*SCORE, "--set", "list.playbooks={root}/none.yaml"), says="none.yaml"),
    Fault("no model was ever learned", 66, SCORE, lambda p: (p.data / "mlflow.db").unlink(), says="renewals learn"),
    Fault("no model serves", 66, SCORE, no_alias, says="renewals promote"),
    Fault("a version that is not registered", 66, ("promote", "renewal", "--version", "99"), says="99"),
    Fault("nothing to roll back to", 66, ("rollback", "renewal"), says="no earlier champion"),
    Fault("an account that is not listed", 66, ("explain", "nobody", "--as-of", str(DAY)), says="nobody"),
    Fault("a day without a list", 66, ("explain", "A00001", "--as-of", "2024-01-01"), says="renewals score --as-of 2024-01-01"),
    Fault("a list that is not published", 66, ("publish", "--as-of", "2024-01-01", "--to", "duckdb:///{root}/out.duckdb"), says="2024-01-01"),
    Fault("a returned file that is not there", 66, ("collect", "{root}/none.xlsx"), says="none.xlsx"),
    Fault("no table of interventions", 66, ("effect", "--as-of", str(DAY)), no_interventions, says="interventions"),
    # Services that do not answer: 69.
    Fault("PostgreSQL does not answer", 69, (*CHECK, "--tables", f"postgresql://u:pa55@{DEAD}/x"), says="refused"),
    Fault("PostgreSQL does not take the list", 69, (*PUBLISH, f"postgresql://u:pa55@{DEAD}/x"), says="nothing was written"),
    Fault("Spark does not answer", 69, (*SCORE, "--set", f"warehouse=sc://{DEAD}"), says="no Spark answers"),
    Fault("an MLflow server does not answer", 69, (*SCORE, "--set", f"tracking.uri=http://{DEAD}"), says="MLflow"),
    Fault("a registry's database is damaged", 69, SCORE, broken_database, says="MLflow"),
    Fault("a DuckDB file that another process writes", 69, (*CHECK, "--tables", "duckdb:///{root}/company.duckdb"), held, says="another process"),
    # The disk: 74.
    Fault("the data folder cannot be made", 74, (*CHECK, "--data", "{root}/lists/.lock/data"), says="cannot be written"),
    Fault("the lists folder cannot be written", 74, SCORE, in_file("lists"), says="lists"),
    Fault("a file stands in a list's place", 74, SCORE, in_file(f"lists/{DAY}"), says="not a folder: move it"),
    Fault("the disk is full in a stage", 74, SCORE, full("list.parquet"), says="No space left"),
    # Another run: 75.
    Fault("another run holds the lock", 75, SCORE, locked, says="renewals backtest"),
    Fault("another run publishes", 75, SCORE, publishing, says="publishing", slow=True),
    # Settings: 78.
    Fault("a key that is none", 78, (*CHECK, "--set", "grace.after=3"), says="unknown key"),
    Fault("a value of the wrong kind", 78, (*CHECK, "--set", "grace.after_days=soon"), says="grace.after_days"),
    Fault("a parameter file that is no YAML", 78, (*CHECK, "--params", "{root}/p.yaml"), written(lambda p: p.root / "p.yaml", b"a: [1"), says="p.yaml"),
    Fault("a day that is none", 78, ("score", "--as-of", "2025-02-30"), says="not a date"),
    Fault("a forecast in the middle of a month", 78, ("forecast", "--as-of", "2025-01-15"), says="2025-01-01"),
    Fault("a list of a day before the training day", 78, ("score", "--as-of", "2024-12-01"), says="--hindsight"),
    Fault("a forecast of a day before the training day", 78, ("forecast", "--as-of", "2024-12-01"), says="--hindsight"),
    Fault("an address that is none", 78, (*CHECK, "--tables", "oracle://x"), says="oracle"),
    Fault("a library of plays with a fault", 78, (*SCORE, "--set", "list.playbooks={root}/p.yaml"), written(lambda p: p.root / "p.yaml", b"plays: {x: {}}"), says="p.yaml"),
    Fault("a target that is none", 78, (*LEARN, "--set", "targets=[profit]"), says="profit"),
    Fault("nothing to learn from before the day", 78, ("learn", "--until", "2019-01-01", "--allow-stale"), says="no training data before"),
    Fault("a schema that is no name", 78, (*PUBLISH, "duckdb:///{root}/out.duckdb", "--schema", "a b"), says="--schema"),
    Fault("a feature that the model does not read", 78, ("whatif", "{account}", "--as-of", str(DAY), "--set", "luck=1"), says="luck"),
    # The gate: 80.
    Fault("the gate refuses", 80, (*LEARN, "--set", "gate.min_renewals=100000"), says="not promoted", slow=True),
    Fault("a refused version is promoted", 80, ("promote", "renewal", "--version", "1"), refused, says="--force"),
)  # fmt: skip


def run(fault: Fault, place: Place) -> tuple[int, dict[str, Any], str]:
    """What became of a fault: the exit code, the JSON line, and standard error."""
    fault.harm(place)
    command, *rest = fault.words
    account = str(pd.read_parquet(place.lists / str(DAY) / "risk_list.parquet").query("status == 'scored'")["account_id"].iloc[0]) if "{account}" in rest else ""  # fmt: skip
    own = options(command, rest, place)
    words = [command, *own, *(word.format(root=place.root, account=account) for word in rest)]
    out, err = io.StringIO(), io.StringIO()
    with place.during(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main(words)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1, (fault.name, lines, err.getvalue())
    return code, json.loads(lines[0]), err.getvalue()


def options(command: str, given: list[str], place: Place) -> list[str]:
    """Where tables, data and lists are, for commands that take them and were not told otherwise."""
    places = {"--data": place.data}
    if command in ("check", "learn", "backtest", "tune", "score", "scorecard", "forecast", "effect"):
        places["--tables"] = place.tables
    if command in ("score", "publish", "explain", "whatif", "collect"):
        places["--lists"] = place.lists
    if command == "sorce":
        return []
    quick = [part for key in QUICK for part in ("--set", key)] if command in ("learn", "effect") else []
    own = [part for name, path in places.items() if name not in given for part in (name, str(path))]
    return [*quick, *own]


def copied(data: Path, lists: Path, tables: Path | str, root: Path) -> Place:
    """A copy of a company, to be harmed."""
    place = Place(root)
    for source, target in ((Path(tables), place.tables), (data, place.data), (lists, place.lists)):
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("lists") if source == data else None)
    return place


if __name__ == "__main__":
    import tempfile

    for fault in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            code, told, _ = run(fault, copied(*map(Path, sys.argv[1:4]), Path(folder) / "x"))
            mark = "" if code == fault.code and fault.says in told.get("message", "") else "   <-- not as promised"
            print(f"{fault.name} | {fault.code} | {code} | {told.get('state')} | {told.get('message', '').partition(chr(10))[0][:160]}{mark}", flush=True)  # fmt: skip

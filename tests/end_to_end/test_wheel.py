"""All commands run from the wheel alone: no checkout, an empty folder, an empty environment."""

import html.parser
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import duckdb
import openpyxl
import pandas as pd
import pytest

from tests.end_to_end.conftest import DAY, QUICK
from tests.root import ROOT

pytestmark = pytest.mark.slow
PACKAGES = ("features", "models", "reports", "pipelines", "examples")
PLAYBOOKS = "renewals/pipelines/runtime/playbooks.yaml"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling")
    return build_wheel(ROOT, tmp_path_factory.mktemp("dist"))


def build_wheel(source: Path, folder: Path) -> Path:
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder))
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """An interpreter with the wheel installed; it shares our dependencies but not our editable install."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    with zipfile.ZipFile(wheel) as content:
        content.extractall(site)
    # A folder named in a .pth file is only added to the path: .pth files in that folder, including ours, are not read.
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def renewals(python, company, tmp_path_factory):
    """Function that runs a command in an empty folder with an empty environment and returns its JSON result."""
    folder = tmp_path_factory.mktemp("empty")

    def run(*argv: str, settings: bool = True) -> dict:
        options = [part for option in QUICK for part in ("--set", option)] if settings else []
        module = "renewals.pipelines.cli"
        command = ["env", "-i", "PATH=/usr/bin:/bin", str(python), "-I", "-m", module, *argv, *options]
        completed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
        assert completed.returncode == 0, completed.stderr[-3000:]
        return json.loads(completed.stdout)

    run.folder = folder
    return run


def run_isolated(python: Path, code: str, cwd: Path = Path("/")) -> str:
    command = ["env", "-i", "PATH=/usr/bin:/bin", str(python), "-I", "-c", code]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()


def test_every_file_of_the_packages_is_in_the_wheel_and_the_playbooks_once(wheel):
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", *PACKAGES], capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git here")
    with zipfile.ZipFile(wheel) as content:
        packed = set(content.namelist())
        assert content.read(PLAYBOOKS) == (ROOT / "playbooks.yaml").read_bytes()
    tracked = {f"renewals/{name}" for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    root_files = {"renewals/__init__.py", "renewals/api.py", "renewals/py.typed"}
    assert {name for name in packed if ".dist-info/" not in name} == tracked | root_files | {PLAYBOOKS}


def test_a_source_distribution_builds_the_same_wheel(wheel, tmp_path):
    from hatchling.builders.sdist import SdistBuilder

    (archive,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path))
    with tarfile.open(archive) as content:
        content.extractall(tmp_path, filter="data")
    built = build_wheel(tmp_path / Path(archive).name.removesuffix(".tar.gz"), tmp_path)
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(built) as theirs:
        assert {i.filename: i.CRC for i in ours.infolist()} == {i.filename: i.CRC for i in theirs.infolist()}


def test_the_wheel_is_imported_and_has_the_same_code_fingerprint(python):
    from renewals.pipelines.storage.registry.model_registry import code_fingerprint

    lines = run_isolated(
        python,
        "import renewals; from renewals.pipelines.runtime.checkout import code_revision, default_playbooks_path; "
        "from renewals.pipelines.storage.registry.model_registry import code_fingerprint; "
        "print(renewals.__file__, code_fingerprint(), code_revision(), default_playbooks_path(), sep='\\n')",
    ).splitlines()
    assert Path(lines[0]).is_relative_to(python.parents[1])
    assert lines[1] == code_fingerprint()
    assert lines[2].startswith("version ")
    assert Path(lines[3]) == Path(lines[0]).parents[1] / PLAYBOOKS


def test_a_repository_around_site_packages_gives_no_code_revision(python, tmp_path):
    site = Path(run_isolated(python, "import renewals; print(renewals.__file__)")).parents[1]
    git = ["git", "-C", str(site), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "init", "-q"], check=True)
    try:
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "somebody else's"], check=True)
        assert run_isolated(
            python, "from renewals.pipelines.runtime.checkout import *; print(code_revision())"
        ).startswith("version ")
    finally:
        subprocess.run(["rm", "-rf", str(site / ".git")], check=True)


class Tags(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)


@pytest.mark.filterwarnings("ignore:.*extension is not supported.*:UserWarning:openpyxl")
def test_all_commands_from_the_wheel(renewals, company):
    tables, folder = ("--tables", str(company)), renewals.folder
    (folder / "json.py").write_text("raise SystemExit('a file of the user was imported')")
    (folder / "models").mkdir()
    (folder / "models" / "__init__.py").write_text("raise SystemExit('a package of the user was imported')")
    assert renewals("check", *tables)["warnings"] == []
    learned = renewals("learn", *tables, "--until", str(DAY))
    assert learned["models"]["renewal"]["champion_version"] == "1"
    published = folder / renewals("score", *tables, "--as-of", str(DAY))["folder"]
    listed = pd.read_parquet(published / "risk_list.parquet")
    account = str(listed["account_id"][listed["status"] == "scored"].iloc[0])
    assert renewals("explain", account, *tables, "--as-of", str(DAY))["account"]["account_id"] == account
    written = renewals("publish", "--as-of", str(DAY), "--to", "duckdb:///x.duckdb", settings=False)
    assert written["to"] == f"duckdb:///{folder}/x.duckdb"
    with duckdb.connect(str(folder / "x.duckdb"), read_only=True) as database:
        assert database.execute("SELECT count(*) FROM renewals.newest_list").fetchone() == (len(listed),)
    for page in ("risk_list.html", "scorecard.html"):
        assert {"html", "script", "style"} <= Tags((published / page).read_text(encoding="utf-8")).seen
    book = openpyxl.load_workbook(published / "risk_list.xlsx")
    assert {"Summary", "List", "Playbooks"} <= set(book.sheetnames)
    assert json.loads((published / "manifest.json").read_text())["code_revision"].startswith("version ")
    assert {file.name for file in folder.iterdir()} == {"data", "lists", "x.duckdb", "json.py", "models"}


def test_the_example_company_and_help_need_no_file(python, tmp_path):
    command = ["env", "-i", "PATH=/usr/bin:/bin", str(python), "-I", "-m", "renewals.pipelines.cli"]
    assert subprocess.run([*command, "--help"], cwd=tmp_path, capture_output=True, timeout=120).returncode == 0
    simulated = (
        "from renewals.examples.company import simulate_company, write_company; from pathlib import Path; "
        "write_company(simulate_company(40, 24, 5), Path('c'))"
    )
    run_isolated(python, simulated, tmp_path)
    assert os.listdir(tmp_path) == ["c"]

"""What this code runs from decides where its top-level files lie, and which repository it may name."""

import subprocess

import pytest

from renewals.pipelines.runtime import checkout
from tests.root import ROOT


def test_a_working_copy_reads_the_file_that_its_users_edit():
    assert checkout.checkout_root() == ROOT
    assert checkout.default_playbooks_path() == ROOT / "playbooks.yaml"


def test_a_wheel_reads_its_own_copy_and_looks_for_nothing_beside_it(tmp_path, monkeypatch):
    packaged = tmp_path / "site-packages" / "pipelines" / "playbooks.yaml"
    packaged.parent.mkdir(parents=True)
    packaged.touch()
    monkeypatch.setattr(checkout, "PACKAGED_PLAYBOOKS", packaged)
    assert checkout.checkout_root() is None
    assert checkout.default_playbooks_path() == packaged


@pytest.fixture
def somebody_elses(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    (tmp_path / "copy").mkdir()
    return tmp_path


@pytest.mark.parametrize("place", ["copy", None])
def test_the_repository_of_somebody_else_is_never_named(somebody_elses, monkeypatch, place):
    monkeypatch.setattr(checkout, "checkout_root", lambda: somebody_elses / place if place else None)
    assert checkout.code_revision() == f"version {checkout.package_version()}"


def test_a_working_copy_names_its_commit(somebody_elses, monkeypatch):
    monkeypatch.setattr(checkout, "checkout_root", lambda: somebody_elses)
    head = subprocess.run(["git", "-C", str(somebody_elses), "rev-parse", "HEAD"], capture_output=True, text=True)
    assert checkout.code_revision() == head.stdout.strip()

"""Top-level files and code revision, for a working copy and for an installed wheel."""

import subprocess

import pytest

from renewals.pipelines.runtime import checkout
from tests.root import ROOT


def test_a_working_copy_uses_its_playbooks_file():
    assert checkout.checkout_root() == ROOT
    assert checkout.default_playbooks_path() == ROOT / "playbooks.yaml"


def test_a_wheel_uses_its_packaged_playbooks_file(tmp_path, monkeypatch):
    packaged = tmp_path / "site-packages" / "pipelines" / "playbooks.yaml"
    packaged.parent.mkdir(parents=True)
    packaged.touch()
    monkeypatch.setattr(checkout, "PACKAGED_PLAYBOOKS", packaged)
    assert checkout.checkout_root() is None
    assert checkout.default_playbooks_path() == packaged


@pytest.fixture
def foreign_repository(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "foreign"], check=True)
    (tmp_path / "copy").mkdir()
    return tmp_path


@pytest.mark.parametrize("place", ["copy", None])
def test_the_revision_of_a_foreign_repository_is_ignored(foreign_repository, monkeypatch, place):
    monkeypatch.setattr(checkout, "checkout_root", lambda: foreign_repository / place if place else None)
    assert checkout.code_revision() == f"version {checkout.package_version()}"


def test_the_revision_of_a_working_copy_is_its_commit(foreign_repository, monkeypatch):
    monkeypatch.setattr(checkout, "checkout_root", lambda: foreign_repository)
    head = subprocess.run(["git", "-C", str(foreign_repository), "rev-parse", "HEAD"], capture_output=True, text=True)
    assert checkout.code_revision() == head.stdout.strip()

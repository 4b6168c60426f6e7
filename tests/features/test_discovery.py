"""Families and alerts are found in their folders, in the declared order."""

from __future__ import annotations

from pathlib import Path

import pytest

from renewals.features import alert_registry, alerts, families
from renewals.features.discovery import module_names
from renewals.features.registry import FAMILIES
from renewals.pipelines.runtime.settings import Settings, read_settings
from tests.root import ROOT


def test_modules_outside_the_order_follow_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", "d", "c"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not imported')")
    (tmp_path / "__init__.py").touch()
    assert module_names([str(tmp_path)], ("d", "b")) == ("d", "b", "a", "c")


def test_an_entry_of_the_order_without_a_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no module 'a', which is named in ORDER"):
        module_names([str(tmp_path)], ("a",))


@pytest.mark.parametrize(("package", "names"), [(families, tuple(FAMILIES)), (alerts, alert_registry.ALERT_CODES)])
def test_every_file_of_the_folder_is_loaded(package, names) -> None:
    (folder,) = map(Path, package.__path__)
    assert set(names) == {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert names[: len(package.ORDER)] == package.ORDER


def test_a_family_has_the_name_of_its_module() -> None:
    assert [family.name for family in FAMILIES.values()] == list(FAMILIES)


def test_the_default_families_of_the_settings_are_all_families() -> None:
    assert Settings().families == tuple(FAMILIES)


def test_the_shipped_parameters_have_the_declared_order_of_the_families() -> None:
    """Another order of columns is another model: whoever changes one of the two must mean it."""
    shipped = read_settings(ROOT / "params.yaml").families
    assert shipped[: len(families.ORDER)] == families.ORDER

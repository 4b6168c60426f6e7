"""The notebooks run from top to bottom and define no function or class."""

import ast

import jupytext
import pytest
from nbclient import NotebookClient

from tests.root import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end(path, learned, published, monkeypatch):
    monkeypatch.setenv("RENEWALS_DATA", str(learned[0].data))
    monkeypatch.setenv("RENEWALS_LIST", published[1]["folder"])
    monkeypatch.setenv("PYTHONPATH", str(path.parents[1]))
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = jupytext.read(path)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    assert any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_defines_no_function_or_class(path):
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    assert not [n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)]

"""The example notebooks as files: stripped, whole, without anything of one machine. `make fresh` runs them."""

from __future__ import annotations

import ast
import json

import pytest
from tests.documents import ROOT

import emotion_qwen

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def code(path) -> list[str]:
    """Return the code cells."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["fine_tune", "first_steps", "study"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs(path):
    notebook = json.loads(path.read_text("utf-8"))
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_code_is_python_and_imports_what_is_public(path):
    trees = [ast.parse(cell) for cell in code(path)]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in nodes if node.module == "emotion_qwen" for alias in node.names]
    assert names and not set(names) - set(emotion_qwen.__all__)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_writes_only_where_git_looks_away(path):
    assert f'Path("runs/{path.stem}")' in "".join(code(path))
    assert "shared" not in path.read_text("utf-8")

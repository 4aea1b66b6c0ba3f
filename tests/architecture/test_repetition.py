"""Nothing is written twice: no run of six equal lines in two files, import lines aside. Found by symilar, of pylint."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.architecture.test_imports import MODULES

LINES = 6
PLACE = re.compile(r"^==(.+):\[(\d+):(\d+)\]$", re.MULTILINE)


def free_to_repeat(path: str) -> set[int]:
    """Return the numbers of the lines that import, and of the signatures: a method that overrides another has its."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(Path(path).read_text("utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            lines |= set(range(node.lineno, (node.end_lineno or 0) + 1))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines |= set(range(node.lineno, node.body[0].lineno))
    return lines


def repeated(files: list[str]) -> list[str]:
    """Return the places of runs of six lines that stand in two of the files, with the lines that count."""
    command = [sys.executable, "-c", "from pylint import run_symilar; run_symilar()", "--duplicates", str(LINES)]
    options = ["--ignore-comments", "--ignore-docstrings"]  # its own way to leave out imports needs minutes
    output = subprocess.run([*command, *options, *files], capture_output=True, text=True, check=True).stdout
    assert "TOTAL lines=" in output
    places = []
    for path, begin, end in PLACE.findall(output):
        lines = Path(path).read_text("utf-8").splitlines()
        counted = set(range(int(begin) + 1, int(end) + 1)) - free_to_repeat(path)
        counted = {number for number in counted if lines[number - 1].strip()}
        if counted:
            places.append(f"{path}:{min(counted)}-{max(counted)}")
    return places


def test_no_six_lines_stand_in_two_files() -> None:
    pytest.importorskip("pylint", reason="pylint is not installed")
    assert not repeated([str(path) for path in MODULES])


def test_six_lines_in_two_files_are_found(tmp_path) -> None:
    pytest.importorskip("pylint", reason="pylint is not installed")
    signature = "def f(\n    a,\n    b,\n    c,\n    d,\n    e,\n):\n"
    body = "".join(f"    {name} = a + b * c\n" for name in "uvwxyz")
    for name, text in (("one.py", body), ("other.py", "    return 1\n"), ("twin.py", body)):
        (tmp_path / name).write_text(signature + text)
    files = [str(tmp_path / name) for name in ("one.py", "other.py", "twin.py")]
    assert repeated(files[:2]) == []
    assert {place.rpartition(":")[0] for place in repeated(files)} == {files[0], files[2]}

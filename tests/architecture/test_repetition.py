"""Nothing is written twice: no run of six equal lines in two files, import lines aside. Found by symilar, of pylint."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest
from tests.architecture.test_imports import MODULES

LINES = 6
PLACE = re.compile(r"^==(.+):\[(\d+):(\d+)\]$", re.MULTILINE)


def imports(path: str) -> set[int]:
    """Return the numbers of the lines that import."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {line for node in nodes for line in range(node.lineno, (node.end_lineno or 0) + 1)}


@pytest.mark.slow
def test_no_six_lines_stand_in_two_files() -> None:
    pytest.importorskip("pylint", reason="pylint is not installed")
    command = [sys.executable, "-c", "from pylint import run_symilar; run_symilar()", "--duplicates", str(LINES)]
    files = [str(path) for path in MODULES]
    # A method that overrides another repeats its signature. Imports are left out below: symilar would need minutes.
    options = ["--ignore-comments", "--ignore-docstrings", "--ignore-signatures"]
    output = subprocess.run([*command, *options, *files], capture_output=True, text=True, check=True).stdout
    assert "TOTAL lines=" in output
    repeated = []
    for path, begin, end in PLACE.findall(output):
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        rest = set(range(int(begin) + 1, int(end) + 1)) - imports(path)
        rest = {line for line in rest if line <= len(lines) and lines[line - 1].strip(" )")}
        if rest:
            repeated.append(f"{path}:{begin}-{end}")
    assert not repeated

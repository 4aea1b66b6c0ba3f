"""Modules, functions and parameter lists stay of a size that one can read at a sitting; an exception needs a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "emotion_qwen"
MODULE_LINES, FUNCTION_LINES, PARAMETERS = 450, 80, 10
# "path" or "path:function" -> why it may be larger
REASONS: dict[str, str] = {}
MODULES = sorted(PACKAGE.rglob("*.py"))


def too_large(source: str, place: str) -> Iterator[str]:
    lines = len(source.splitlines())
    if lines > MODULE_LINES and place not in REASONS:
        yield f"{place}: {lines} lines, at most {MODULE_LINES}"
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or f"{place}:{node.name}" in REASONS:
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES:
            yield f"{place}:{node.name}: {lines} lines, at most {FUNCTION_LINES}"
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        if count > PARAMETERS:
            yield f"{place}:{node.name}: {count} parameters, at most {PARAMETERS}; group them into a settings model"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sizes(path: Path) -> None:
    assert not list(too_large(path.read_text(encoding="utf-8"), str(path.relative_to(PACKAGE))))


def test_every_exception_has_a_reason_and_is_still_there() -> None:
    for place, reason in REASONS.items():
        path, _, function = place.partition(":")
        assert len(reason.split()) >= 3, f"{place}: say why"
        assert (PACKAGE / path).is_file(), f"{place}: the file is gone; take the exception out"
        assert f"def {function}" in (PACKAGE / path).read_text(encoding="utf-8") or not function


def test_the_ruler_measures() -> None:
    assert list(too_large("x = 1\n" * 451, "a.py")) == ["a.py: 451 lines, at most 450"]
    assert not list(too_large("x = 1\n" * 450, "a.py"))
    long = "def f(self, a, b, c, d, e, f, g, h, i, j):\n" + "    x = 1\n" * 79
    assert not list(too_large(long, "a.py"))
    assert len(list(too_large(long.replace("j)", "j, *, k)") + "    x = 1\n", "a.py"))) == 2

"""Recipes use the package as anybody can: by its public names, without the package or its wheel knowing of them."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
RECIPES = sorted((ROOT / "recipes").rglob("*.py"))


def imported(source: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of every import, those in functions too; the name of `import a.b` is empty."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def private(source: str) -> list[str]:
    """List what a file takes from the package by a name that begins with an underscore."""
    found, modules = [], set()
    for module, name in imported(source):
        if module.partition(".")[0] == "emotion_qwen":
            modules.add(name or module)
            found += [f"{module}.{name}"] if re.search(r"(^|\.)_", f"{module}.{name}") else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and ast.unparse(node.value) in modules:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_package_knows_no_recipe(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert not [module for module, _ in imported(source) if module.partition(".")[0] == "recipes"]
    assert not re.search(r"[\"']recipes\.", source), "a module name in a string is an import too"


def test_the_wheel_holds_the_package_alone() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    packages = {name for where in settings["packages"]["find"]["where"] for name in find_packages(str(ROOT / where))}
    assert {name.partition(".")[0] for name in packages} == {"emotion_qwen"}
    assert not any("recipes" in name for name in (*packages, *settings["package-data"]))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_recipe_takes_public_names(path: Path) -> None:
    assert not private(path.read_text(encoding="utf-8"))


def test_the_reader_sees_private_names() -> None:
    assert private("from emotion_qwen.data.parts import _hidden") == ["emotion_qwen.data.parts._hidden"]
    assert private("def f():\n    from emotion_qwen._inner import f") == ["emotion_qwen._inner.f"]
    assert private("from emotion_qwen.data import parts\nparts._hidden()") == ["parts._hidden"]
    assert not private("from emotion_qwen.data import parts\nparts.read_part()\nself._own = 1")

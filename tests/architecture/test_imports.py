"""Imports point down: every import of the package is read, those inside functions and TYPE_CHECKING too."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "emotion_qwen"
ROWS = (
    ("errors",),
    ("extras",),
    ("taxonomy", "strings", "settings", "console", "nano", "mini", "cache", "files", "workers", "client", "extensions"),
    ("records", "matching"),
    ("media", "faces", "model", "questions"),
    ("processing",),
    ("convert",),
    ("prepare", "fetch"),
    ("data", "engine"),
    ("verify",),
    ("analysis",),
    ("views",),
    ("export",),
    ("express",),
    ("batch",),
    ("training", "ver", "notebook"),
    ("evaluation", "serving"),
    ("cli", "doctor", "integrations"),
)
# What may point up, and why.
UPWARD = {
    ("model/__init__.py", "emotion_qwen.processing"): "AutoProcessor has to know our processor as soon as our model",
}
# Imports that close a cycle of files, importer first, and why they stand.
CLOSING = {
    ("model", "processing"): "AutoProcessor has to know our processor as soon as our model",
}
# Strings that look like modules of ours.
ENTRY_POINT_GROUPS = {"emotion_qwen.tasks", "emotion_qwen.parts"}
ROW_OF = {name: row for row, names in enumerate(ROWS) for name in names}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def owner(path: Path) -> str:
    """Name the part of the house that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def exists(module: str) -> bool:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imported(tree: ast.AST, package: str) -> set[str]:
    """Return the dotted names of our own that a file imports, or names in a string such as a lazy import takes."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for full in (f"{base}.{alias.name}" for alias in node.names):
                names.add(full if base == "emotion_qwen" or exists(full) else base)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value.partition(":")[0]
            if re.fullmatch(r"emotion_qwen(\.\w+)+", text) and text not in ENTRY_POINT_GROUPS:
                names.add(text)
    return {name for name in names if name == "emotion_qwen" or name.startswith("emotion_qwen.")}


def literal(path: Path, name: str) -> dict:
    """Read a literal table from a file without importing it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return ast.literal_eval(node.value)  # type: ignore[union-attr]
    raise AssertionError(f"{path} has no literal table {name}")


def faults(source: str, part: str, package: str) -> list[str]:
    """List what a file of `part` imports against the rows."""
    found = []
    for name in sorted(imported(ast.parse(source), package)):
        target = name.removeprefix("emotion_qwen").removeprefix(".").partition(".")[0]
        if target == "__version__" or target == part:
            continue
        if target not in ROW_OF:
            found.append(f"{name} has no row; import the module that owns the name")
        elif ROW_OF[target] >= ROW_OF[part]:
            found.append(f"{name} (row {ROW_OF[target]}) is not below {part} (row {ROW_OF[part]})")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_import_points_down(path: Path) -> None:
    part = owner(path)
    assert part in ROW_OF, f"{part} has no row: give it one here and in docs/concepts/architecture.md"
    if path == PACKAGE / "cli.py":
        return  # a table of strings; the test of COMMANDS reads it
    package = ".".join(["emotion_qwen", *path.relative_to(PACKAGE).parts[:-1]])
    allowed = {name for place, name in UPWARD if place == str(path.relative_to(PACKAGE))}
    found = faults(path.read_text(encoding="utf-8"), part, package)
    assert not [fault for fault in found if fault.split()[0] not in allowed]


def file_graph() -> dict[str, set[str]]:
    """Return which files each file imports, by dotted names behind `emotion_qwen.`."""
    graph = {}
    for path in MODULES:
        package = ["emotion_qwen", *path.relative_to(PACKAGE).parts[:-1]]
        name = ".".join(package if path.name == "__init__.py" else [*package, path.stem])
        targets = imported(ast.parse(path.read_text(encoding="utf-8")), ".".join(package))
        graph[name] = {target for target in targets if exists(target)} - {name, "emotion_qwen"}
    del graph["emotion_qwen.cli"]  # a table of strings, which nothing below imports
    cut = len("emotion_qwen.")
    return {name[cut:]: {target[cut:] for target in targets} for name, targets in graph.items()}


def cycle_of(graph: dict[str, set[str]]) -> list[str]:
    """Return one cycle of a graph; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_two_files_import_each_other_directly_or_through_others() -> None:
    graph = file_graph()
    opened = {name: {one for one in targets if (name, one) not in CLOSING} for name, targets in graph.items()}
    assert not cycle_of(opened)
    unneeded = [
        (name, target)
        for name, target in CLOSING
        if target not in graph.get(name, ()) or not cycle_of({**opened, name: opened[name] | {target}})
    ]
    assert not unneeded, "take these out of CLOSING"


def test_the_reader_sees_a_cycle() -> None:
    assert cycle_of({"a": {"b"}, "b": {"c"}, "c": {"a"}}) and not cycle_of({"a": {"b", "c"}, "b": {"c"}})
    inside = "def f():\n    from emotion_qwen.views import terminal"
    assert "emotion_qwen.views.terminal" in imported(ast.parse(inside), "emotion_qwen.views")


@pytest.mark.parametrize(
    "source",
    [
        "import emotion_qwen.engine",
        "from emotion_qwen import data",
        "from emotion_qwen import EmotionQwen",
        "from emotion_qwen.faces.track import follow",
        "from ..faces import track",
        "def f():\n    from emotion_qwen.prepare import prepare",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import emotion_qwen.cli",
        "import importlib\nx = importlib.import_module('emotion_qwen.training.stages')",
    ],
)
def test_the_reader_sees_an_import_that_points_up_or_aside(source: str) -> None:
    assert faults(source, "media", "emotion_qwen.media")


def test_the_reader_passes_what_points_down() -> None:
    source = "from emotion_qwen import __version__\nfrom emotion_qwen.records import Clip\nfrom .video import decode"
    assert not faults(source, "media", "emotion_qwen.media")


def test_the_top_imports_nothing_of_ours_and_its_lazy_names_exist() -> None:
    top = PACKAGE / "__init__.py"
    imports = [n for n in ast.walk(ast.parse(top.read_text())) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert not [n for n in imports if "emotion_qwen" in ast.unparse(n)]
    table = literal(top, "_PUBLIC")
    assert table
    assert not {name: module for name, module in table.items() if not exists(module)}


def test_every_command_names_a_file_that_defines_it() -> None:
    commands = literal(PACKAGE / "cli.py", "COMMANDS")
    wrong = []
    for name, (target, text) in commands.items():
        module, attribute = target.split(":")
        path = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
        defined = set()
        if path.is_file():
            tree = ast.parse(path.read_text(encoding="utf-8"))
            defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
        if attribute not in defined or not text:
            wrong.append(f"{name} -> {target}")
    assert not wrong

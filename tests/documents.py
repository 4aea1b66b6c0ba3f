"""Reads the commands that the documents show, for the tests that check them and those that run them."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from emotion_qwen.cli import COMMANDS, emotion_qwen

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src" / "emotion_qwen").rglob("*.md")])
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def name(path: Path) -> str:
    """Return a path as it stands in the repository."""
    return str(path.relative_to(ROOT))


def fenced_lines(text: str) -> Iterator[str]:
    """Yield the lines of fenced blocks, continued lines joined, prompts taken off."""
    for block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield line.strip().removeprefix("$ ")


def calls(text: str) -> Iterator[list[str]]:
    """Yield the arguments of every call of our command in fenced blocks, up to a pipe, redirection or `&&`."""
    for line in fenced_lines(text):
        for part in re.split(r"\s(?:\||>+|&&|;|2>)\s?", line):
            starts = re.match(r"(?:\S*/)?emotion-qwen(?=\s|$)|\S*python3? -m emotion_qwen\.cli(?=\s|$)", part)
            if starts:
                yield shlex.split(part[starts.end() :], comments=True)


def documented_calls() -> list[tuple[str, ...]]:
    """Return the arguments of every call in all documents, each once, in the order in which they are read."""
    return list(dict.fromkeys(tuple(call) for path in DOCUMENTS for call in calls(path.read_text(encoding="utf-8"))))


def fault(arguments: list[str]) -> str | None:
    """Say what is wrong with a call, or None: an unknown command, an option too many or a required one too few."""
    command: click.Command = emotion_qwen
    for argument in arguments:
        if argument == "--":
            return None
        meant = getattr(command, "default", None)  # of a group: the command that is called where none is named
        if meant and argument not in command.commands and argument != "--help":
            command = command.commands[meant]
        option = re.match(r"-[a-z]$|--[\w-]+", argument)
        if option:
            known = {text for p in command.params for text in (*p.opts, *p.secondary_opts)} | {"--help"}
            if option.group() not in known:
                return f"{shlex.join(arguments)}: {command.name} has no option {option.group()}"
        elif command is emotion_qwen:
            if argument not in COMMANDS:
                return f"{shlex.join(arguments)}: no command {argument}"
            module, attribute = COMMANDS[argument][0].split(":")
            command = getattr(importlib.import_module(module), attribute)
        elif isinstance(command, click.Group):
            if argument not in command.commands:
                return f"{shlex.join(arguments)}: {command.name} has no command {argument}"
            command = command.commands[argument]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.required and not set(parameter.opts) & set(arguments):
            return f"{shlex.join(arguments)}: {command.name} needs {parameter.opts[0]}"
    return None

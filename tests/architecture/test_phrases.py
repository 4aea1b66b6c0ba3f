"""Phrases that readers found odd, and their kin, are not written again: in the package, the pages and the documents."""

from __future__ import annotations

import re

import pytest
from tests.documents import ROOT

UNIT = r"(?:ms|s|seconds?|minutes?|KiB|MiB|GiB|GB|MB|tokens?|frames?|samples?|points?|GFLOPs?|bytes?|megabytes?)"
ODD = {
    r"what that can be checked against": "on what evidence",
    r"sees and hears": "video and audio",
    r"again and again": "repeatedly, or updates continuously",
    r"nothing of it in": "not present",
    r"\bleans to\b|, which is not an answer": "Undecided; closest is ...",
    r"\bleads from\b|, most at \{?\w*:?\.?\d": "Mostly sad from ... to ..., peaking at ...",
    r"would have \S+ instead of": "would drop from ... to ...",
    r"counts? as absent": "was ignored",
    r"[Dd]o not decide anything": "Do not use this to make decisions about anyone.",
    r"data whole|\bmend (?:the|it|them|that)\b": "valid; fix",
    r"\bis told by\b": "is described by, follows",
    rf"\d\s*{UNIT} an? (?!half\b)\w+|\bone (?:row|folder|line|file|picture|figure) an? \w+\b": "per",
    r"[Ww]ithout further ado": "By default",
    r"[Ff]igures of the house|with its descent": "Performance results; provenance",
    r"analyzed, \S+ before\b|on the spot": "skipped; generated",
    r"takes for a voice": "treats as a voice",
    r"[Mm]icrophone, too": "also the microphone",
    r"gives? the model ears|\bdeaf model": "adds an audio encoder; without audio input",
    r"made from nothing": "new, randomly initialised",
    r"[Nn]othing about a person\b": "no conclusions about a person",
    r"\b(?:face|person) (?:of person \S+ )?shows (?:sad|happy|angry)\b": "looks sad",
}
"""What is not written (a regular expression) -> what is, or what it means."""
QUOTED = {
    "CONTRIBUTING.md": (
        "| one row a clip", "| mend the path", "| what a line holds", "| the sound is silent", "| gives the model ears",
        "| without further ado", "| do not decide",
    )
}  # fmt: skip
"""File -> beginnings of the lines in which it shows such phrases as bad examples."""
PACKAGE = [path for path in (ROOT / "src" / "emotion_qwen").rglob("*") if path.suffix in (".py", ".html", ".js", ".md")]
DOCUMENTS = [path for path in (ROOT / "docs").rglob("*.md") if path.name != "log.md"]  # the log is a diary
FILES = [*PACKAGE, *DOCUMENTS, *ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md", ROOT / "Makefile"]


def odd_phrases(text: str, quoted: tuple[str, ...] = ()) -> list[str]:
    """List the odd phrases of a text, each with what to write instead."""
    lines = [line for line in text.splitlines() if not (quoted and line.startswith(quoted))]
    whole = re.sub(r"\s+", " ", "\n".join(lines))  # a phrase may go over the end of a line
    return [f"{match[0]!r} -> {better}" for odd, better in ODD.items() for match in re.finditer(odd, whole)]


def test_no_odd_phrase_is_written() -> None:
    odd = {}
    for path in FILES:
        phrases = odd_phrases(path.read_text(encoding="utf-8"), QUOTED.get(path.name, ()))
        if phrases:
            odd[str(path.relative_to(ROOT))] = phrases
    assert not odd


@pytest.mark.parametrize(
    "text",
    [
        "What people in a clip show, and what that can be checked against.",
        "model nano, which sees and\n    hears",
        "Sad leads from 0.0 s to 6.2 s, most at 3.0 s (89%).",
        "without words surprise would have 1% instead of 26%",
        "40 to 90 ms a frame",
        "one folder a task",
        "17 clips analyzed, 0 before, 0 failed",
        "the face of person 1 shows sad",
    ],
)
def test_it_finds_them(text: str) -> None:
    assert odd_phrases(text)


def test_it_leaves_usual_sentences_alone() -> None:
    assert not odd_phrases("A video of 3 s. Half a second later. One row per clip. Give a folder a name.")


@pytest.mark.parametrize("name", QUOTED)
def test_quoted_lines_are_still_there(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert not [quoted for quoted in QUOTED[name] if not any(line.startswith(quoted) for line in lines)]

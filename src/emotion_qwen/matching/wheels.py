"""Emotion wheels in the organisers' files: they group the words of an open vocabulary by meaning.

The files are those of MER-UniBench (Lian et al., ICML 2025), read from a folder that the user names; none is shipped:
`wheel1.xlsx` ... with the columns level1, level2, level3 (an empty cell repeats the one above), `format.csv` with name
and format (forms of each word) and `synonym.xlsx` with word_run1, synonym_run1 and so on. A `.csv` with the same
columns may replace any `.xlsx`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from emotion_qwen.errors import DataError

LEVELS = ("level1", "level2")
"""Inner ring and middle ring."""
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


@dataclass(frozen=True)
class Wheels:
    """The tables that group words.

    Attributes:
        forms: form of a word -> words ("happily" -> "happy").
        synonyms: word -> words of the wheels.
        rings: wheel -> level -> word of the wheel -> the group it belongs to.
        digest: first 16 hexadecimal digits of the SHA-256 of the contents; the folders of MER2025 and MER2026 differ.
    """

    forms: Mapping[str, tuple[str, ...]]
    synonyms: Mapping[str, tuple[str, ...]]
    rings: Mapping[str, Mapping[str, Mapping[str, str]]]
    digest: str = ""

    def group(self, word: str, wheel: str, level: str = "level1") -> str | None:
        """Return the group of a word on one wheel, or None if the word is not in the vocabulary.

        The form is mapped to its words, and these to synonyms on the wheels; the alphabetically first synonym on this
        wheel decides, as in the organisers' scoring, so that a word has one group.
        """
        ring = self.rings[wheel][level]
        words = self.forms.get(word.strip().lower(), ())
        synonyms = sorted(synonym for form in words for synonym in self.synonyms.get(form, ()))
        return next((ring[synonym] for synonym in synonyms if synonym in ring), None)

    def groups(self, words: Iterable[str], wheel: str, level: str = "level1") -> set[str]:
        """Return the groups of words on one wheel, without words that are not in the vocabulary."""
        return {group for word in words if (group := self.group(word, wheel, level)) is not None}

    def knows(self, word: str, level: str = "level1") -> bool:
        """Return whether any wheel has a group for a word."""
        return any(self.group(word, wheel, level) is not None for wheel in self.rings)


def read_wheels(folder: Path) -> Wheels:
    """Read the organisers' files.

    Raises:
        DataError: the folder, a file or a column is missing, or a file is not of the type that its name suggests.
    """
    files = sorted({path.stem for path in folder.glob("wheel*") if path.suffix in (".xlsx", ".csv")})
    if not files:
        raise DataError(f"{str(folder)!r} holds no wheel*.xlsx or wheel*.csv; give the organisers' folder")
    rings = {name: _rings(_rows(folder, name, ("level1", "level2", "level3"))) for name in files}
    forms: dict[str, dict[str, None]] = {}
    for row in _rows(folder, "format", ("name", "format")):
        word = row["name"].strip().lower()
        for form in (*_listed(row["format"]), word):
            forms.setdefault(form, {})[word] = None
    synonyms: dict[str, dict[str, None]] = {}
    for row in _rows(folder, "synonym", ("word_run1", "synonym_run1")):
        for key in (key for key in row if key.startswith("word_")):
            word = row[key].strip().lower()
            for synonym in (*_listed(row.get(key.replace("word_", "synonym_"), "")), word):
                if word:
                    synonyms.setdefault(synonym, {})[word] = None
    read = _frozen(forms), _frozen(synonyms), rings
    written = json.dumps(read, sort_keys=True, ensure_ascii=False).encode()
    return Wheels(*read, hashlib.sha256(written).hexdigest()[:16])


def _frozen(table: dict[str, dict[str, None]]) -> dict[str, tuple[str, ...]]:
    return {word: tuple(meant) for word, meant in table.items()}


def _listed(cell: str) -> list[str]:
    """Return the words of a cell such as "['joyful', 'glad']" or "joyful, glad"."""
    return [word.strip().lower() for word in re.split("['\",]", cell.strip("[] ")) if word.strip()]


def _rings(rows: Iterable[Mapping[str, str]]) -> dict[str, dict[str, str]]:
    tree: dict[str, dict[str, dict[str, None]]] = {}
    at = ["", "", ""]
    for row in rows:
        cells = [row[level].strip().lower() for level in ("level1", "level2", "level3")]
        at = [cell or above for cell, above in zip(cells, at, strict=True)]
        tree.setdefault(at[0], {}).setdefault(at[1], {})[at[2]] = None
    inner, middle = {}, {}
    for first, seconds in tree.items():
        inner[first], middle[first] = first, min(seconds)  # the inner word has no entry of its own on the middle ring
        for second, thirds in seconds.items():
            inner[second], middle[second] = first, second
            for third in thirds:
                inner[third], middle[third] = first, second
    return dict(zip(LEVELS, (inner, middle), strict=True))


def _rows(folder: Path, name: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    path = next((p for p in (folder / f"{name}.xlsx", folder / f"{name}.csv") if p.is_file()), None)
    if path is None:
        raise DataError(f"{str(folder)!r} holds no {name}.xlsx or {name}.csv; give the organisers' complete folder")
    try:
        table = _sheet(path) if path.suffix == ".xlsx" else list(csv.reader(io.StringIO(path.read_text("utf-8-sig"))))
    except (OSError, zipfile.BadZipFile, KeyError, ElementTree.ParseError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as {path.suffix[1:]} ({error}); fetch the file again") from error
    head = [cell.strip() for cell in table[0]] if table else []
    missing = [column for column in columns if column not in head]
    if missing:
        raise DataError(f"{path}: has the columns {head}; expected also {', '.join(missing)}")
    return [dict(zip(head, (*line, *[""] * len(head)), strict=False)) for line in table[1:]]


def _sheet(path: Path) -> list[list[str]]:
    """Read the first sheet of a workbook as text, without formulas or formatting (ECMA-376, SpreadsheetML)."""
    with zipfile.ZipFile(path) as book:
        names = book.namelist()
        shared = []
        if "xl/sharedStrings.xml" in names:
            texts = ElementTree.fromstring(book.read("xl/sharedStrings.xml")).iter(f"{_SHEET}si")
            shared = ["".join(part.text or "" for part in text.iter(f"{_SHEET}t")) for text in texts]
        sheet = ElementTree.fromstring(book.read(min(name for name in names if name.startswith("xl/worksheets/sheet"))))
    table = []
    for row in sheet.iter(f"{_SHEET}row"):
        cells: dict[int, str] = {}
        for cell in row.iter(f"{_SHEET}c"):
            value = cell.find(f"{_SHEET}v")
            text = "".join(part.text or "" for part in cell.iter(f"{_SHEET}t"))
            if value is not None:
                text = shared[int(value.text or 0)] if cell.get("t") == "s" else value.text or ""
            cells[_column(cell.get("r") or "", len(cells))] = text
        table.append([cells.get(place, "") for place in range(max(cells, default=-1) + 1)])
    return table


def _column(reference: str, otherwise: int) -> int:
    """Return the column index of a cell such as "AB12", 0 for the first column."""
    letters = re.match("[A-Z]+", reference)
    if letters is None:
        return otherwise
    place = 0
    for letter in letters.group():
        place = place * 26 + ord(letter) - ord("A") + 1
    return place - 1

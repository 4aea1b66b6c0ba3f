"""Shared code for sets of labelled files: a table of names and labels, clips by name, the closed question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from emotion_qwen.evaluation.task import RELEASE, Item, labelled
from emotion_qwen.evaluation.tasks.files import PICTURES, VIDEOS, BenchmarkReader, Media, ReadRows
from emotion_qwen.evaluation.tasks.prompts import emotion_question
from emotion_qwen.taxonomy import LabelSet, label_set


class Labelled(NamedTuple):
    """One file: its actual or expected path, English label, group for breaking down scores, and the person shown.

    `span` is the part of a video that is asked about, as start and end in seconds; empty for the whole video.
    """

    path: Path
    label: str
    group: str
    person: str = ""
    span: tuple[float, ...] = ()


@dataclass(frozen=True)
class LabelledFiles(BenchmarkReader):
    """Clips or pictures with a closed label set.

    Attributes:
        set_name: name of the label set.
        released: the release's prompt, if there is one.
    """

    set_name: str = ""
    released: str = ""

    @property
    def labels(self) -> LabelSet:
        """The label set."""
        return label_set(self.set_name)

    def ask(self, language: str) -> str:
        """Compose the question in the selected wording."""
        return self.released if self.prompt == RELEASE else emotion_question(self.labels, language)

    def item(self, name: str, row: Labelled, language: str) -> Item:
        """See `BenchmarkReader`; the item of a missing file has the path where the file is expected."""
        kind = "image" if row.path.suffix.lower() in PICTURES else "video"
        part: dict[str, Any] = {"type": kind, kind: row.path, **dict(zip(("start", "end"), row.span, strict=False))}
        more = {"group": row.group or row.label, "cluster": row.person}
        return labelled(name, language, (part,), self.ask(language), self.labels, row.label, **more)


def put_clips(table: ReadRows, home: Path) -> None:
    """Set the path of every row's clip, or the path where it is expected; report the missing ones."""
    paths = table.find("clips", Media(home, VIDEOS), table.rows)
    for name, row in table.rows.items():
        table.rows[name] = row._replace(path=paths.get(name, home / f"{name}.mp4"))


def compare_labels(table: ReadRows, what: str, published: Mapping[str, int]) -> None:
    """Compare the number of rows of every label with the published one."""
    counts = Counter(row.label for row in table.rows.values())
    other = [f"{name} {counts[name]}, published {count}" for name, count in published.items() if counts[name] != count]
    if other:
        table.say("differs", f"{what}: {'; '.join(other)}")


def expect_folds(table: ReadRows, counts: Mapping[str, int], published: Mapping[str, int]) -> None:
    """Report folds without rows, and compare the number of rows of the others with the published ones."""
    absent = [name for name in published if not counts[name]]
    if absent:
        table.say("missing", f"no rows of {', '.join(absent)}; the scores do not cover all five folds")
    for name, count in published.items():
        if counts[name]:
            table.expect(f"rows of {name}", counts[name], count)

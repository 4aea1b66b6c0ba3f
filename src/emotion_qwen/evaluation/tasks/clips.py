"""What the sets of labelled files share: a table of names and labels, clips by name, the closed question."""

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
    """One file: where it is or should be, its English label, what scores are broken down by, and whom it shows.

    `span` is the part of a video that is asked about: start and end in seconds; empty for all of it.
    """

    path: Path
    label: str
    group: str
    person: str = ""
    span: tuple[float, ...] = ()


@dataclass(frozen=True)
class LabelledFiles(BenchmarkReader):
    """Clips or pictures of a closed set of labels.

    Attributes:
        set_name: of the labels.
        released: the release's prompt, if there is one.
    """

    set_name: str = ""
    released: str = ""

    @property
    def labels(self) -> LabelSet:
        """The label set."""
        return label_set(self.set_name)

    def ask(self, language: str) -> str:
        """Compose the question in the wording in use."""
        return self.released if self.prompt == RELEASE else emotion_question(self.labels, language)

    def item(self, name: str, row: Labelled, language: str) -> Item:
        """See `BenchmarkReader`; a file that is not there is asked about by the path where it should be."""
        kind = "image" if row.path.suffix.lower() in PICTURES else "video"
        part: dict[str, Any] = {"type": kind, kind: row.path, **dict(zip(("start", "end"), row.span, strict=False))}
        more = {"group": row.group or row.label, "cluster": row.person}
        return labelled(name, language, (part,), self.ask(language), self.labels, row.label, **more)


def put_clips(table: ReadRows, home: Path) -> None:
    """Put into every row the path of its clip, or where it should be; say which are not there."""
    paths = table.find("clips", Media(home, VIDEOS), table.rows)
    for name, row in table.rows.items():
        table.rows[name] = row._replace(path=paths.get(name, home / f"{name}.mp4"))


def compare_labels(table: ReadRows, what: str, published: Mapping[str, int]) -> None:
    """Compare the rows of every label with the published numbers."""
    counts = Counter(row.label for row in table.rows.values())
    other = [f"{name} {counts[name]}, published {count}" for name, count in published.items() if counts[name] != count]
    if other:
        table.say("differs", f"{what}: {'; '.join(other)}")


def expect_folds(table: ReadRows, counts: Mapping[str, int], published: Mapping[str, int]) -> None:
    """Say which folds have no rows, and compare the rows of the others with the published numbers."""
    absent = [name for name in published if not counts[name]]
    if absent:
        table.say("missing", f"no rows of {', '.join(absent)}; scores are not those of the five folds")
    for name, count in published.items():
        if counts[name]:
            table.expect(f"rows of {name}", counts[name], count)

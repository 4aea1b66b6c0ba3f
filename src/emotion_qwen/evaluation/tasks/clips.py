"""Shared code for sets of labelled files: a table of names and labels, clips by name, the closed question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from emotion_qwen.evaluation.task import RELEASE, Item, Task, labelled
from emotion_qwen.evaluation.tasks.files import PICTURES, SOUNDS, VIDEOS, BenchmarkReader, Media, ReadRows
from emotion_qwen.evaluation.tasks.prompts import (
    OPEN,
    OPEN_OURS,
    POLARITY_OURS,
    PRESETS,
    multi_question,
    polarity_names,
    preset_question,
    spoken_part,
)
from emotion_qwen.questions import label_question
from emotion_qwen.records import EVOKED, PEOPLE
from emotion_qwen.taxonomy import LabelSet, label_set

EVOKED_PRESETS = ("emo-r3", "qwen2.5-omni")
LABEL, WORDS, POLARITY, VALUES, MULTI = "label", "words", "polarity", "values", "label and valence"
"""What is asked about a file: one label of a set, all emotion words that fit, whether it is positive, numbers."""


class Labelled(NamedTuple):
    """One file: its actual or expected path, English label, group for breaking down scores, and the person shown.

    `span` is the part of a video that is asked about, as start and end in seconds; empty for the whole video. `words`
    are spoken words or the text of an item without media (`path` is then None), `values` the numbers of the annotators
    as they are written.
    """

    path: Path | None
    label: str
    group: str
    person: str = ""
    span: tuple[float, ...] = ()
    words: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelledFiles(BenchmarkReader):
    """Clips, pictures, recordings or texts with labels or numbers.

    Attributes:
        set_name: name of the label set.
        released: the release's prompt, if there is one.
        subset: the labels that the owners use, if they are not the whole set.
        form: what is asked.
        values_question: language -> the question if `form` asks for numbers.
        about: see `Task.about`.
    """

    set_name: str = ""
    released: str = ""
    subset: tuple[str, ...] = ()
    form: str = LABEL
    values_question: Mapping[str, str] = field(default_factory=dict)
    about: str = PEOPLE

    @property
    def labels(self) -> LabelSet:
        """The label set."""
        return subset_of(label_set(self.set_name), self.subset)

    def ask(self, language: str) -> str:
        """Compose the question in the selected wording."""
        if self.prompt == RELEASE:
            return self.released
        if self.prompt in PRESETS:
            return preset_question(self.prompt, self.labels, self.about)
        if self.form == WORDS or self.prompt == OPEN:
            return OPEN_OURS[language]
        if self.form == POLARITY:
            return POLARITY_OURS[language]
        if self.form == MULTI:
            return multi_question(self.labels, language)
        if self.form == VALUES:
            return self.values_question[language]
        return label_question(self.labels, language, self.about)

    def item(self, name: str, row: Labelled, language: str) -> Item:
        """See `BenchmarkReader`; the item of a missing file has the path where the file is expected."""
        parts: list[dict[str, Any]] = []
        if row.path is not None:
            suffix = row.path.suffix.lower()
            kind = "image" if suffix in PICTURES else "audio" if suffix in SOUNDS else "video"
            parts.append({"type": kind, kind: row.path, **dict(zip(("start", "end"), row.span, strict=False))})
        if row.words:
            parts.append(spoken_part(language, row.words))
        question, group = self.ask(language), row.group
        if self.form == LABEL:
            more = {"group": group or row.label, "cluster": row.person}
            return labelled(name, language, parts, question, self.labels, row.label, **more)
        if self.form == POLARITY:
            value, names = float(row.values[0]), polarity_names(language)
            answer = names[1 + (value > 0) - (value < 0)]
            choices = () if self.prompt == OPEN else names
            return Item(
                name, language, tuple(parts), question, choices, answer, group, references=row.values,
                cluster=row.person, options=polarity_names("en") if choices else (),
            )  # fmt: skip
        gold = {WORDS: (row.label,), MULTI: (row.label, *row.values)}.get(self.form, row.values)
        return Item(
            name, language, tuple(parts), question, (), ", ".join(gold), group, references=gold, cluster=row.person
        )


def with_presets(task: Task) -> Task:
    """Add the wordings of published models (`prompts.PRESETS`) to a task whose source is `LabelledFiles`.

    Models of people's emotions are not asked for the emotion that a picture evokes, and the other way round.
    """
    names = EVOKED_PRESETS if task.about == EVOKED else tuple(name for name in PRESETS if name != "emo-r3")
    systems = {name: PRESETS[name].system for name in names if PRESETS[name].system}
    return replace(task, prompts={**task.prompts, **dict.fromkeys(names, ("en",))}, systems=systems)


def subset_of(labels: LabelSet, subset: Sequence[str]) -> LabelSet:
    """Return the set of some labels of a set, in the given order; all of them if none is given."""
    if not subset:
        return labels
    chinese = dict(zip(labels.labels, labels.chinese, strict=True))
    name = f"{labels.name}: {', '.join(subset)}"
    return LabelSet(name, tuple(subset), tuple(chinese[label] for label in subset), labels.source)


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

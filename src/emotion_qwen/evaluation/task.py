"""Tasks: questions with known answers that test a skill.

A task defines its questions, the form of the answers, their scoring and the source of its items, independent of any
model. The sources are in `tasks/`, one file per kind, and the tasks themselves in the table `tasks.TASKS`.

Only held-out parts are offered. A source reads what it can and reports the rest, see `TaskFinding`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from emotion_qwen.errors import DataError, SettingsError, unknown_choice
from emotion_qwen.evaluation.scoring.records import Response, Result, ScoredItem
from emotion_qwen.records import PEOPLE
from emotion_qwen.taxonomy import LabelSet

DOMAINS = ("emotion", "general")
SPLITS = ("validation", "test")
OURS, RELEASE = "ours", "release"
"""Names of prompts: written for this project, and literally those of the authors' release."""


@dataclass(frozen=True, eq=False)
class Item:
    """One question with its answer.

    Attributes:
        id: the same for every language and every model; unique within its task.
        language: "en" or "zh".
        parts: the message parts before the question, in order: `{"type": "image", "image": ...}` with a path, an array
            (H, W, 3) uint8 or a `stored.Stored`; `{"type": "video", "video": ...}` with a path, "start" and "end" in
            seconds for a part of it; `{"type": "audio", "audio": ...}` with an array; `{"type": "text", "text": ...}`
            for context, such as subtitles; a part with a person's words also has the bare words as "words". Local
            models take at most one picture or video.
        question: text of the question.
        choices: the answers whose likelihood is compared, in the item's language; empty for a free answer.
        answer: the correct choice, or the first reference.
        group: unit by which scores are broken down: class, fold, category; always in English. Items of one group are
            answered together, which is faster if they share choices.
        allowed: the choices that may be chosen; empty for all.
        references: all correct answers in the scorers' spelling (English label, option letter); empty for `(answer,)`.
        cluster: unit that the bootstrap draws as a whole: image, video, question; see `ScoredItem`.
        options: names used for reading replies in place of the choices, in the same order (English labels for Chinese
            choices, texts of lettered options); empty for the choices.
        label_set: name of the choices' label set; empty if they are not one.
        answered: form of the answer, if the items of a task differ in it; empty for that of the task. "continuation"
            scores the answer as a continuation of the question, both as plain text without chat template.
        by_length: divide the log-likelihood of every choice by its number of characters.
        max_new_tokens: maximum number of tokens of the reply; 0 for the task's.
    """

    id: str
    language: str
    parts: tuple[dict[str, Any], ...]
    question: str
    choices: tuple[str, ...]
    answer: str
    group: str
    allowed: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    cluster: str = ""
    options: tuple[str, ...] = ()
    label_set: str = ""
    answered: str = ""
    by_length: bool = False
    max_new_tokens: int = 0

    def __str__(self) -> str:
        return self.id

    def scored(self) -> ScoredItem:
        """Return the item in the form for scorers."""
        options = self.options or self.choices
        if self.allowed:
            options = tuple(name for name, choice in zip(options, self.choices, strict=True) if choice in self.allowed)
        return ScoredItem(self.id, self.references or (self.answer,), options, self.group, self.cluster)

    def scores(self, shares: Mapping[str, float]) -> dict[str, float]:
        """Convert likelihoods or shares, choice -> number, to the names used by scorers (`Response.scores`)."""
        named = self.options if len(set(self.options)) == len(self.choices) else self.choices
        return {name: shares[choice] for name, choice in zip(named, self.choices, strict=True) if choice in shares}


@dataclass(frozen=True)
class TaskFinding:
    """A finding about a task's files that a reader of its scores must know.

    Attributes:
        kind: "missing": missing files; the items that need them stay and will have no answer. "fault": unusable rows,
            which are left out. "differs": counts or hashes that differ from the published ones. "note": deliberate
            omissions or changes.
        text: one line, with numbers and names.
    """

    kind: Literal["missing", "fault", "differs", "note"]
    text: str


class Source(Protocol):
    """Interface of the source of a task's items."""

    def check(self, data: Path | None) -> None:
        """Raise DataError if the items cannot be read from this folder."""

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """Return the items; the arguments are those of `Task.items`."""


Scorer = Callable[[Sequence[ScoredItem], Iterable[Response]], Result]
Released = Callable[[Sequence[ScoredItem], Iterable[Response]], "dict[str, float]"]


@dataclass(frozen=True)
class Task:
    """A benchmark.

    Attributes:
        name: name in commands and folders.
        title: name on pages and in figures.
        domain: the skill that it tests, one of `DOMAINS`.
        source: source of its items.
        about: for emotion tasks, the subject of the question to local models, one of `records.ABOUT`: "people", the
            default of `analyze`, or "evoked".
        less_blank: compare likelihoods minus those for an empty picture (`analysis.reader`), not the plain ones.
        answered: form of the answers: likelihood of the choices, text, or as each item defines. Items with choices can
            be answered by likelihood in either case.
        score: scorer of the answers in one language; None if the task is used only by `predict` and `forgetting`.
        headline: name of the score by which models are compared; empty for the first.
        also: further results by name, from the same answers.
        as_released: figures by the authors' arithmetic, from the texts of the replies. Separate columns, never ours.
        between_languages: figures over the results in English and Chinese.
        judge: the judge's questions about every reply, of "clue" and "label"; empty without a judge.
        extract: what a language model may extract from prose before scoring (`run.extraction`): "words" (emotion
            words), "polarity" or "steps"; empty for nothing.
        max_new_tokens: maximum number of tokens of a reply.
        frames: clip settings fixed by the task, keys of `settings.ClipSettings`; the others are the model's own.
        system: system message; empty for that of the chat template.
        systems: system messages of wordings that have their own.
        splits: the available splits; the first is the default.
        prompts: name of each wording -> its languages.
        prompt: the selected wording; see `with_prompt`.
        needs: the files, in one line.
        licence: the terms of use, in one line.
        access: where to obtain the files, in one line.
        options: available options, name -> meaning; see `with_options`.
        make: builds the task from options.
    """

    name: str
    title: str
    domain: str
    source: Source
    about: str = PEOPLE
    less_blank: bool = True
    answered: Literal["likelihood", "text", "item"] = "likelihood"
    score: Scorer | None = None
    headline: str = ""
    also: Mapping[str, Scorer] = field(default_factory=dict)
    as_released: Released | None = None
    between_languages: Callable[[Result, Result], dict[str, float]] | None = None
    judge: tuple[str, ...] = ()
    extract: str = ""
    max_new_tokens: int = 128
    frames: Mapping[str, float] = field(default_factory=dict)
    system: str = ""
    systems: Mapping[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] = SPLITS
    prompts: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {OURS: ("en", "zh")})
    prompt: str = OURS
    needs: str = ""
    licence: str = ""
    access: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    make: Callable[..., Task] | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the selected wording."""
        return self.prompts[self.prompt]

    @property
    def column(self) -> str:
        """Name of the task in this wording in folders and tables: "pope", or "pope.release"."""
        return self.name if self.prompt == OURS else f"{self.name}.{self.prompt}"

    def with_prompt(self, prompt: str) -> Task:
        """Return the task in another wording.

        Raises:
            SettingsError: the task has no such wording.
        """
        if prompt not in self.prompts:
            raise SettingsError(unknown_choice(f"prompt of task {self.name}", prompt, self.prompts))
        if prompt == self.prompt:
            return self
        source: Any = self.source  # a source with several wordings has a field for them
        system = self.systems.get(prompt, self.system)
        return replace(self, prompt=prompt, source=replace(source, prompt=prompt), system=system)

    def with_options(self, **options: str) -> Task:
        """Return the task with options set.

        Raises:
            SettingsError: an option is unknown, or a value is invalid.
        """
        for name in options:
            if name not in self.options:
                names = ", ".join(self.options) or "none"
                raise SettingsError(f"task {self.name} has no option {name!r}; its options: {names}")
        if not options or self.make is None:
            return self
        return self.make(**options).with_prompt(self.prompt)

    def check(
        self, data: Path | None, split: str | None = None, languages: Sequence[str] = ()
    ) -> tuple[TaskFinding, ...]:
        """Look for the files of the task and count their items; nothing is decoded.

        Args:
            data: folder of the files.
            split: see `items`.
            languages: see `items`; empty means the task's first language.

        Returns:
            The findings that a reader of the scores must know; a single "missing" finding if nothing can be read.
        """
        look = getattr(self.source, "findings", None)
        needed = getattr(self.score, "missing", str)()
        findings = [TaskFinding("missing", f"{needed}; until then replies are kept, not scored")] if needed else []
        try:
            if look is None:
                self.source.check(data)
                return tuple(findings)
            return (*findings, *look(data, self._split(split), languages or self.languages[:1]))
        except DataError as error:
            return (TaskFinding("missing", str(error)),)

    def items(
        self,
        data: Path | None,
        *,
        side: int | None,
        languages: Sequence[str] = ("en",),
        split: str | None = None,
        limit: int | None = None,
    ) -> list[Item]:
        """Read or draw the items.

        Args:
            data: folder of the files, or one that contains a folder named like the task; a drawn task needs none.
            side: side in pixels to which the small pictures of FER2013, LFW and CIFAR-10 are resized; None keeps their
                size. Pictures of other tasks are not resized.
            languages: of "en" and "zh"; every item is asked once in each.
            split: one of the task's `splits`; None is the first.
            limit: number of items, evenly spaced over a file, or the first of drawn items; None is all.

        Raises:
            DataError: the file is missing, or has no items of that split.
            SettingsError: the split or language is not available.
            MissingPackage: pyarrow is not installed.
        """
        for language in languages:
            if language not in self.languages:
                raise SettingsError(unknown_choice("language", language, self.languages))
        return self.source.items(data, self._split(split), languages, side, limit)

    def _split(self, split: str | None) -> str:
        if split is None:
            return self.splits[0]
        if split not in self.splits:
            raise SettingsError(unknown_choice("split", split, self.splits))
        return split


def labelled(
    name: str, language: str, parts: Sequence[dict[str, Any]], question: str, labels: LabelSet, label: str, **more: Any
) -> Item:
    """Make the item of a closed question over a label set; its group is the label unless set in `more`.

    Args:
        name: id of the item.
        language: "en" or "zh".
        parts: message parts before the question.
        question: text of the question.
        labels: the choices.
        label: the correct label, in English.
        more: further fields of `Item`.
    """
    choices = labels.names(language)
    answer = choices[labels.labels.index(label)]
    fields = {"group": label, "references": (label,), "options": labels.labels, "label_set": labels.name, **more}
    return Item(name, language, tuple(parts), question, choices, answer, **fields)


def evenly(count: int, limit: int | None) -> list[int]:
    """Return `limit` indices evenly spaced over `count`, or all; many files are sorted by label."""
    chosen = count if limit is None else min(limit, count)
    return [int(place) for place in np.arange(chosen) * count // max(chosen, 1)]

"""Tasks: questions with known answers, for the skill that they test.

A task says what is asked, how it is to be answered, how answers are scored and where its items come from; it knows no
model. The sources stand in `tasks/`, one file for each kind, and the tasks themselves in the table `tasks.TASKS`.

Only parts held out from training are offered. A source reads what can be read and names the rest: see `TaskFinding`.
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
"""Names of prompts: written for this project, and word for word those of the authors' release."""


@dataclass(frozen=True, eq=False)
class Item:
    """One question with its answer.

    Attributes:
        id: the same for every language and every model; unique within its task.
        language: "en" or "zh".
        parts: the message parts that come before the question, in order: `{"type": "image", "image": ...}` with a path,
            an array (H, W, 3) uint8 or a `stored.Stored`; `{"type": "video", "video": ...}` with a path,
            of which "start" and "end" (seconds) may name a part;
            `{"type": "audio", "audio": ...}` with an array; `{"type": "text", "text": ...}` for context, such as
            subtitles; what a person says has the bare words as "words". Models of ours take at most one picture or
            video.
        question: as the model reads it.
        choices: the answers whose likelihood is compared, in the item's language; empty for a free answer.
        answer: the right one of them, or the first reference.
        group: what scores are broken down by: class, fold, category. English, whatever the language. Items of one
            group are answered together, so it helps if they share choices.
        allowed: the choices that may be chosen; empty for all.
        references: all right answers as scorers spell them (English label, option letter); empty for `(answer,)`.
        cluster: what belongs together: image, video, question; see `ScoredItem`.
        options: what a reader of replies needs in place of the choices, place by place (English labels for Chinese
            choices, the texts behind option letters); empty for the choices.
        label_set: name of the label set that the choices are; empty if they are none.
        answered: how, where the items of a task differ in that; empty for the way of the task. "continuation" scores
            the answer as a continuation of the question, both as plain text without chat template.
        by_length: divide the log-likelihood of every choice by its number of characters.
        max_new_tokens: of the reply; 0 for the task's.
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
        """Return what a scorer needs of the item."""
        options = self.options or self.choices
        if self.allowed:
            options = tuple(name for name, choice in zip(options, self.choices, strict=True) if choice in self.allowed)
        return ScoredItem(self.id, self.references or (self.answer,), options, self.group, self.cluster)

    def scores(self, shares: Mapping[str, float]) -> dict[str, float]:
        """Rename likelihoods or shares, choice -> number, so that a scorer knows them (`Response.scores`)."""
        named = self.options if len(set(self.options)) == len(self.choices) else self.choices
        return {name: shares[choice] for name, choice in zip(named, self.choices, strict=True) if choice in shares}


@dataclass(frozen=True)
class TaskFinding:
    """Something about a task's files that a reader of its scores must know.

    Attributes:
        kind: "missing": files that are not there; the items that need them stay and will have no answer. "fault": rows
            that cannot be used and are left out. "differs": counts or hashes other than the published ones. "note":
            what is left out or done on purpose.
        text: one line, with numbers and names.
    """

    kind: Literal["missing", "fault", "differs", "note"]
    text: str


class Source(Protocol):
    """Where the items of a task come from."""

    def check(self, data: Path | None) -> None:
        """Raise DataError now if the items cannot be had from this folder."""

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
        name: how commands and folders call it.
        title: how pages and figures call it.
        domain: the skill that it tests, one of `DOMAINS`.
        source: of its items.
        about: for tasks of emotion, whom models of ours are asked about, one of `records.ABOUT`: "people" as `analyze`
            is by default, or "evoked".
        less_blank: compare likelihoods less those for an empty picture (`analysis.reader`), not the plain ones.
        answered: how the task wants to be answered: by the likelihood of the choices or by text, or as its items say.
            Items with choices can be answered by likelihood in either case.
        score: of the answers in one language; None if only `predict` and `forgetting` know the task.
        also: further results by name, from the same answers.
        as_released: figures by the authors' arithmetic, from the texts of the replies. Separate columns, never ours.
        between_languages: figures over the results in English and Chinese.
        judge: the questions that a judge is asked about every reply, of "clue" and "label"; empty without a judge.
        max_new_tokens: of a reply.
        frames: clip settings that the task fixes, keys of `settings.ClipSettings`; others are the model's own.
        system: system message; empty for that of the chat template.
        splits: which are offered; the first is taken where none is asked for.
        prompts: name of each wording -> the languages that it is in.
        prompt: the one in use; see `with_prompt`.
        needs: the files, in one line.
        licence: the terms of use, in one line.
        access: where to ask for the files, in one line.
        options: what can be set, name -> meaning; see `with_options`.
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
    also: Mapping[str, Scorer] = field(default_factory=dict)
    as_released: Released | None = None
    between_languages: Callable[[Result, Result], dict[str, float]] | None = None
    judge: tuple[str, ...] = ()
    max_new_tokens: int = 128
    frames: Mapping[str, float] = field(default_factory=dict)
    system: str = ""
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
        """In which the wording in use can be asked."""
        return self.prompts[self.prompt]

    @property
    def column(self) -> str:
        """How folders and tables call the task in this wording: "pope", or "pope.release"."""
        return self.name if self.prompt == OURS else f"{self.name}.{self.prompt}"

    def with_prompt(self, prompt: str) -> Task:
        """Return the task in another wording.

        Raises:
            SettingsError: it has no such wording.
        """
        if prompt not in self.prompts:
            raise SettingsError(unknown_choice(f"prompt of task {self.name}", prompt, self.prompts))
        if prompt == self.prompt:
            return self
        source: Any = self.source  # a source with several wordings has a field for them
        return replace(self, prompt=prompt, source=replace(source, prompt=prompt))

    def with_options(self, **options: str) -> Task:
        """Return the task with options set.

        Raises:
            SettingsError: an option that it does not have, or a value that cannot be.
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
        """Look for the files of the task and count what they hold; nothing is decoded.

        Args:
            data: folder of the files.
            split: see `items`.
            languages: see `items`; none is the first that the task has.

        Returns:
            What a reader of the scores must know. A single "missing" finding if nothing can be read at all.
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
            data: folder of the files, or one that holds a folder named as the task; a drawn task needs none.
            side: pixels to which the small pictures of FER2013, LFW and CIFAR-10 are brought; None leaves them as they
                are. Pictures of other tasks are read as they are.
            languages: of "en" and "zh"; every item comes once in each.
            split: one of the task's `splits`; None is the first.
            limit: so many items, evenly spaced over a file, the first of a drawn world; None is all.

        Raises:
            DataError: the file is missing, or holds nothing of that split.
            SettingsError: a split or language that is not offered.
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
    """Make the item of a closed question over a label set; its group is the label unless `more` says otherwise.

    Args:
        name: id of the item.
        language: "en" or "zh".
        parts: what is asked about.
        question: as the model reads it.
        labels: the choices.
        label: the right one, in English.
        more: further fields of `Item`.
    """
    choices = labels.names(language)
    answer = choices[labels.labels.index(label)]
    fields = {"group": label, "references": (label,), "options": labels.labels, "label_set": labels.name, **more}
    return Item(name, language, tuple(parts), question, choices, answer, **fields)


def evenly(count: int, limit: int | None) -> list[int]:
    """Return `limit` places evenly spaced over `count`; all if there are no more. Files stand in order of labels."""
    chosen = count if limit is None else min(limit, count)
    return [int(place) for place in np.arange(chosen) * count // max(chosen, 1)]

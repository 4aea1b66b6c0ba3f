"""Tasks: closed questions with known answers, for the skill that they test.

A task says what is asked and where its items come from; it knows no model. The sources stand in `tasks/`, one file for
each kind, and the tasks themselves in the table `tasks.TASKS`. A further kind (a manifest of clips, say) is a further
class with `check` and `items`, and a further row.

Only the parts held out from training are offered: "validation", and "test" if it is asked for by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.processing.chat import LANGUAGES

DOMAINS = ("emotion", "general")
SPLITS = ("validation", "test")


@dataclass(frozen=True, eq=False)
class Item:
    """One question with its answer.

    Attributes:
        id: the same for every language and every model; unique within its task.
        language: "en" or "zh".
        parts: the message parts that are asked about, at most one of them a picture or video.
        question: as the model reads it.
        choices: the answers whose likelihood is compared.
        answer: the right one of them.
        group: the class that the item counts for in scores per class; English, whatever the language. Items of one
            group are answered together, so it helps if they share choices.
        allowed: the choices that may be chosen; empty for all.
    """

    id: str
    language: str
    parts: tuple[dict[str, Any], ...]
    question: str
    choices: tuple[str, ...]
    answer: str
    group: str
    allowed: tuple[str, ...] = ()


class Source(Protocol):
    """Where the items of a task come from."""

    def check(self, data: Path | None) -> None:
        """Raise DataError now if the items cannot be had from this folder."""

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int, limit: int | None
    ) -> list[Item]:
        """Return the items; the arguments are those of `Task.items`."""


@dataclass(frozen=True)
class Task:
    """A benchmark of closed questions.

    Attributes:
        name: how commands and folders call it.
        title: how pages and figures call it.
        domain: the skill that it tests, one of `DOMAINS`.
        source: of its items.
        faces: every picture is a person crop, to be read by the views that `analyze` reads (`prepare.person_views`).
        less_blank: compare likelihoods less those for an empty picture (`inference.scoring`), not the plain ones.
    """

    name: str
    title: str
    domain: str
    source: Source
    faces: bool = False
    less_blank: bool = True

    def items(
        self,
        data: Path | None,
        *,
        side: int,
        languages: Sequence[str] = ("en",),
        split: str = "validation",
        limit: int | None = None,
    ) -> list[Item]:
        """Read or draw the items.

        Args:
            data: folder of the Parquet files; a drawn task needs none.
            side: pixels to which pictures of a file are brought, the side that the model was trained on.
            languages: of "en" and "zh"; every item comes once in each.
            split: "validation" or "test".
            limit: so many items, evenly spaced over a file, the first of a drawn world; None is all.

        Raises:
            DataError: the file is missing, or holds nothing of that split.
            SettingsError: a split or language that is not offered.
            MissingPackage: pyarrow is not installed.
        """
        if split not in SPLITS:
            raise SettingsError(unknown_choice("split", split, SPLITS))
        for language in languages:
            if language not in LANGUAGES:
                raise SettingsError(unknown_choice("language", language, LANGUAGES))
        return self.source.items(data, split, languages, side, limit)


def evenly(count: int, limit: int | None) -> list[int]:
    """Return `limit` places evenly spaced over `count`; all if there are no more. Files stand in order of labels."""
    chosen = count if limit is None else min(limit, count)
    return [int(place) for place in np.arange(chosen) * count // max(chosen, 1)]

"""MMBench (Liu et al., ECCV 2024): questions with lettered options, as published and with the options rotated.

Read from Parquet (lmms-lab/MMBench, `en/dev-*.parquet` and `cn/dev-*.parquet`) or from the owners' TSV files with
base64 pictures. Both contain the rotations of CircularEval as separate rows with an index of 1,000,000 and above; we
make the rotations from the questions, so these rows are not read. The answers of the test split are not published.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.stored import Stored
from emotion_qwen.evaluation.scoring.choices import rotations, score_choices, score_circular
from emotion_qwen.evaluation.scoring.replies import LETTERS
from emotion_qwen.evaluation.task import OURS, RELEASE, Item, Task
from emotion_qwen.evaluation.tasks.files import ReadRows, cell_text, parquet_rows, read_csv
from emotion_qwen.evaluation.tasks.prompts import lettered, mmbench_question
from emotion_qwen.evaluation.tasks.questions import PictureQuestions, Question, is_letter_of
from emotion_qwen.evaluation.tasks.scorers import released_mmbench
from emotion_qwen.files import files_below, is_hidden

ROTATED = 1_000_000
"""A row with this index or above is a rotation; its index minus a multiple of this is that of the original row."""
ROWS = (4329, 4377)
"""Published rows of the dev split, rotations included, of lmms-lab and of mmbench_dev_20230712.tsv."""
COLUMNS = ("index", "question", "A", "B", "answer", "category", "image")
_LANGUAGE = {"en": re.compile(r"(?<![a-z])dev(?!_cn|-cn)", re.I), "zh": re.compile(r"(?<![a-z])dev[_-]cn", re.I)}
_REFERENCE = 64
"""An `image` of a TSV shorter than this is the index of the row that contains the picture."""


@dataclass(frozen=True)
class MmBench(PictureQuestions):
    """Questions as published; with `circular`, every question once per option."""

    circular: bool = False

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, rows, rotated = ReadRows(), 0, 0
        for row, picture in _rows(home, language):
            rows += 1
            name = str(row["index"])
            if not name.isdecimal():
                table.fault("index that is not a number", name)
                continue
            if int(name) >= ROTATED:
                rotated += 1
                continue
            options = _options(row)
            letter = cell_text(row["answer"]).upper()
            if not is_letter_of(letter, options):
                table.fault("answer is not the letter of an option", f"{name} ({letter or 'empty'})")
                continue
            category, hint = cell_text(row["category"]), cell_text(row.get("hint"))
            text, answers = cell_text(row["question"]), (letter,)
            table.add(name, Question(picture(name), text, answers, category, options=options, hint=hint))
        if not table.rows:
            raise DataError(
                f"{str(home)!r}: no row has an answer; give the dev split, the test split has no published answers"
            )
        if rows not in ROWS:
            table.say("differs", f"rows with rotations: {rows}, published {' or '.join(map(str, ROWS))}")
        if rotated:
            table.say(
                "note", f"{rotated} rotated rows were not read; rotations are made from {len(table.rows)} questions"
            )
        return table

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`; a limit counts questions, and all rotations of a question stay together."""
        items = super().items(data, split, languages, side, limit)
        return items if not self.circular else [turned for item in items for turned in self._turned(item)]

    def ask(self, row: Question, language: str) -> str:
        """See `PictureQuestions`."""
        return mmbench_question(row.text, row.options, row.hint, self.prompt, language)

    def _turned(self, item: Item) -> Iterator[Item]:
        # The question holds the options as a block of lines, which is rewritten for every rotation.
        head, _, tail = item.question.rpartition(lettered(item.options))
        for turn in rotations(item.scored()):
            block = lettered(turn.allowed)
            yield replace(
                item, id=turn.id, question=head + block + tail, answer=turn.references[0], cluster=turn.cluster,
                options=turn.allowed,
            )  # fmt: skip


def _options(row: dict[str, Any]) -> tuple[str, ...]:
    options: list[str] = []
    for letter in LETTERS[:6]:
        text = cell_text(row.get(letter))
        if not text:
            break
        options.append(text)
    return tuple(options)


def _rows(home: Path, language: str) -> Iterator[tuple[dict[str, Any], Callable[[str], Stored]]]:
    folder = {"en": "en", "zh": "cn"}[language]
    for pattern in (
        f"{folder}/dev-*.parquet",
        *(["data/dev-*.parquet", "dev-*.parquet"] if language == "en" else []),
    ):
        files = [path for path in sorted(home.glob(pattern)) if not is_hidden(path, home)]
        if files:
            yield from parquet_rows(files, COLUMNS)
            return
    tables = [path for path in files_below(home) if path.suffix == ".tsv" and _LANGUAGE[language].search(path.stem)]
    if not tables:
        raise DataError(
            f"{str(home)!r} holds no {folder}/dev-*.parquet and no TSV of the dev split in {language!r}, such as "
            "mmbench_dev_20230712.tsv or MMBench_DEV_CN.tsv; give the folder that holds it"
        )
    path = tables[0]
    rows = read_csv(path, COLUMNS, "\t")
    pictures = {row["index"]: row.pop("image") for row in rows}

    def picture(name: str) -> Stored:
        text = pictures[name]
        where = text.strip() if len(text) <= _REFERENCE and text.strip() in pictures else name
        return Stored(path, where, text=pictures[where])

    for row in rows:
        yield row, picture


def _task(name: str, title: str, circular: bool) -> Task:
    return Task(
        name,
        title,
        "general",
        MmBench((name, "mmbench", "MMBench"), circular=circular),
        answered="text",
        score=score_circular if circular else score_choices,
        as_released=None if circular else released_mmbench,
        splits=("validation",),
        prompts={OURS: ("en", "zh"), RELEASE: ("en",)},
        needs="en/dev-*.parquet (and cn/dev-*.parquet) of lmms-lab/MMBench, or the dev TSV of the owners",
        licence="Apache-2.0 for the questions; pictures under their owners' terms",
        access="https://huggingface.co/datasets/lmms-lab/MMBench or https://github.com/open-compass/MMBench",
    )


TASKS = (
    _task("mmbench", "MMBench dev, one pass", circular=False),
    _task("mmbench_circular", "MMBench dev, CircularEval", circular=True),
)

"""Question sets of emotional understanding: MME-Emotion, EmoBench-M, EmoBench, EQ-Bench, EmotionHallucer.

Layouts as published: MME-Emotion's `question/*.json` (github.com/FunAudioLLM/MME-Emotion), EmoBench's `EA.jsonl` and
`EU.jsonl` (github.com/Sahandfer/EmoBench), EQ-Bench's `eq_bench_v2_questions_171.json` (github.com/EQ-bench/EQ-Bench).
EmoBench-M's files are read with the keys of the owners' examples of results; their data files could not be seen.
EmotionHallucer's data were not published when this was written: its items are read from a layout of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring import records
from emotion_qwen.evaluation.scoring.choices import score_choices
from emotion_qwen.evaluation.scoring.closed import score_closed
from emotion_qwen.evaluation.scoring.emotion_sets import (
    JOINT,
    emobench_m_as_scripted,
    score_emobench_m,
    score_generation,
    score_pairs,
    score_steps,
)
from emotion_qwen.evaluation.scoring.replies import LETTERS
from emotion_qwen.evaluation.scoring.skills import EQ_BENCH, score_skills
from emotion_qwen.evaluation.task import OURS, RELEASE, Item, Scorer, Task
from emotion_qwen.evaluation.tasks.clips import put_clips
from emotion_qwen.evaluation.tasks.files import (
    PICTURES,
    SOUNDS,
    VIDEOS,
    BenchmarkReader,
    Media,
    ReadRows,
    needed,
    read_json_file,
    read_utf8,
)
from emotion_qwen.evaluation.tasks.prompts import LETTER, YES_NO, choice_question

FRAMES = {"fps": 2.0, "video_max_pixels": 602112}


class EmotionQuestion(NamedTuple):
    """One question: its medium, text, choices, correct answers, group and pair."""

    path: Path | None
    text: str
    choices: tuple[str, ...]
    answers: tuple[str, ...]
    group: str
    cluster: str = ""


@dataclass(frozen=True)
class EmotionQuestions(BenchmarkReader):
    """Base of readers whose rows are `EmotionQuestion` records; answers are texts."""

    def item(self, name: str, row: EmotionQuestion, language: str) -> Item:
        """See `BenchmarkReader`; a question without a medium has no media part."""
        parts: tuple[dict[str, Any], ...] = ()
        if row.path is not None:
            suffix = row.path.suffix.lower()
            kind = "image" if suffix in PICTURES else "audio" if suffix in SOUNDS else "video"
            parts = ({"type": kind, kind: row.path},)
        return Item(
            name, language, parts, row.text, row.choices, row.answers[0], row.group, references=row.answers,
            cluster=row.cluster, options=row.choices,
        )  # fmt: skip


def json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the entries of a JSON list, an object of entries, or JSON lines, with their numbers from 1.

    Raises:
        DataError: the file is none of these.
    """
    if path.suffix == ".jsonl":
        for number, line in enumerate(read_utf8(path).splitlines(), 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    raise DataError(f"{path}, line {number}: not JSON ({error}); fetch the file again") from error
        return
    data = read_json_file(path)
    rows = list(data.values()) if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise DataError(f"{path}: contains {type(data).__name__}; expected a list or an object of entries")
    yield from enumerate(rows, 1)


MME_TASKS = {
    "ER_Lab": "ER-Lab", "ER_Wild": "ER-Wild", "Noise_ER": "Noise-ER", "FG_ER": "FG-ER", "ML_ER": "ML-ER", "SA": "SA",
    "FG_SA": "FG-SA", "IR": "IR",
}  # fmt: skip
MME_CLIPS = 6500
_MME_QUESTION = (
    "What emotional state or intent does the person in the video show? Choose from: {labels}. {several}Give your "
    "reasons step by step, and end with the answer."
)


@dataclass(frozen=True)
class MmeEmotion(EmotionQuestions):
    """MME-Emotion: eight tasks; `group` is the task."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table = ReadRows()
        for path in needed(home, "**/question/*.json"):
            group = MME_TASKS.get(path.stem)
            if group is None:
                table.say("note", f"{path.name} is none of the eight tasks and is not read")
                continue
            for number, row in json_rows(path):
                try:
                    name, labels = str(row["video_id"]), tuple(map(str, row["label_set"]))
                    right = row["label"] if isinstance(row["label"], list) else [row["label"]]
                    answers = tuple(str(label) for label in right)
                except (KeyError, TypeError):
                    table.fault("without video_id, label and label_set", f"{path.stem} entry {number}")
                    continue
                if not answers or not set(answers) <= set(labels):
                    table.fault("label outside its label_set", f"{name} ({', '.join(answers) or 'empty'})")
                    continue
                several = "Several may apply. " if group == "ML-ER" else ""
                text = _MME_QUESTION.format(labels=", ".join(labels), several=several)
                expected = home / name if Path(name).suffix else home / f"{name}.mp4"
                table.add(f"{group}/{name}", EmotionQuestion(expected, text, labels, answers, group))
        absent = [task for task in MME_TASKS.values() if all(row.group != task for row in table.rows.values())]
        if absent:
            table.say("missing", f"no questions of {', '.join(absent)}; the scores do not cover all eight tasks")
        table.expect("questions", len(table.rows), MME_CLIPS)
        _find(table, home, {name: name.partition("/")[2] for name in table.rows})
        return table


def _find(table: ReadRows, home: Path, wanted: Mapping[str, str]) -> None:
    """Set the path of every row: the file itself, or one of the same name in any folder; report missing ones."""
    loose: Media | None = None
    missing = []
    for name, row in table.rows.items():
        if row.path is None or row.path.is_file():
            continue
        loose = loose or Media(home, VIDEOS | PICTURES | SOUNDS)
        path = loose.get(Path(wanted[name]).stem)
        missing += [] if path else [name]
        table.rows[name] = row._replace(path=path or row.path)
    table.expect_media("files", missing, len(table.rows))


@dataclass(frozen=True)
class StepMarks:
    """`score_steps` with a judge's stored replies: JSON lists of `video_id` and `score`, as the owners write them."""

    marks: str

    def __call__(self, items: Sequence[records.ScoredItem], answers: Iterable[records.Response]) -> records.Result:
        """Score the stored marks; the answers themselves are not read.

        Raises:
            DataError: there are no files, or an entry has no `video_id`.
        """
        by_video: dict[str, list[str]] = {}
        for item in items:
            by_video.setdefault(item.id.partition("/")[2], []).append(item.id)
            by_video.setdefault(str(Path(item.id.partition("/")[2]).with_suffix("")), []).append(item.id)
        marks: dict[str, str] = {}
        for path in needed(Path(self.marks), "**/*.json", "**/*.jsonl"):
            group = next((task for stem, task in MME_TASKS.items() if path.stem.startswith(f"{stem}_")), "")
            for number, row in json_rows(path):
                if not isinstance(row, dict) or "video_id" not in row:
                    raise DataError(f"{path}, entry {number}: no video_id; expected the results of eval_cot")
                names = by_video.get(str(row["video_id"]), [f"{group}/{row['video_id']}"])
                chosen = [name for name in names if not group or name.startswith(f"{group}/")] or names
                marks.setdefault(chosen[0], str(row.get("score")))
        return score_steps(items, marks)


def score_listed(items: Sequence[records.ScoredItem], answers: Iterable[records.Response]) -> records.Result:
    """Score MME-Emotion without a judge: the reply's answer must be the label, or the first of several.

    This is our own score for comparison between models; the published one is a judge's (`score_steps`).
    """
    return score_closed(items, answers)


def mme_emotion(marks: str = "") -> Task:
    """Make MME-Emotion, with the folder of a judge's stored marks of the steps, if there are any."""
    return Task(
        "mme_emotion",
        "MME-Emotion, 8 tasks",
        "emotion",
        MmeEmotion(("mme_emotion", "MME-Emotion-Dataset", "MME-Emotion")),
        answered="text",
        score=score_named_choice,
        also={"judged steps": StepMarks(marks)} if marks else {},
        max_new_tokens=512,
        frames=FRAMES,
        splits=("test",),
        prompts={OURS: ("en",)},
        needs="the eight files <task>/question/*.json and the videos that they name",
        licence="MIT for the questions; videos under the terms of their sets",
        access="https://github.com/FunAudioLLM/MME-Emotion",
        options={"marks": "folder of a judge's stored marks of the steps, *_eval.json as the owners' eval_cot writes them"},
        make=mme_emotion,
    )


def score_named_choice(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score replies that name one of the item's choices, the last line first: accuracy overall and by group.

    Raises:
        DataError: see `records.judge`.
    """
    from emotion_qwen.evaluation.scoring.choices import means_by_group
    from emotion_qwen.evaluation.scoring.emotion_sets import read_choice

    def read(item: records.ScoredItem, answer: records.Response) -> records.Read:
        chosen = records.likeliest(item, answer)
        if chosen is not None:
            return chosen
        lines = [line for line in answer.text.splitlines() if line.strip()]
        last = read_choice(lines[-1], item.allowed) if lines else records.Read(None, "empty")
        return last if last.value else read_choice(answer.text, item.allowed)

    judged, tally = records.judge(items, answers, read, lambda item, label: float(label in item.references))
    table = means_by_group(judged, [answer.points for answer in judged], "accuracy")
    return records.Result(records.bootstrap_scores(table, seed=seed), tally, judged, table)

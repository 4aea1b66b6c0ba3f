"""General skill with pictures and videos: MMMU, MathVista, RealWorldQA, Video-MME, MVBench.

Read from Parquet as published on the hub (MMMU/MMMU, AI4Math/MathVista, lmms-lab/RealWorldQA, lmms-lab/Video-MME), and
MVBench from its JSON files (OpenGVLab/MVBench). Videos are found by name in all subfolders.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emotion_qwen.evaluation.scoring.choices import score_choices
from emotion_qwen.evaluation.scoring.replies import LETTERS
from emotion_qwen.evaluation.scoring.short_answers import FLOAT, INTEGER, TEXT, score_short_answers
from emotion_qwen.evaluation.task import OURS, Task
from emotion_qwen.evaluation.tasks.files import (
    VIDEOS,
    Media,
    ReadRows,
    cell_text,
    cell_texts,
    finite,
    json_rows,
    needed,
    parquet_rows,
    plain_text,
)
from emotion_qwen.evaluation.tasks.prompts import SHORT, choice_question
from emotion_qwen.evaluation.tasks.questions import PictureQuestions, Question, add_question, is_letter_of

FRAMES = {"fps": 2.0, "video_max_pixels": 602112}


@dataclass(frozen=True)
class OptionQuestions(PictureQuestions):
    """Questions with lettered options, or with a short answer if they have none."""

    def ask(self, row: Question, language: str) -> str:
        """See `PictureQuestions`."""
        if row.options:
            return choice_question(row.text, row.options, row.hint, language)
        return "\n".join(filter(None, (row.hint, row.text, SHORT)))


MMMU_ROWS = 900
_PLACE = re.compile(r"<image (\d)>")


@dataclass(frozen=True)
class Mmmu(OptionQuestions):
    """MMMU (Yue et al., CVPR 2024), validation part: the questions with options; `group` is the subject."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, count, free = ReadRows(), 0, 0
        files = needed(home, "**/validation-*.parquet")
        hidden = [f"image_{number}" for number in range(2, 8)]
        for row, stored in parquet_rows(
            files, ("id", "question", "options", "answer"), picture="image_1", hidden=hidden
        ):
            count += 1
            name = cell_text(row["id"])
            if str(row.get("question_type") or "multiple-choice") != "multiple-choice":
                free += 1
                continue
            options, letter = _listed(row["options"]), cell_text(row["answer"]).upper()
            if not is_letter_of(letter, options):
                table.fault("answer is not the letter of an option", f"{name} ({letter or 'empty'})")
                continue
            numbers = sorted({int(n) for n in _PLACE.findall(" ".join([str(row["question"]), *options]))} | {1})
            pictures = [replace(stored(f"{name}.{n}"), column=f"image_{n}") for n in numbers]
            subject = re.sub(r"^(?:validation|dev|test)_|_\d+$", "", name)
            question = Question(pictures[0], plain_text(row["question"]), (letter,), subject, options=options)
            add_question(table, name, question._replace(more=tuple(pictures[1:])))
        table.expect("questions", count, MMMU_ROWS)
        if free:
            table.say("note", f"{free} questions without options were not read; the score covers those with options")
        several = sum(bool(row.more) for row in table.rows.values())
        if several:
            table.say("note", f"{several} questions have several pictures, which local models cannot answer")
        return table


def _listed(written: Any) -> tuple[str, ...]:
    """Return the options of a list, or of a list written as Python."""
    if isinstance(written, str):
        try:
            written = ast.literal_eval(written)
        except (ValueError, SyntaxError):
            return ()
    return cell_texts(written)


MATHVISTA_ROWS = 1000


@dataclass(frozen=True)
class MathVista(OptionQuestions):
    """MathVista (Lu et al., ICLR 2024), testmini; `group` is the type of question."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table = ReadRows()
        columns = ("pid", "question", "choices", "answer", "question_type", "answer_type")
        count = 0
        for row, stored in parquet_rows(needed(home, "**/testmini-*.parquet"), columns, picture="decoded_image"):
            count += 1
            name, right, kind = cell_text(row["pid"]), cell_text(row["answer"]), str(row["question_type"])
            options = cell_texts(row["choices"])
            if kind == "multi_choice":
                if right not in options:
                    table.fault("answer is not one of the choices", f"{name} ({right or 'empty'})")
                    continue
                answers: tuple[str, ...] = (LETTERS[options.index(right)],)
            elif not right:
                table.fault("no answer", name)
                continue
            else:
                try:
                    options, answers = (), (right, _kind(str(row["answer_type"]), row.get("precision")))
                except ValueError:
                    table.fault("precision is no number", f"{name} ({row['precision']})")
                    continue
            unit = f"Unit: {row['unit']}" if row.get("unit") else ""
            question = Question(stored(name), plain_text(row["question"]), answers, kind, options=options, hint=unit)
            add_question(table, name, question)
        table.expect("questions of testmini", count, MATHVISTA_ROWS)
        return table


def _kind(answer_type: str, precision: Any) -> str:
    return (
        f"{FLOAT}{int(finite(precision or 0))}" if answer_type == FLOAT else INTEGER if answer_type == INTEGER else TEXT
    )


REALWORLD_ROWS = 765
_OPTION = re.compile(r"^\s*([A-J])[.)]\s+(.+?)\s*$", re.MULTILINE)
_HOW = re.compile(r"\s*Please answer directly with .*$", re.DOTALL)


@dataclass(frozen=True)
class RealWorld(OptionQuestions):
    """RealWorldQA (xAI, 2024): options are part of the question; others have a word or number as their answer."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`; `group` tells questions with options from the others."""
        table, count = ReadRows(), 0
        for row, stored in parquet_rows(needed(home, "**/test-*.parquet"), ("question", "answer", "image")):
            name, right = cell_text(row.get("id", count)), cell_text(row["answer"])
            count += 1
            text = _HOW.sub("", plain_text(row["question"])).strip()
            options = tuple(match[2] for match in _OPTION.finditer(text))
            text = _OPTION.sub("", text).strip() if options else text
            if options and not is_letter_of(right.upper(), options):
                table.fault("answer is not the letter of an option", f"{name} ({right or 'empty'})")
            elif not right:
                table.fault("no answer", name)
            else:
                kind = INTEGER if right.isdecimal() else TEXT
                answers = (right.upper(),) if options else (right, kind)
                group = "options" if options else "short answer"
                add_question(table, name, Question(stored(name), text, answers, group, options=options))
        table.expect("questions", count, REALWORLD_ROWS)
        return table


VIDEOMME_ROWS = 2700


@dataclass(frozen=True)
class VideoMme(OptionQuestions):
    """Video-MME (Fu et al., CVPR 2025), without subtitles; `group` is the duration, `picture` the video."""

    def home(self, data: Path | None) -> Path:
        """See `BenchmarkReader`; the questions are in a folder named like the task, the videos next to it."""
        home = super().home(data)
        return home.parent if any(home.glob("test-*.parquet")) and home.name == "videomme" else home

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table = ReadRows()
        columns = ("videoID", "question_id", "duration", "question", "options", "answer")
        for row, _ in parquet_rows(needed(home, "**/test-*.parquet"), columns):
            name, letter = cell_text(row["question_id"]), cell_text(row["answer"]).upper()
            options = tuple(re.sub(r"^[A-J]\.\s*", "", option) for option in cell_texts(row["options"]))
            if not is_letter_of(letter, options):
                table.fault("answer is not the letter of an option", f"{name} ({letter or 'empty'})")
                continue
            video, text = str(row["videoID"]), plain_text(row["question"])
            where = home / f"{video}.mp4"
            add_question(table, name, Question(where, text, (letter,), str(row["duration"]), video, options))
        table.expect("questions", len(table.rows), VIDEOMME_ROWS)
        find_videos(table, home)
        return table


MVBENCH_TASKS, MVBENCH_ROWS = 20, 4000


@dataclass(frozen=True)
class MvBench(OptionQuestions):
    """MVBench (Li et al., CVPR 2024): 20 tasks, one JSON file each; `group` is the task."""

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, groups = ReadRows(), set[str]()
        for path in needed(home, "**/json/*.json"):
            groups.add(path.stem)
            for number, row in json_rows(path, start=0):
                name = f"{path.stem}/{number}"
                try:
                    options, right = cell_texts(row["candidates"]), str(row["answer"])
                    video = cell_text(row["video"])
                    text = plain_text(row["question"])
                    span = (finite(row["start"]), finite(row["end"])) if "start" in row and "end" in row else ()
                except (KeyError, TypeError, ValueError):
                    video = ""
                if not video:
                    table.fault("without video, question, candidates and answer", name)
                    continue
                if right not in options:
                    table.fault("answer is not one of the candidates", f"{name} ({right or 'empty'})")
                    continue
                letter, where = LETTERS[options.index(right)], home / Path(video).name
                where = where if where.suffix.lower() in VIDEOS else where.with_name(f"{where.name}.mp4")
                question = Question(where, text, (letter,), path.stem, Path(video).stem, options)
                add_question(table, name, question._replace(span=span))
        if len(groups) != MVBENCH_TASKS:
            table.say("differs", f"tasks: {len(groups)}, published {MVBENCH_TASKS}")
        table.expect("questions", len(table.rows), MVBENCH_ROWS)
        find_videos(table, home)
        return table


def find_videos(table: ReadRows, home: Path) -> None:
    """Set the path of every question's video, and report the missing ones; `picture` contains the name."""
    paths = table.find("videos", Media(home, VIDEOS), [row.picture for row in table.rows.values()])
    for name, row in table.rows.items():
        table.rows[name] = row._replace(image=paths.get(row.picture, row.image))


def _task(name: str, title: str, source: OptionQuestions, needs: str, licence: str, access: str, **more: Any) -> Task:
    known: dict[str, Any] = {
        "answered": "text",
        "score": score_choices,
        "splits": ("test",),
        "prompts": {OURS: ("en",)},
    }
    terms = {"needs": needs, "licence": licence, "access": access}
    return Task(name, title, "general", source, **{**known, **terms, **more})


TASKS: tuple[Task, ...] = (
    _task(
        "mmmu", "MMMU, validation, questions with options", Mmmu(("mmmu", "MMMU")),
        "<subject>/validation-*.parquet of MMMU/MMMU", "Apache-2.0",
        "https://huggingface.co/datasets/MMMU/MMMU", splits=("validation",),
    ),
    _task(
        "mathvista", "MathVista, testmini", MathVista(("mathvista", "MathVista")),
        "data/testmini-*.parquet of AI4Math/MathVista", "CC BY-SA 4.0",
        "https://huggingface.co/datasets/AI4Math/MathVista", score=score_short_answers,
    ),
    _task(
        "realworldqa", "RealWorldQA", RealWorld(("realworldqa", "RealWorldQA", "RealworldQA")),
        "data/test-*.parquet of lmms-lab/RealWorldQA", "CC BY-ND 4.0",
        "https://huggingface.co/datasets/lmms-lab/RealWorldQA", score=score_short_answers,
    ),
    _task(
        "videomme", "Video-MME without subtitles", VideoMme(("videomme", "Video-MME")),
        "videomme/test-*.parquet of lmms-lab/Video-MME and the videos <videoID>.mp4", "research only",
        "https://huggingface.co/datasets/lmms-lab/Video-MME", frames=FRAMES,
    ),
    _task(
        "mvbench", "MVBench, 20 tasks", MvBench(("mvbench", "MVBench")),
        "json/*.json of OpenGVLab/MVBench and the videos", "MIT for the questions; videos under their own terms",
        "https://huggingface.co/datasets/OpenGVLab/MVBench", frames=FRAMES,
    ),
)  # fmt: skip

"""Questions about the emotions in videos: MME-Emotion and EmoBench-M.

MME-Emotion is read from its `question/*.json` (github.com/FunAudioLLM/MME-Emotion), EmoBench-M with the keys of the
owners' examples of results (github.com/Emo-gml/EmoBench-M); their data files could not be seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.scoring import records
from emotion_qwen.evaluation.scoring.emotion_sets import (
    JOINT,
    emobench_m_as_scripted,
    score_emobench_m,
    score_generation,
    score_named_choice,
    score_steps,
)
from emotion_qwen.evaluation.task import OURS, Item, Task
from emotion_qwen.evaluation.tasks.files import (
    PICTURES,
    SOUNDS,
    VIDEOS,
    BenchmarkReader,
    Media,
    ReadRows,
    cell_text,
    cell_texts,
    json_rows,
    needed,
)

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
                    name, labels = cell_text(row["video_id"]), cell_texts(row["label_set"])
                    right = row["label"] if isinstance(row["label"], list) else [row["label"]]
                    answers = tuple(str(label) for label in right)
                except (KeyError, TypeError):
                    name = ""
                if not name:
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
        find_files_of(table, home, {name: name.partition("/")[2] for name in table.rows})
        return table


def find_files_of(table: ReadRows, home: Path, wanted: Mapping[str, str]) -> None:
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
        extract="steps",
        max_new_tokens=512,
        frames=FRAMES,
        splits=("test",),
        prompts={OURS: ("en",)},
        needs="the eight files <task>/question/*.json and the videos that they name",
        licence="MIT for the questions; videos under the terms of their sets",
        access="https://github.com/FunAudioLLM/MME-Emotion",
        options={
            "marks": "folder of a judge's stored marks of the steps, *_eval.json as the owners' eval_cot writes them"
        },
        make=mme_emotion,
    )


EMOBENCH_SETS: dict[str, tuple[str, ...]] = {
    "FGMSA": ("weak negative", "strong negative", "neutral", "strong positive", "weak positive"),
    "ch-simsv2s": ("neutral", "negative", "positive"),
    "MOSI": ("neutral", "negative", "positive"),
    "SIMS": ("neutral", "negative", "positive"),
    "funny": ("true", "false"),
    "MUSTARD": ("true", "false"),
    "MELD": ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"),
    "mer2023": ("happy", "sad", "neutral", "angry", "worried", "surprise"),
    "RAVDSS-song": ("neutral", "calm", "happy", "sad", "angry", "fearful"),
    "RAVDSS-speech": ("neutral", "calm", "happy", "sad", "angry", "fearful", "surprised", "disgust"),
    "MOSEI": ("neutral", "negative", "positive"),
}
"""Classification sets and their labels, as the owners' script lists them."""
EIU_EMOTIONS = ("happy", "surprise", "sad", "disgust", "anger", "fear", "neutral")
EIU_INTENTS = (
    *("questioning", "agreeing", "acknowledging", "encouraging", "consoling", "suggesting", "wishing", "neutral"),
)
EIU, SMILE = "MC-EIU", "SMILE"


@dataclass(frozen=True)
class EmoBenchM(EmotionQuestions):
    """EmoBench-M: one JSON file per set, named like it; `texts` selects SMILE, whose answers are free texts.

    Keys: `video` or `modal_path`; `instruction` or `prompt`; `expected_value`, for MC-EIU `expected_emotion` and
    `expected_intent`, for SMILE `reference`.
    """

    texts: bool = False

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, known = ReadRows(), (SMILE,) if self.texts else (*EMOBENCH_SETS, EIU)
        by_name = {name.lower(): name for name in known}
        paths = [path for path in needed(home, "**/*.json", "**/*.jsonl") if path.stem.lower() in by_name]
        if not paths:
            raise DataError(
                f"{str(home)!r} holds no {' or '.join(f'{name}.json' for name in known)}; give the JSON files"
            )
        wanted: dict[str, str] = {}
        for path in paths:
            group = by_name[path.stem.lower()]
            for number, row in json_rows(path):
                question = self._question(table, group, f"{path.stem} entry {number}", row)
                if question is None:
                    continue
                medium = str(row.get("video") or row.get("modal_path") or "")
                name = f"{group}/{Path(medium).stem or number}"
                wanted.setdefault(name, medium)
                table.add(name, question._replace(path=home / Path(medium).name if medium else None))
        absent = [name for name in known if all(row.group != name for row in table.rows.values())]
        if absent:
            table.say("missing", f"no questions of {', '.join(absent)}; the scores do not cover all sets")
        find_files_of(table, home, wanted)
        return table

    def _question(self, table: ReadRows, group: str, place: str, row: Any) -> EmotionQuestion | None:
        text = str(row.get("instruction") or row.get("prompt") or "").strip() if isinstance(row, dict) else ""
        if not text:
            table.fault("without instruction", place)
            return None
        keys = {EIU: ("expected_emotion", "expected_intent"), SMILE: ("reference",)}.get(group, ("expected_value",))
        cells = [str(row.get(key, "")).strip() for key in keys]
        choices: tuple[str, ...] = EMOBENCH_SETS.get(group, ())
        if group == EIU:
            choices = tuple(f"{emotion}{JOINT}{intent}" for emotion in EIU_EMOTIONS for intent in EIU_INTENTS)
        answer = cells[0] if group == SMILE else JOINT.join(cells).lower()
        if not answer or (choices and answer not in choices):
            table.fault(f"answer outside the labels of {group}" if choices else "no reference", f"{place} ({answer})")
            return None
        return EmotionQuestion(None, text, choices, (answer,), group)


def _dimensions(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    known = (*EMOBENCH_SETS, EIU)
    for name, sign, title in pairs:
        if name.strip() not in known or not sign or not title.strip():
            raise SettingsError(f"dimensions {text!r}; expected SET=DIMENSION,... with sets of {', '.join(known)}")
    return {name.strip(): title.strip() for name, _, title in pairs}


def emobench_m(dimensions: str = "") -> Task:
    """Make EmoBench-M's classification sets, with the dimension of each set if a user gives it."""
    return Task(
        "emobench_m", "EmoBench-M, 12 classification sets", "emotion",
        EmoBenchM(("emobench_m", "EmoBench-M", "EmoBench_M")), answered="text",
        score=partial(score_emobench_m, dimensions=_dimensions(dimensions)), as_released=emobench_m_as_scripted,
        options={"dimensions": "SET=DIMENSION,... such as MELD=CEU; the score is then the mean of the dimensions"},
        make=emobench_m, **_EMOBENCH_M,
    )  # fmt: skip


_EMOBENCH_M: dict[str, Any] = {
    "frames": FRAMES,
    "splits": ("test",),
    "prompts": {OURS: ("en",)},
    "needs": "one JSON file per set, such as MELD.json, and the videos",
    "licence": "Apache-2.0 for the questions; videos under the terms of their sets",
    "access": "https://github.com/Emo-gml/EmoBench-M (link to the data)",
}


TASKS: tuple[Task, ...] = (
    mme_emotion(),
    emobench_m(),
    Task(
        "emobench_m_smile", "EmoBench-M SMILE, why people laugh", "emotion",
        EmoBenchM(("emobench_m_smile", "emobench_m", "EmoBench-M", "EmoBench_M"), texts=True), answered="text",
        score=score_generation, **_EMOBENCH_M,
    ),
)  # fmt: skip

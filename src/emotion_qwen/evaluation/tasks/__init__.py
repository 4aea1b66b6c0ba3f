"""All tasks in one table, by name; one file per kind of source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.evaluation.scoring.closed import score_closed
from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks import (
    affect_files,
    affect_sets,
    dfew,
    emer,
    emoset,
    folder,
    general_sets,
    mafw,
    mer2024,
    mer_unibench,
    mmbench,
    mme,
    named_files,
    pope,
    question_sets,
    ravdess,
    scienceqa,
    seedbench,
    skills,
    text_questions,
    textvqa,
    ver,
    vqav2,
)
from emotion_qwen.evaluation.tasks.clips import with_presets
from emotion_qwen.evaluation.tasks.parquet import PictureFile, TextFile, VoiceFile
from emotion_qwen.evaluation.tasks.prompts import OBJECT_SET, emotion_question, object_question
from emotion_qwen.evaluation.tasks.scorers import LabelScores
from emotion_qwen.extensions import installed, load_file, load_installed, split_file
from emotion_qwen.taxonomy import label_set

GROUP = "emotion_qwen.tasks"
"""Entry point group by which an installed distribution adds tasks."""


def load_tasks(spec: str | Iterable[str]) -> tuple[Task, ...]:
    """Return the tasks named by a list of names and Python files, each once, in the order of `TASKS`.

    A name belongs to a task of this package or of an installed one (entry point group `GROUP`). A file defines `TASKS`,
    a sequence of `Task`; `my.py` means all of them, `my.py:NAME` the one with that name. Tasks from outside are added
    to `TASKS`, after those of this package.

    Args:
        spec: names and files, as one comma-separated string or one by one.

    Raises:
        SettingsError: a task is unknown, no task is given, or a file defines no tasks or a task whose name is taken.
    """
    load_installed_tasks()
    texts = spec.split(",") if isinstance(spec, str) else spec
    chosen: set[str] = set()
    for text in [text.strip() for text in texts if text.strip()] or [""]:
        file = split_file(text)
        if file is None:
            known, name = TASKS, text
        else:
            path, name = file
            known = _enter(getattr(load_file(Path(path), "eval"), "TASKS", None), path)
        if name not in known and (name or file is None):
            raise SettingsError(unknown_choice("task", name, known))
        chosen |= {name} if name else set(known)
    return tuple(task for name, task in TASKS.items() if name in chosen)


def load_installed_tasks() -> None:
    """Add the tasks of installed distributions to `TASKS`; their entry points name a `Task` or a sequence of them.

    Raises:
        SettingsError: an entry point cannot be loaded or names no tasks.
    """
    for name, point in installed(GROUP).items():
        value = load_installed(point)
        _enter((value,) if isinstance(value, Task) else value, f"entry point {name!r}")


def _enter(tasks: object, source: str) -> dict[str, Task]:
    """Add tasks from outside to `TASKS`, and return them by name."""
    if not isinstance(tasks, Sequence) or not tasks or not all(isinstance(task, Task) for task in tasks):
        raise SettingsError(f"{source}: no tasks; expected TASKS, a sequence of emotion_qwen.evaluation.task.Task")
    for task in tasks:
        if TASKS.setdefault(task.name, task) is not task:
            raise SettingsError(f"{source}: a task named {task.name!r} already exists; rename one of them")
    return {task.name: task for task in tasks}


def listing() -> list[dict[str, str]]:
    """Return what a user needs to run each task: name, title, domain, needs, licence, access, prompts, options,
    splits."""
    load_installed_tasks()
    rows = []
    for task in TASKS.values():
        row = {key: getattr(task, key) for key in ("name", "title", "domain", "needs", "licence", "access")}
        options = "; ".join(f"{name}: {meaning}" for name, meaning in task.options.items())
        splits = ", ".join(task.splits) if len(task.splits) > 1 else ""
        rows.append({**row, "prompts": ", ".join(task.prompts), "options": options, "splits": splits})
    return rows


def _with_terms(task: Task) -> Task:
    licence, access = _TERMS[task.needs]
    return replace(task, licence=licence, access=access)


_FER7, _EKMAN, _EMODB7, _RAVDESS8 = map(label_set, ("fer7", "ekman", "emodb7", "ravdess8"))
_FACES, _LFW, _THINGS = "faces_fer_aligned.parquet", "faces_lfw_expressions.parquet", "pictures_cifar10.parquet"
_VOICES, _TEXTS = "speech_emodb.parquet", "text_goemotions.parquet"
_RAVDESS, _MORE, _LINES, _CHINESE = (
    "speech_ravdess.parquet", "speech_more.parquet", "text_dialogue_en.parquet", "text_emotion_zh.parquet",
)  # fmt: skip
_CPED = "scutcyr/CPED"
_SEEN = LabelScores(_FER7)
_TERMS = {
    _FACES: ("no clear licence, research use; published for the ICML 2013 challenge", "FER2013 on Kaggle"),
    _LFW: ("Apache-2.0 for the labels; photographs not cleared", "github.com/muxspace/facial_expressions"),
    _THINGS: ("citation asked for", "https://www.cs.toronto.edu/~kriz/cifar.html"),
    _VOICES: ("CC0-1.0 as published by audEERING", "http://emodb.bilderbar.info"),
    _TEXTS: ("Apache-2.0", "github.com/google-research/google-research/tree/master/goemotions"),
    _RAVDESS: ("CC BY-NC-SA 4.0", "zenodo.org/records/1188976"),
    _MORE: ("nEMO and emotiontts: CC BY-NC-SA 4.0", "github.com/amu-cai/nEMO, github.com/emotiontts"),
    _LINES: ("scripts of television and DailyDialog (CC BY-NC-SA 4.0), not cleared", "github.com/declare-lab/MELD"),
    _CHINESE: ("Apache-2.0; dialogues of television series, not cleared", "github.com/scutcyr/CPED"),
}
"""File of our own layout (`docs/guides/data.md`) -> terms, and the source of the data."""
_OWN: tuple[Task, ...] = (
    Task(
        "fer",
        "FER2013, 7 emotions",
        "emotion",
        PictureFile(_FACES, _FER7, emotion_question),
        needs=_FACES,
        score=_SEEN,
    ),
    Task(
        "lfw",
        "LFW, happiness or neutral",
        "emotion",
        PictureFile(_LFW, _FER7, emotion_question, 0.85, ("happiness", "neutral")),
        needs=_LFW,
        score=_SEEN,
    ),
    Task(
        "cifar",
        "CIFAR-10, 10 objects",
        "general",
        PictureFile(_THINGS, OBJECT_SET, object_question),
        score=score_closed,
        needs=_THINGS,
    ),
    Task(
        "emodb",
        "EmoDB, 7 emotions",
        "emotion",
        VoiceFile(_VOICES, _EMODB7),
        score=LabelScores(_EMODB7),
        needs=_VOICES,
    ),
    Task(
        "goemotions",
        "GoEmotions, 7 emotions",
        "emotion",
        TextFile(_TEXTS, _EKMAN),
        score=LabelScores(_EKMAN),
        needs=_TEXTS,
    ),
    Task(
        "ravdess_voices",
        "RAVDESS voices, 8 emotions",
        "emotion",
        VoiceFile(_RAVDESS, _RAVDESS8),
        score=LabelScores(_RAVDESS8),
        needs=_RAVDESS,
    ),
    *(
        Task(
            name,
            f"{title} voices, 7 emotions",
            "emotion",
            VoiceFile(_MORE, _FER7, title),
            score=_SEEN,
            needs=_MORE,
        )
        for name, title in (("nemo", "nEMO"), ("emotiontts", "emotiontts"))
    ),
    *(
        Task(
            f"{source.lower()}_lines",
            f"{source} lines alone, 7 emotions",
            "emotion",
            TextFile(_LINES, _EKMAN, source, "en"),
            score=LabelScores(_EKMAN),
            needs=_LINES,
        )
        for source in ("MELD", "DailyDialog", "EmoryNLP")
    ),
    Task(
        "cped_lines",
        "CPED lines alone, 7 emotions",
        "emotion",
        TextFile(_CHINESE, _EKMAN, _CPED, "zh"),
        score=LabelScores(_EKMAN),
        needs=_CHINESE,
    ),
)
_BENCHMARKS: tuple[Task, ...] = (
    *map(with_presets, (dfew.TASK, *mer2024.TASKS, mafw.TASK, ravdess.TASK, emoset.TASK)),
    *affect_sets.TASKS,
    emer.TASK,
    *mer_unibench.TASKS,
    *named_files.TASKS,
    *affect_files.TASKS,
    *question_sets.TASKS,
    ver.TASK,
    folder.TASK,
    pope.TASK,
    mme.TASK,
    *mmbench.TASKS,
    scienceqa.TASK,
    seedbench.TASK,
    textvqa.TASK,
    vqav2.TASK,
    *general_sets.TASKS,
    *text_questions.TASKS,
    *skills.TASKS,
)
TASKS: dict[str, Task] = {task.name: task for task in (*map(_with_terms, _OWN), *_BENCHMARKS)}

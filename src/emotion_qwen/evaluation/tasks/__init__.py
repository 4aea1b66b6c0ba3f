"""The tasks in one table, by name; one file for each kind of source."""

from __future__ import annotations

from emotion_qwen.data.questions import OBJECT_SET, VOICE_SET
from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks.pictures import PastedFaces, PictureFile, object_question
from emotion_qwen.evaluation.tasks.senses import Moments, TextFile, VoiceFile
from emotion_qwen.evaluation.tasks.shapes import DrawnShapes
from emotion_qwen.processing.chat import label_question
from emotion_qwen.taxonomy import label_set


def chosen_tasks(names: str) -> tuple[Task, ...]:
    """Return the tasks of a comma-separated list, each once, in the order of `TASKS`.

    Raises:
        SettingsError: an unknown task, or none at all.
    """
    asked = [name.strip() for name in names.split(",") if name.strip()]
    for name in asked or [""]:
        if name not in TASKS:
            raise SettingsError(unknown_choice("task", name, TASKS))
    return tuple(task for name, task in TASKS.items() if name in asked)


_FER7, _EKMAN = label_set("fer7"), label_set("ekman")
_ALL = ("picture", "sound", "words")
_MOMENTS = ("faces_fer_aligned.parquet", "speech_emodb.parquet", "text_goemotions.parquet")
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "fer",
            "FER2013, 7 emotions",
            "emotion",
            PictureFile("faces_fer_aligned.parquet", _FER7, label_question),
            faces=True,
        ),
        Task(
            "lfw",
            "LFW, happiness or neutral",
            "emotion",
            PictureFile("faces_lfw_expressions.parquet", _FER7, label_question, 0.85, ("happiness", "neutral")),
            faces=True,
        ),
        Task(
            "cifar",
            "CIFAR-10, 10 objects",
            "general",
            PictureFile("pictures_cifar10.parquet", OBJECT_SET, object_question),
        ),
        Task(
            "scenes",
            "Faces in scenes, 7 emotions",
            "emotion",
            PastedFaces("faces_fer_aligned.parquet", "pictures_cifar10.parquet", _FER7),
        ),
        Task(
            "captured",
            "The same faces, captured",
            "emotion",
            PastedFaces("faces_fer_aligned.parquet", "pictures_cifar10.parquet", _FER7, captured=True),
        ),
        Task("shapes", "Drawn shapes", "general", DrawnShapes(), less_blank=False),
        Task("emodb", "EmoDB, 7 emotions", "emotion", VoiceFile("speech_emodb.parquet", label_set(VOICE_SET))),
        Task("goemotions", "GoEmotions, 7 emotions", "emotion", TextFile("text_goemotions.parquet", _EKMAN)),
        *(
            Task(
                "_".join(("moments", *(channels if len(channels) < len(_ALL) else ()))),
                f"Artificial moments, {' and '.join(channels)}",
                "emotion",
                Moments(*_MOMENTS, _FER7, channels),
                faces="picture" in channels,
            )
            for channels in (
                _ALL,
                ("picture", "sound"),
                ("picture", "words"),
                ("sound", "words"),
                *((c,) for c in _ALL),
            )
        ),
    )
}

"""The tasks of nano: what they ask, in frozen words, and how they come into the commands."""

import functools
from pathlib import Path

import numpy as np
import pytest
from tests.documents import ROOT

from emotion_qwen.evaluation.tasks import load_tasks
from emotion_qwen.evaluation.tasks.prompts import emotion_question, spoken
from recipes.nano import tasks
from recipes.nano.tasks import BY_NAME, TASKS, PictureFile

FROZEN = Path(__file__).with_name("prompts.txt")


def asked_of(task):
    """Yield heading and text of every wording of a task."""
    for language in task.languages:
        heading = f"{task.name}, ours, {language}"
        if task.name == "shapes":
            for item in task.source.items(None, "validation", (language,), 48, 8):
                parts = "".join(f"<{part['type']}>" for part in item.parts)
                yield f"{heading}, item {item.id}", f"{parts}{item.question}\n-- choices: {' | '.join(item.choices)}"
            continue
        told = spoken(language, "...") if "words" in getattr(task.source, "channels", ()) else ""
        yield heading, told + emotion_question(task.source.labels, language)


def test_no_prompt_has_changed():
    pieces = [
        f"## {heading}\n{text.replace(chr(10), '¶' + chr(10))}¶\n" for t in TASKS for heading, text in asked_of(t)
    ]
    assert "\n".join(pieces) == FROZEN.read_text(encoding="utf-8")


def test_a_file_brings_the_tasks_into_the_commands(tasks_as_before):
    path = ROOT / "recipes" / "nano" / "tasks.py"
    assert [task.name for task in load_tasks(f"cifar,{path}:shapes")] == ["cifar", "shapes"]
    assert load_tasks(str(path)) == TASKS


def test_every_task_says_what_it_needs_on_which_terms():
    assert all(task.score and task.needs and task.licence and task.access for task in TASKS)
    assert BY_NAME["captured"].needs == "faces_fer_aligned.parquet, pictures_cifar10.parquet"
    assert BY_NAME["captured"].access == "FER2013 on Kaggle; https://www.cs.toronto.edu/~kriz/cifar.html"
    assert len(TASKS) == 10 and not {task.name for task in TASKS} & {"fer", "cifar"}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_missing_file_is_named(task, tmp_path):
    findings = task.check(tmp_path)
    assert [finding.kind for finding in findings] == ([] if task.name == "shapes" else ["missing"])


def test_shapes_are_drawn_without_data_and_every_answer_is_a_choice():
    items = BY_NAME["shapes"].items(None, side=48, languages=("en", "zh"), limit=16)
    assert len(items) == 32 and all(item.answer in item.choices for item in items)
    assert items[0].parts[0]["image"].shape == (64, 64, 3) and items[0].parts[0]["image"].dtype == np.uint8
    assert items[0].id == items[1].id and [item.language for item in items[:2]] == ["en", "zh"]
    kinds = [item.group for item in items if item.language == "en"]
    assert len(set(kinds)) == 8, "a limit must not skip a kind of question"
    again = BY_NAME["shapes"].items(None, side=48, languages=("en",), limit=16)
    assert [item.question for item in again] == [item.question for item in items if item.language == "en"]


def test_no_choice_is_the_beginning_of_another():
    # otherwise plain likelihood would always prefer the shorter one
    for item in BY_NAME["shapes"].items(None, side=48, languages=("en", "zh"), limit=200):
        pairs = [(one, other) for one in item.choices for other in item.choices if one != other]
        assert not [pair for pair in pairs if pair[1].startswith(pair[0])]


def test_moments_of_one_voice_belong_together_and_two_speakers_are_too_few_to_be_drawn(shared_data, monkeypatch):
    for name in ("read_voices", "read_texts"):  # each file once
        monkeypatch.setattr(tasks, name, functools.cache(getattr(tasks, name)))
    monkeypatch.setattr(PictureFile, "read", functools.cache(PictureFile.read))
    voices = BY_NAME["emodb"].items(shared_data, side=48)
    assert len(voices) == 130 and {one.cluster for one in voices} == {""}
    heard, seen = (
        BY_NAME[name].items(shared_data, side=48, limit=400) for name in ("moments_sound", "moments_picture")
    )
    assert len({one.cluster for one in heard}) < 131 and all(one.cluster.startswith("voice emodb/") for one in heard)
    assert {one.cluster for one in seen} == {""}

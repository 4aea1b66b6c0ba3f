"""The questions of evaluation as prompts, their control with exchanged labels, and paired gains by hand."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.task import labelled
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.questions import label_question
from emotion_qwen.taxonomy import label_set
from emotion_qwen.training.rewards import AnsweredSample, make_reward
from recipes.reinforcement import gains, taught

LABELS = ("anger", "fear", "anger", "sadness", "anger", "happiness")


class Faces:
    def items(self, data, split, languages, side, limit):
        labels = label_set("fer7")
        (language,) = languages
        return [
            labelled(f"{split}/{number}", language, ({"type": "image", "image": np.zeros((side, side, 3), np.uint8)},),
                     label_question(labels, language), labels, label)
            for number, label in enumerate(LABELS[:limit])
        ]  # fmt: skip


@pytest.fixture(autouse=True)
def faces(monkeypatch):
    monkeypatch.setitem(TASKS, "fer", dataclasses.replace(TASKS["fer"], source=Faces()))


def labels_of(part) -> list[str]:
    return [sample.labels["emotion"] for sample in part.samples]


def test_the_question_and_the_label_are_those_of_evaluation(tmp_path):
    part = taught("faces", "emotion", "train", tmp_path, task="fer", language="zh")
    assert len(part) == 6 and labels_of(part) == list(LABELS)
    first = part.samples[0]
    assert first.id == "faces/train/0" and first.messages[0]["content"][-1]["text"].startswith("这个人表现出哪种情绪")
    assert first.messages[-1]["content"] == "愤怒" and first.labels["set"] == "fer7"
    assert make_reward("label", {"labels": "dfew7"})([AnsweredSample(first, "生气")]) == [1.0]


def test_the_control_exchanges_labels_and_keeps_their_numbers(tmp_path):
    plain = taught("faces", "emotion", "train", tmp_path, task="fer")
    exchanged = [taught("faces", "emotion", "train", tmp_path, task="fer", shuffled=True, seed=s) for s in (1, 1, 2)]
    first, again, other = map(labels_of, exchanged)
    assert first == again != other and first != labels_of(plain) and Counter(first) == Counter(LABELS)
    for sample, label in zip(exchanged[0].samples, first, strict=True):
        assert sample.messages[-1]["content"] == label, "answer and label are exchanged together"
    questions = [part.samples[0].messages[0]["content"][1] for part in (plain, exchanged[0])]
    assert questions[0] == questions[1]


def test_tasks_without_labels_are_refused(tmp_path):
    with pytest.raises(DataError, match="unknown task 'fear'.*Did you mean 'fer'"):
        taught("faces", "emotion", "train", tmp_path, task="fear")


def test_paired_gains():
    before = {"greedy": [True] * 50 + [False] * 50, "sampled": [False] * 100}
    after = {"greedy": [True] * 50 + [True] * 10 + [False] * 40, "sampled": [False] * 100}
    table = gains(before, after)
    assert (table["greedy"]["before"], table["greedy"]["after"], table["greedy"]["difference"]) == (50, 60, 10)
    # Ten of a hundred differences are 100 points: the standard error is sqrt(0.1 * 0.9 / 100) = 3 points.
    assert table["greedy"]["low"] == pytest.approx(10 - 1.96 * 3, abs=1.5)
    assert table["greedy"]["high"] == pytest.approx(10 + 1.96 * 3, abs=1.5)
    assert (table["sampled"]["difference"], table["sampled"]["low"], table["sampled"]["high"]) == (0, 0, 0)

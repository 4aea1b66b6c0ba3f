"""The model class on a stand-in of the harness's base class and requests: nano, one picture at a time."""

import importlib
import sys
import types
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import SettingsError
from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.integrations.lmms_eval.manifest import manifest
from emotion_qwen.integrations.lmms_eval.rows import item_of

from .invented import held

MODEL = "emotion_qwen.integrations.lmms_eval.model"
QUESTION = "What is shown?"


@dataclass
class Request:
    args: tuple


class Base:
    """What our class uses of `lmms_eval.api.model.lmms`."""

    is_simple = True

    def __init__(self):
        self.task_dict = {}


@dataclass
class Manifest:
    model_id: str
    simple_class_path: str
    chat_class_path: str


@pytest.fixture
def model(monkeypatch, nano):
    """Our module, loaded against the stand-in, and taken out again."""
    for name, told in {
        "lmms_eval": {},
        "lmms_eval.api": {},
        "lmms_eval.api.model": {"lmms": Base},
        "lmms_eval.models": {},
        "lmms_eval.models.registry_v2": {"ModelManifest": Manifest},
    }.items():
        module = types.ModuleType(name)
        vars(module).update(told)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, MODEL, raising=False)
    monkeypatch.setattr(Engine, "load", lambda *_: nano)
    yield importlib.import_module(MODEL)
    sys.modules.pop(MODEL, None)


@pytest.fixture
def pictures():
    rng = np.random.default_rng(5)
    return [Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)) for _ in range(3)]


def theirs(model, pictures):
    model.task_dict = {"theirs": {"val": [{"image": one} for one in pictures]}}
    return model


def test_the_manifest_names_both_classes(model):
    found = manifest()
    for path, simple in ((found.simple_class_path, True), (found.chat_class_path, False)):
        module, _, name = path.rpartition(".")
        own = getattr(importlib.import_module(module), name)
        assert issubclass(own, Base) and own.is_simple is simple


@pytest.mark.parametrize("batch_size", ["1", 2, "auto"])
def test_replies_stand_in_the_order_of_requests(model, nano, pictures, batch_size):
    ours = theirs(model.EmotionQwenLmms(batch_size=batch_size, device="cpu"), pictures)
    questions = [QUESTION, "Describe it.", QUESTION + " " * 3 + "Say it in one word."]
    requests = [
        Request((asked, {"max_new_tokens": 8}, lambda row: [row["image"]], n, "theirs", "val"))
        for n, asked in enumerate(questions)
    ]
    views = [{"type": "image", "image": np.array(one)} for one in pictures]
    assert ours.generate_until(requests) == [
        nano.write([view], asked, 8)[0] for view, asked in zip(views, questions, strict=True)
    ]


def test_chats_with_one_and_with_several_pictures(model, nano, pictures):
    ours = theirs(model.EmotionQwenChat(batch_size=2), pictures)
    parts = [{"type": "image", "url": one} for one in pictures[:2]]
    words = {"type": "text", "text": QUESTION}
    requests = [
        Request(
            ("", lambda row, m=content: [{"role": "user", "content": m}], {"max_new_tokens": 8}, 0, "theirs", "val")
        )
        for content in ([parts[0], words], [*parts, words], [words])
    ]
    arrays = [{"type": "image", "image": np.array(one)} for one in pictures[:2]]
    together = [{"role": "user", "content": [*arrays, words]}]
    wanted = [nano.write([arrays[0]], QUESTION, 8)[0], nano.chat(together, 8), nano.write([()], QUESTION, 8)[0]]
    assert ours.generate_until(requests) == wanted


def test_a_chat_with_a_lost_picture_is_an_empty_reply_and_a_warning(model, nano, pictures, caplog):
    """And not the end of a run of hours."""
    chat = theirs(model.EmotionQwenChat(), pictures)
    words = {"type": "text", "text": QUESTION}

    def request(other):
        media = [{"type": "image", "url": one} for one in (pictures[0], other)]
        return Request(("", lambda row: [{"role": "user", "content": [*media, words]}], {}, 0, "theirs", "val"))

    whole, lost, last = chat.generate_until([request(pictures[1]), request("/nowhere/lost.png"), request(pictures[2])])
    assert whole and last and lost == ""
    assert "theirs, item 'theirs/val/0': '/nowhere/lost.png' does not exist" in caplog.text


@pytest.mark.parametrize("split", ["emoset_en", "goemotions_en"])
def test_our_rows_are_answered_as_our_benchmarks_are(model, nano, home, split, caplog):
    ours = model.EmotionQwenLmms()
    ours.task_dict = held(split, home)
    rows = ours.task_dict[split][split]
    requests = [Request(("", {"max_new_tokens": 128}, list, n, split, split)) for n in range(len(rows))]
    items = [item_of(row)[1] for row in rows]
    said = list(LocalModel(nano).answer(item_of(rows[0])[0], items))
    assert ours.generate_until(requests) == [one.predicted or one.text or "" for one in said]
    gone = [one.id for one in said if one.error]
    assert gone == (["anger_0"] if split == "emoset_en" else [])
    assert all(name in caplog.text for name in gone)


def test_the_loss_is_smallest_for_the_likeliest_answer(model, nano, pictures):
    ours = theirs(model.EmotionQwenLmms(), pictures)
    answers = [" happiness", " sadness", " anger"]
    requests = [
        Request((QUESTION, answer, lambda row: row["image"], n, "theirs", "val"))
        for n in range(2)
        for answer in answers
    ]
    requests.append(Request(("", " sadness")))
    found = ours.loglikelihood(requests)
    views = [{"type": "image", "image": np.array(one)} for one in pictures[:2]]
    wanted = nano.score(views, QUESTION, [answer.strip() for answer in answers]).log_likelihood
    assert [loss for loss, _ in found[:6]] == pytest.approx((-wanted).flatten().tolist(), abs=1e-4)
    assert found[6][0] == pytest.approx(-nano.score([()], "", ["sadness"]).log_likelihood.item(), abs=1e-4)
    begins = nano.write([views[0]], QUESTION, 4)[0]
    first = begins.split()[0]
    ((_, greedy),) = ours.loglikelihood([Request((QUESTION, first, lambda row: row["image"], 0, "theirs", "val"))])
    assert greedy and not any(flag for _, flag in found[:3] if not begins.startswith(answers[0].strip()))


def test_what_is_not_known_is_named(model):
    with pytest.raises(SettingsError, match="model_args colour"):
        model.EmotionQwenLmms(colour="red")
    for size in ("many", 0):
        with pytest.raises(SettingsError, match="batch_size"):
            model.EmotionQwenLmms(batch_size=size)
    with pytest.raises(SettingsError, match="several rounds"):
        model.EmotionQwenLmms().generate_until_multi_round([])

import base64
import io
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from tests.conftest import write_clip

from emotion_qwen.errors import RemoteError, SettingsError
from emotion_qwen.evaluation.run.answerers import EndpointSettings
from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.plan import make_answerer
from emotion_qwen.evaluation.run.predictions import read_all, read_run_header
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.task import Item

from ..scripted import asked, emotion_item, said, scripted_server, toy

QUICK = EndpointSettings.of({"timeout": 0.4, "retries": 2, "backoff": 0.01, "concurrency": 4})


def at(address: str):
    return make_answerer(f"openai:{address}#m-1", endpoint=QUICK)


def test_a_request_holds_prompt_frames_and_length_of_the_task(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    task = toy([emotion_item(1)], system="Be short.", max_new_tokens=7)
    with scripted_server(lambda body: said("happy")) as (address, requests):
        done = answer_task(at(address), task, tmp_path / "toy")
    (body, headers), (line,) = requests[0], done.predictions
    assert len(requests) == 1 and headers["Authorization"] == "Bearer a-key"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m-1", 0, 7)
    assert body["messages"][0] == {"role": "system", "content": "Be short."}
    picture, question = body["messages"][1]["content"]
    assert question == {"type": "text", "text": "Question 1: which emotion?"}
    kind, _, data = picture["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    sent = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert np.array_equal(sent, task.source.made[0].parts[0]["image"]), (
        "the model sees the picture, not its compression"
    )
    assert (line.text, line.frames, line.error, line.answerer) == ("happy", 1, "", "m-1") and done.whole
    stored = (tmp_path / "toy").glob("*")
    assert not any("a-key" in path.read_text(encoding="utf-8") for path in stored)


def test_a_video_is_sent_as_the_frames_of_the_task(tmp_path):
    clip = write_clip(tmp_path / "c.mp4", np.full((20, 48, 64, 3), 90, np.uint8))
    item = emotion_item(1, parts=({"type": "video", "video": clip}, {"type": "text", "text": "They said: hi."}))
    task = toy([item], frames={"min_frames": 6, "max_frames": 6})
    with scripted_server(lambda body: said("happy")) as (address, requests):
        (line,) = answer_task(at(address), task, tmp_path / "toy").predictions
    content = requests[0][0]["messages"][0]["content"]
    assert [part["type"] for part in content] == ["image_url"] * 6 + ["text", "text"] and line.frames == 6
    assert content[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")


def test_a_part_of_a_video_is_sent_alone(tmp_path):
    frames = np.zeros((40, 48, 64, 3), np.uint8)
    frames[20:] = 255
    part = {"type": "video", "video": write_clip(tmp_path / "c.mp4", frames), "start": 2.2, "end": 3.8}
    task = toy([emotion_item(1, parts=(part,))], frames={"min_frames": 2, "max_frames": 2})
    with scripted_server(lambda body: said("happy")) as (address, requests):
        answer_task(at(address), task, tmp_path / "toy")
    for sent in requests[0][0]["messages"][0]["content"][:2]:
        picture = base64.b64decode(sent["image_url"]["url"].partition(",")[2])
        assert np.asarray(Image.open(io.BytesIO(picture))).mean() > 250


def test_no_more_frames_are_sent_than_the_settings_allow(tmp_path):
    clip = write_clip(tmp_path / "c.mp4", np.full((20, 48, 64, 3), 90, np.uint8))
    task = toy([emotion_item(1, parts=({"type": "video", "video": clip},))], frames={"fps": 100.0, "max_frames": 8})
    with scripted_server(lambda body: said("happy")) as (address, _):
        few = make_answerer(f"openai:{address}#m", endpoint=EndpointSettings.of({"frames": 3}))
        many = make_answerer(f"openai:{address}#m", endpoint=EndpointSettings.of({"frames": 30}))
        (line,), (other,) = (answer_task(a, task, tmp_path / n).predictions for a, n in ((few, "few"), (many, "many")))
    assert line.frames <= 3 < other.frames <= 8, "the smaller number of the task and the settings"
    assert few.header(task, "test")["settings"] == {"fps": 100.0, "max_frames": 3, "side": 768}


def test_further_fields_are_sent_and_recorded_and_none_replaces_those_of_the_task(tmp_path):
    settings = {"extra": {"chat_template_kwargs": {"enable_thinking": False}, "temperature": 1, "max_tokens": 9999}}
    with scripted_server(lambda body: said("happy")) as (address, requests):
        answerer = make_answerer(f"openai:{address}#m", endpoint=EndpointSettings.of(settings))
        answer_task(answerer, toy([emotion_item(1)]), tmp_path / "toy")
    body = requests[0][0]
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert (body["temperature"], body["max_tokens"]) == (0, 8)
    assert read_run_header(tmp_path / "toy")["settings"]["extra"] == settings["extra"]


def test_the_same_weights_say_the_same_by_endpoint_and_here(nano, tmp_path):
    """Prompt, pixels and length that arrive at an endpoint are those that a model of ours is given."""

    def answer(body):
        picture, question = body["messages"][0]["content"]
        data = base64.b64decode(picture["image_url"]["url"].partition(",")[2])
        parts = [{"type": "image", "image": np.asarray(Image.open(io.BytesIO(data)))}]
        return said(nano.write([parts], [question["text"]], body["max_tokens"])[0])

    rng, items = np.random.default_rng(0), []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (56, 70, 3), dtype=np.uint8)).save(path)
        items.append(emotion_item(number, parts=({"type": "image", "image": path},)))
    task = toy(items, "general", max_new_tokens=24)
    with scripted_server(answer) as (address, _):
        theirs = answer_task(make_answerer(f"openai:{address}#m"), task, tmp_path / "theirs").predictions
    ours = answer_task(LocalModel(nano), task, tmp_path / "ours").predictions
    assert [one.text for one in theirs] == [one.text for one in ours] and len({one.text for one in ours}) > 1
    assert [(one.asked, one.frames) for one in theirs] == [(one.asked, one.frames) for one in ours]


def test_faults_are_retried_then_recorded_and_the_rest_goes_on(tmp_path):
    faults = {
        1: (500, "boom"),
        2: (0, "1.0"),
        3: (200, "<html>no JSON</html>"),
        4: (200, json.dumps({"choices": []})),
        5: (400, "bad request"),
        6: (200, json.dumps({"choices": [{"message": {"content": None}}]})),
    }
    tries = Counter()

    def answer(body):
        number = int(asked(body).split()[1].rstrip(":"))
        tries[number] += 1
        if number == 7:
            return (503, "busy") if tries[7] == 1 else said("happy")
        return faults.get(number) or said("happy")

    task = toy([emotion_item(number) for number in range(10)])
    with scripted_server(answer) as (address, _):
        done = answer_task(at(address), task, tmp_path / "toy")
    errors = {one.id: one.error for one in done.predictions if one.error}
    assert set(errors) == {f"toy/{number}" for number in faults} and done.failures == 6 and not done.whole
    assert "answered 500: boom; 3 tries" in errors["toy/1"] and "timed out" in errors["toy/2"]
    assert "answered garbage" in errors["toy/3"] and "no choices[0].message.content" in errors["toy/4"]
    assert "answered 400: bad request; 1 try" in errors["toy/5"] and "content is a NoneType" in errors["toy/6"]
    assert tries == {0: 1, 1: 3, 2: 3, 3: 3, 4: 3, 5: 1, 6: 3, 7: 2, 8: 1, 9: 1}


def test_an_endpoint_where_nobody_is_ends_the_task_and_keeps_what_was_answered(tmp_path):
    def answer(body):
        return said("happy") if int(asked(body).split()[1].rstrip(":")) < 3 else (401, "no such key")

    task, folder = toy([emotion_item(number) for number in range(200)]), tmp_path / "toy"
    with scripted_server(answer) as (address, requests):
        with pytest.raises(
            RemoteError, match="50 consecutive items had no answer, the last one: .*401: no such key.*stopped"
        ):
            answer_task(at(address), task, folder)
        lines = read_all(folder)
        assert [one.text for one in lines[:3]] == ["happy"] * 3 and sum(bool(one.error) for one in lines) == 50
        assert len(requests) < 100, "the other hundred are not tried"


def test_pictures_that_are_not_there_do_not_end_a_task(tmp_path):
    gone = ({"type": "image", "image": tmp_path / "gone.jpg"},)
    items = [*(emotion_item(number, parts=gone) for number in range(60)), emotion_item(60)]
    with scripted_server(lambda body: said("happy")) as (address, requests):
        done = answer_task(at(address), toy(items), tmp_path / "toy")
    assert done.failures == 60 and done.predictions[-1].text == "happy" and len(requests) == 1


def test_what_failed_is_asked_again_and_the_same_fault_is_not_written_twice(tmp_path):
    broken = {1, 2}

    def answer(body):
        return (400, "no") if int(asked(body).split()[1].rstrip(":")) in broken else said("happy")

    task, folder = toy([emotion_item(number) for number in range(4)]), tmp_path / "toy"
    with scripted_server(answer) as (address, requests):
        answer_task(at(address), task, folder)
        first = (folder / "predictions.jsonl").read_bytes()
        assert answer_task(at(address), task, folder).failures == 2
        assert (folder / "predictions.jsonl").read_bytes() == first and len(requests) == 6
        broken.remove(1)
        assert answer_task(at(address), task, folder).failures == 1
    assert len(read_all(folder)) == 5 and len(requests) == 8


def test_a_missing_picture_is_the_error_of_its_item(tmp_path):
    items = [emotion_item(1, parts=({"type": "image", "image": tmp_path / "gone.jpg"},)), emotion_item(2)]
    with scripted_server(lambda body: said("happy")) as (address, requests):
        done = answer_task(at(address), toy(items), tmp_path / "toy")
    assert "gone.jpg" in done.predictions[0].error and done.predictions[1].text == "happy" and len(requests) == 1


@pytest.mark.parametrize("name", ["openai:host/v1#m", "openai:http://host/v1"])
def test_an_address_that_is_none(name):
    with pytest.raises(SettingsError, match="is not a valid model address; write openai:NAME@http"):
        make_answerer(name)


def test_a_likelihood_of_text_cannot_be_had_and_items_may_fix_the_length_of_a_reply(tmp_path):
    items = [Item("w", "en", (), "The end of the", (), " day", "a", answered="continuation")]
    items.append(Item("t", "en", (), "Say it.", (), "it", "a", answered="text", max_new_tokens=11))
    task = toy(items, max_new_tokens=7)
    with scripted_server(lambda body: said("it")) as (address, requests):
        word, text = answer_task(at(address), task, tmp_path / "toy").predictions
    assert word.error.startswith("an endpoint gives no likelihoods of texts; give a model folder") and text.text == "it"
    assert [body["max_tokens"] for body, _ in requests] == [11]

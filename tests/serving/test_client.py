"""The official `openai` client, unchanged, against a real server process."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import wave
from typing import Literal

import numpy as np
import openai
import pytest
from pydantic import BaseModel, Field
from tests.conftest import write_clip
from tests.serving.conftest import image_part, picture_bytes, png, text_part, video_part

from emotion_qwen.media.clip import read_clip

ASKED = "Which emotion does the person show?"


def wav(seconds: float = 1.0) -> bytes:
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        tone = np.sin(np.arange(round(16_000 * seconds)) * 0.1) * 8000
        file.writeframes(tone.astype("<i2").tobytes())
    return written.getvalue()


def test_models(server):
    (model,) = server.client.models.list().data
    assert model.id == "nano" and model.context_length == 4096
    assert server.client.models.retrieve("nano").id == "nano"
    with pytest.raises(openai.NotFoundError, match="model 'gpt-4o' is not served here; expected 'nano'"):
        server.client.models.retrieve("gpt-4o")


def test_a_plain_answer_is_the_engines_own(server, nano):
    answer = server.chat("What is a dog?")
    inputs = nano.processor.apply_chat_template(
        [{"role": "user", "content": "What is a dog?"}], tokenize=True, add_generation_prompt=True
    )
    assert answer.choices[0].message.content.strip() == nano.chat([{"role": "user", "content": "What is a dog?"}], 16)
    assert answer.usage.prompt_tokens == inputs["input_ids"].shape[1]
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.choices[0].finish_reason in ("stop", "length") and answer.object == "chat.completion"


def test_a_picture_and_several_turns(server, nano, astronaut):
    turns = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": [{"type": "image", "image": astronaut}, text_part(ASKED)]},
        {"role": "assistant", "content": "happy"},
        {"role": "user", "content": "Why?"},
    ]
    sent = [dict(turn) for turn in turns]
    sent[0]["role"] = "developer"
    sent[1]["content"] = [image_part(picture_bytes(astronaut)), text_part(ASKED)]
    answer = server.client.chat.completions.create(
        model="nano", messages=sent, max_completion_tokens=24, extra_body={"focus": "whole"}
    )
    assert answer.choices[0].message.content.strip() == nano.chat(turns, 24)


def test_a_stream_adds_up_to_the_plain_answer_and_tells_usage(server):
    content = [image_part(png(1)), text_part("What does the picture show?")]
    plain = server.chat(content)
    chunks = list(server.chat(content, stream=True, stream_options={"include_usage": True}))
    told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert told == plain.choices[0].message.content and chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage == plain.usage and not chunks[-1].choices
    assert chunks[-2].choices[0].finish_reason == plain.choices[0].finish_reason
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_video(server, nano, tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (30, 48, 64, 3), dtype=np.uint8)
    path = write_clip(tmp_path / "film.mp4", frames)
    clip = read_clip(path, nano.processor.settings)
    wanted = nano.chat([{"role": "user", "content": [{"type": "video", "video": clip}, text_part(ASKED)]}], 16)
    answer = server.chat([video_part(path.read_bytes()), text_part(ASKED)])
    assert answer.choices[0].message.content.strip() == wanted


def test_sound_is_heard_or_refused_in_words(server):
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav()).decode(), "format": "wav"}}
    if server.client.models.list().data[0].hears:
        assert server.chat([part, text_part(ASKED)]).choices[0].message.content
    else:
        with pytest.raises(openai.BadRequestError, match="the model 'nano' has no audio input; leave sound out"):
            server.chat([part, text_part(ASKED)])


def test_an_answer_fits_its_schema(server):
    schema = {
        "type": "object",
        "properties": {
            "emotion": {"enum": ["happy", "sad"]},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "signs": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 2},
        },
        "required": ["emotion", "confidence", "signs"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "feeling", "schema": schema, "strict": True}}
    for seed in range(3):
        answer = server.chat([image_part(png(2)), text_part(ASKED)], response_format=form, max_tokens=100, seed=seed,
                             temperature=1.5)  # fmt: skip
        told = json.loads(answer.choices[0].message.content)
        assert told["emotion"] in ("happy", "sad") and 0 <= told["confidence"] <= 1
        assert list(told) == ["emotion", "confidence", "signs"] and len(told["signs"]) <= 2
    with pytest.raises(openai.BadRequestError, match='Unimplemented keys: \\["not"\\]; change it'):
        server.chat("x", response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"not": {}}}})


class Feeling(BaseModel):
    emotion: Literal["happy", "happy and proud", "sad"]
    code: str = Field(pattern="^[A-Z]{2}-[0-9]{3}$")
    sure: float = Field(ge=0, le=1)
    seen: list[Literal["smile", "tears"]] = Field(max_length=2)


def test_the_clients_own_parsing_of_a_pydantic_model(server):
    answer = server.client.chat.completions.parse(
        model="nano", messages=[{"role": "user", "content": [image_part(png(2)), text_part(ASKED)]}],
        response_format=Feeling, max_tokens=200,
    )  # fmt: skip
    assert isinstance(answer.choices[0].message.parsed, Feeling), answer.choices[0].message.content


def test_any_object_on_request(server):
    content = [image_part(png(2)), text_part(ASKED)]
    answer = server.chat(content, response_format={"type": "json_object"}, max_tokens=200)
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_logprobs_seed_and_stop(server):
    options = {"temperature": 1.3, "top_p": 0.9, "seed": 11, "extra_body": {"ignore_eos": True}}
    one, two = (server.chat(ASKED, **options).choices[0].message.content for _ in range(2))
    assert one == two
    answer = server.chat(ASKED, logprobs=True, top_logprobs=2, max_tokens=4)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == answer.usage.completion_tokens and all(len(one.top_logprobs) == 2 for one in tokens)
    assert all(one.logprob <= 0 and one.top_logprobs[0].logprob >= one.logprob - 1e-6 for one in tokens)
    plain = server.chat(ASKED, max_tokens=30).choices[0].message.content
    stop = plain[3:6]
    stopped = server.chat(ASKED, max_tokens=30, stop=stop).choices[0]
    assert stopped.message.content == plain[: plain.index(stop)] and stopped.finish_reason == "stop"


def test_fields_that_ask_for_nothing_are_taken(server):
    neutral = {
        "parallel_tool_calls": False, "service_tier": "auto", "prompt_cache_key": "a", "safety_identifier": "b", "n": 1,
        "tool_choice": "auto", "frequency_penalty": 0, "verbosity": "medium",
    }  # fmt: skip
    assert server.chat("Hello", extra_body=neutral).choices[0].message == server.chat("Hello").choices[0].message


def test_an_address_that_is_not_served_says_where_to_look(server):
    with pytest.raises(openai.NotFoundError, match="nothing is served at this address; /openapi.json lists what is"):
        server.client.responses.create(model="nano", input="x")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"temperature": 3}, "temperature: 3 came, expected less than or equal to 2"),
        ({"max_tokens": 5000}, "the server's context is 4096 tokens, shorten one of them"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools is not supported by this server"),
        ({"extra_body": {"max_token": 3}}, "max_token: unknown field; leave it out"),
        ({"stop": ["a"] * 5}, "stop takes at most 4 texts"),
    ],
)
def test_errors_have_openais_form_and_teach(server, options, told):
    with pytest.raises(openai.BadRequestError) as caught:
        server.chat("Hello", **options)
    assert told in str(caught.value) and caught.value.type == "invalid_request_error"


def test_who_stops_listening_frees_the_slot_within_a_second(server):
    for stream in (True, False):
        client = server.client.with_options(timeout=0.7 if not stream else 60)
        if stream:
            running = server.chat("Tell.", stream=True, max_tokens=3500, extra_body={"ignore_eos": True})
            next(iter(running))
            server.wait_for("running", 1)
            running.close()
        else:
            with pytest.raises(openai.APITimeoutError):
                client.chat.completions.create(
                    model="nano", messages=[{"role": "user", "content": "Tell."}], max_tokens=3500,
                    extra_body={"ignore_eos": True},
                )  # fmt: skip
        assert server.wait_for("running", 0, 3.0) < 1.0


def test_many_at_once_get_the_answers_of_one_alone(server):
    contents = [[image_part(png(seed)), text_part(ASKED)] for seed in range(4)] + ["What is a dog?", "情绪？"]
    alone = [server.chat(content).choices[0].message.content for content in contents]
    together: dict[int, str] = {}

    def ask(number: int) -> None:
        together[number] = server.chat(contents[number]).choices[0].message.content

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[number] for number in range(len(contents))] == alone


def test_a_full_queue_is_429_with_retry_after(server):
    """Four slots and eight places in the queue: of twenty long requests some must be refused, the rest is served."""
    results: list[object] = []

    def ask() -> None:
        try:
            results.append(server.chat("Tell.", max_tokens=60, extra_body={"ignore_eos": True}))
        except openai.RateLimitError as error:
            results.append(error)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [one for one in results if isinstance(one, openai.RateLimitError)]
    assert refused and len(results) == 20 and len(refused) <= 8
    assert {one.response.headers["retry-after"] for one in refused} == {"1"}
    texts = {one.choices[0].message.content for one in results if not isinstance(one, openai.RateLimitError)}
    assert len(texts) == 1
    time.sleep(0.1)
    assert server.metric("waiting") == server.metric("running") == 0

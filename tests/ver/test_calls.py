"""Calls are retried, paced, cached and bounded; what is answered is never asked again."""

from __future__ import annotations

import threading
import time
from email.utils import formatdate

import pytest
from tests.ver.teachers import ServedTeacher

from emotion_qwen.errors import DataError, RemoteError, SettingsError
from emotion_qwen.ver.calls import BudgetSpent, Caller, Ledger, Refused, retry_after
from emotion_qwen.ver.settings import CallSettings, TeacherSettings
from emotion_qwen.ver.table import Postponed

SCHEMA = {"type": "object"}


def caller(teacher, folder, **settings):
    chosen = CallSettings(**{"first_wait": 0.01, "retries": 4, "patience": 5.0, **settings})
    told = TeacherSettings(kind="endpoint", url=teacher.url, model="m", key_env="VER_TEST_KEY")
    return Caller(told, chosen, folder / "answers", Ledger(folder / "ledger.jsonl", chosen))


def ask(made, text="hello"):
    return made.ask([{"role": "user", "content": text}], SCHEMA)


def test_an_answer_is_cached_by_its_content_and_its_cost_is_kept(tmp_path):
    with ServedTeacher() as teacher:
        made = caller(teacher, tmp_path)
        first, second = ask(made), ask(made)
        ask(made, "other")
        assert first.text == second.text and second.cached and not first.cached
        again = caller(teacher, tmp_path)  # as after a restart
        assert ask(again).cached and (again.ledger.calls, again.ledger.tokens) == (2, 300)
        assert set(teacher.asked.values()) == {1} and len(teacher.asked) == 2


def test_the_same_question_of_two_threads_is_asked_once(tmp_path):
    with ServedTeacher(delay=0.2) as teacher:
        made = caller(teacher, tmp_path)
        threads = [threading.Thread(target=ask, args=(made,)) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert list(teacher.asked.values()) == [1]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_endpoint_is_asked_again(tmp_path, status):
    replies = iter([(status, "busy", {}), (status, "busy", {}), '{"emotion": "happy"}'])
    with ServedTeacher(lambda _: next(replies)) as teacher:
        made = caller(teacher, tmp_path)
        assert ask(made).text == '{"emotion": "happy"}'
        assert made.ledger.events[f"status {status}"] == 2 and made.ledger.calls == 1


def test_the_endpoint_says_how_long_to_wait(tmp_path):
    replies = iter([(429, "busy", {"Retry-After": "0.6"}), "{}"])
    with ServedTeacher(lambda _: next(replies)) as teacher:
        began = time.monotonic()
        ask(caller(teacher, tmp_path))
        assert time.monotonic() - began >= 0.6
    assert retry_after("3") == 3.0 and retry_after(None) is None and retry_after("soon") is None
    assert 5 < retry_after(formatdate(time.time() + 10, usegmt=True)) <= 10


def test_broken_envelopes_are_asked_again_and_at_last_postponed(tmp_path):
    with ServedTeacher(lambda _: (200, "<html>", {})) as teacher:
        made = caller(teacher, tmp_path, retries=2)
        with pytest.raises(Postponed, match="no answer after 3 tries; the last: JSONDecodeError"):
            ask(made)
        assert sum(teacher.asked.values()) == 3 and made.ledger.calls == 0
        assert not list((tmp_path / "answers").rglob("*.json"))


def test_nobody_there_and_a_slow_one_are_postponed(tmp_path):
    with ServedTeacher(delay=2.0) as teacher, pytest.raises(Postponed, match="the last: timeout"):
        ask(caller(teacher, tmp_path, patience=0.3, retries=0))
    with pytest.raises(Postponed, match="the last: URLError"):
        ask(caller(teacher, tmp_path, retries=1))


def test_a_wrong_key_stops_everything_and_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("VER_TEST_KEY", "very-secret")
    wanted = pytest.raises(RemoteError, match="answers 401 no such key; check .* variable VER_TEST_KEY")
    with ServedTeacher(lambda _: (401, "no such key", {})) as teacher, wanted as caught:
        ask(caller(teacher, tmp_path))
    assert "very-secret" not in str(caught.value)
    assert not any(b"very-secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_an_endpoint_without_schemas_is_asked_without(tmp_path):
    def script(asked):
        if asked.payload.get("response_format", {}).get("type") == "json_schema":
            return 400, "response_format json_schema is not supported", {}
        return asked.good()

    with ServedTeacher(script) as teacher:
        made = caller(teacher, tmp_path)
        ask(made)
        ask(made, "second")
        kinds = [one.payload["response_format"]["type"] for one in teacher.requests]
        assert kinds == ["json_schema", "json_object", "json_object"]


def test_one_refused_call_does_not_cost_the_others_their_schema(tmp_path):
    def script(asked):
        return (400, "content policy", {}) if "bad" in asked.texts else asked.good()

    with ServedTeacher(script) as teacher:
        made = caller(teacher, tmp_path, retries=0)
        with pytest.raises(Refused, match="content policy"):
            ask(made, "bad")
        ask(made, "fine")
        assert teacher.requests[-1].payload["response_format"]["type"] == "json_schema"


def test_the_key_goes_to_no_other_host_and_into_no_message(tmp_path, monkeypatch):
    monkeypatch.setenv("VER_TEST_KEY", "very-secret")
    seen = []
    with ServedTeacher() as other:
        other.server.RequestHandlerClass.do_GET = lambda handler: (
            seen.append(handler.headers.get("Authorization")), handler.send_error(404)
        )  # fmt: skip
        moved = (302, "", {"Location": f"{other.url}/elsewhere"})
        with ServedTeacher(lambda _: moved) as teacher, pytest.raises(RemoteError):
            ask(caller(teacher, tmp_path))
    assert seen == [None]
    wanted = pytest.raises(RemoteError, match=r"wrong key \[key\]")
    with ServedTeacher(lambda _: (401, "wrong key very-secret", {})) as teacher, wanted as caught:
        ask(caller(teacher, tmp_path))
    assert "very-secret" not in str(caught.value)


def test_a_call_that_is_refused_is_named(tmp_path):
    wanted = pytest.raises(Refused, match="picture too large")
    with ServedTeacher(lambda _: (400, "picture too large", {})) as teacher, wanted:
        ask(caller(teacher, tmp_path))


@pytest.mark.parametrize(
    "budget, match", [({"max_calls": 2}, "budget of 2 calls"), ({"max_tokens": 1100}, "1,100 tokens")]
)
def test_a_budget_stops_and_holds_over_restarts(tmp_path, budget, match):
    with ServedTeacher() as teacher:
        made = caller(teacher, tmp_path, **budget)
        ask(made, "a")
        ask(made, "b")
        for one in (made, caller(teacher, tmp_path, **budget)):
            with pytest.raises(BudgetSpent, match=match):
                ask(one, "c")
            assert ask(one, "a").cached  # what is paid for stays
        assert sum(teacher.asked.values()) == 2
        assert not ask(caller(teacher, tmp_path, max_calls=3), "c").cached


def test_a_half_written_line_of_the_ledger_is_cut_off(tmp_path):
    with ServedTeacher() as teacher:
        ask(caller(teacher, tmp_path), "a")
        with (tmp_path / "ledger.jsonl").open("a") as file:
            file.write('{"model": "m", "re')
        made = caller(teacher, tmp_path)
        ask(made, "b")
        assert made.ledger.calls == caller(teacher, tmp_path).ledger.calls == 2


def test_calls_keep_the_pace(tmp_path):
    with ServedTeacher() as teacher:
        made = caller(teacher, tmp_path, per_minute=300)
        began = time.monotonic()
        [ask(made, str(number)) for number in range(4)]
        assert time.monotonic() - began >= 0.6


def test_a_stopped_run_does_not_sleep_on(tmp_path):
    with ServedTeacher(lambda _: (500, "", {})) as teacher:
        made = caller(teacher, tmp_path, first_wait=60.0)
        threading.Timer(0.3, made.stopped.set).start()
        began = time.monotonic()
        with pytest.raises(Postponed, match="being stopped"):
            ask(made)
        assert time.monotonic() - began < 10


def test_settings_without_an_address_and_a_damaged_answer_are_named(tmp_path):
    with pytest.raises(SettingsError, match="teacher url '' and model ''"):
        settings = CallSettings.of({})
        Caller(TeacherSettings(kind="endpoint"), settings, tmp_path, Ledger(tmp_path / "l", settings))
    with pytest.raises(SettingsError, match="holds a name or password"):
        told = TeacherSettings(kind="endpoint", url="http://a:b@x/v1", model="m")
        Caller(told, settings, tmp_path, Ledger(tmp_path / "l", settings))
    with ServedTeacher() as teacher:
        made = caller(teacher, tmp_path)
        ask(made)
        (path,) = (tmp_path / "answers").rglob("*.json")
        path.write_text("{")
        with pytest.raises(DataError, match="is damaged"):
            ask(made)

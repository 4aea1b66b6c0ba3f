"""Calls are retried, paced, cached and bounded; what is answered is never asked again."""

from __future__ import annotations

import threading
import time

import pytest
from tests.ver.teachers import ServedTeacher

from emotion_qwen.errors import DataError, RemoteError, SettingsError
from emotion_qwen.ver.settings import CallSettings, DescribeSettings, TeacherSettings
from emotion_qwen.ver.store.table import Postponed
from emotion_qwen.ver.teachers.calls import BudgetSpent, Caller, Ledger, Refused

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


def test_broken_envelopes_are_asked_again_and_at_last_postponed(tmp_path):
    with ServedTeacher(lambda _: (200, "<html>", {})) as teacher:
        made = caller(teacher, tmp_path, retries=2)
        with pytest.raises(Postponed, match="answered garbage .JSONDecodeError: .*; 3 tries"):
            ask(made)
        assert sum(teacher.asked.values()) == 3 and made.ledger.calls == 0
        assert not list((tmp_path / "answers").rglob("*.json"))


def test_nobody_there_and_a_slow_one_are_postponed(tmp_path):
    with ServedTeacher(delay=2.0) as teacher, pytest.raises(Postponed, match="did not answer .timed out.; 1 try"):
        ask(caller(teacher, tmp_path, patience=0.3, retries=0))
    with pytest.raises(Postponed, match="did not answer .*refused.*; 2 tries"):
        ask(caller(teacher, tmp_path, retries=1))


def test_a_wrong_key_stops_everything_and_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("VER_TEST_KEY", "very-secret")
    wanted = pytest.raises(RemoteError, match="answered 401: no such key; 1 try; check .* variable VER_TEST_KEY")
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


def test_a_key_that_the_endpoint_repeats_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("VER_TEST_KEY", "very-secret")
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


def test_a_call_under_way_that_fails_does_not_spend_the_budget(tmp_path):
    """Two calls at once with a budget of one: the second waits for the first, and takes its place when it fails."""
    first, go_on = threading.Event(), threading.Event()

    def script(asked):
        return (400, "refused", {}) if "bad" in asked.texts else asked.good()

    with ServedTeacher(script) as teacher:
        made = caller(teacher, tmp_path, max_calls=1, retries=0)
        post = made.client._post

        def slow(body):
            if "bad" in str(body):
                first.set()
                go_on.wait(5)
            return post(body)

        made.client._post = slow
        outcomes = {}

        def run(text):
            try:
                outcomes[text] = ask(made, text)
            except (Refused, BudgetSpent) as error:
                outcomes[text] = error

        threads = [threading.Thread(target=run, args=(text,)) for text in ("bad", "good")]
        threads[0].start()
        assert first.wait(5)
        threads[1].start()
        time.sleep(0.3)
        assert "good" not in outcomes, "it waits for what becomes of the other"
        go_on.set()
        [thread.join() for thread in threads]
        assert isinstance(outcomes["bad"], Refused) and outcomes["good"].text and made.ledger.calls == 1
        assert not made.ledger.spent
        with pytest.raises(BudgetSpent, match=r"budget of 1 calls is spent \(1 answered\)"):
            ask(made, "third")


def test_callers_of_one_address_share_its_pauses(tmp_path):
    """The teacher and the reader of a build are two callers of one service."""
    replies = iter([(429, "busy", {"Retry-After": "0.6"})])
    with ServedTeacher(lambda asked: next(replies, None) or asked.good()) as teacher:
        made = caller(teacher, tmp_path)
        told = made.teacher.model_copy(update={"model": "m2"})
        other = Caller(told, made.ledger.settings, tmp_path / "answers", made.ledger)
        threading.Thread(target=ask, args=(made,)).start()
        while not made.ledger.events["status 429"]:
            time.sleep(0.01)
        began = time.monotonic()
        ask(other, "another")
        assert time.monotonic() - began > 0.4


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
    with pytest.raises(SettingsError, match="service '' with model ''"):
        settings = CallSettings.of({})
        Caller(TeacherSettings(kind="endpoint"), settings, tmp_path, Ledger(tmp_path / "l", settings))
    with pytest.raises(SettingsError, match="contains a user name or password"):
        told = TeacherSettings(kind="endpoint", url="http://a:b@x/v1", model="m")
        Caller(told, settings, tmp_path, Ledger(tmp_path / "l", settings))
    with ServedTeacher() as teacher:
        made = caller(teacher, tmp_path)
        ask(made)
        (path,) = (tmp_path / "answers").rglob("*.json")
        path.write_text("{")
        with pytest.raises(DataError, match="is damaged"):
            ask(made)


@pytest.mark.parametrize(
    "given",
    [
        "openai:org/name@http://localhost:8000/v1",
        {"model": "openai:org/name@http://localhost:8000/v1"},
        {"kind": "endpoint", "url": "http://localhost:8000/v1", "model": "org/name"},
    ],
)
def test_a_teacher_is_named_as_models_are_elsewhere(given):
    teacher = DescribeSettings.of({"teacher": given}).teacher
    assert (teacher.kind, teacher.url, teacher.model) == ("endpoint", "http://localhost:8000/v1", "org/name")


def test_other_names_of_teachers():
    teacher = DescribeSettings.of({"teacher": "runs/my-model"}).teacher
    assert (teacher.kind, teacher.model) == ("local", "runs/my-model")
    with pytest.raises(SettingsError, match="endpoint 'openai:name' is not a valid model address; write openai:NAME@"):
        DescribeSettings.of({"teacher": {"model": "openai:name"}})

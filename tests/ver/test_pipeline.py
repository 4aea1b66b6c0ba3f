"""A whole build with a scripted teacher: traceable, restartable at every point, and without a bad description."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import time

import pytest
from rich.console import Console
from tests.ver.films import colours, write
from tests.ver.sets import faces, settings, start
from tests.ver.teachers import ServedTeacher

from emotion_qwen import files
from emotion_qwen.errors import DataError, EmotionQwenError, StorageError
from emotion_qwen.files import storage_error
from emotion_qwen.ver import card, pipeline
from emotion_qwen.ver.export import load_ver
from emotion_qwen.ver.pipeline import STEPS, Build
from emotion_qwen.ver.pools import local_pool
from emotion_qwen.ver.steps.segment import SegmentVideo
from emotion_qwen.ver.store import table
from emotion_qwen.ver.store.table import StepTable
from emotion_qwen.ver.teachers import calls
from emotion_qwen.ver.teachers.calls import BudgetSpent

pytest.importorskip("scenedetect")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return faces(tmp_path_factory.mktemp("films"))


def build(chosen, **options):
    console = Console(file=io.StringIO(), width=200)
    made = Build(chosen, console=console, **options)
    made.run()
    return made


def rows(made, name):
    return list(made.tables[name].rows())


def everything(made):
    """All tables but what names the output folder."""
    return {name: rows(made, name) for name in made.tables}


@pytest.fixture(scope="module")
def whole(films, tmp_path_factory):
    """The tables of a build that nothing disturbed."""
    with ServedTeacher() as teacher:
        chosen = settings(films, tmp_path_factory.mktemp("whole"), teacher.url, calls={"concurrency": 1})
        return everything(build(chosen))


def test_a_build_from_videos_to_samples(films, tmp_path):
    with ServedTeacher() as teacher:
        made = build(settings(films, tmp_path / "set", teacher.url))
        assert len(teacher.requests) == 12 and set(teacher.asked.values()) == {1}
        assert "estimate: 3 clips to describe: 12 calls" in made.console.file.getvalue()
        build(settings(films, tmp_path / "set", teacher.url))  # all is done: nothing is asked or made again
        assert len(teacher.requests) == 12
    assert [row["reason"] for row in rows(made, "select")] == ["", "no face"] * 3
    found = load_ver(tmp_path / "set", language="zh")
    assert len(found) == 3 and {sample.labels["emotion"] for sample in found} == {"happy"}
    assert found[0].source == "film0.mp4 0.000-1.200 s" and found[0].license == "CC-BY-4.0"
    clip = rows(made, "segment")[0]
    assert (clip["path"], clip["start"], clip["end"]) == (str(films / "film0.mp4"), 0.0, 1.2)
    assert found[0].id == f"{clip['clip']}/zh"


class Killed(BaseException):
    """What no handler catches."""


def test_a_build_stopped_at_every_item_comes_to_the_same_set(films, whole, tmp_path, monkeypatch):
    append, stops, left = StepTable.append, 0, 0

    def sometimes(self, key, found):
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        append(self, key, found)

    with ServedTeacher() as teacher:
        chosen = settings(films, tmp_path / "set", teacher.url)
        monkeypatch.setattr(StepTable, "append", sometimes)
        for _ in range(60):
            left = 1  # one item a run
            try:
                made = build(chosen)
                break
            except Killed:
                stops += 1
        assert stops >= 12 and set(teacher.asked.values()) == {1} and len(teacher.requests) == 12
    for name in whole:
        clean = [{**row, "reason": row.get("reason")} for row in rows(made, name)]
        assert clean == [{**row, "reason": row.get("reason")} for row in whole[name]], name


@pytest.mark.slow
def test_kill_9_in_each_step(films, tmp_path):
    with ServedTeacher(delay=0.05) as teacher:
        chosen = settings(films, tmp_path / "set", teacher.url, critic={})
        work = tmp_path / "set" / "work"
        for name in STEPS[:-1]:
            # A call that is under way when the process dies is lost; the teacher holds all but the first ones back.
            teacher.release.clear()
            teacher.hold_after = {"describe": 3, "check": 8}.get(name, 0)
            process = start(chosen, tmp_path)
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and process.poll() is None:
                if teacher.hold_after:
                    if len(list((work / "answers").rglob("[!.]*.json"))) == teacher.hold_after:  # drafts are hidden
                        break
                elif (work / f"{name}.jsonl").is_file() and (work / f"{name}.jsonl").read_bytes().count(b"\n") >= 2:
                    break
                time.sleep(0.002)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            teacher.release.set()
        teacher.hold_after = None
        process = start(chosen, tmp_path)
        assert process.wait(200) == 0, process.output()
        assert "3 clips of 3 videos" in process.output()
        assert set(teacher.answered.values()) == {1}
    names = [json.loads(line)["id"] for line in (tmp_path / "set" / "manifest.jsonl").read_text().splitlines()]
    assert len(names) == len(set(names)) == 6


def test_processes_give_the_same_tables(films, whole, tmp_path):
    with ServedTeacher() as teacher:
        assert everything(build(settings(films, tmp_path / "two", teacher.url), pool=local_pool(2))) == whole


def test_a_bad_teacher_brings_nothing_bad_into_the_export(films, tmp_path):
    seen = {"broken": 0}

    def script(asked):
        with_fault = "cannot be used" in asked.texts or "无法使用" in asked.texts
        if len(asked.payload["messages"]) == 2 and not with_fault:
            seen["broken"] += 1
            if seen["broken"] == 1:
                return 429, "slow down", {"Retry-After": "0.05"}
            if seen["broken"] == 2:
                return 500, "oops", {}
            if seen["broken"] == 3:
                return "not JSON"
        if asked.kind == "describe" and "film" not in asked.texts and asked.language == "en" and seen["broken"] > 5:
            return asked.good(people=2, body="Two people embrace.")
        return asked.good()

    with ServedTeacher(script) as teacher:
        made = build(settings(films, tmp_path / "set", teacher.url, calls={"concurrency": 1}))
        events = made.ledger.events
        assert events["status 429"] == 1 and events["status 500"] == 1 and events["unusable answer"] == 1
    outcomes = [row["status"] for row in rows(made, "check")]
    assert "rejected" in outcomes and "kept" in outcomes
    for path in ("manifest.jsonl", "release.json", "llava.json", "sharegpt.json"):
        assert "embrace" not in (tmp_path / "set" / path).read_text()
    figures = json.loads((tmp_path / "set" / "stats.json").read_text())
    assert figures["rejections"]["people"] == outcomes.count("rejected")


def test_a_budget_stops_cleanly_and_goes_on_when_raised(films, tmp_path):
    with ServedTeacher() as teacher:
        tight = settings(films, tmp_path / "set", teacher.url, calls={"max_calls": 3, "concurrency": 1})
        with pytest.raises(BudgetSpent, match="step 'describe' stops: the budget of 3 calls is spent"):
            build(tight)
        assert len(teacher.requests) == 3
        build(settings(films, tmp_path / "set", teacher.url))
        assert len(teacher.requests) == 12 and set(teacher.asked.values()) == {1}


def test_an_endpoint_that_is_away_leaves_clips_open(films, tmp_path):
    with ServedTeacher(lambda _: (503, "", {})) as teacher:
        chosen = settings(films, tmp_path / "set", teacher.url, calls={"retries": 0})
        with pytest.raises(DataError, match=r"step 'describe': 3 item\(s\) of 3 stay open, the first: .*run again"):
            build(chosen)
        teacher.script = lambda asked: asked.good()
        assert len(rows(build(chosen), "check")) == 3


def test_bad_videos_are_named_and_the_rest_is_built(films, tmp_path):
    folder = faces(tmp_path / "in", 2)
    (folder / "film0.mp4").rename(folder / 'it\'s "one"\nfilm.mp4')
    os.rename(folder / "film1.mp4", os.fsencode(folder) + "/愤怒.mp4".encode("gbk"))  # as in Chinese archives
    (folder / "bad.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(200))
    (folder / "empty.mkv").write_bytes(b"")
    write(folder / "tall.mkv", colours(12, side=(96, 54)), times=[0.05 * p + 0.02 * (p % 2) for p in range(12)])
    with ServedTeacher() as teacher:
        made = build(settings(folder, tmp_path / "set", teacher.url))
    reasons = {row["source"]: row["reason"] for row in rows(made, "segment") if row["status"] == "rejected"}
    assert set(reasons) == {
        "bad.mp4",
        "empty.mkv",
        "tall.mkv",
    }  # the tall one is shorter than a clip may be
    assert "empty (0 bytes)" in reasons["empty.mkv"]
    told = made.console.file.getvalue().splitlines()
    assert sum(line.startswith("left out: unreadable: ") for line in told) == 2  # one line each
    assert [sample.source for sample in load_ver(tmp_path / "set", language="en")] == [
        'it\'s "one" film.mp4 0.000-1.200 s',
        "\\udcb7\\udcdf\u016d.mp4 0.000-1.200 s",  # two of its bytes happen to be a letter in UTF-8
    ]


def test_a_disk_that_fills_in_each_step_is_named_and_the_build_goes_on_after(films, tmp_path, monkeypatch):
    left = [0]

    def full(writes):
        def write(path, *content, **more):
            if left[0] == 0:
                raise storage_error(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            left[0] -= 1
            return writes(path, *content, **more)

        return write

    for module in (table, pipeline, calls, card):
        for name in ("write_whole", "append"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, full(getattr(files, name)))
    with ServedTeacher() as teacher:
        chosen, stops = settings(films, tmp_path / "set", teacher.url, calls={"concurrency": 1}), 0
        for writes in range(3, 60):
            left[0] = writes
            try:
                build(chosen)
                break
            except StorageError as error:
                assert "No space left on device" in str(error) and "free space" in str(error)
                stops += 1
            assert not list((tmp_path / "set").rglob(".part-*"))
        assert set(teacher.answered.values()) <= {1, 2} and len(teacher.requests) <= 12 + stops
    assert stops > 3 and len(load_ver(tmp_path / "set")) == 6


def test_what_a_manifest_says_can_be_mended_later(films, tmp_path):
    line = {"path": str(films / "film0.mp4"), "license": "CC0"}
    with ServedTeacher() as teacher:
        for licence in ("CC0", "CC-BY-4.0"):
            (tmp_path / "in.jsonl").write_text(json.dumps({**line, "license": licence}) + "\n")
            build(settings(tmp_path / "in.jsonl", tmp_path / "set", teacher.url))
        assert {sample.license for sample in load_ver(tmp_path / "set")} == {"CC-BY-4.0"}
        assert len(teacher.requests) == 4  # nothing was asked again
    (tmp_path / "in.jsonl").write_text(json.dumps({**line, "license": 4}) + "\n")
    with pytest.raises(DataError, match=r"in.jsonl:1: license is 4; expected text"):
        build(settings(tmp_path / "in.jsonl", tmp_path / "set", "http://x"))


def test_a_set_inside_the_folder_of_videos_is_no_source(films, tmp_path):
    folder = faces(tmp_path / "in", 1)
    with ServedTeacher() as teacher:
        for _ in range(2):
            made = build(settings(folder, folder / "set", teacher.url))
    assert len(rows(made, "segment")) == 2  # the two shots of the one video


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"describe": {"labels": "dfew8"}}, "dfew8"),
        ({"check": {"reader": {"kind": "endpoint"}}}, "teacher: service ''"),
        ({"select": {"benchmarks": ["nowhere"]}}, "select.benchmarks: .*nowhere"),
        ({"listen": {"whisper": "nowhere"}}, "listen.whisper 'nowhere' is no folder"),
    ],
)
def test_what_would_stop_a_late_step_is_named_before_the_first(films, tmp_path, changes, match):
    with pytest.raises(EmotionQwenError, match=match):
        build(settings(films, tmp_path / "set", "http://x", **changes))
    assert not (tmp_path / "set" / "work" / "segment.jsonl").exists()


def test_other_settings_and_a_missing_source_are_refused(films, tmp_path):
    with ServedTeacher() as teacher:
        build(settings(films, tmp_path / "set", teacher.url))
        with pytest.raises(DataError, match="step 'describe' .* was done with other settings"):
            build(settings(films, tmp_path / "set", teacher.url, describe={"labels": "ekman"}))
        with pytest.raises(DataError, match="'nowhere' does not exist"):
            build(settings("nowhere", tmp_path / "other", teacher.url))


def test_a_manifest_tells_licences_and_groups(films, tmp_path):
    line = {"path": str(films / "film0.mp4"), "license": "CC0", "source": "Stills", "group": "g", "known": "happy"}
    (tmp_path / "in.jsonl").write_text(json.dumps(line) + "\n")
    with ServedTeacher() as teacher:
        made = build(settings(tmp_path / "in.jsonl", tmp_path / "set", teacher.url))
    found = json.loads((made.output / "stats.json").read_text())
    assert found["license"] == {"CC0": 1} and found["agreement"]["known label"]["agree"] == 1.0
    (tmp_path / "in.jsonl").write_text('{"path": "x.mp4", "licence": "CC0"}\n')
    with pytest.raises(DataError, match=r"in.jsonl:1: unknown key 'licence'.*Did you mean 'license'"):
        build(settings(tmp_path / "in.jsonl", tmp_path / "set2", "http://x"))


class Deadly(SegmentVideo):
    """A decoder that a file ends."""

    def __call__(self, item):
        if "kills" in item["path"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(item)


@pytest.mark.slow  # two processes that load all decoders, twice; test_pools has the same without
def test_a_source_that_ends_its_process_is_left_out_and_stops_no_build(tmp_path, monkeypatch):
    folder = faces(tmp_path / "in", 1)
    (folder / "kills.mp4").write_bytes((folder / "film0.mp4").read_bytes() + b"kills")
    monkeypatch.setattr(pipeline.segment, "SegmentVideo", Deadly)
    with ServedTeacher() as teacher:
        chosen = settings(folder, tmp_path / "set", teacher.url)
        Build(chosen, local_pool(2), Console(file=io.StringIO())).run(until="segment")
        made = build(chosen)  # in this process, which would die of it
    (lost,) = [row for row in rows(made, "segment") if row["status"] == "rejected"]
    assert lost["source"] == "kills.mp4" and lost["license"] == "CC-BY-4.0"
    assert lost["reason"].startswith("unreadable: the process that read it was ended by signal 9")
    assert "left out: unreadable: the process" in made.console.file.getvalue()
    assert len(load_ver(tmp_path / "set", language="en")) == 1

"""Jobs in other processes: whatever ends a worker is the error of its job, and the other jobs go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from emotion_qwen.errors import MediaError
from emotion_qwen.workers import SINGLE, Isolation, Job, Pool, WorkerError, WorkerLate


def scripted(item):
    """Do what an item says: (what, ...)."""
    what, *more = item
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "die once" and not Path(more[0]).exists():
        Path(more[0]).touch()
        os._exit(3)
    elif what == "crash":
        raise ZeroDivisionError
    elif what == "bad":
        raise MediaError("a bad file")
    elif what == "full":
        return bytearray(1 << 40)
    elif what == "sleep":
        time.sleep(more[0])
    elif what == "environment":
        return dict(os.environ)
    elif what == "chatter":
        print("a library says something")
    return os.getpid()


def workers() -> list[psutil.Process]:
    """List the worker processes of this process; it may have others, such as a fork server of earlier tests."""
    return [child for child in psutil.Process().children() if "emotion_qwen.workers" in child.cmdline()]


def small() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))


@pytest.fixture
def pool():
    made = Pool(scripted, 2, Isolation(quiet=True))
    yield made
    made.close()


def test_whatever_ends_a_worker_is_the_error_of_its_job(pool):
    items = [("a",), ("die",), ("sleep", 30), ("bad",), ("crash",), ("chatter",), ("b",)]
    found = list(pool.results(items, seconds=3.0))
    assert [item for item, _ in found] == items, "in order"
    told = {item[0]: str(outcome) for item, outcome in found if isinstance(outcome, Exception)}
    assert told == {
        "die": "the process that read it was ended by signal 9; there may be too little memory for it",
        "sleep": "it took longer than 3 s",
        "bad": "a bad file",
        "crash": "the process that read it ended with code 1; there may be too little memory for it",
    }
    assert all(isinstance(outcome, int) and outcome != os.getpid() for item, outcome in found if item[0] not in told)
    assert pool.died == 2 and not workers()


def test_a_lack_of_memory_is_the_error_of_its_job():
    pool = Pool(scripted, 1, Isolation(setup=small))
    try:
        with pytest.raises(WorkerError, match="needs more memory than its process may take"):
            pool.do(("full",))
        first, again = pool.do(("a",)), pool.do(("b",))
        assert first == again and pool.died == 0, "the worker lives on"
    finally:
        pool.close()


def test_a_job_whose_worker_dies_of_something_else_is_done_again(tmp_path):
    pool = Pool(scripted, 1, Isolation(tries=2, jobs=1, quiet=True))
    try:
        first = pool.do(("die once", str(tmp_path / "died")))
        assert pool.do(("a",)) != first, "replaced after one job"
        with pytest.raises(WorkerError, match="signal 9"):
            pool.do(("die",))
        assert pool.died == 3
    finally:
        pool.close()


def test_a_worker_that_is_not_trusted_knows_no_secret_and_sends_text_alone(tmp_path):
    clean = {"PATH": os.environ["PATH"]}
    pool = Pool(scripted, 1, Isolation(environment=clean, trusted=False, folder=tmp_path))
    try:
        known = pool.do(("environment",))
        assert set(known) - {"LC_CTYPE"} == {
            "PATH",
            "PYTHONPATH",
            *SINGLE,
        }
        with pytest.raises(WorkerError, match="a bad file"):
            pool.do(("bad",))
    finally:
        pool.close()


def test_unordered_results_come_as_they_are_done_and_no_more_are_begun_than_asked_for():
    taken = []

    def items():
        for number in range(8):
            taken.append(number)
            yield ("sleep", 0.6 if number == 0 else 0.01, number)

    pool = Pool(scripted, 2)
    results = pool.results(items(), ahead=1, ordered=False)
    first, _ = next(results)
    assert first[2] != 0 and len(taken) <= 2 + 1 + 1
    results.close()
    assert len(taken) <= 4 and not workers()


def test_large_results_wait_for_the_reader(monkeypatch):
    monkeypatch.setattr("emotion_qwen.workers.HELD", 10)
    pool = Pool(scripted, 1)
    for number, (_, outcome) in enumerate(pool.results([("a",)] * 6, ahead=4, size=lambda outcome: 100)):
        time.sleep(0.05)
        assert isinstance(outcome, int) and number < 6


def test_a_cancelled_job_gives_its_place_back(pool):
    job, ended = Job(), []

    def hang():
        with pytest.raises(WorkerError, match="cancelled"):
            pool.do(("sleep", 60), job=job)
        ended.append(True)

    thread = threading.Thread(target=hang)
    thread.start()
    time.sleep(1.0)
    job.cancel()
    thread.join(10)
    assert ended and isinstance(pool.do(("a",)), int) and pool.died == 0
    with pytest.raises(WorkerError, match="cancelled"):
        pool.do(("a",), job=job)


def test_a_time_limit_that_is_kept_ends_nothing(pool):
    first = pool.do(("a",), seconds=20)
    assert pool.do(("sleep", 0.05), seconds=20) == first
    with pytest.raises(WorkerLate):
        pool.do(("sleep", 30), seconds=0.2)


PARENT = """
import sys
from emotion_qwen.workers import Pool
from tests.test_pool import scripted
pool = Pool(scripted, 1)
print(pool.do(("a",)), flush=True)
pool.do(("sleep", 60))
"""


def test_workers_end_with_a_killed_parent():
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    worker = psutil.Process(int(parent.stdout.readline()))
    time.sleep(0.3)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert not psutil.wait_procs([worker], timeout=5)[1]

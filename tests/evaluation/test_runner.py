import json
import os
import random
import signal
import threading
import time

import pytest
from tests.processes import Process, start_command

from emotion_qwen.errors import DataError, StorageError
from emotion_qwen.evaluation.run import runner
from emotion_qwen.evaluation.run.predictions import ITEMS, LINES, REJECTED, prediction, read_all, read_predictions
from emotion_qwen.evaluation.run.runner import Place, answer_task, read_items, usable

from .prediction_files import without_seconds, write_pictures
from .scripted import Echo, emotion_item, toy

LABELS = ["cat", "dog", "ship", "frog", "bird", "truck", "deer", "cat", "horse", "dog", "airplane"]


class Failing(Echo):
    def answer(self, task, items):
        for item in items:
            yield prediction(item, error="busy", answerer=self.name)


def items(count: int):
    return [emotion_item(number) for number in range(count)]


def test_every_answer_is_kept_when_a_run_stops(tmp_path):
    task, folder = toy(items(7)), tmp_path / "toy"
    with pytest.raises(KeyboardInterrupt):
        answer_task(Echo(stop_at=3), task, folder)
    assert len(read_all(folder)) == 3
    again = Echo()
    done = answer_task(again, task, folder)
    answer_task(Echo(), task, tmp_path / "whole")
    assert len(again.asked) == 4 and done.whole and len(done.predictions) == 7
    assert (folder / LINES).read_bytes() == (tmp_path / "whole" / LINES).read_bytes()


def test_items_that_cannot_be_scored_are_named_and_the_rest_is_asked(tmp_path):
    strange = [*items(3), emotion_item(1), emotion_item(5, "boredom")]
    kept, rejected = usable(strange, "likelihood")
    assert [item.id for item in kept] == ["toy/0", "toy/1", "toy/2"]
    assert rejected["toy/1"] == "occurs 2 times; the first is used"
    assert rejected["toy/5"].startswith("the answer 'boredom' is not one of anger, disgust")
    assert usable(strange, "text")[1].keys() == {"toy/1"}, "who answers in words may know other words"
    done = answer_task(Echo(), toy(strange, answered="likelihood"), tmp_path / "toy")
    assert len(done.predictions) == 3 and not done.whole
    told = [json.loads(line) for line in (tmp_path / "toy" / REJECTED).read_text(encoding="utf-8").splitlines()]
    assert [one["id"] for one in told] == ["toy/1", "toy/5"]


def test_what_was_asked_is_kept_without_media(tmp_path):
    video = emotion_item(1, parts=({"type": "video", "video": "c.mp4"}, {"type": "text", "text": "told"}))
    answer_task(Echo(), toy([emotion_item(0), video]), tmp_path / "toy")
    first, second = read_items(tmp_path / "toy")
    assert first.parts == ({"type": "image", "file": ""},) and first.scored() == emotion_item(0).scored()
    assert second.parts == ({"type": "video", "file": "c.mp4"}, {"type": "text", "text": "told"})
    (tmp_path / "toy" / ITEMS).write_text("{}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"items\.jsonl: cannot be read"):
        read_items(tmp_path / "toy")


def test_what_is_told_in_words_belongs_to_the_prompt(tmp_path):
    told = [emotion_item(1, parts=({"type": "text", "text": text},)) for text in ("I won.", "I lost.")]
    answer_task(Echo(), toy(told[:1]), tmp_path / "toy")
    with pytest.raises(DataError, match="the question or the answer of item 'toy/1' has changed"):
        answer_task(Echo(), toy(told[1:]), tmp_path / "toy")


def test_processes_share_the_batches_and_the_first_brings_them_together(tmp_path):
    task, folder = toy(items(9)), tmp_path / "shared"
    answer_task(Echo(), task, tmp_path / "one")
    second = Echo()
    nothing = answer_task(second, task, folder, place=Place(1, 2))
    assert nothing.predictions == () and second.asked == ["toy/2", "toy/3", "toy/6", "toy/7"]
    first = Echo()
    done = answer_task(first, task, folder, place=Place(0, 2))
    assert not set(first.asked) & set(second.asked) and done.whole
    assert (folder / LINES).read_bytes() == (tmp_path / "one" / LINES).read_bytes()
    assert sorted(path.name for path in folder.glob("[!.]*")) == [ITEMS, LINES, "task.json"]


def test_lines_of_processes_that_were_stopped_count_for_any_number_of_processes(tmp_path):
    task, folder = toy(items(9)), tmp_path / "shared"
    with pytest.raises(KeyboardInterrupt):
        answer_task(Echo(stop_at=3), task, folder, place=Place(1, 2))
    with (folder / Place(1, 2).lines).open("a") as file:
        file.write('{"id": "toy/6", "lang')
    assert len(read_predictions(folder)) == 3
    alone = Echo()
    answer_task(alone, task, folder)
    answer_task(Echo(), task, tmp_path / "one")
    assert len(alone.asked) == 6
    assert (folder / LINES).read_bytes() == (tmp_path / "one" / LINES).read_bytes()


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    task, folder = toy(items(4)), tmp_path / "toy"

    class Meddled(Echo):
        def answer(self, task, items):
            with pytest.raises(StorageError, match="another run is writing to"):
                answer_task(Echo(), task, folder)
            yield from super().answer(task, items)

    assert answer_task(Meddled(), task, folder).whole
    assert answer_task(Echo(), task, folder).whole and len(read_all(folder)) == 4, "the lock goes with who held it"


def test_a_process_that_starts_again_while_files_are_brought_together_loses_nothing(tmp_path, monkeypatch):
    """By the mark of an earlier run process 1 is done, but it starts again, to ask once more for what had failed."""
    task, folder = toy(items(9)), tmp_path / "shared"
    answer_task(Failing(), task, folder, place=Place(1, 2))
    started, ended, write = threading.Event(), threading.Event(), runner.write_whole

    class Slow(Echo):
        def answer(self, task, items):
            started.set()
            ended.wait(5)
            yield from super().answer(task, items)

    again = threading.Thread(target=answer_task, args=(Slow(), task, folder), kwargs={"place": Place(1, 2)})

    def write_and_be_overtaken(path, text):
        write(path, text)
        if path.name == LINES:
            again.start()
            started.wait(0.3)

    monkeypatch.setattr(runner, "write_whole", write_and_be_overtaken)
    answer_task(Echo(), task, folder, place=Place(0, 2))
    ended.set()
    again.join()
    assert sum(not one.error for one in read_predictions(folder)) == 9


def test_a_process_that_gives_no_sign_of_life_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "PATIENCE", 0.1)
    monkeypatch.setattr(runner, "POLL", 0.02)
    with pytest.raises(DataError, match="process 1 of 2 wrote nothing for 0 s; its answers so far are kept, run"):
        answer_task(Echo(), toy(items(3)), tmp_path / "toy", place=Place(0, 2))


def test_the_launcher_tells_the_place(monkeypatch):
    assert Place.here() == Place(0, 1) and Place.here().lines == LINES
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert Place.here() == Place(3, 4) and Place.here().lines == "predictions.part3of4.jsonl"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_pictures(folder / "pictures_cifar10.parquet", LABELS)
    return folder


def command(data, output, *more: str) -> list[str]:
    options = ["--tasks", "cifar", "--data", str(data), "--output", str(data / output), "--device", "cpu", *more]
    return ["eval", *options]


def started(data, output, *more: str, **environment: str) -> Process:
    log = data / f"{output}{environment.get('RANK', '')}.log"
    arguments = command(data, output, "--batch", "2", *more)
    return start_command(log, *arguments, env={**os.environ, **environment})


def ended(data, process: Process) -> int:
    """Wait as long as a loaded machine may need; a test does not measure time."""
    code = process.wait(600)
    assert code == 0, "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(data.glob("*.log")))
    return code


def scores(folder) -> list:
    return json.loads((folder / "scores.json").read_text(encoding="utf-8"))["columns"][0]["scores"]


@pytest.fixture(scope="module")
def whole(data):
    """What a run in one process, not interrupted, writes; it goes on beside the test."""
    process = started(data, "whole")
    yield lambda: (ended(data, process), data / "whole" / "nano" / "cifar" / LINES)[1]
    process.kill()
    process.wait()


def test_a_run_killed_at_a_random_moment_ends_as_if_it_had_not_been(data, whole):
    lines, rng = data / "killed" / "nano" / "cifar" / LINES, random.Random()
    process, enough = started(data, "killed"), rng.randrange(1, 400)
    while process.poll() is None and not (lines.is_file() and lines.stat().st_size > enough):
        time.sleep(0.005)
    time.sleep(rng.random() * 0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = lines.stat().st_size
    ended(data, started(data, "killed"))
    assert without_seconds(lines) == without_seconds(whole()), f"killed after {kept} bytes"
    assert scores(data / "killed") == scores(data / "whole")


def test_two_processes_answer_as_one(data, whole):
    both = [started(data, "two", RANK=str(rank), WORLD_SIZE="2") for rank in (0, 1)]
    try:
        for process in both:
            ended(data, process)
    finally:
        for process in both:
            process.kill()
            process.wait()
    two = data / "two" / "nano" / "cifar" / LINES
    assert without_seconds(two) == without_seconds(whole()) and scores(data / "two") == scores(data / "whole")

"""Parts of a run give the lines of one process, in its order, whatever is killed in between."""

import json
import random
import signal
import sys
import time

import numpy as np
import pytest
from tests.conftest import write_clip
from tests.processes import start_command

from emotion_qwen.batch import sharding
from emotion_qwen.batch.sharding import Shard
from emotion_qwen.cli import main
from emotion_qwen.errors import SettingsError

pytestmark = pytest.mark.usefixtures("nano_in_commands")
VOLATILE = ("took",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eleven small clips; the fifth is no video."""
    path, noise = tmp_path_factory.mktemp("shards"), np.random.default_rng(0)
    for number in range(11):
        if number == 4:
            (path / "04.mp4").write_text("no video at all\n" * 30)
            continue
        write_clip(path / f"{number:02}.mp4", noise.integers(0, 255, (1, 48, 48, 3), dtype=np.uint8).repeat(4, 0))
    return path


def stored(path) -> list[dict]:
    """Read reports without what differs between any two runs."""
    reports = [json.loads(line) for line in path.read_text().splitlines()]
    for report in reports:
        for name in VOLATILE:
            report.get("provenance", {}).pop(name, None)
    return reports


def test_parts_cover_all_files_in_groups():
    files = [*range(100)]
    for count in (1, 2, 3, 7, 200):
        parts = [shard.files(files) for shard in Shard(1, count).siblings()]
        assert sorted(file for part in parts for file in part) == files
        assert all(part == sorted(part) for part in parts)
    assert Shard.of("1/3").files(files)[:17] == [*range(16), 48]  # groups share batches as in a single run


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "1/0", "a/b", "1/2/3", "-1/2"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(SettingsError, match=r"expected PART/PARTS, such as 1/4 to 4/4"):
        Shard.of(text)


def test_parts_that_cannot_be_joined_are_refused(folder, tmp_path, capsys):
    assert main(["analyze", str(folder), "--shard", "1/2"]) == 2
    assert "--shard needs --output" in capsys.readouterr().err
    features = ["--features", str(tmp_path / "f.safetensors"), "--output", str(tmp_path / "o.jsonl")]
    assert main(["analyze", str(folder), "--shard", "1/2", *features]) == 2
    assert "which parts cannot share" in capsys.readouterr().err


def test_joined_parts_equal_one_process_also_in_failures_and_order(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sharding, "TOGETHER", 2)
    whole, output = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    assert main(["analyze", str(folder), "--output", str(whole)]) == 0
    for number in (2, 3):
        assert main(["analyze", str(folder), "--output", str(output), "--shard", f"{number}/3"]) == 0
        assert not output.exists()
    assert f"{number}of3.jsonl" in capsys.readouterr().err
    part = tmp_path / "parts.1of3.jsonl"
    assert main(["analyze", str(folder), "--output", str(output), "--shard", "1/3"]) == 0
    assert len(stored(part)) == 4 and stored(output) == stored(whole)
    failed = [report["source"] for report in stored(output) if "error" in report]
    assert len(failed) == 1 and failed[0].endswith("04.mp4")
    part.write_bytes(part.read_bytes()[:-100])  # as a crash leaves it
    output.unlink()
    assert main(["analyze", str(folder), "--output", str(output), "--shard", "1/3"]) == 0
    assert stored(output) == stored(whole)


@pytest.mark.slow
def test_parts_killed_at_random_continue_to_the_same_result(folder, tmp_path):
    whole, output = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    common = ["analyze", str(folder), "--output"]
    assert start_command(tmp_path / "whole.log", *common, str(whole)).wait(240) == 0
    chance, ended = random.Random(0), []
    for attempt in range(12):
        parts = [
            start_command(tmp_path / f"{n}.{attempt}.log", *common, str(output), "--shard", f"{n}/2") for n in (1, 2)
        ]
        if attempt < 3:
            time.sleep(chance.uniform(6, 14))
            for process in parts:
                process.send_signal(signal.SIGKILL)
        ended = [process.wait(240) for process in parts]
        if ended == [0, 0]:
            break
    assert ended == [0, 0] and stored(output) == stored(whole)


@pytest.mark.slow
def test_two_copies_on_one_machine_equal_one(folder, tmp_path):
    whole, output = tmp_path / "whole.jsonl", tmp_path / "copies.jsonl"
    assert start_command(tmp_path / "whole.log", "analyze", str(folder), "--output", str(whole)).wait(240) == 0
    copies = start_command(tmp_path / "c.log", "analyze", str(folder), "--output", str(output), "--replicas", "2")
    assert copies.wait(400) == 0 and stored(output) == stored(whole)


def test_copies_are_started_with_a_part_and_a_device_each(folder, tmp_path, monkeypatch):
    started = []

    class Started:
        def __init__(self, command):
            started.append(command)

        def wait(self):
            return 0

        def poll(self):
            return 0

    monkeypatch.setattr("emotion_qwen.batch.replicas.subprocess.Popen", Started)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert main(["analyze", str(folder), "--output", str(tmp_path / "o.jsonl"), "--replicas", "3"]) == 0
    parts = [command[command.index("--device") + 1 :] for command in started]
    assert parts == [["cuda:0", "--shard", "1/3"], ["cuda:1", "--shard", "2/3"], ["cuda:0", "--shard", "3/3"]]
    assert all(command[3] == str(folder) for command in started)


def test_options_of_other_engines_are_refused(folder, tmp_path, capsys):
    assert main(["analyze", str(folder), "--replicas", "2"]) == 2
    assert "--replicas divides the clips by itself" in capsys.readouterr().err
    assert main(["analyze", str(folder), "--ray-address", "auto"]) == 2
    assert "--ray-address belongs to --engine ray" in capsys.readouterr().err


def test_ray_that_is_not_installed_is_one_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["analyze", str(folder), "--engine", "ray", "--output", str(tmp_path / "o.jsonl")]) == 2
    assert "package 'ray' is not installed; it comes with the extra 'scale'" in capsys.readouterr().err

"""Clips on a Ray cluster of this machine: the lines of one process. Needs the extra `scale`."""

from types import SimpleNamespace

import pytest
from tests.batch.test_sharding import folder, stored  # noqa: F401  a fixture
from tests.processes import start_command

from emotion_qwen.batch import ray_engine
from emotion_qwen.errors import SettingsError

pytest.importorskip("ray", reason="ray is not installed; it comes with the extra scale")


@pytest.mark.slow
def test_two_processes_of_a_cluster_equal_one(folder, tmp_path):  # noqa: F811
    whole, output = tmp_path / "whole.jsonl", tmp_path / "ray.jsonl"
    common = ["analyze", str(folder), "--device", "cpu", "--output"]
    assert start_command(tmp_path / "whole.log", *common, str(whole)).wait(240) == 0
    for kept in (0, 5):  # from the start, and after a stop
        if kept:
            output.write_bytes(b"".join(output.read_bytes().splitlines(keepends=True)[:kept]))
        process = start_command(tmp_path / f"{kept}.log", *common, str(output), "--engine", "ray", "--replicas", "2")
        assert process.wait(400) == 0, process.output()
        assert sorted(stored(output), key=str) == sorted(stored(whole), key=str)
        if not kept:
            assert stored(output) == stored(whole)


def test_a_recogniser_is_refused():
    request = SimpleNamespace(sources=SimpleNamespace(recognizer=object()))
    with pytest.raises(SettingsError, match="--transcribe cannot be sent to other processes"):
        next(ray_engine.analyze_on_ray({}, [], request, 1))

"""`benchmarks/gpu/measure.py`: the measurement that a GPU is needed for runs as a whole with a small model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "benchmarks" / "gpu" / "measure.py"


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_dry_run_measures_every_part(tmp_path):
    done = run("--dry-run", "--to", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "figures.json").read_text())["parts"]
    assert list(parts) == ["vision", "decode", "train", "folder"]
    assert all(parts[name]["figure"] > 0 for name in ("vision", "decode", "folder"))
    assert parts["train"]["figure"] is None and parts["train"]["teraflops"] > 0  # no peak is known of a CPU
    assert parts["vision"]["largest_difference"] < 1e-4
    assert parts["folder"]["clips"] == 3 and 0 < parts["folder"]["waited_for_clips"] < 1


@pytest.mark.slow
def test_a_part_without_time_is_left_out_and_a_machine_without_gpu_is_refused(tmp_path):
    done = run("--dry-run", "--minutes", "-1", "--to", str(tmp_path / "figures.json"))
    parts = json.loads((tmp_path / "figures.json").read_text())["parts"]
    assert done.returncode == 0 and all(set(part) == {"left_out"} for part in parts.values())
    import torch

    if not torch.cuda.is_available():
        refused = run()
        assert refused.returncode == 1 and "no GPU; --dry-run runs the same code" in refused.stderr

"""Several processes over gloo: data-parallel training equals one process, and the module tree can be sharded."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.training.plan import read_settings
from emotion_qwen.training.run import run_stage
from emotion_qwen.training.stages import part_digests

from .training_runs import losses

TRAIN = "import sys; from emotion_qwen.cli import main; sys.exit(main(sys.argv[1:]))"
SHARD = """
import sys, torch, torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from emotion_qwen.data.collate import SampleBatches
from emotion_qwen.data.manifest import read_manifest
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.processing import EmotionQwenProcessor
start, manifest, target = sys.argv[1:]
dist.init_process_group("gloo")
model = EmotionQwenForConditionalGeneration.from_pretrained(start)
mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (2,))
for block in [*model.model.visual.blocks, *model.model.language_model.layers, model.model.compressor]:
    fully_shard(block, mesh=mesh)
fully_shard(model, mesh=mesh)
assert all(isinstance(p, DTensor) for p in model.parameters())
samples = list(read_manifest(__import__("pathlib").Path(manifest)))
mine = samples[dist.get_rank() * 2 : dist.get_rank() * 2 + 2]
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model.train()
model(**SampleBatches(EmotionQwenProcessor.from_pretrained(start))(mine), only_taught=True).loss.backward()
assert all(p.grad is not None and isinstance(p.grad, DTensor) for n, p in model.named_parameters() if ".visual." in n)
optimizer.step()
state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
if dist.get_rank() == 0:
    plain = EmotionQwenForConditionalGeneration.from_pretrained(start)
    plain.load_state_dict(state)
    plain.save_pretrained(target)
dist.barrier()
dist.destroy_process_group()
"""


def run_two(script: str, *arguments: str, timeout: float = 300) -> None:
    """Run a script in two processes that know of each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    shared |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=timeout)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "\n".join(said)[-3000:]


@pytest.fixture
def thirty_steps(config_file):
    def write(**batch) -> Path:
        optim = {"steps": 30, "learning_rate": 3e-3}
        return config_file(stage="scratch", batch=batch, optim=optim, save_every=100)

    return write


def test_two_processes_equal_one_with_the_same_global_batch(thirty_steps, tmp_path):
    run_stage(read_settings(thirty_steps(samples=4), (f"output={tmp_path / 'one'}",)))
    path = thirty_steps(samples=2)
    run_two(TRAIN, "train", str(path), f"output={tmp_path / 'two'}")
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == 30
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) <= 1e-4
    assert one[-1] < one[0] - 0.5  # it learned, so the equality says something


def test_the_module_tree_shards_and_the_gathered_checkpoint_reloads(tiny_start, chats, tmp_path):
    run_two(SHARD, str(tiny_start), str(chats / "general.jsonl"), str(tmp_path / "gathered"))
    gathered = EmotionQwenForConditionalGeneration.from_pretrained(tmp_path / "gathered")
    before = part_digests(EmotionQwenForConditionalGeneration.from_pretrained(tiny_start))
    after = part_digests(gathered)
    assert all(before[part] != after[part] for part in ("vision", "general", "language"))
    assert all(torch.isfinite(p).all() for p in gathered.parameters())

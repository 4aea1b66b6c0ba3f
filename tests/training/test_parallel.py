"""Several processes over gloo: data-parallel training equals one process, and the module tree can be sharded."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from emotion_qwen.data.collate import SampleBatches
from emotion_qwen.data.manifest import read_manifest
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


FILL = """
import sys, torch, torch.distributed as dist
from pathlib import Path
from emotion_qwen.data import feature_filling
from emotion_qwen.data.features import FeatureCache, media_parts
from emotion_qwen.errors import DataError
from emotion_qwen.training import run
from emotion_qwen.training.ranks import on_rank_zero
from emotion_qwen.training.plan import make_mixture, read_settings
from emotion_qwen.training.stages import enter_stage
config, = sys.argv[1:]
settings = read_settings(Path(config))
append = feature_filling.FeatureFiller._append
def counted(self, batch, features):
    assert dist.get_rank() == 0, "only one process writes"
    append(self, batch, features)
feature_filling.FeatureFiller._append = counted
run.run_stage(settings)
def full(): raise DataError("the disk is full")
try:
    on_rank_zero(dist.get_rank(), full)
except DataError as error:
    assert str(error) == "the disk is full"
else:
    raise SystemExit("a rank has not learned of the fault")
cache = FeatureCache(settings.features)
model, processor = run.load_start(settings)
sources = [make_mixture(settings, 2), *run.held_out(settings).values()]
seen = 0
for source in sources:
    for item in (source[place] for place in range(len(source))):
        sample = getattr(item, "sample", item)
        for part, plain in zip(media_parts(cache.prepare(sample)), media_parts(sample)):
            visual, pixels = part["image"], processor([plain["image"]])
            with torch.no_grad():
                wanted = model.model.visual(pixels["pixel_values"], pixels["image_grid_thw"]).last_hidden_state
            assert (visual.features - wanted).abs().max() < 1e-4
            seen += 1
assert seen == 6 * 4 * 2 + 16, seen
"""


def test_two_ranks_with_two_workers_each_read_only_right_features(config_file, tmp_path):
    """And a fault of rank 0 is known to the other."""
    held = {"name": "held", "domain": "general", "path": "general.jsonl"}
    path = config_file(
        features=str(tmp_path / "features"), batch={"samples": 4, "workers": 2}, optim={"steps": 6}, save_every=100,
        validation=[held], evaluate_every=6, evaluate_samples=16,
    )  # fmt: skip
    run_two(FILL, str(path))
    proof = json.loads((tmp_path / "run" / "model" / "stage.json").read_text(encoding="utf-8"))
    assert [entry for entry in proof["log"] if "eval_general_loss" in entry]


@pytest.mark.slow
def test_samples_set_aside_by_all_ranks_and_workers_are_listed_once(config_file, chats, processor, tmp_path):
    samples = list(read_manifest(chats / "general.jsonl"))
    lengths = {s.id: SampleBatches(processor)([s])["input_ids"].shape[1] for s in samples}
    limit = sorted(set(lengths.values()))[-2]
    batch = {"samples": 4, "workers": 2, "max_tokens": limit, "max_rejected": len(samples)}
    path = config_file(stage="scratch", batch=batch, optim={"steps": 10, "learning_rate": 1e-3}, save_every=100)
    run_two(TRAIN, "train", str(path))
    lines = (tmp_path / "run" / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    names = sorted(json.loads(line)["id"] for line in lines)
    assert names == sorted(name for name, length in lengths.items() if length > limit) != []

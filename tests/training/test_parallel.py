"""Several processes over gloo, with unlike batches: sharing the data, or the model too, equals one process."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.processes import start

from emotion_qwen.cli import main
from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.data.manifest import read_manifest
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import SettingsError
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.training.checkpoint import latest_checkpoint
from emotion_qwen.training.plan import check_deepspeed, read_settings
from emotion_qwen.training.run import run_stage
from emotion_qwen.training.stages import part_digests

from . import mixed_dtypes, mixed_ranks
from .training_runs import losses

ALL_PARTS = ["vision", "general", "emotion", "gate", "audio", "language"]


def run_two(folder: Path, program: Callable[..., Any], *arguments: Any, ranks: int = 2, timeout: float = 300) -> None:
    """Call a function in processes that know of each other and write to files in the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    shared |= {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
    started = [
        start(
            folder / f"rank{rank}.log", program, *arguments,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(ranks)
    ]  # fmt: skip
    try:
        codes = [process.wait(timeout) for process in started]
    finally:
        for process in started:
            process.kill()
    assert codes == [0] * ranks, "\n".join(process.output() for process in started)[-3000:]


@pytest.fixture
def mixed_file(config_file, hearing_start):
    """Write the settings of a run in which every part learns, from mixed samples."""

    def write(steps: int, samples: int, **changes) -> Path:
        data = [{"name": "talk", "domain": "general"}, {"name": "faces", "domain": "emotion"}]
        optim = {"steps": steps, "learning_rate": 3e-3}
        parts = {"stage": "tuning", "trains": ALL_PARTS, "start": str(hearing_start), "data": data}
        return config_file(**parts, batch={"samples": samples}, optim=optim, **{"save_every": 1000, **changes})

    return write


def media_of(sample) -> tuple[str, ...]:
    content = sample.messages[0]["content"]
    return tuple(part["type"] for part in content if part["type"] != "text")


def check_equal(tmp_path: Path, start: Path, kinds: tuple[str, ...], steps: int) -> None:
    """Compare runs of two ranks with that of one process, and look at the models they left."""
    one = losses(tmp_path / "one")
    before = part_digests(EmotionQwenForConditionalGeneration.from_pretrained(start))
    whole = EmotionQwenForConditionalGeneration.from_pretrained(tmp_path / "one" / "model").state_dict()
    for kind in kinds:
        found = losses(tmp_path / kind)
        assert len(one) == len(found) == steps
        assert max(abs(a - b) for a, b in zip(one, found, strict=True)) <= 1e-4
        proof = json.loads((tmp_path / kind / "model" / "stage.json").read_text(encoding="utf-8"))
        model = Engine.load(tmp_path / kind / "model", device="cpu").model
        assert proof["changed"] == sorted(ALL_PARTS) and proof["parts_before"] == before
        reloaded = EmotionQwenForConditionalGeneration.from_pretrained(tmp_path / kind / "model")
        assert part_digests(reloaded) == proof["parts"], "the folder holds what the ranks had"
        state = reloaded.state_dict()
        assert state.keys() == whole.keys()
        assert max((state[name] - whole[name]).abs().max().item() for name in whole) <= 1e-2
        assert next(model.parameters()).dtype == torch.float32
    assert one[-1] < one[0] - 0.5  # it learned, so the equality says something


@pytest.mark.parametrize("steps", [6, pytest.param(30, marks=pytest.mark.slow)])
def test_two_ranks_with_unlike_batches_equal_one_process(steps, mixed_file, hearing_start, tmp_path):
    """By DDP, and by `fully_shard`; both leave a model folder that loads, with the proof of what moved."""
    path = mixed_file(steps, 2)
    settings = read_settings(path)
    with mixed_ranks.mixed_parts():
        mixture = mixed_ranks.plan.make_mixture(settings, 1)
    pairs = {(media_of(mixture[k].sample), media_of(mixture[k + 1].sample)) for k in range(0, 2 * steps, 2)}
    assert len({pair for pair in pairs if set(pair[0]) != set(pair[1])}) >= 3, "the ranks read unlike media"
    mixed_ranks.train(path, f"output={tmp_path / 'one'}")
    run_two(tmp_path, mixed_ranks.main, "runs", str(tmp_path), str(mixed_file(steps, 1)), "plain", "sharded")
    check_equal(tmp_path, hearing_start, ("plain", "sharded"), steps)


@pytest.mark.slow
def test_a_fault_of_one_rank_ends_all_of_them(mixed_file, tmp_path):
    """None waits for ever, and each says what happened, here or elsewhere."""
    run_two(tmp_path, mixed_ranks.main, "faults", str(tmp_path), str(mixed_file(4, 1, save_every=2)), timeout=120)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2))
    assert first["data"] == "TrainingError: rank(s) 1 failed while reading its data; their own messages say why"
    assert second["data"] == "DataError: the sample cannot be read"
    assert first["loss"] == second["loss"] and "the loss of step 3 is nan on rank(s) 1" in first["loss"]
    assert "step 2 could not be saved" in first["checkpoint"] and "No space left" in first["checkpoint"]
    assert "rank(s) 0 failed while saving a checkpoint" in second["checkpoint"]
    assert "the model could not be saved" in first["model"]
    assert "rank(s) 0 failed while saving the model" in second["model"]
    assert first["signal"] == second["signal"] == "checkpoint-3, signal 15"
    assert latest_checkpoint(tmp_path / "loss").name == "checkpoint-2"
    assert not (tmp_path / "model" / "model").exists()


@pytest.mark.slow
def test_frozen_parts_in_bfloat16_beside_trained_ones_in_float32_are_sharded(tiny_start, tmp_path):
    """FSDP gathers both dtypes of a layer together; its step is that of the whole model."""
    run_two(tmp_path, mixed_dtypes.main, str(tmp_path), str(tiny_start))
    for rank in range(2):
        results = json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8"))
        for found in results.values():
            assert found["dtypes"] == {"trained": ["torch.float32"], "frozen": ["torch.bfloat16"]}
            assert found["layer"] == ["torch.bfloat16", "torch.float32"] and found["same_names"]
        assert results["stored"]["loss"] <= 1e-6 and results["stored"]["gradients"] <= 1e-4, results
        assert results["products"]["loss"] <= 0.01, results  # norms and the gate are rounded to bfloat16, too


def test_sharding_without_gpus_or_launcher_is_refused_in_one_line(config_file, monkeypatch, capsys, tmp_path):
    """Accelerate would run DDP without a word on a CPU, and the trainer would not start without a launcher."""
    path = config_file(strategy={"kind": "fsdp"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["train", str(path)]) == 2
    assert "strategy.kind=fsdp needs GPUs: without one, Accelerate would silently run DDP" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(SettingsError, match="needs a launcher that starts one process per GPU: torchrun"):
        run_stage(read_settings(path))


def test_sharding_that_could_not_save_its_model_is_refused(tmp_path):
    path = tmp_path / "zero3.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    with pytest.raises(SettingsError, match="stage3_gather_16bit_weights_on_model_save is not true; set it"):
        check_deepspeed(path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_trainer_itself_shards_on_gpus(mixed_file, hearing_start, tmp_path):
    """Through Accelerate, on as many GPUs as there are, two at most: the same losses as one process."""
    ranks = min(2, torch.cuda.device_count())
    path = mixed_file(10, 2)
    mixed_ranks.train(path, f"output={tmp_path / 'one'}")
    path = mixed_file(10, 2 // ranks, strategy={"kind": "fsdp"})
    run_two(tmp_path, mixed_ranks.main, "runs", str(tmp_path), str(path), "plain", ranks=ranks)
    check_equal(tmp_path, hearing_start, ("plain",), 10)


FILL = """
import torch, torch.distributed as dist
from pathlib import Path
from emotion_qwen.data import feature_filling
from emotion_qwen.data.features import FeatureCache, media_parts
from emotion_qwen.errors import DataError
from emotion_qwen.training import run
from emotion_qwen.training.ranks import on_rank_zero
from emotion_qwen.training.plan import make_mixture, read_settings
from emotion_qwen.training.stages import enter_stage
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
sources = [make_mixture(settings, 2), *run.validation_subsets(settings).values()]
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


@pytest.mark.slow
def test_two_ranks_with_two_workers_each_read_only_right_features(config_file, tmp_path):
    """And a fault of rank 0 is known to the other."""
    held = {"name": "held", "domain": "general", "path": "general.jsonl"}
    path = config_file(
        features=str(tmp_path / "features"), batch={"samples": 4, "workers": 2}, optim={"steps": 6}, save_every=100,
        validation=[held], evaluate_every=6, evaluate_samples=16,
    )  # fmt: skip
    run_two(tmp_path, exec, FILL, {"config": str(path)})
    proof = json.loads((tmp_path / "run" / "model" / "stage.json").read_text(encoding="utf-8"))
    assert [entry for entry in proof["log"] if "eval_general_loss" in entry]


@pytest.mark.slow
def test_samples_set_aside_by_all_ranks_and_workers_are_listed_once(config_file, chats, processor, tmp_path):
    samples = list(read_manifest(chats / "general.jsonl"))
    lengths = {s.id: SampleCollator(processor)([s])["input_ids"].shape[1] for s in samples}
    limit = sorted(set(lengths.values()))[-2]
    batch = {"samples": 4, "workers": 2, "max_tokens": limit, "max_rejected": len(samples)}
    path = config_file(stage="scratch", batch=batch, optim={"steps": 10, "learning_rate": 1e-3}, save_every=100)
    run_two(tmp_path, main, ["train", str(path)])
    lines = (tmp_path / "run" / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    names = sorted(json.loads(line)["id"] for line in lines)
    assert names == sorted(name for name, length in lengths.items() if length > limit) != []

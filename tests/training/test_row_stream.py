"""Training on rows filled from a buffer: the losses of padded samples, and continued where it stopped."""

import copy
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from tests.training.test_parallel import run_two
from torch.utils.data import DataLoader

from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.data.rows import STATE
from emotion_qwen.errors import DataError, MissingPackage, SettingsError
from emotion_qwen.records import Sample
from emotion_qwen.training.checkpoint import latest_checkpoint, read_position
from emotion_qwen.training.plan import make_mixture, read_settings
from emotion_qwen.training.precision import frozen_dtype, set_dtypes, stored_dtype
from emotion_qwen.training.run import load_start, make_trainer, run_stage
from emotion_qwen.training.stages import STAGES, enter_stage
from emotion_qwen.training.trainer import StageTrainer

from .training_runs import chat, losses, noise_clip

ROWS = {"row_tokens": 256}


def test_every_step_has_the_loss_of_its_samples_padded(config_file, tmp_path, monkeypatch, processor):
    compared, states = [], []
    compute, read = StageTrainer.compute_loss, StageTrainer.get_batch_samples

    def noted(self, epoch_iterator, num_batches, device):
        batches = [next(epoch_iterator) for _ in range(num_batches)]
        states.extend(batch[STATE][1] for batch in batches)
        return read(self, iter(batches), num_batches, device)

    def compared_with_padded(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = compute(self, model, dict(inputs), return_outputs, num_items_in_batch)
        if model.training and len(compared) < len(states):
            before = states[len(compared) - 1] if compared else None
            places = [
                *(before.buffer if before else ()),
                *range(before.read if before else 0, states[len(compared)].read),
            ]
            items = [self.mixture.item_at(p) for p in places if p not in states[len(compared)].buffer]
            with torch.no_grad():
                padded = compute(self, model, dict(SampleCollator(processor)(items)), False, num_items_in_batch)
            compared.append((loss.item(), padded.item(), len(items), inputs["input_ids"].shape))
        return loss

    monkeypatch.setattr(StageTrainer, "get_batch_samples", noted)
    monkeypatch.setattr(StageTrainer, "compute_loss", compared_with_padded)
    run_stage(read_settings(config_file(batch={**ROWS, "accumulate": 2}, optim={"steps": 3, "learning_rate": 1e-3})))
    assert len(compared) == 6
    for packed, padded, count, shape in compared:
        assert abs(packed - padded) <= 1e-5 and count > 4 and shape[0] == 1 and 0.9 * 256 < shape[1] <= 256


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_resumed_run_continues_with_the_rows_of_the_stopped_one(config_file, tmp_path, workers):
    path = config_file(batch={**ROWS, "workers": workers}, optim={"steps": 5, "learning_rate": 1e-3}, keep=9)
    run_stage(read_settings(path, (f"output={tmp_path / 'whole'}",)))
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    for name in ("model", "checkpoint-4", "checkpoint-5"):
        shutil.rmtree(tmp_path / "run" / name)
    assert latest_checkpoint(tmp_path / "run").name == "checkpoint-2"
    position = read_position(tmp_path / "run" / "checkpoint-2")
    assert position["rows"] == 2 and len(position["streams"]) == max(workers, 1)
    run_stage(read_settings(path), resume=True)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    proofs = [json.loads((tmp_path / name / "model" / "stage.json").read_text()) for name in ("run", "whole")]
    assert proofs[0]["position"] == proofs[1]["position"] and proofs[0]["parts"] == proofs[1]["parts"]
    shutil.rmtree(tmp_path / "run" / "model")
    with pytest.raises(DataError, match="resume with the same number of processes and the same batch.workers"):
        run_stage(read_settings(path, ("batch.workers=3",)), resume=True)


def test_settings_that_rows_replace_are_refused(config_file):
    batch = {**ROWS, "samples": 4, "pack": 256}
    with pytest.raises(SettingsError, match=r"batch.pack, batch.samples does not apply with batch.row_tokens"):
        read_settings(config_file(batch=batch))
    with pytest.raises(SettingsError, match="attention=flash separates the samples of a single row only"):
        read_settings(config_file(batch={"pack": 256}, attention="flash", precision="bfloat16"))
    with pytest.raises(SettingsError, match="attention=flash computes in bfloat16 only"):
        read_settings(config_file(attention="flash"))
    with pytest.raises(SettingsError, match="frozen=bfloat16 needs products in bfloat16, here they are in float32"):
        read_settings(config_file(frozen="bfloat16"))


RANKS = """
from pathlib import Path
from emotion_qwen.training.plan import make_mixture, read_settings
from emotion_qwen.training.precision import frozen_dtype, set_dtypes, stored_dtype
from emotion_qwen.training.run import load_start, make_trainer, run_stage
from emotion_qwen.training.stages import STAGES, enter_stage
run_stage(read_settings(Path(config)))
"""


@pytest.mark.slow
def test_two_ranks_train_on_equally_many_rows_of_different_samples(config_file, tmp_path):
    path = config_file(batch={**ROWS, "workers": 1}, optim={"steps": 4, "learning_rate": 1e-3})
    run_two(tmp_path, exec, RANKS, {"config": str(path)})
    position = read_position(tmp_path / "run" / "checkpoint-4")
    assert position["rows"] == 4 and set(position["streams"]) == {"0", "1"}
    assert all(state["read"] > 16 for state in position["streams"].values())


def dtypes_of(model) -> dict[str, set[torch.dtype]]:
    dtypes: dict[str, set[torch.dtype]] = {}
    for parameter in model.parameters():
        dtypes.setdefault("trained" if parameter.requires_grad else "frozen", set()).add(parameter.dtype)
    return dtypes


def test_frozen_parts_keep_the_dtype_of_the_start_and_trained_ones_are_float32(config_file, tiny, processor, tmp_path):
    folder = tmp_path / "half"
    tiny.to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)
    whole = {"trained": {torch.float32}, "frozen": {torch.float32}}
    halved = {"trained": {torch.float32}, "frozen": {torch.bfloat16}}
    for values, wanted in (
        ({"start": str(folder), "precision": "bfloat16"}, halved),
        ({"start": str(folder), "precision": "float32"}, whole),
        ({"precision": "bfloat16"}, whole),  # the start is in float32, whose bits would be lost
        ({"precision": "bfloat16", "frozen": "bfloat16"}, halved),
        ({"start": str(folder), "precision": "bfloat16", "frozen": "float32"}, whole),
    ):
        settings = read_settings(config_file(**values))
        model, _ = load_start(settings)
        enter_stage(model, settings.plan)
        stored = stored_dtype(settings)
        if settings.start != str(folder):  # what is trained is never rounded
            assert next(model.parameters()).dtype == torch.float32
        set_dtypes(model, frozen_dtype(settings, stored))
        assert dtypes_of(model) == wanted, values


@pytest.mark.slow
def test_a_run_with_frozen_parts_in_bfloat16_trains_and_saves(config_file, tiny, processor, tmp_path):
    tiny.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    processor.save_pretrained(tmp_path / "half")
    changes = {"start": str(tmp_path / "half"), "precision": "bfloat16", "checkpointing": True, "batch": ROWS}
    run_stage(read_settings(config_file(**changes, optim={"steps": 6, "learning_rate": 1e-2})))
    proof = json.loads((tmp_path / "run" / "model" / "stage.json").read_text())
    assert proof["changed"] == ["emotion", "gate", "general"]
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0]
    adapted = {"stage": "tuning", "trains": ["language"], "adapter": {"rank": 4, "alpha": 4}}
    path = config_file(**changes, **adapted, optim={"steps": 2, "learning_rate": 1e-3}, output=str(tmp_path / "lora"))
    run_stage(read_settings(path))


def test_flash_attention_that_is_not_installed_is_one_line(config_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    path = config_file(attention="flash", precision="bfloat16", batch=ROWS)
    with pytest.raises(MissingPackage, match="package 'flash_attn' is not installed"):
        run_stage(read_settings(path))


def test_patches_leave_the_workers_in_the_dtype_of_the_products_and_change_nothing(config_file, shallow, processor):
    """No float32 patches cross a border between processes in bfloat16; losses and gradients are equal to the bit."""
    asked = [{"type": "video", "video": noise_clip(1, 6)}, {"type": "text", "text": "What happens?"}]
    talk = ({"role": "user", "content": asked}, {"role": "assistant", "content": "sad"})
    picture = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)
    samples = [Sample("v", talk), chat("p", "Who?", "happy", picture)]
    model = copy.deepcopy(shallow.model).train()
    enter_stage(model, STAGES["scratch"])  # the vision transformer is trained, too
    results = {}
    for dtype in (torch.float32, torch.bfloat16):
        collate = SampleCollator(processor, pixels=dtype)
        (batch,) = DataLoader(samples, batch_size=2, num_workers=1, collate_fn=collate)
        assert batch["pixel_values"].dtype == batch["pixel_values_videos"].dtype == dtype
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(**batch, supervised_only=True)
        output.loss.backward()
        results[dtype] = [output.loss, *(p.grad for p in model.parameters() if p.grad is not None)]
    pairs = zip(results[torch.float32], results[torch.bfloat16], strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)
    settings = read_settings(config_file(precision="bfloat16"))
    loaded, _ = load_start(settings)
    enter_stage(loaded, settings.plan)
    collator = make_trainer(settings, loaded, processor, make_mixture(settings, 1)).data_collator
    assert collator.pixels == torch.bfloat16


@pytest.mark.parametrize(("batch", "size"), [(ROWS, 1), ({**ROWS, "evaluate_batch": 3}, 3), ({"samples": 4}, 32)])
def test_validation_takes_batches_that_fit(config_file, tmp_path, monkeypatch, batch, size):
    seen, predict = [], StageTrainer.prediction_step

    def noted(self, model, inputs, *args, **kwargs):
        seen.append(len(inputs["input_ids"]))
        return predict(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(StageTrainer, "prediction_step", noted)
    held = [{"name": "v", "domain": "general", "path": "general.jsonl"}]
    optim = {"steps": 1, "learning_rate": 1e-3}
    path = config_file(batch=batch, optim=optim, validation=held, evaluate_every=1, evaluate_samples=7)
    run_stage(read_settings(path))
    assert max(seen) == min(size, 7) and sum(seen) == 7

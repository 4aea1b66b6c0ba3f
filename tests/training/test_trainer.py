import json
import shutil
import signal
import time
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch
import yaml
from tests import processes
from tests.processes import Process

from emotion_qwen.cli import main
from emotion_qwen.data.manifest import write_manifest
from emotion_qwen.engine.calibration import Calibration, ChannelFit
from emotion_qwen.errors import DataError, SettingsError, TrainingError
from emotion_qwen.model.modeling import IGNORE
from emotion_qwen.training.checkpoint import STAGING, checkpoints, latest_checkpoint
from emotion_qwen.training.plan import read_settings
from emotion_qwen.training.run import run_stage, sample_preparation
from emotion_qwen.training.trainer import StageTrainer, answer_weights, gate_loss

from .training_runs import chat, losses


def train_slowly(*arguments: str) -> int:
    """Train with steps slow enough to be interrupted."""
    step = StageTrainer.training_step

    def slowly(self, *args, **kwargs):
        time.sleep(0.05)
        return step(self, *args, **kwargs)

    StageTrainer.training_step = slowly
    return main(["train", *arguments])


def start(folder: Path, *arguments: str) -> Process:
    """Train in a process of its own, whose output goes to a file in the folder."""
    return processes.start(folder / "train.log", train_slowly, *arguments)


def wait_for(found, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.01)


def test_killed_at_any_step_a_run_goes_on_as_if_nothing_had_happened(config_file, tmp_path):
    optim = {"steps": 9, "learning_rate": 3e-3}
    path = config_file(optim=optim, batch={"samples": 2, "accumulate": 2, "by_length": True})
    run_stage(read_settings(path, (f"output={tmp_path / 'whole'}",)))
    broken, kills = tmp_path / "run", (3, 6)  # between two saves, and right after one
    for number, step in enumerate(kills):
        process = start(tmp_path, str(path), *(["--resume"] if number else []))
        wait_for(
            lambda at=step: (latest_checkpoint(broken) or Path("checkpoint-0")).name >= f"checkpoint-{at // 2 * 2}"
        )
        time.sleep(0.05 * (step % 2) * 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert all((folder / "position.json").is_file() for folder in checkpoints(broken))
    run_stage(read_settings(path), resume=True)
    whole, resumed = losses(tmp_path / "whole"), losses(broken)
    assert len(whole) == len(resumed) == 9
    assert max(abs(a - b) for a, b in zip(whole, resumed, strict=True)) <= 1e-6


def test_a_half_written_checkpoint_is_never_loaded(config_file, tmp_path, monkeypatch):
    path = config_file(optim={"steps": 4, "learning_rate": 1e-3})
    written = StageTrainer._finish
    calls = []

    def dies(self, staged, target):
        calls.append(target.name)
        if len(calls) == 2:
            (staged / "model.safetensors").write_bytes(b"half")
            raise KeyboardInterrupt
        written(self, staged, target)

    monkeypatch.setattr(StageTrainer, "_finish", dies)
    with pytest.raises(KeyboardInterrupt):
        run_stage(read_settings(path))
    monkeypatch.undo()
    assert (tmp_path / "run" / STAGING / "checkpoint-4").is_dir()
    assert [folder.name for folder in checkpoints(tmp_path / "run")] == ["checkpoint-2"]
    assert run_stage(read_settings(path), resume=True).steps == 4
    assert not (tmp_path / "run" / STAGING).exists()


def test_a_folder_that_goes_is_moved_away_whole_before_it_is_removed(config_file, tmp_path, monkeypatch):
    removed, remove = [], shutil.rmtree

    def note(folder, *more, **options):
        removed.append(Path(folder))
        remove(folder, *more, **options)

    monkeypatch.setattr(shutil, "rmtree", note)
    path = config_file(optim={"steps": 8, "learning_rate": 1e-3})
    run_stage(read_settings(path))
    (tmp_path / "run" / "model" / "left").touch()
    run_stage(read_settings(path), resume=True)
    assert not (tmp_path / "run" / "model" / "left").exists()
    mine = [folder for folder in removed if (tmp_path / "run") in folder.parents]
    assert mine and {folder.name for folder in mine} == {STAGING}
    assert [folder.name for folder in checkpoints(tmp_path / "run")] == ["checkpoint-6", "checkpoint-8"]


def test_sigterm_saves_and_stops(config_file, tmp_path):
    path = config_file(optim={"steps": 400, "learning_rate": 1e-3}, save_every=1000)
    process = start(tmp_path, str(path))
    wait_for(lambda: (tmp_path / "run").is_dir() and any((tmp_path / "run").rglob("events*")))
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    code = process.wait(120)
    last = latest_checkpoint(tmp_path / "run")
    assert code == 128 + signal.SIGTERM and last is not None
    words = " ".join(process.output().split())
    assert "stopped by SIGTERM after step" in words and "go on with --resume" in words
    assert int(last.name.split("-")[1]) < 400 and json.loads((last / "position.json").read_text())["seen"] > 0


def test_old_checkpoints_go_and_a_run_is_not_overwritten(config_file, tmp_path):
    path = config_file(keep=2)
    run_stage(read_settings(path))
    assert [folder.name for folder in checkpoints(tmp_path / "run")] == ["checkpoint-4", "checkpoint-6"]
    with pytest.raises(SettingsError, match=r"holds a run already \(last: checkpoint-6\); go on with --resume"):
        run_stage(read_settings(path))


def test_resuming_with_other_data_is_refused(config_file, tmp_path):
    run_stage(read_settings(config_file()))
    with pytest.raises(DataError, match=r"differ from what the checkpoint has seen \(part\(s\) faces, talk\)"):
        run_stage(read_settings(config_file(replay=0.9)), resume=True)


def test_accumulating_eight_by_one_equals_one_by_eight(config_file, tmp_path):
    for name, batch in (("one", {"samples": 1, "accumulate": 8}), ("eight", {"samples": 8, "accumulate": 1})):
        path = config_file(batch=batch, optim={"steps": 5, "learning_rate": 3e-3})
        run_stage(read_settings(path, (f"output={tmp_path / name}",)))
    pairs = zip(losses(tmp_path / "one"), losses(tmp_path / "eight"), strict=True)
    assert max(abs(a - b) for a, b in pairs) <= 1e-5


@pytest.mark.parametrize("batch", [{"pack": 256}, {"pack": 256, "share_prefixes": True}, {"by_length": True}])
def test_packing_and_length_order_train_too(config_file, batch, tmp_path):
    if "pack" not in batch:
        return_steps = run_stage(read_settings(config_file(batch={"samples": 4, **batch}))).steps
        assert return_steps == 6
        return
    run_stage(read_settings(config_file(batch={"samples": 4}), (f"output={tmp_path / 'padded'}",)))
    run_stage(read_settings(config_file(batch={"samples": 4, **batch})))
    pairs = zip(losses(tmp_path / "padded"), losses(tmp_path / "run"), strict=True)
    assert max(abs(a - b) for a, b in pairs) <= 1e-5


def test_validation_tells_emotion_and_general_skill_apart(config_file, tmp_path):
    held = [
        {"name": "v", "domain": "general", "path": "general.jsonl"},
        {"name": "w", "domain": "emotion", "path": "emotion.jsonl"},
    ]
    run_stage(read_settings(config_file(validation=held, evaluate_every=3, evaluate_samples=10)))
    log = json.loads((tmp_path / "run" / "model" / "stage.json").read_text())["log"]
    seen = {key for entry in log for key in entry if key.startswith("eval_")}
    assert {"eval_general_loss", "eval_general_exact", "eval_emotion_loss", "eval_emotion_exact"} <= seen


def test_the_rate_follows_a_cosine_and_parts_have_their_own(config_file, tmp_path):
    optim = {"steps": 10, "learning_rate": 1e-3, "warmup": 0.1, "rates": {"gate": 1e-4}}
    run_stage(read_settings(config_file(optim=optim)))
    log = json.loads((tmp_path / "run" / "model" / "stage.json").read_text())["log"]
    rates = [entry["learning_rate"] for entry in log if "learning_rate" in entry]
    scale = max(rates) / 1.0
    wanted = [0.5 * (1 + torch.cos(torch.tensor(torch.pi * k / 9)).item()) for k in range(9)]
    assert [rate / scale for rate in rates[1:]] == pytest.approx(wanted, abs=1e-3)


def test_a_loss_that_is_no_number_stops_at_once(config_file, tmp_path, monkeypatch):
    compute = StageTrainer.compute_loss

    def poisoned(self, model, inputs, *args, **kwargs):
        loss = compute(self, model, inputs, *args, **kwargs)
        return loss * float("nan") if self.state.global_step == 4 else loss

    monkeypatch.setattr(StageTrainer, "compute_loss", poisoned)
    with pytest.raises(TrainingError, match=r"the loss of step 5 is nan.*Last good folder: .*checkpoint-4"):
        run_stage(read_settings(config_file()))
    assert latest_checkpoint(tmp_path / "run").name == "checkpoint-4"


def test_a_full_disk_leaves_the_last_checkpoint_whole(config_file, tmp_path, monkeypatch):
    save = torch.save

    def full(value, path, *args, **kwargs):
        if "checkpoint-4" in str(path):
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device", str(path))
        save(value, path, *args, **kwargs)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match=r"step 4 could not be saved in .*No space left.*checkpoint-2. Make room"):
        run_stage(read_settings(config_file()))
    monkeypatch.undo()
    assert [folder.name for folder in checkpoints(tmp_path / "run")] == ["checkpoint-2"]
    assert not (tmp_path / "run" / STAGING).exists()
    assert run_stage(read_settings(config_file()), resume=True).steps == 6


def test_broken_input_is_one_clear_line(config_file, chats, tmp_path, capsys, tiny_start):
    def refused(path: Path, *more: str) -> str:
        assert main(["train", str(path), *more]) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "unknown key 'optm'" in refused(config_file(optm={"steps": 3}))
    assert "optim.steps = 0" in refused(config_file(), "optim.steps=0")
    assert "unknown stage 'hybird'" in refused(config_file(stage="hybird"))
    assert "unknown part 'gat'" in refused(config_file(), "optim.rates.gat=0.1")
    assert "does not exist" in refused(config_file(start=str(tmp_path / "no")))
    assert "nothing.jsonl" in refused(config_file(), "data.0.path=nothing.jsonl")
    broken = tmp_path / "broken.jsonl"
    write_manifest([chat("a", "Hello", "happy")], broken)
    broken.write_text(broken.read_text(encoding="utf-8") + "{half\n", encoding="utf-8")
    assert "broken.jsonl:2" in refused(config_file(), f"data.0.path={broken}")


def test_a_missing_shard_is_one_clear_line(config_file, tmp_path, tiny, processor, capsys):
    folder = tmp_path / "sharded"
    tiny.save_pretrained(folder, max_shard_size="200KB")
    processor.save_pretrained(folder)
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    assert main(["train", str(config_file(start=str(folder)))]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert shard.name in error and "shards missing" in error


def test_a_dry_run_trains_nothing_and_shows_the_plan(config_file, tmp_path, capsys):
    assert main(["train", str(config_file()), "--dry-run"]) == 0
    shown = " ".join(capsys.readouterr().err.split())
    assert "stage 3 hybrid" in shown and "gate learned" in shown and "frozen" in shown
    assert "talk" in shown and "50.0%" in shown and "tokens are taught" in shown
    assert not (tmp_path / "run").exists()


def test_gate_objectives():
    weights = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    assert gate_loss("domain", weights, torch.tensor([0, 1])) == pytest.approx(-(torch.tensor([0.9, 0.8]).log().mean()))
    assert gate_loss("balance", weights, None) == pytest.approx(2 * 0.05**2)
    assert gate_loss("balance", torch.full((3, 2), 0.5), None) == 0


def test_the_gate_objective_moves_the_gate(config_file, tmp_path):
    settings = read_settings(config_file(gate={"objective": "domain", "weight": 1.0}, trains=["gate"]))
    with_it = losses(tmp_path / "run") if run_stage(settings).steps == 6 else []
    run_stage(read_settings(config_file(trains=["gate"]), (f"output={tmp_path / 'plain'}",)))
    assert with_it[0] > losses(tmp_path / "plain")[0] + 0.3  # the objective starts near log 2


def test_the_gate_objective_weighs_the_same_however_a_batch_is_cut(config_file, tmp_path):
    """Two passes of two pictures that are added up equal one of four: of the objective, too, each adds its share."""
    gate = {"objective": "domain", "weight": 5.0}
    for name, batch in (("whole", {"samples": 4}), ("halves", {"samples": 2, "accumulate": 2})):
        path = config_file(batch=batch, gate=gate, trains=["gate"], optim={"steps": 3, "learning_rate": 1e-3})
        run_stage(read_settings(path, (f"output={tmp_path / name}",)))
    pairs = zip(losses(tmp_path / "whole"), losses(tmp_path / "halves"), strict=True)
    assert max(abs(a - b) for a, b in pairs) <= 1e-5


def test_a_fault_elsewhere_stops_this_rank_too(config_file, monkeypatch):
    monkeypatch.setattr("emotion_qwen.training.trainer.of_all_ranks", lambda number: [number, 0, 1])
    with pytest.raises(TrainingError, match=r"rank\(s\) 2 failed while reading its data; their own messages say why"):
        run_stage(read_settings(config_file()))


def test_a_batch_of_text_alone_reaches_every_part(tiny, processor):
    from emotion_qwen.data.collate import SampleCollator

    tiny.train()
    batch = SampleCollator(processor)([chat("a", "Hello", "happy")])
    tiny(**batch, supervised_only=True).loss.backward()
    assert [name for name, p in tiny.named_parameters() if p.grad is None] == []


def test_the_loss_is_the_models_own(tiny, processor):
    import numpy as np

    from emotion_qwen.data.collate import SampleCollator

    drawn = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    batch = SampleCollator(processor)([chat("a", "Hello", "happy", drawn), chat("b", "And you?", "sad cat", drawn)])
    with torch.no_grad():
        ours, theirs = tiny(**batch, supervised_only=True).loss, tiny(**batch).loss
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_answers_can_weigh_alike_whatever_their_length():
    x = IGNORE
    labels = torch.tensor([[x, 5, x, x, 6, 7, 8, 9], [x, x, 3, 4, x, x, x, x], [x, x, x, x, x, x, x, 2]])
    assert answer_weights(labels, 0.0).tolist() == (labels != x).float().tolist()
    quarter, half = 0.25, 0.5
    expected = [[0, 1, 0, 0, *[quarter] * 4], [0, 0, half, half, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]]
    assert answer_weights(labels, 1.0).tolist() == expected
    assert answer_weights(labels, 0.5)[0, 4].item() == pytest.approx(0.5)
    adjacent = torch.tensor([[4, 4, x], [x, 4, 4]])  # an answer at the end of a row and one at the start of the next
    assert answer_weights(adjacent, 1.0).tolist() == [[half, half, 0], [0, half, half]]
    assert not answer_weights(torch.full((2, 3), x), 1.0).any()


def test_the_loss_with_equal_answers_is_the_mean_of_their_means(tiny, processor):
    from emotion_qwen.data.collate import SampleCollator

    chats = [chat("a", "Hello", "happy"), chat("b", "And you?", "a long answer about a sad cat")]
    with torch.no_grad():
        each = [tiny(**SampleCollator(processor)([one]), supervised_only=True).loss for one in chats]
        batch = SampleCollator(processor)(chats)
        weights = answer_weights(batch["labels"], 1.0)
        both = tiny(**batch, token_weights=weights, supervised_only=True).loss
        plain = tiny(**batch, supervised_only=True).loss
        halves = []
        for one in chats:
            single = SampleCollator(processor)([one])
            single["token_weights"] = answer_weights(single["labels"], 1.0)
            halves.append(tiny(**single, num_items_in_batch=weights.sum(), supervised_only=True).loss)
    assert both.item() == pytest.approx(torch.stack(each).mean().item(), abs=1e-5)
    assert torch.stack(halves).sum().item() == pytest.approx(both.item(), abs=1e-5)  # over two steps of accumulation
    assert abs(plain.item() - both.item()) > 1e-4


def test_the_file_of_settings_is_the_one_that_is_read(config_file):
    path = config_file()
    assert read_settings(path, ("optim.steps=17",)).optim.steps == 17
    assert yaml.safe_load(path.read_text())["optim"]["steps"] == 6


def test_what_channels_are_worth_survives_training_and_that_shares_are_probabilities_does_not(
    config_file, tiny_start, tmp_path
):
    start = shutil.copytree(tiny_start, tmp_path / "fitted")
    fit = ChannelFit(1.7, 0.6, 0.1, 0.02, 9, ("fer",))
    Calibration({"picture": fit}, ("fer7",)).write(start)
    run_stage(read_settings(config_file(start=str(start), optim={"steps": 1}, save_every=100)))
    assert Calibration.read(tmp_path / "run" / "model") == Calibration({"picture": fit})


def test_worker_processes_that_are_not_forked_read_the_data(config_file, tmp_path, tiny, processor):
    """Elsewhere than on Linux, and on Linux from Python 3.14 on, the preparation of samples is sent to the workers."""
    settings = read_settings(config_file(capture=True))
    prepare = sample_preparation(settings, None, tiny, processor, [])
    assert len(ForkingPickler.dumps(prepare)) > 0

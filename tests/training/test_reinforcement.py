"""Learning from rewards: what is drawn and scored, resuming, collapse, and refusals."""

import json
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from transformers import TrainerControl, TrainerState

from emotion_qwen.cli import main
from emotion_qwen.engine.drawing import DrawnAnswer
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import DataError, SettingsError, TrainingError
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.training.answer_settings import CollapseSettings
from emotion_qwen.training.checkpoint import checkpoints
from emotion_qwen.training.plan import make_mixture, read_settings
from emotion_qwen.training.reinforcement import ANSWERS, FIGURES, CurrentModel, ReinforcementTrainer, collapse
from emotion_qwen.training.run import check_strategy, load_start, make_trainer, run_stage
from emotion_qwen.training.stages import enter_stage, part_digests
from emotion_qwen.training.trainer import StopOnSignal

from .test_trainer import start, wait_for

PARTS = Path(__file__).with_name("answer_parts.py")
ALL = ["video", "audio", "image", "text"]
LORA = {"rank": 4, "alpha": 8}


@pytest.fixture
def plan_file(tmp_path, hearing_start):
    """Write the YAML of a short run; values given replace the defaults."""

    def write(reward="letters", kinds=("image",), count=3, first=0, **changes) -> Path:
        reinforcement = {
            "rewards": [{"name": f"{PARTS}:{reward}"}], "answers": 4, "max_new_tokens": 5, "show_every": 2,
            **changes.pop("reinforcement", {}),
        }  # fmt: skip
        options = {"kinds": list(kinds), "count": count, "first": first}
        values = {
            "stage": "reinforcement",
            "start": str(hearing_start),
            "output": str(tmp_path / "run"),
            "capture": False,
            "data": [{"name": "moments", "kind": f"{PARTS}:moments", "domain": "emotion", "options": options}],
            "batch": {"samples": 2},
            "optim": {"steps": 4, "learning_rate": 1e-3, "warmup": 0.0},
            "adapter": LORA,
            "reinforcement": reinforcement,
            "precision": "float32",
            "save_every": 2,
            "log_every": 1,
            **changes,
        }
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}), encoding="utf-8")
        return path

    return write


def journal(output: Path, name: str = FIGURES) -> list[dict]:
    return [json.loads(line) for line in (output / name).read_text(encoding="utf-8").splitlines()]


def trainer_of(path: Path, *overrides: str) -> ReinforcementTrainer:
    """The trainer of a plan, before its first step."""
    from emotion_qwen.training.adapters import add_adapter

    settings = read_settings(path, overrides)
    model, processor = load_start(settings)
    learning = enter_stage(model, settings.plan)
    torch.manual_seed(0)
    if settings.adapter is not None:
        model = add_adapter(model, settings.adapter, learning)
    return make_trainer(settings, model, processor, make_mixture(settings, 1))


@pytest.mark.slow
def test_a_run_learns_and_logs(plan_file, tmp_path):
    optim = {"steps": 12, "learning_rate": 1e-3, "warmup": 0.0}
    reinforcement = {"kl": 0.001, "answers": 8, "temperature": 1.5}
    path = plan_file("says", ALL, count=6, start="nano", batch={"samples": 4}, optim=optim, reinforcement=reinforcement)
    run_stage(read_settings(path, ("save_every=100",)))
    output = tmp_path / "run"
    rows = journal(output)
    assert [row["step"] for row in rows] == list(range(1, 13))
    first, last = ([row["says"] for row in part] for part in (rows[:3], rows[-3:]))
    assert sum(last) / 3 > sum(first) / 3 + 0.2, "the rewarded word does not become likelier"
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6) and rows[-1]["kl"] > 1e-3
    figures = {"reward", "reward_spread", "dead_groups", "tokens", "unfinished", "empty", "distinct", "entropy", "kl"}
    assert figures < set(rows[0]) and 1 < rows[0]["tokens"] <= 5
    shown = journal(output, ANSWERS)
    assert {row["step"] for row in shown} == {1, 3, 5, 7, 9, 11} and len(shown[0]["answers"]) == 8
    assert shown[0]["taught"] in ("anger", "happiness", "sadness") and "Which emotion does" in shown[0]["question"]
    log = json.loads((output / "model" / "stage.json").read_text())["log"]
    assert [entry["reward"] for entry in log if "loss" in entry] == [row["reward"] for row in rows]


@pytest.mark.slow
def test_a_trained_adapter_merges(plan_file, tmp_path, hearing_start):
    assert main(["train", str(plan_file(optim={"steps": 2, "learning_rate": 1e-2, "warmup": 0.0}))]) == 0
    assert main(["merge", str(tmp_path / "run" / "model"), str(hearing_start), str(tmp_path / "merged")]) == 0
    before, after = (
        part_digests(EmotionQwenForConditionalGeneration.from_pretrained(folder))
        for folder in (hearing_start, tmp_path / "merged")
    )
    assert {part for part in after if after[part] != before[part]} == {"language", "general", "emotion", "gate"}


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(("adapter", "dies_at"), [(LORA, 3), *(slow(a, n) for a in (None, LORA) for n in (1, 2, 5))])
def test_a_run_that_dies_goes_on_along_the_same_way(adapter, dies_at, plan_file, tmp_path, monkeypatch):
    steps = 4 if dies_at < 4 else 6
    path = plan_file(adapter=adapter, optim={"steps": steps, "learning_rate": 1e-2}, reinforcement={"updates": 2})
    whole = tmp_path / "whole"
    run_stage(read_settings(path, (f"output={whole}",)))
    step = ReinforcementTrainer.training_step

    def dies(self, *args, **kwargs):
        if self.state.global_step == dies_at:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(ReinforcementTrainer, "training_step", dies)
    with pytest.raises(KeyboardInterrupt):
        run_stage(read_settings(path))
    monkeypatch.undo()
    assert len(journal(tmp_path / "run")) == dies_at // 2 + 1, "the draw of the step that died is not in the journal"
    run_stage(read_settings(path), resume=True)
    assert journal(tmp_path / "run") == journal(whole)
    assert journal(tmp_path / "run", ANSWERS) == journal(whole, ANSWERS)
    position = json.loads((checkpoints(tmp_path / "run")[-1] / "position.json").read_text())
    assert position["seen"] == steps, "two prompts for every two steps"


@pytest.mark.slow
def test_a_killed_run_goes_on_along_the_same_way(plan_file, tmp_path):
    path = plan_file(
        kinds=ALL, count=6, optim={"steps": 6, "learning_rate": 1e-2}, batch={"samples": 2, "accumulate": 2}
    )
    whole, broken = tmp_path / "whole", tmp_path / "run"
    run_stage(read_settings(path, (f"output={whole}",)))
    for number, step in enumerate((1, 3, 5)):
        process = start(tmp_path, str(path), *(["--resume"] if number else []))
        wait_for(lambda at=step: len(journal(broken) if (broken / FIGURES).is_file() else []) >= at)
        process.send_signal(signal.SIGKILL)
        process.wait()
    run_stage(read_settings(path), resume=True)
    assert journal(broken) == journal(whole) and journal(broken, ANSWERS) == journal(whole, ANSWERS)


FIXED = [DrawnAnswer((40 + number, 60 + 3 * number), True) for number in range(4)]
EVERYTHING = ["language", "general", "emotion", "gate", "audio"]


@pytest.fixture
def fixed_answers(monkeypatch):
    """Let every prompt be answered by `FIXED`."""
    monkeypatch.setattr(
        "emotion_qwen.training.reinforcement.draw_answers",
        lambda model, inputs, *rest: [list(FIXED) for _ in inputs["input_ids"]],
    )


@pytest.mark.parametrize(
    ("kind", "adapter", "trains"),
    [
        ("video", LORA, ["language"]),
        ("audio", LORA, ["language"]),
        *(slow(k, a, t) for k in ("video", "audio", "image") for a in (None, LORA) for t in (["language"], EVERYTHING)),
    ],
)
def test_a_step_sees_the_medium(kind, adapter, trains, plan_file, fixed_answers):
    """The same answers with the same rewards, but another medium: the step must differ."""

    def step(first: int) -> torch.Tensor:
        path = plan_file("place", [kind], count=1, first=first, adapter=adapter, batch={"samples": 1}, trains=trains)
        trainer = trainer_of(path)
        (rollout,) = trainer._roll_out([trainer.data_collator([trainer.train_dataset[0]])])
        trainer.compute_loss(trainer.model, {"rollout": rollout}, num_items_in_batch=torch.tensor(4.0)).backward()
        return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])

    once, again, other = step(0), step(0), step(3)
    assert torch.equal(once, again)
    assert (once - other).abs().max() > 1e-3 * once.abs().max()


def test_steps_make_rewarded_answers_likelier(plan_file, fixed_answers):
    """The reward goes to the second answer of every prompt."""
    trainer = trainer_of(
        plan_file("place", reinforcement={"updates": 2, "kl": 0.0}, optim={"steps": 2, "learning_rate": 0.02})
    )
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(2)])
    (rollout,) = trainer._roll_out([batch])
    assert rollout.advantages[0].tolist() == pytest.approx([-0.5, 1.5, -0.5, -0.5], abs=1e-3)
    optimizer = trainer.create_optimizer()
    for _ in range(3):
        optimizer.zero_grad()
        trainer.compute_loss(trainer.model, {"rollout": rollout}, num_items_in_batch=torch.tensor(8.0)).backward()
        optimizer.step()
    after = trainer._compared(rollout.prompts, _group(rollout)).old.tokens.sum(-1)
    gained = after - rollout.old.tokens.sum(-1)
    assert (gained[:, 1] > 0.01).all() and (gained[:, 1:2] > gained[:, [0, 2, 3]] + 0.01).all()


@pytest.mark.parametrize("adapter", [None, LORA])
def test_the_start_is_still_there_after_steps(adapter, plan_file):
    trainer = trainer_of(plan_file(adapter=adapter))
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(2)])
    (before,) = trainer._roll_out([batch])
    assert torch.allclose(before.old.tokens, before.start, atol=1e-5)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    after = trainer._compared(before.prompts, _group(before))
    assert torch.allclose(after.start, before.start, atol=1e-5)
    assert (after.old.tokens - before.old.tokens).abs().max() > 1e-2


def _group(rollout):
    """The drawn answers of a rollout, rewarded alike."""
    from emotion_qwen.training.reinforcement import RewardedGroups

    drawn = [[DrawnAnswer(tuple(tokens), True) for tokens in group] for group in rollout.answers]
    return RewardedGroups([], drawn, {}, torch.ones(len(drawn), len(drawn[0])))


def test_the_medium_passes_the_encoders_once_per_prompt(plan_file, monkeypatch):
    """With frozen experts once per draw; with learning ones the transformer of the pictures still once."""
    for trains, compressed in ((["language"], 1), (["language", "general"], 5)):
        trainer = trainer_of(plan_file(kinds=["image"], trains=trains))
        calls: list[str] = []
        for name in ("visual", "compressor"):
            getattr(trainer.base.model, name).register_forward_hook(partial(_note, calls, name))
        batch = trainer.data_collator([trainer.train_dataset[place] for place in range(2)])
        (rollout,) = trainer._roll_out([batch])
        trainer.compute_loss(trainer.model, {"rollout": rollout}, num_items_in_batch=torch.tensor(8.0))
        assert (calls.count("visual"), calls.count("compressor")) == (1, compressed)


def _note(calls, name, *_):
    calls.append(name)


def test_groups_without_spread_stop_the_run_also_across_a_resume(plan_file, tmp_path):
    path = plan_file("same", reinforcement={"stop": {"dead_steps": 3}, "kl": 0.0})
    assert run_stage(read_settings(path, ("optim.steps=2",))).steps == 2
    assert journal(tmp_path / "run")[-1]["dead_groups"] == 1
    with pytest.raises(TrainingError, match=r"step 3: all answers of every group had the same reward for 3 steps \(mean"
                       r" 0.5\), so nothing is learned; .*Last good folder: .*checkpoint-2"):  # fmt: skip
        run_stage(read_settings(path), resume=True)


@pytest.mark.parametrize(
    ("figures", "dead", "message"),
    [
        ({"empty": 0.6, "reward": 0.0}, 0, r"60% of the answers are empty, more than 50%"),
        ({"empty": 0.0, "reward": 0.0, "kl": 12.0}, 0, "12 nats per token from its start, more than 10"),
        ({"empty": 0.0, "reward": 0.25}, 50, r"the same reward for 50 steps \(mean 0.25\)"),
        ({"empty": 0.5, "reward": 0.0, "kl": 10.0}, 49, ""),
    ],
)
def test_what_counts_as_collapse(figures, dead, message):
    reason = collapse(figures, dead, CollapseSettings.of({}))
    assert bool(reason) == bool(message)
    if message:
        with pytest.raises(TrainingError, match=message):
            raise TrainingError(reason)


def test_empty_answers_are_counted(plan_file, monkeypatch):
    trainer = trainer_of(plan_file("letters", ["image"]))
    end = trainer.ends[0]
    monkeypatch.setattr(
        "emotion_qwen.training.reinforcement.draw_answers",
        lambda model, inputs, *rest: [
            [DrawnAnswer((end,), True), DrawnAnswer((40, end), True), DrawnAnswer((41, end), True),
             DrawnAnswer((42, end), True)] for _ in inputs["input_ids"]
        ],
    )  # fmt: skip
    trainer._roll_out([trainer.data_collator([trainer.train_dataset[0]])])
    (row,) = journal(Path(trainer.args.output_dir))
    assert row["empty"] == 0.25 and row["tokens"] == 1.75 and row["unfinished"] == 0


def test_faults_of_rewards_are_one_line(plan_file, capsys):
    for reward, message in (("broken", "is nan for the answer"), ("letter", "unknown function 'letter'")):
        assert main(["train", str(plan_file(reward))]) == 2
        captured = capsys.readouterr()
        assert message in " ".join(captured.err.split()) and "Traceback" not in captured.err


def test_settings_that_the_stage_does_not_follow_are_refused(plan_file, monkeypatch, config_file):
    def refused(message: str, **changes) -> None:
        with pytest.raises(SettingsError, match=message):
            read_settings(plan_file(**changes))

    refused("the stage reinforcement does not use batch.pack, batch.by_length", batch={"pack": 64, "by_length": True})
    refused("optim.steps 5 is no multiple of reinforcement.updates 2", optim={"steps": 5},
            reinforcement={"updates": 2})  # fmt: skip
    refused("save_every 3 is no multiple", save_every=3, reinforcement={"updates": 2})
    refused("unknown reward 'lable'", reinforcement={"rewards": [{"name": "lable"}]})
    refused(
        "reward 'label': unknown option 'set'", reinforcement={"rewards": [{"name": "label", "options": {"set": 1}}]}
    )
    refused("reward 'label' is there twice", reinforcement={"rewards": [{"name": "label"}, {"name": "label"}]})
    with pytest.raises(SettingsError, match="`reinforcement` is for the stage reinforcement, not hybrid"):
        read_settings(config_file(reinforcement={"kl": 0.1}))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="the stage reinforcement runs in one process, not 2"):
        check_strategy(read_settings(plan_file()))


def test_a_signal_waits_for_the_last_update_of_a_draw():
    stop, state = StopOnSignal(every=2), TrainerState()
    stop.received = signal.SIGTERM
    for state.global_step, stops in ((3, False), (4, True)):
        control = stop.on_step_end(None, state, TrainerControl())
        assert (control.should_save, control.should_training_stop) == (stops, stops)


def test_a_sample_without_a_taught_answer_is_refused(plan_file):
    trainer = trainer_of(plan_file())
    item = trainer.train_dataset[0]
    item.sample.__dict__["messages"] = item.sample.messages[:1]
    with pytest.raises(DataError, match="does not end with an answer of the assistant"):
        trainer.data_collator([item])


@pytest.mark.slow
def test_validation_logs_rewards_of_greedy_answers(plan_file, tmp_path):
    part = {
        "name": "held",
        "kind": f"{PARTS}:moments",
        "domain": "emotion",
        "options": {"kinds": ["image"], "count": 3},
    }
    path = plan_file(validation=[part], evaluate_every=2, optim={"steps": 2})
    run_stage(read_settings(path))
    log = json.loads((tmp_path / "run" / "model" / "stage.json").read_text())["log"]
    (entry,) = [entry for entry in log if any(key.startswith("eval_") for key in entry)]
    assert 0 <= entry["eval_emotion_letters"] <= 1


def test_a_reward_may_ask_the_model_as_it_is_at_this_step(plan_file):
    trainer = trainer_of(plan_file(start="nano", reinforcement={"rewards": [{"name": "reflection"}]}))
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(2)])
    trainer._roll_out([batch])
    assert 0 <= trainer.latest["reflection"] <= 1
    writer, question = CurrentModel(trainer), ["Which emotion?", "为什么？"]
    before = writer.write([[], []], question, 6)
    assert all(before) and before == Engine(trainer.base, trainer.processor).write([[], []], question, 6)
    with torch.no_grad():
        trainer.base.get_input_embeddings().weight.normal_(generator=torch.Generator().manual_seed(5))
    assert writer.write([[], []], question, 6) != before


def test_a_dry_run_names_rewards(plan_file, capsys):
    assert main(["train", str(plan_file(reinforcement={"rewards": [{"name": "label"}]})), "--dry-run"]) == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert "4 answers per prompt; rewards: 1 x label" in printed and "frozen copy" not in printed
    assert main(["train", str(plan_file(adapter=None)), "--dry-run"]) == 0
    assert "and 0.0 for the frozen copy of the start; an adapter needs none" in " ".join(
        capsys.readouterr().err.split()
    )

"""Direct preference optimisation: the medium is seen, the start is kept, and faulty pairs are refused."""

import json
import math
from pathlib import Path

import pytest
import torch

from emotion_qwen.cli import main
from emotion_qwen.errors import DataError
from emotion_qwen.training.plan import make_mixture, read_settings
from emotion_qwen.training.preference import PreferenceTrainer, pair_of
from emotion_qwen.training.run import load_start, make_trainer
from emotion_qwen.training.stages import enter_stage

from .training_runs import chat

PARTS = Path(__file__).with_name("answer_parts.py")


@pytest.fixture
def pairs_file(config_file, hearing_start):
    """Write the YAML of a short run on pairs of answers about media of one kind."""

    def write(kinds, rejected="I cannot tell.", first=0, **changes) -> Path:
        options = {"kinds": kinds, "rejected": rejected, "first": first}
        part = {"name": "pairs", "kind": f"{PARTS}:moments", "domain": "emotion", "options": options}
        return config_file(stage="preference", start=str(hearing_start), data=[part], batch={"samples": 3}, **changes)

    return write


def test_the_chosen_answers_are_preferred_after_a_run(pairs_file, tmp_path):
    held = {"kinds": ["image"], "rejected": "I cannot tell.", "count": 3}
    part = {"name": "held", "kind": f"{PARTS}:moments", "domain": "emotion", "options": held}
    optim = {"steps": 5, "learning_rate": 3e-3, "warmup": 0.0}
    path = pairs_file(["video", "audio", "image"], optim=optim, adapter=None, validation=[part],
                      evaluate_every=5, save_every=5)  # fmt: skip
    assert main(["train", str(path)]) == 0
    log = json.loads((tmp_path / "run" / "model" / "stage.json").read_text())["log"]
    steps = [entry for entry in log if "loss" in entry]
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-5) and steps[0]["margin"] == 0
    assert steps[-1]["loss"] < 0.6 and steps[-1]["preferred"] == 1
    (entry,) = [entry for entry in log if "eval_emotion_preferred" in entry]
    assert entry["eval_emotion_preferred"] == 1 and entry["eval_emotion_loss"] < math.log(2)


@pytest.mark.parametrize(("kind", "adapter"), [("video", {"rank": 4}), ("audio", None)])
def test_a_step_on_a_pair_sees_the_medium(kind, adapter, pairs_file):
    def step(first: int) -> torch.Tensor:
        from emotion_qwen.training.adapters import add_adapter

        settings = read_settings(pairs_file([kind], first=first, adapter=adapter, trains=["language"]))
        model, processor = load_start(settings)
        learning = enter_stage(model, settings.plan)
        torch.manual_seed(0)
        model = model if adapter is None else add_adapter(model, settings.adapter, learning)
        trainer = make_trainer(settings, model, processor, make_mixture(settings, 1))
        assert isinstance(trainer, PreferenceTrainer)
        pairs = trainer._pairs(trainer.data_collator([trainer.train_dataset[place] for place in range(3)]))
        trainer.compute_loss(trainer.model, {"pairs": pairs}, num_items_in_batch=3).backward()
        return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])

    once, again, other = step(0), step(0), step(3)
    assert torch.equal(once, again) and (once - other).abs().max() > 1e-4 * once.abs().max()


@pytest.mark.parametrize(
    ("chosen", "rejected", "message"),
    [
        ("anger", None, "sample 'a' has no label 'rejected'; add the text of the rejected answer"),
        ("anger", " ", "chosen 'anger' and rejected ' '; expected two different texts"),
        ("anger", "anger", "chosen 'anger' and rejected 'anger'; expected two different texts"),
    ],
)
def test_faulty_pairs_are_one_line(chosen, rejected, message):
    sample = chat("a", "Which emotion?", chosen)
    sample.labels.update({} if rejected is None else {"rejected": rejected})
    with pytest.raises(DataError, match=message):
        pair_of(sample)
    sample.labels["rejected"] = "fear"
    assert pair_of(sample) == ("anger", "fear")

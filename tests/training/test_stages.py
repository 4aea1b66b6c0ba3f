import json
from pathlib import Path

import pytest
import torch

from emotion_qwen.errors import SettingsError
from emotion_qwen.training.plan import read_settings
from emotion_qwen.training.run import run_stage
from emotion_qwen.training.stages import (
    STAGES,
    enter_stage,
    parameters_of,
    part_digests,
    part_of,
    stage,
    trainable_counts,
)

PARTS = Path(__file__).with_name("answer_parts.py")
PAIRS = {"name": "faces", "kind": f"{PARTS}:moments", "domain": "emotion",
         "options": {"kinds": ["image"], "rejected": "no"}}  # fmt: skip
ANSWERED = {
    "reinforcement": {"data": [PAIRS], "reinforcement": {"rewards": [{"name": f"{PARTS}:letters"}]}},
    "preference": {"data": [PAIRS]},
}
"""What the stages that learn from answers need besides conversations."""


@pytest.mark.parametrize("name", STAGES)
def test_frozen_parts_are_bit_equal_after_a_stage_and_trained_ones_have_changed(name, config_file, tiny):
    settings = read_settings(
        config_file(stage=name, optim={"steps": 2, "learning_rate": 1e-3}, **ANSWERED.get(name, {}))
    )
    enter_stage(tiny, STAGES[name])  # makes the stage's copies
    before = part_digests(tiny)
    outcome = run_stage(settings)
    trained = type(tiny).from_pretrained(outcome.folder)
    after = part_digests(trained)
    changed = {part for part in before if after[part] != before[part]}
    assert changed == set(STAGES[name].trains)
    proof = json.loads((outcome.folder / "stage.json").read_text(encoding="utf-8"))
    assert set(proof["changed"]) == changed and proof["parts"] == after
    assert trained.config.gate_mode == STAGES[name].gate


def test_every_parameter_belongs_to_exactly_one_part(tiny):
    whole = [name for part in trainable_counts(tiny) for name in parameters_of(tiny, part)]
    assert sorted(whole) == sorted(name for name, _ in tiny.named_parameters())
    assert sum(count for _, count in trainable_counts(tiny).values()) == sum(p.numel() for p in tiny.parameters())


def test_the_emotion_expert_starts_from_the_general_one(tiny):
    enter_stage(tiny, STAGES["emotion"])
    general, emotion = parameters_of(tiny, "general"), parameters_of(tiny, "emotion")
    assert all(torch.equal(a, b) for a, b in zip(general.values(), emotion.values(), strict=True))
    with torch.no_grad():
        next(iter(general.values())).add_(1)
    assert not torch.equal(next(iter(general.values())), next(iter(emotion.values())))


def test_one_changed_bit_changes_the_digest_of_its_part_only(tiny):
    before = part_digests(tiny)
    with torch.no_grad():
        value = tiny.model.compressor.gate.head.bias
        value[0] = torch.nextafter(value[0], torch.tensor(9.0))
    after = part_digests(tiny)
    assert [part for part in before if before[part] != after[part]] == ["gate"]


def test_a_stage_refuses_a_part_that_does_not_exist(tiny):
    del tiny.model.compressor.gate
    with pytest.raises(SettingsError, match=r"the model has no part 'gate' \(no parameter begins with model.compress"):
        enter_stage(tiny, STAGES["hybrid"])
    with pytest.raises(SettingsError, match="unknown part 'ears'; expected one of: audio, emotion, gate"):
        parameters_of(tiny, "ears")
    with pytest.raises(SettingsError, match="parameter 'x.weight' belongs to no part"):
        part_of("x.weight")


def test_unknown_stage_and_nothing_to_train(tiny):
    with pytest.raises(SettingsError, match=r"unknown stage 'emotoin'.*Did you mean 'emotion'"):
        stage("emotoin")
    with pytest.raises(SettingsError, match="a stage without a part to train"):
        enter_stage(tiny, STAGES["general"], trains=[])


@pytest.mark.parametrize(("mode", "idle"), [("general", "emotion, gate"), ("emotion", "gate, general")])
def test_a_part_that_the_gate_mode_leaves_out_cannot_learn(config_file, mode, idle):
    """No gradient would ever reach it; with several processes, DDP would stop at the second step."""
    path = config_file(gate_mode=mode, trains=["general", "emotion", "gate", "language"])
    with pytest.raises(SettingsError, match=rf"part\(s\) {idle} cannot learn while the gate mode is '{mode}'"):
        run_stage(read_settings(path))


def test_only_the_first_rank_hashes(tiny, monkeypatch):
    """Also before the processes have met: 33 GB need not be read by every one of them."""
    monkeypatch.setenv("RANK", "1")
    assert part_digests(tiny) == {}
    monkeypatch.setenv("RANK", "0")
    assert set(part_digests(tiny)) == {"vision", "general", "emotion", "gate", "language"}

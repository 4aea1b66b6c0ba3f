import functools
import json
from pathlib import Path

import numpy as np
import pytest

from emotion_qwen.model import preset
from emotion_qwen.training.plan import empty_model, make_mixture
from emotion_qwen.training.stages import enter_stage, trainable_counts
from recipes.nano import ablation, parts
from recipes.nano.ablation import ARMS, Budget, compare_arm, phase_settings, run_ablation, write_table


def learning(settings) -> int:
    model = empty_model(preset("nano"))
    enter_stage(model, settings.plan, copy=False)
    return sum(count for count, _ in trainable_counts(model).values())


def test_every_arm_has_the_same_steps_and_never_trains_more_than_one_expert():
    expert = learning(phase_settings(ARMS[0], 0, "nano", Path("x"), 1e-3, 0, Budget(), Path()))
    for arm in ARMS:
        phases = [phase_settings(arm, n, "nano", Path("x"), 1e-3, 0, Budget(), Path()) for n in range(len(arm.phases))]
        assert sum(phase.optim.steps for phase in phases) == Budget().steps
        assert all(learning(phase) <= expert for phase in phases)
        assert len({phase.batch.samples for phase in phases}) == 1


def test_the_arms_see_what_they_say(shared_data, monkeypatch):
    monkeypatch.setattr(parts, "read_pictures", functools.cache(parts.read_pictures))  # most arms see the same faces
    shares = {}
    for arm in ARMS:
        settings = phase_settings(arm, -1, "nano", Path("x"), 1e-3, 0, Budget(steps=4), shared_data)
        mixture = make_mixture(settings, 1)
        domains = {part.domain: 0.0 for part in mixture.parts}
        for part, share in zip(mixture.parts, mixture.shares, strict=True):
            domains[part.domain] += share
        shares[arm.name] = domains
    assert shares["single"] == shares["ungated"] == {"emotion": 1.0}
    for name in ("replayed", "ours", "captured", "plain"):
        assert shares[name] == pytest.approx({"general": 0.5, "emotion": 0.5})


def test_losses_are_paired_and_averaged_over_seeds_and_tasks():
    rng = np.random.default_rng(0)
    base = {"cifar": (rng.random(400) < 0.8) * 1.0, "shapes": (rng.random(600) < 0.9) * 1.0}
    worse = {"cifar": base["cifar"].copy(), "shapes": base["shapes"].copy(), "fer": np.ones(10)}
    worse["cifar"][np.flatnonzero(base["cifar"])[:40]] = 0  # ten points of CIFAR, none of shapes
    same = {**base, "fer": np.zeros(10)}
    told = compare_arm(ARMS[0], base, [worse, same])
    assert told["general_loss"]["value"] == pytest.approx(2.5) and told["general_loss_by_seed"] == [5.0, 0.0]
    assert told["general_loss"]["low"] > 1 and told["emotion"]["value"] == 50.0
    assert compare_arm(ARMS[0], base, [same])["general_loss"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_the_better_rate_is_taken_for_all_seeds_and_nothing_is_trained_twice(tmp_path, monkeypatch):
    trained, asked = set(), []

    def train(arm, base, folder, rate, seed, budget, data):
        trained.add((arm.name, rate, seed))
        return folder

    def answer(model, folder, tasks, data, limit):
        asked.append((str(model), tasks, limit))
        quality = 0.9 if "0.004" in str(model) else 0.5
        return {name: (np.arange(100) < 100 * quality) * 1.0 for name in tasks}

    monkeypatch.setattr(ablation, "train_arm", train)
    monkeypatch.setattr(ablation, "answers", answer)
    from rich.console import Console

    found = run_ablation("base", tmp_path, tmp_path / "runs", Budget(), Console(quiet=True))
    assert all(arm["rate"] == 4e-3 for arm in found["arms"].values())
    assert len(trained) == len(ARMS) * 4  # two rates with one seed, then two seeds more
    searching = [tasks for _, tasks, limit in asked if limit == Budget().search]
    assert len(searching) == len(ARMS) * 2 and not {"cifar", "shapes"} & {name for tasks in searching for name in tasks}
    assert sum("shapes" in tasks for _, tasks, _ in asked) == 1 + len(ARMS) * 3
    write_table(found, tmp_path)
    page = (tmp_path / "ablation.md").read_text(encoding="utf-8")
    assert all(arm.title in page for arm in ARMS) and "| (a) before | 50.0 |" in page
    assert (
        json.loads((tmp_path / "ablation.json").read_text(encoding="utf-8"))["arms"]["ours"]["emotion"]["value"] == 90
    )

"""Train the expression generator, its ablations, and the normal distributions that it must beat.

    python -m recipes.express.train gaussian full no_bank --shapes runs/express/shapes --runs runs/express [--rig FILE]

A variant is the whole model ("full") or the model without a part; "gaussian" fits the normal distributions. A run takes
about a minute on one core; existing runs are skipped.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from emotion_qwen.express.generator import ExpressionGenerator, expression_config
from emotion_qwen.express.generator.gaussian import EmotionGaussians, fit_gaussians, write_gaussians
from emotion_qwen.express.generator.learned import GAUSSIANS
from emotion_qwen.express.head_files import load_head
from emotion_qwen.express.track import CHANNELS
from emotion_qwen.files import write_whole
from recipes.express.faces import NEUTRAL, TAUGHT, MeasuredFaces, fit_axes, read_measured, with_mirrored
from recipes.express.judges import fit_training_judge
from recipes.express.objective import Objective, draw_batch, training_loss

VARIANTS: dict[str, dict[str, object]] = {
    "full": {},
    "no_bank": {"bank_codes": 0},
    "one_expert": {"experts": 1},
    "no_global": {"global_gate": False},
    "no_local": {"local_gate": False},
    "no_prior": {"facs_prior": False},
}
"""Variant -> fields of the configuration that differ."""
GAUSSIAN = "gaussian"
FACTS = "training.json"
LEAST_DEVIATION = 0.01
"""Smallest deviation of a channel by which the loss divides, so that hardly moving channels do not dominate it."""
VERTICES = 100


@dataclass(frozen=True)
class Schedule:
    """Length and rate of a run.

    Attributes:
        steps: number of batches.
        size: rows per batch.
        rate: highest learning rate; it falls to 0 as a cosine.
        decay: weight decay.
    """

    steps: int = 1000
    size: int = 64
    rate: float = 1.5e-3
    decay: float = 0.01


def train_generator(
    faces: MeasuredFaces,
    changes: dict[str, object],
    *,
    size: str = "nano",
    seed: int = 0,
    schedule: Schedule | None = None,
    objective: Objective | None = None,
    vertices: torch.Tensor | None = None,
    judged: bool = True,
) -> ExpressionGenerator:
    """Train a generator on measured faces; the same arguments give the same weights.

    Args:
        faces: of training people.
        changes: fields of the configuration.
        size: of `SIZES`.
        seed: of weights and batches.
        schedule: of the run.
        objective: of the loss.
        vertices: (52, V) for the loss on vertices, or None.
        judged: whether a training judge is trained first and takes part.
    """
    schedule, objective = schedule or Schedule(), objective or Objective()
    both = with_mirrored(faces)
    intensity = fit_axes(faces)(both.frames, both.labels)
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    model = ExpressionGenerator(expression_config(size, **changes))
    neutral, deviation = both.frames[both.labels == NEUTRAL].mean(axis=0), both.frames.std(axis=0)
    model.set_statistics(torch.from_numpy(neutral), torch.from_numpy(deviation.clip(LEAST_DEVIATION)))
    judge = fit_training_judge(both, seed=seed) if judged else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.rate, weight_decay=schedule.decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, schedule.steps)
    torch.manual_seed(seed)
    start = time.monotonic()
    for step in range(schedule.steps):
        batch = draw_batch(both, intensity, schedule.size, objective, random)
        parts = training_loss(model, batch, objective, step / schedule.steps, judge, vertices)
        optimizer.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 250 == 0 or step == schedule.steps - 1:
            line = ", ".join(f"{name} {float(value.detach()):.3f}" for name, value in parts.items())
            print(f"step {step}, {time.monotonic() - start:.0f} s: {line}", flush=True)
    return model.eval()


def vertex_moves(rig: Path, seed: int = 0) -> torch.Tensor:
    """Return how the actions move some vertices of a head, (52, 3 * VERTICES), in units of their mean movement."""
    head = load_head(rig)
    moves = head.morphs
    length = np.linalg.norm(moves, axis=2).max(axis=0)
    moving = np.flatnonzero(length > np.percentile(length[length > 0], 50))
    chosen = np.random.default_rng(seed).choice(moving, min(VERTICES, len(moving)), replace=False)
    picked = moves[:, chosen].reshape(len(CHANNELS), -1)
    return torch.from_numpy(picked / np.abs(picked[TAUGHT]).mean()).float()


def main() -> None:
    """Train variants and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", choices=[*VARIANTS, GAUSSIAN])
    parser.add_argument("--shapes", type=Path, required=True, help="folder written by recipes.express.extract")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--rig", type=Path, default=None, help="head for the loss on vertices")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each variant, with the seeds 0, 1, ...")
    parser.add_argument("--steps", type=int, default=Schedule.steps)
    given = parser.parse_args()
    torch.set_num_threads(1)
    faces = read_measured(given.shapes, "train")
    given.runs.mkdir(parents=True, exist_ok=True)
    vertices = vertex_moves(given.rig) if given.rig else None
    for seed in range(given.seeds):
        for variant in given.variants:
            if variant == GAUSSIAN:
                write_gaussians(gaussians_of(faces), given.runs / GAUSSIANS)
            else:
                run_variant(variant, seed, faces, given.runs, Schedule(steps=given.steps), vertices)


def gaussians_of(faces: MeasuredFaces) -> EmotionGaussians:
    """Return the normal distributions of faces and their mirror images."""
    both = with_mirrored(faces)
    return fit_gaussians(both.frames, both.labels, fit_axes(faces)(both.frames, both.labels), TAUGHT)


def run_variant(
    variant: str, seed: int, faces: MeasuredFaces, runs: Path, schedule: Schedule, vertices: torch.Tensor | None
) -> None:
    """Train a variant and write it to `runs`, unless it exists."""
    folder = runs / f"{variant}-{seed}"
    if (folder / FACTS).exists():
        return
    print(f"{variant}, seed {seed}", flush=True)
    model = train_generator(faces, VARIANTS[variant], seed=seed, schedule=schedule, vertices=vertices)
    model.save_pretrained(folder)
    facts = {"faces": len(faces), "seed": seed, "schedule": asdict(schedule), "objective": asdict(Objective())}
    write_whole(folder / FACTS, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()

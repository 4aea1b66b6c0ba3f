"""Measure generators of expressions and write `docs/results/express.json`.

    python -m recipes.express.measure --shapes runs/express/shapes --runs runs/express --results docs/results \\
        --face-api package/model [--model nano]

The measures of each generator are stored in `RUNS/measures`, so that an interrupted run can be continued. Settings are
chosen on training people by a judge of training people; the reported figures come from judges of validation people,
and, for rendered faces, from models that were not used in training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emotion_qwen.express.generator.learned import GAUSSIANS
from emotion_qwen.express.identities import IDENTITIES
from emotion_qwen.express.motion import held, make_track
from emotion_qwen.express.prototypes import emotion_weights
from emotion_qwen.express.readers import CallableReader, FaceReader, reader_of
from emotion_qwen.express.rigs import DrawnRig
from emotion_qwen.express.track import EMOTIONS
from emotion_qwen.files import write_whole
from recipes.express.face_api import FaceApi
from recipes.express.faces import NEUTRAL, TAUGHT, MeasuredFaces, read_measured
from recipes.express.generators import DESIGN, Gaussians, Network, Table, read_gaussian_peer, read_network
from recipes.express.judges import LinearJudge, fit_judge
from recipes.express.measures import (
    DIVERSE,
    Trial,
    best_trial,
    blends,
    bootstrap_judges,
    diversity,
    frechet_of_labels,
    interval,
    mutual_information,
    one_emotion,
    recall,
    recognised,
    slow_share,
    source_leak,
    trials,
)

Generator = Network | Gaussians | Table
DIGITS = 3
DRAWN, BLENDED = 200, 20
"""Faces per emotion, and faces per blend. The distance between distributions needs as many everywhere."""
RELAXED = (1.0, 1.5, 2.0, 3.0)
"""Factors on the limit of the distance to real faces, to show what more exaggeration would give."""
TAKES, SECONDS = 4, 3.0
"""Takes of one expression whose variation over time is measured, and their length."""
VARIANTS = 2
"""Faces per emotion and identity that are rendered."""
SIZE = 320
"""Side of a rendered face, pixels."""


class Judged:
    """Real faces and the judges of both kinds.

    Args:
        shapes: folder written by `recipes.express.extract`.
        rounds: judges for intervals.
    """

    def __init__(self, shapes: Path, rounds: int) -> None:
        self.train, self.validation = read_measured(shapes, "train"), read_measured(shapes, "validation")
        self.chooses, self.reports = fit_judge(self.train), fit_judge(self.validation)
        self.resampled = bootstrap_judges(self.validation, rounds)
        self.deviation = self.validation.frames.std(axis=0) + 1e-6
        self.diversity = diversity(self.validation.frames, self.validation.labels, self.deviation)


def measure_generator(generator: Generator, judged: Judged, farthest: float) -> dict[str, Any]:
    """Choose the setting of a generator and measure it: M1, M2, M6, M9, and for a network the function of its parts."""
    results = trials(generator, generator.settings, judged.chooses, judged.train, DRAWN)
    best = best_trial(results, farthest)
    shares, labels = one_emotion(DRAWN)
    frames = generator(shares, 1, **best.setting)
    right, shuffled = frechet_of_labels(judged.validation, frames, labels, judged.deviation)
    named = recognised(frames, labels, judged.reports, judged.resampled)
    mixed, between, count = blends(lambda s, seed: generator(s, seed, **best.setting), judged.reports, BLENDED)
    measured: dict[str, Any] = {
        "chosen": asdict(best),
        "recognised": {name: flat(value, limits) for name, (value, limits) in named.items()},
        "n": len(labels),
        "by_judge": [round(float(np.nanmean(recall(judge(frames), labels))), 4) for judge in judged.resampled],
        "diversity": round(diversity(frames, labels, judged.deviation) / judged.diversity, DIGITS),
        "distance": round(right, 2),
        "distance_shuffled": round(shuffled, 2),
        "blends": {**flat(mixed, between), "n": count},
        "relaxed": [relaxed(generator, results, judged, factor * farthest) for factor in RELAXED],
        "slow_share": round(takes_share(generator, best.setting), DIGITS),
    }
    if isinstance(generator, Network):
        measured |= network_facts(generator)
    return measured


def relaxed(generator: Generator, results: list[Trial], judged: Judged, limit: float) -> dict[str, float] | None:
    """Return the result of the best setting within another limit of the distance; None if there is no such setting."""
    best = best_trial(results, limit)
    if best.distance > limit or best.diversity < DIVERSE:
        return None
    shares, labels = one_emotion(DRAWN)
    frames = generator(shares, 1, **best.setting)
    value = float(np.nanmean(recall(judged.reports(frames), labels)))
    return {"limit": round(limit, 2), **best.setting, "recognised": round(value, DIGITS)}


def flat(value: float, limits: tuple[float, float]) -> dict[str, float]:
    """Return a value with its interval, rounded."""
    return {"value": round(value, DIGITS), "low": round(limits[0], DIGITS), "high": round(limits[1], DIGITS)}


def network_facts(network: Network) -> dict[str, Any]:
    """Return measures of the experts and the bank of a network: mutual information in bits, and codes in use."""
    shares, labels = one_emotion(50, [place for place in range(len(EMOTIONS)) if place != NEUTRAL])
    intensity = np.random.default_rng(0).uniform(0.5, 1.5, len(labels))
    with torch.no_grad():
        parts = network.model(torch.from_numpy(shares).float(), torch.from_numpy(intensity).float())
    facts = {"information": round(mutual_information(parts.global_gate.numpy(), labels), DIGITS)}
    if parts.code_use.shape[1]:
        use = parts.code_use.mean(dim=0)
        facts["codes_in_use"] = round(float((-(use * (use + 1e-12).log()).sum()).exp()), 2)
    return facts


def takes_share(generator: Generator, setting: dict[str, float]) -> float:
    """Return the share of the variance between takes of one track that is slow; the mean over the emotions."""
    shares = []
    for name in EMOTIONS:
        frames = held(emotion_weights({name: 1.0}), SECONDS)
        tracks = [
            make_track(frames, SECONDS, seed=seed, faces=generator.take(seed, **setting)).frames
            for seed in range(TAKES)
        ]
        shares.append(slow_share(np.stack(tracks), 30.0))
    return float(np.mean(shares))


def rendered(generator: Generator, setting: dict[str, float], readers: Sequence[FaceReader]) -> dict[str, Any]:
    """Draw faces, have models that were not used in training read them, and count: M3.

    Returns:
        Per reader and emotion the share read correctly, the number of faces, and how often each of `EMOTIONS` was read.
    """
    rig, names, pictures = DrawnRig(), [], []
    variants = 1 if isinstance(generator, Table) else VARIANTS  # the table has one face per emotion
    for name in EMOTIONS:
        for identity in IDENTITIES:
            for seed in range(variants):
                frame = generator.take(seed, **setting)(emotion_weights({name: 1.0})[None])[0]
                pictures.append(rig.render(frame, np.zeros(3), identity, SIZE, 1))
                names.append(name)
    boxes = np.repeat(rig.box(np.zeros(3), SIZE)[None], len(pictures), axis=0)
    answers = {}
    for reader in readers:
        counts = {name: [0] * len(EMOTIONS) for name in EMOTIONS}
        for name, shares in zip(names, reader(pictures, boxes), strict=True):
            if shares is not None:
                counts[name][EMOTIONS.index(max(shares, key=lambda key: shares[key]))] += 1
        total = len(IDENTITIES) * variants
        answers[reader.name] = {
            name: {"share": round(row[EMOTIONS.index(name)] / total, DIGITS), "n": total, "read": row}
            for name, row in counts.items()
        }
    return answers


def lost(full: Sequence[dict[str, Any]], without: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return M5: by how much less a model without a part is recognised, over the same judges and all seeds."""
    gaps = np.mean([each["by_judge"] for each in full], axis=0) - np.mean(
        [each["by_judge"] for each in without], axis=0
    )
    value = np.mean([m["recognised"]["all"]["value"] for m in full])
    rest = np.mean([m["recognised"]["all"]["value"] for m in without])
    return {**flat(float(value - rest), interval(gaps)), "seeds": len(without)}


def real_faces(judged: Judged) -> dict[str, Any]:
    """Return the reporting judge's recognition of training people, and M8, how well their source can be identified."""
    named = recognised(judged.train.frames, judged.train.labels, judged.reports, judged.resampled)
    leaks = {}
    for name, removed in (("raw", False), ("neutral_removed", True)):
        value, limits, count = source_leak(judged.train, judged.validation, remove_neutral=removed)
        leaks[name] = {**flat(value, limits), "n": count}
    return {
        "recognised": {name: flat(value, limits) for name, (value, limits) in named.items()},
        "n_train": len(judged.train),
        "n_validation": len(judged.validation),
        "diversity": round(judged.diversity, DIGITS),
        "source": leaks,
    }


def farthest_of(gaussians: Gaussians, train: MeasuredFaces, judge: LinearJudge) -> float:
    """Return the largest distance to real faces: that of the normal distributions at the design's setting."""
    return trials(gaussians, [DESIGN], judge, train, DRAWN)[0].distance


def main() -> None:
    """Measure all generators in a folder of runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("shapes", "runs", "results"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--face-api", type=Path, default=None, help="folder `model` of the unpacked npm package")
    parser.add_argument("--model", action="append", default=[], help="our models that read rendered faces")
    parser.add_argument("--rounds", type=int, default=12, help="judges for intervals")
    given = parser.parse_args()
    torch.set_num_threads(1)
    judged = Judged(given.shapes, given.rounds)
    gaussians = read_gaussian_peer(given.runs / GAUSSIANS)
    farthest = farthest_of(gaussians, judged.train, judged.chooses)
    table = Table(np.where(TAUGHT, judged.train.frames[judged.train.labels == NEUTRAL].mean(axis=0), 0))
    generators: dict[str, Generator] = {"table": table, "gaussian": gaussians}
    generators |= {path.name: read_network(path) for path in sorted(given.runs.glob("*-[0-9]")) if path.is_dir()}
    (given.runs / "measures").mkdir(exist_ok=True)
    results: dict[str, Any] = {}
    for name, generator in generators.items():
        path = given.runs / "measures" / f"{name}.json"
        if not path.exists():
            write_whole(path, json.dumps(measure_generator(generator, judged, farthest)) + "\n")
            print(name, path.read_text(encoding="utf-8")[:300], flush=True)
        results[name] = json.loads(path.read_text(encoding="utf-8"))
    readers: list[FaceReader] = [CallableReader(FaceApi(given.face_api), "face-api")] if given.face_api else []
    readers += [reader_of(name, "cpu") for name in given.model]
    for name in ("table", "gaussian", "full-0"):
        path = given.runs / "measures" / f"{name}.rendered.json"
        if name in generators and readers and not path.exists():
            setting = results[name]["chosen"]["setting"]
            write_whole(path, json.dumps(rendered(generators[name], setting, readers)) + "\n")
        if path.exists():
            results[name]["rendered"] = json.loads(path.read_text(encoding="utf-8"))
    full = [each for name, each in results.items() if name.startswith("full-")]
    parts = sorted({name.rpartition("-")[0] for name in results if "-" in name} - {"full"})
    stored = {
        "limits": {"diversity": DIVERSE, "distance": round(farthest, 2)},
        "real": real_faces(judged),
        "generators": results,
        "lost_without": {part: lost(full, [results[n] for n in results if n.startswith(f"{part}-")]) for part in parts},
    }
    write_whole(given.results / "express.json", json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()

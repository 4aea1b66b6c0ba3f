"""Measure the vision transformer without a language model, compare it with its teacher and the free model `fer`, and
write the page.

Every set is a validation part; RAF-DB was never trained on. All systems see the same pictures. For sets with
seven labels, the answer is the likeliest of seven (contempt is left out); for FER+, the likeliest of eight, on faces
for which more than half of the votes name one emotion.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import binomtest

from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from emotion_qwen.processing.patches import patchify
from recipes.mini.actions import ACTIONS
from recipes.mini.eyes import EyesStudent
from recipes.mini.eyes_data import ALIGNED, EMOTIONS, FERPLUS, LFW, RAFDB, LabelledFaces, Source, item_of
from recipes.mini.eyes_teacher import EyesTeacher
from recipes.mini.peer import LABELS as PEER_LABELS
from recipes.mini.peer import SIDE as PEER_SIDE
from recipes.mini.peer import Peer

SETS = (FERPLUS, ALIGNED, RAFDB, LFW)
SEVEN = [EMOTIONS.index(name) for name in EMOTIONS if name != "contempt"]
POOLED = ("anger", "sadness", "fear", "disgust")
REQUIRED = ("mouthSmileLeft", "mouthSmileRight", "jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp")
BATCH = 64
Classifier = Callable[[torch.Tensor], torch.Tensor]
"""Pixels (B, 3, 96, 96) in 0..1 to probabilities (B, 8) in the order of `EMOTIONS`."""


def resized(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Resize pictures (B, C, S, S) with antialiasing."""
    return F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)


def both_ways(network: Callable[[torch.Tensor], torch.Tensor]) -> Classifier:
    """Average the probabilities of a picture and its mirror image."""
    return lambda pixels: (network(pixels).softmax(-1) + network(pixels.flip(-1)).softmax(-1)) / 2


def teacher_classifier(teacher: EyesTeacher) -> Classifier:
    """Return the teacher as a classifier, with mirror images."""
    return both_ways(lambda pixels: teacher(pixels)[0])


def student_classifier(student: EyesStudent, side: int) -> Classifier:
    """Return the student on pictures of `side` pixels as a classifier, without mirror images."""
    return lambda pixels: student(resized(pixels, side))["emotions"].softmax(-1)


def peer_classifier(peer: Peer) -> Classifier:
    """Return `fer` as a classifier: grey, 64 pixels, -1..1, as the package prepares faces; it knows no contempt."""
    places = [EMOTIONS.index(name) for name in PEER_LABELS]
    grey = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)

    def classify(pixels: torch.Tensor) -> torch.Tensor:
        probabilities = torch.zeros(len(pixels), len(EMOTIONS))
        picture = resized((pixels * grey).sum(1, keepdim=True), PEER_SIDE)
        probabilities[:, places] = peer(picture * 2 - 1).softmax(-1)
        return probabilities

    return classify


@torch.inference_mode()
def probabilities_of(classifier: Classifier, faces: LabelledFaces) -> np.ndarray:
    """Return (N, 8) probabilities of all pictures of a set."""
    outputs = []
    for start in range(0, len(faces), BATCH):
        rows = range(start, min(start + BATCH, len(faces)))
        pixels = torch.stack([item_of(faces, row)["pixels"] for row in rows]).float() / 255
        outputs.append(classifier(pixels))
    return torch.cat(outputs).numpy()


def proportion(right: int, count: int) -> dict[str, Any]:
    """Return a percentage with its counts and its 95 % Wilson interval."""
    interval = binomtest(right, count).proportion_ci(method="wilson")
    bounds = [round(100 * float(bound), 1) for bound in (interval.low, interval.high)]
    return {"right": right, "of": count, "percent": round(100 * right / count, 1), "interval": bounds}


@dataclass(frozen=True, eq=False)
class Answers:
    """Labels and answers (N,), as places in `EMOTIONS`, of the rows of a set that are judged."""

    labels: np.ndarray
    answers: np.ndarray

    def accuracy(self) -> dict[str, Any]:
        """Return the share answered right."""
        return proportion(int((self.labels == self.answers).sum()), len(self.labels))


def judged(source: Source, faces: LabelledFaces, probabilities: np.ndarray) -> Answers:
    """Choose the rows of a set that are judged, and the likeliest label of each."""
    if source is FERPLUS:
        rows = faces.targets.max(1) > 0.5
        return Answers(faces.targets[rows].argmax(1), probabilities[rows].argmax(1))
    rows = np.isin(faces.targets.argmax(1), SEVEN)
    answers = np.asarray(SEVEN)[probabilities[rows][:, SEVEN].argmax(1)]
    return Answers(faces.targets[rows].argmax(1), answers)


def votes_divergence(faces: LabelledFaces, probabilities: np.ndarray) -> float:
    """Return the mean Kullback-Leibler divergence, in nats, from the votes for eight emotions to probabilities."""
    rows = faces.targets.sum(1) > 0
    shares = faces.targets[rows] / faces.targets[rows].sum(1, keepdims=True)
    ratio = np.log(np.maximum(shares, 1e-12)) - np.log(np.maximum(probabilities[rows], 1e-6))
    return float((shares * ratio).sum(1).mean())


def score(sets: Sequence[tuple[Source, LabelledFaces]], classifier: Classifier) -> dict[str, Any]:
    """Measure one system on every set.

    Returns:
        Per set accuracy and recalls; `votes_kl` on FER+; `pooled_recall` of four emotions over all sets.
    """
    figures: dict[str, Any] = {}
    pooled: dict[str, list[int]] = {name: [0, 0] for name in POOLED}
    for source, faces in sets:
        probabilities = probabilities_of(classifier, faces)
        answers = judged(source, faces, probabilities)
        recalls = {}
        for place, name in enumerate(EMOTIONS):
            hits = answers.answers[answers.labels == place] == place
            if len(hits):
                recalls[name] = proportion(int(hits.sum()), len(hits))
            if name in pooled:
                pooled[name][0] += int(hits.sum())
                pooled[name][1] += len(hits)
        figures[source.name] = answers.accuracy() | {"recalls": recalls}
        if source is FERPLUS:
            figures["votes_kl"] = round(votes_divergence(faces, probabilities), 3)
    figures["pooled_recall"] = {name: proportion(*counts) if counts[1] else None for name, counts in pooled.items()}
    return figures


def explained(measured: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return R² of each column of (N, K); the total is around the mean of `wanted`."""
    return 1 - ((measured - wanted) ** 2).sum(0) / ((wanted - wanted.mean(0)) ** 2).sum(0)


@torch.inference_mode()
def action_figures(faces: LabelledFaces, student: EyesStudent, side: int) -> dict[str, Any]:
    """Compare the head's actions and angles with the landmarker's on people who were never trained on.

    Returns:
        `faces`; `mean_r2` over the 45 actions; `r2` and mean absolute error `mae` of each; degrees for angles.
    """
    rows = np.flatnonzero(np.isfinite(faces.actions).all(1))
    outputs = []
    for start in range(0, len(rows), BATCH):
        pixels = torch.stack([item_of(faces, row)["pixels"] for row in rows[start : start + BATCH]]).float() / 255
        outputs.append(student(resized(pixels, side))["measures"])
    measured = torch.cat(outputs).numpy()
    wanted = np.concatenate([faces.actions, faces.angles], axis=1)[rows]
    names = (*ACTIONS, "yaw", "pitch", "roll")
    r2, error = explained(measured, wanted).astype(float), np.abs(measured - wanted).mean(0).astype(float)
    return {
        "faces": len(rows),
        "mean_r2": round(float(r2[: len(ACTIONS)].mean()), 3),
        "r2": dict(zip(names, np.round(r2, 3).tolist(), strict=True)),
        "mae": dict(zip(names, np.round(error, 3).tolist(), strict=True)),
    }


@torch.inference_mode()
def object_accuracy(pictures: LabelledFaces, student: EyesStudent, side: int) -> dict[str, Any]:
    """Return the share of CIFAR-10's validation pictures that are named right among ten."""
    answers = probabilities_of(lambda pixels: student(resized(pixels, side))["objects"], pictures).argmax(1)
    return proportion(int((answers == pictures.objects).sum()), len(pictures))


@torch.inference_mode()
def cost_ratio(vision: EmotionQwenVisionTransformer, peer: Peer, side: int, rounds: int = 9) -> dict[str, float]:
    """Measure processor time per face of both in batches of 64 on one thread, in turns; the median of the ratios."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    config = vision.config
    pixels = torch.rand(BATCH, 3, side, side)
    frames = pixels.unsqueeze(1).expand(-1, config.temporal_patch_size, -1, -1, -1)
    patches = patchify(frames, config.patch_size, config.temporal_patch_size, config.spatial_merge_size)
    grid = torch.tensor([[1, side // config.patch_size, side // config.patch_size]]).expand(BATCH, 3)
    grey = torch.rand(BATCH, 1, PEER_SIDE, PEER_SIDE) * 2 - 1

    def seconds(call: Callable[[], Any]) -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    pairs = [(seconds(lambda: vision(patches, grid)), seconds(lambda: peer(grey))) for _ in range(rounds + 1)][1:]
    torch.set_num_threads(threads)
    ours, theirs = (statistics.median(column) / BATCH * 1000 for column in zip(*pairs, strict=True))
    ratio = statistics.median(eyes / other for eyes, other in pairs)
    return {"eyes_ms": round(ours, 2), "peer_ms": round(theirs, 2), "ratio": round(ratio, 2)}


def page(figures: dict[str, Any]) -> str:
    """Return the figures as a Markdown page."""
    systems = figures["systems"]

    def cell(share: dict[str, Any] | None) -> str:
        if share is None:
            return "-"
        return (
            f"{share['percent']} ({share['interval'][0]} to {share['interval'][1]}; {share['right']} of {share['of']})"
        )

    lines = [
        "# The vision transformer without a language model",
        "",
        "Validation parts; accuracy in percent with 95 % Wilson intervals and counts. FER+: faces for which more than",
        "half of the votes name one emotion, eight classes; the others: seven. RAF-DB was never trained on. Made by",
        "`python -m recipes.mini.steps eyes-results`.",
        "",
        "| | " + " | ".join(systems) + " |",
        "|---" * (len(systems) + 1) + "|",
    ]
    for source, title in zip(SETS, ("FER+", "FER2013, aligned", "RAF-DB", "LFW"), strict=True):
        lines.append(f"| {title} | " + " | ".join(cell(s[source.name]) for s in systems.values()) + " |")
    lines.append("| FER+, KL to the votes (nats) | " + " | ".join(str(s["votes_kl"]) for s in systems.values()) + " |")
    for name in POOLED:
        lines.append(
            f"| recall of {name}, all sets | "
            + " | ".join(cell(s["pooled_recall"][name]) for s in systems.values())
            + " |"
        )
    if "actions" in figures:
        lines += ["", "## Facial actions and head angles", ""]
        lines += [
            "People who were never trained on; the reference is the landmarker's measurement. MAE of angles in "
            "degrees.",
            "",
        ]
        columns = list(figures["actions"])
        lines.append("| | " + " | ".join(f"{c}: R² | {c}: MAE" for c in columns) + " |")
        lines.append("|---" * (2 * len(columns) + 1) + "|")
        first = figures["actions"][columns[0]]
        mean = " | ".join(f"{figures['actions'][c]['mean_r2']} | " for c in columns)
        lines.append(f"| mean of the 45 | {mean} |")
        for name in first["r2"]:
            row = " | ".join(
                f"{figures['actions'][c]['r2'][name]} | {figures['actions'][c]['mae'][name]}" for c in columns
            )
            lines.append(f"| {name} | {row} |")
    if "objects" in figures:
        lines += ["", f"Objects (CIFAR-10, ten classes): {cell(figures['objects'])} %."]
    if "cost" in figures:
        lines += ["", "## Processor time per face", "", "Batches of 64 on one thread, measured alternately.", ""]
        lines += ["| picture side | eyes, ms | `fer`, ms | median ratio |", "|---|---|---|---|"]
        lines += [f"| {side} | {c['eyes_ms']} | {c['peer_ms']} | {c['ratio']} |" for side, c in figures["cost"].items()]
    return "\n".join(lines) + "\n"

"""From label likelihoods to distributions, and from people and frames to the clip's one answer.

A label's score is the log-likelihood of its words after the closed question, less their log-likelihood when the visual
is blank, divided by the number of their tokens. A softmax over the set gives the distribution, so a closed-set answer
always parses. Subtracting the blank takes away what the model would say without looking.

Pooling, the one rule: a person's distribution is the mean over their crops. The clip's distribution is
`person_weight` times the mean over people, each weighted by how many frames show them, plus the rest times the
distribution of the whole frames. Without a person the whole frames alone decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from emotion_qwen.inference.engine import Engine
from emotion_qwen.processing.chat import label_question
from emotion_qwen.processing.patches import IMAGE_MEAN
from emotion_qwen.taxonomy import LabelSet

BLANK = np.array([round(255 * mean) for mean in IMAGE_MEAN], dtype=np.uint8)  # zeros after normalising


def label_scores(
    engine: Engine, parts: Sequence[dict[str, Any]], labels: LabelSet, language: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Score visuals over a label set.

    Args:
        parts: V message parts.
        labels: the set, K labels.
        language: "en" or "zh", of question and labels.

    Returns:
        (V, K) scores whose softmax is the distribution, and (V, 2) gate weights.
    """
    return less_blank(engine, parts, label_question(labels, language), labels.names(language))


def less_blank(
    engine: Engine, parts: Sequence[dict[str, Any]], question: str, names: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Score visuals over the answers of any closed question; otherwise as `label_scores`."""
    seen = engine.score(parts, question, names)
    blank = engine.score([blank_like(part) for part in parts[:1]], question, names)
    return (seen.log_likelihood - blank.log_likelihood) / seen.tokens, seen.gate


def blank_like(part: dict[str, Any]) -> dict[str, Any]:
    """Return a picture part of one colour that normalises to zeros, of the size of the visual's first frame."""
    visual = part[part["type"]]
    picture = visual if isinstance(visual, np.ndarray) else visual.frames[0]
    return {"type": "image", "image": np.broadcast_to(BLANK, picture.shape).copy()}


def pool(people: Sequence[tuple[np.ndarray, int]], frames: np.ndarray, person_weight: float) -> np.ndarray:
    """Pool people and whole frames into the clip's distribution.

    Args:
        people: per person a (K,) distribution and the number of frames that show them.
        frames: (K,) distribution of the whole frames.
        person_weight: share of the people, 0..1.
    """
    if not people:
        return frames
    shown = np.array([count for _, count in people], dtype=np.float64)
    together = np.average(np.stack([p for p, _ in people]), axis=0, weights=shown)
    return person_weight * together + (1 - person_weight) * frames

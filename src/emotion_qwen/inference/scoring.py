"""From label likelihoods to distributions, and from people and frames to the clip's one answer.

A label's score is the log-likelihood of its words after the closed question, less their log-likelihood when the visual
is blank and nothing is heard or said, divided by the number of their tokens. A softmax over the set gives the
distribution, so a closed-set answer always parses. Subtracting the blank takes away what the model would say without
looking.

Pooling, the one rule: a person's distribution is the mean over their crops. The clip's distribution is
`person_weight` times the mean over people, each weighted by how many frames show them, plus the rest times the
distribution of the whole frames. Without a person the whole frames alone decide.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from emotion_qwen.inference.engine import VISUALS, Engine, Part, View
from emotion_qwen.processing.chat import label_question
from emotion_qwen.processing.patches import IMAGE_MEAN
from emotion_qwen.taxonomy import LabelSet

BLANK = np.array([round(255 * mean) for mean in IMAGE_MEAN], dtype=np.uint8)  # zeros after normalising


def label_scores(
    engine: Engine, views: Sequence[View], labels: LabelSet, language: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Score views over a label set.

    Args:
        views: V views, all of the same channels.
        labels: the set, K labels.
        language: "en" or "zh", of question and labels.

    Returns:
        (V, K) scores whose softmax is the distribution, and (V, 2) gate weights.
    """
    return less_blank(engine, views, label_question(labels, language), labels.names(language))


def less_blank(
    engine: Engine, views: Sequence[View], question: str, names: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Score views over the answers of any closed question; otherwise as `label_scores`."""
    seen = engine.score(views, question, names)
    blanks = [blank_like(view) for view in views]
    kinds = [tuple(part["image"].shape for part in blank) for blank in blanks]
    each = {kind: blank for kind, blank in zip(kinds, blanks, strict=True)}
    blank = dict(zip(each, engine.score(list(each.values()), question, names).log_likelihood, strict=True))
    return (seen.log_likelihood - torch.stack([blank[kind] for kind in kinds])) / seen.tokens, seen.gate


def blank_like(view: View) -> list[Part]:
    """Return a view that shows nothing: of its visual a picture of one colour, of the first frame's size; no more.

    The colour is the one that normalises to zeros. A view without a visual becomes the bare question.
    """
    parts = [view] if isinstance(view, dict) else view
    for part in parts:
        if part["type"] in VISUALS:
            visual = part[part["type"]]
            picture = visual if isinstance(visual, np.ndarray) else visual.frames[0]
            return [{"type": "image", "image": np.broadcast_to(BLANK, picture.shape).copy()}]
    return []


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

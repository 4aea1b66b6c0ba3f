"""Label distributions of views in one call, and the one rule of pooling.

Pooling: a person's distribution is the mean over their crops. The clip's distribution is `person_weight` times the mean
over people, each weighted by how many frames show them, plus the rest times the distribution of the whole frames.
Without a person the whole frames alone decide.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from emotion_qwen.analysis.reader import Reader
from emotion_qwen.engine.engine import Engine, View
from emotion_qwen.processing.chat import label_question
from emotion_qwen.records import PEOPLE
from emotion_qwen.taxonomy import LabelSet


def label_reader(engine: Engine, labels: LabelSet, language: str, about: str = PEOPLE) -> Reader:
    """Return a reader that asks for one of K labels, in "en" or "zh"; `about` is one of `records.ABOUT`."""
    return Reader(engine, label_question(labels, language, about), labels.names(language))


def label_scores(
    engine: Engine, views: Sequence[View], labels: LabelSet, language: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Score V views over a label set; see `Reader.scores`."""
    return label_reader(engine, labels, language).scores(views)


def less_blank(
    engine: Engine, views: Sequence[View], question: str, names: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Score V views over the answers of any closed question; see `Reader.scores`."""
    return Reader(engine, question, names).scores(views)


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

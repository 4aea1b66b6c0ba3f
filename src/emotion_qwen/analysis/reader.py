"""Score views of any number of clips under one closed question, each distinct view once and in shared batches.

A label's score is the log-likelihood of its words after the closed question, minus their log-likelihood when the
visual is blank and there is no sound or text, divided by the number of their tokens. A softmax over the set gives the
distribution, so a closed-set answer always parses. Subtracting the blank removes what the model would answer without
any input. A model whose training facts have `"scores": "likelihood"` learned the shares of its labels themselves, so
its scores are plain log-likelihoods.

A reader caches its answers, keyed by the identity of pictures and sounds and by the words themselves. Callers that
know early which views they need pass all of them to `answers`, so that they are scored in shared batches.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from emotion_qwen.engine.encoding import VISUALS, Part, View, actions_of, mean_tokens, medium_of, parts_of, size_of
from emotion_qwen.engine.engine import Engine
from emotion_qwen.processing.patches import IMAGE_MEAN
from emotion_qwen.questions import label_question
from emotion_qwen.records import PEOPLE
from emotion_qwen.taxonomy import LabelSet

BLANK = np.array([round(255 * mean) for mean in IMAGE_MEAN], dtype=np.uint8)  # zeros after normalising


@dataclass(frozen=True, eq=False)
class ViewAnswer:
    """The scores and features of one view.

    Attributes:
        scores: (K,) fp32, whose softmax is the distribution.
        gate: (2,) fp32 fusion weights, general and emotion; zeros without a visual.
        hidden: (H,) fp32 last hidden state of the last token before the answer; H is 0 if the engine has no features.
        visual: (H,) fp32 mean of the visual's fused tokens; None without a visual.
        audio: (H,) fp32 mean of the sounds' tokens; None without a sound.
        actions: (A,) fp32 facial actions of the visual; None without one, or if the model does not measure them.
    """

    scores: torch.Tensor
    gate: torch.Tensor
    hidden: torch.Tensor
    visual: torch.Tensor | None
    audio: torch.Tensor | None
    actions: torch.Tensor | None = None


class ViewReader:
    """Answers one closed question about views.

    Args:
        engine: the model.
        question: the closed question.
        names: its K answers.
    """

    def __init__(self, engine: Engine, question: str, names: Sequence[str]) -> None:
        self.engine, self.question, self.names = engine, question, list(names)
        self._plain = plain_likelihood(engine)
        self._encoder = engine.encoder()
        self._answers: dict[Hashable, ViewAnswer] = {}
        self._asked: list[View] = []  # keeps the media alive, as views are identified by their ids
        self._blanks: dict[Hashable, torch.Tensor] = {}

    def forget(self) -> None:
        """Drop the cached views; the scores of blank pictures are kept."""
        self._answers.clear()
        self._asked.clear()
        self._encoder.forget()

    def answers(self, views: Sequence[View]) -> list[ViewAnswer]:
        """Return the answers to V views; views without a cached answer are scored together."""
        keys = [_key(view) for view in views]
        new = {key: view for key, view in zip(keys, views, strict=True) if key not in self._answers}
        if new:
            self._asked += new.values()
            self._answers.update(zip(new, self._ask(list(new.values())), strict=True))
        return [self._answers[key] for key in keys]

    def scores(self, views: Sequence[View]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (V, K) scores and (V, 2) gate weights of V views."""
        answers = self.answers(views)
        return torch.stack([answer.scores for answer in answers]), torch.stack([answer.gate for answer in answers])

    def write(self, views: Sequence[View], question: str) -> list[str]:
        """Answer another question about every view in free text."""
        encoded = self._encoder.views(views)
        order = sorted(range(len(views)), key=lambda row: size_of(encoded[row]))
        texts = self.engine.write([encoded[row] for row in order], question)
        return [text for _, text in sorted(zip(order, texts, strict=True))]

    def _ask(self, views: list[View]) -> list[ViewAnswer]:
        if not self._plain:
            self._ask_blanks(views)
        encoded = self._encoder.views(views)
        order = sorted(range(len(views)), key=lambda row: size_of(encoded[row]))  # sorted by length to reduce padding
        output = self.engine.score([encoded[row] for row in order], self.question, self.names)
        answers: dict[int, ViewAnswer] = {}
        for place, row in enumerate(order):
            scores = output.log_likelihood[place]
            if not self._plain:
                scores = (scores - self._blanks[_kind(views[row])]) / output.tokens
            visual, audio = (mean_tokens(encoded[row], kinds) for kinds in (VISUALS, ("audio",)))
            answers[row] = ViewAnswer(
                scores, output.gate[place], output.hidden[place], visual, audio, actions_of(encoded[row])
            )
        return [answers[row] for row in range(len(views))]

    def _ask_blanks(self, views: list[View]) -> None:
        blanks = {kind: view for view in views if (kind := _kind(view)) not in self._blanks}
        if blanks:
            scores = self.engine.score([blank_like(view) for view in blanks.values()], self.question, self.names)
            self._blanks.update(zip(blanks, scores.log_likelihood, strict=True))


class RemoteReader(ViewReader):
    """Asks a service, which encodes the media itself and does not return its features."""

    def write(self, views: Sequence[View], question: str) -> list[str]:
        """Answer another question about every view in free text."""
        return self.engine.write(views, question)

    def _ask(self, views: list[View]) -> list[ViewAnswer]:
        if not self._plain:
            self._ask_blanks(views)
        output = self.engine.score(views, self.question, self.names)
        answers = []
        for row, view in enumerate(views):
            scores = output.log_likelihood[row]
            if not self._plain:
                scores = (scores - self._blanks[_kind(view)]) / output.tokens
            answers.append(ViewAnswer(scores, output.gate[row], output.hidden[row], None, None))
        return answers


def plain_likelihood(engine: Engine) -> bool:
    """Whether the scores of a model are its log-likelihoods without subtracting the blank, by its training facts."""
    return engine.training_facts().get("scores") == "likelihood"


def label_reader(engine: Engine, labels: LabelSet, language: str, about: str = PEOPLE) -> ViewReader:
    """Return a reader that asks for one of K labels, in "en" or "zh"; `about` is one of `records.ABOUT`."""
    kind = ViewReader if engine.has_features else RemoteReader
    return kind(engine, label_question(labels, language, about), labels.names(language))


def blank_like(view: View) -> list[Part]:
    """Return the blank counterpart of a view: a uniform picture of the first frame's size, without sound and text.

    The colour is the one that normalises to zeros. A view without a visual becomes the question alone.
    """
    shape = _kind(view)
    return [] if shape is None else [{"type": "image", "image": np.broadcast_to(BLANK, shape).copy()}]


def _kind(view: View) -> tuple[int, ...] | None:
    """Return the shape of the picture that replaces the view's visual in its blank counterpart."""
    for part in parts_of(view):
        if part["type"] in VISUALS:
            visual = medium_of(part)
            return (visual if isinstance(visual, np.ndarray) else visual.frames[0]).shape
    return None


def _key(view: View) -> Hashable:
    return tuple((p["type"], p["text"] if p["type"] == "text" else id(medium_of(p))) for p in parts_of(view))

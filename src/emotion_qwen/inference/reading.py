"""What a model reads in a clip: shares of every glimpse under any choice of channels, and their mean.

The one rule of pooling. A person's distribution is the mean over their crops, by picture alone. The clip's is
`person_weight` times the mean over people of their crops' shares with all channels, each person weighted by the frames
that show them, plus the rest times the whole clip's, asked about at once. Where nobody is seen, the whole clip alone
decides; where there is no picture at all, the mean over what is heard and said. The timeline is the mean of the
glimpses in each window.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from emotion_qwen.inference.engine import Engine, View
from emotion_qwen.inference.glimpses import Glimpse, glimpses, sound_between
from emotion_qwen.inference.scoring import label_scores, pool
from emotion_qwen.prepare import PreparedClip
from emotion_qwen.records import CHANNELS
from emotion_qwen.taxonomy import LabelSet

PICTURE = ("picture",)


@dataclass(eq=False)
class Reading:
    """The answers of one model about one clip; every view is asked about once.

    Args:
        engine: the model.
        prepared: the clip with its people.
        labels: K labels.
        language: of the question.
        context: what the user says of the situation.
    """

    engine: Engine
    prepared: PreparedClip
    labels: LabelSet
    language: str
    context: str = ""
    _answers: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict)
    _whole: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict)
    gates: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    """(G, 2) fusion weights of the glimpses' pictures, once these were asked about; zeros without a picture."""

    def __post_init__(self) -> None:
        self.temperature = self.engine.temperature(self.labels.name)
        self.glimpses: list[Glimpse] = glimpses(self.prepared, self.context, hears=self.hears)
        self.weight = self.engine.processor.settings.person_weight if self.people else 0.0

    @property
    def hears(self) -> bool:
        """Whether the model can hear."""
        return self.engine.processor.hearing is not None

    @property
    def people(self) -> list[int]:
        """Numbers of the people that are seen."""
        return [person.track.person for person in self.prepared.people]

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that the clip has, in the order of `CHANNELS`."""
        held = frozenset().union(*(one.channels for one in self.glimpses))
        return tuple(name for name in CHANNELS if name in held)

    def shares(self, channels: Collection[str]) -> np.ndarray:
        """Return (G, K) shares of the glimpses by the given channels; NaN where a glimpse has none of them."""
        key = tuple(name for name in CHANNELS if name in channels)
        if key not in self._answers:
            views = [one.view(key, self.language) for one in self.glimpses]
            self._answers[key], gates = self._ask(views)
            if key == self.channels or not len(self.gates):
                self.gates = gates
        return self._answers[key]

    def in_order(self, at_once: int = 8) -> Iterator[tuple[list[int], np.ndarray]]:
        """Ask about the glimpses with all channels in order of time, a few at once.

        At the end `shares(self.channels)` is known. A caller may stop at any time; then it is not.

        Yields:
            The rows of the glimpses that were asked about, and their (rows, K) shares.
        """
        order = sorted(range(len(self.glimpses)), key=lambda row: self.glimpses[row].time)
        shares, gates = np.full((len(order), len(self.labels.labels)), np.nan), np.zeros((len(order), 2))
        for begin in range(0, len(order), at_once):
            rows = order[begin : begin + at_once]
            views = [self.glimpses[row].view(self.channels, self.language) for row in rows]
            shares[rows], gates[rows] = self._ask(views)
            yield rows, shares[rows]
        self._answers[self.channels], self.gates = shares, gates

    def clip(self, channels: Collection[str]) -> np.ndarray:
        """Return the (K,) distribution of the clip by the given channels; NaN where it has none of them."""
        shares = self.shares(channels)
        told = ~np.isnan(shares[:, 0])
        rest = np.full(len(self.labels.labels), np.nan)
        if self.weight < 1:
            rest = self._rest(channels, shares, told)
        people = []
        for person in self.prepared.people:
            rows = told & np.array([one.person == person.track.person for one in self.glimpses])
            if rows.any():
                people.append((shares[rows].mean(0), len(person.track.frames)))
        if not people:
            return rest
        unasked = bool(np.isnan(rest).any())
        return pool(people, np.zeros_like(rest) if unasked else rest, 1.0 if unasked else self.weight)

    def person(self, number: int) -> np.ndarray:
        """Return the (K,) distribution of one person, by picture alone."""
        return self.shares(PICTURE)[self.rows_of(number)].mean(0)

    def rows_of(self, number: int) -> np.ndarray:
        """Return (G,) which glimpses show a person."""
        return np.array([one.person == number for one in self.glimpses], dtype=bool)

    def _rest(self, channels: Collection[str], shares: np.ndarray, told: np.ndarray) -> np.ndarray:
        """Return what the whole clip says; without a picture the mean over glimpses."""
        if "picture" in channels and len(self.prepared.shown.frames):
            key = tuple(name for name in CHANNELS if name in channels)
            if key not in self._whole:
                self._whole[key] = self._ask([self._whole_glimpse().view(key, self.language)])[0][0]
            return self._whole[key]
        return shares[told].mean(0) if told.any() else np.full(shares.shape[1], np.nan)

    @property
    def whole(self) -> View:
        """The view of the whole clip with all its channels."""
        return self._whole_glimpse().view(self.channels, self.language) or []

    def _whole_glimpse(self) -> Glimpse:
        clip = self.prepared.clip
        said = " ".join(utterance.text for utterance in clip.utterances)
        wave = sound_between(clip, -np.inf, np.inf) if self.hears else None
        return Glimpse(0.0, None, self.prepared.part, wave, said, self.context.strip())

    def _ask(self, views: Sequence[View | None]) -> tuple[np.ndarray, np.ndarray]:
        asked = [(row, view) for row, view in enumerate(views) if view is not None]
        shares, gates = np.full((len(views), len(self.labels.labels)), np.nan), np.zeros((len(views), 2))
        if asked:
            rows = [row for row, _ in asked]
            scores, weights = label_scores(self.engine, [view for _, view in asked], self.labels, self.language)
            shares[rows] = (scores.double() / (self.temperature or 1.0)).softmax(-1).numpy()
            gates[rows] = weights.double().numpy()
        return shares, gates

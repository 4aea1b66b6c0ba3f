"""Drawn shapes as a part of a mixture."""

from __future__ import annotations

import random
from dataclasses import dataclass

from emotion_qwen.records import Sample
from recipes.nano.shape_captions import copying_conversation, shapes_conversation
from recipes.nano.shape_interviews import COPYING, KINDS_TRAINED
from recipes.nano.shape_questions import KINDS_ASKED, shapes_sample

DRAWN = 1 << 30  # no scene is repeated before this index


@dataclass(frozen=True)
class ShapesPart:
    """Drawn shapes; every turn has new scenes."""

    name: str
    domain: str
    split: str
    size: int
    side: int = 64
    questions: int = 1
    """Number of questions about a scene; with more than one, some scenes are also described, see `shape_captions`."""
    kinds: tuple[str, ...] = ()
    """Kinds of the questions besides a scene's own; empty for all."""
    drawn: bool = True
    """False asks only the questions of `kinds`, without a picture."""
    described: float = 0.5
    """Share of the scenes with several questions that are also described."""
    scenes: tuple[str, ...] = ()
    """Kinds of questions for which scenes are drawn (only those for counting have groups of every size); empty for all.
    """

    @property
    def identity(self) -> str:
        """The settings that determine the samples."""
        settings = str(self.described) if self.drawn else "undrawn"
        scenes = ("scenes", *self.scenes) if self.scenes else ()
        return " ".join(("shapes", self.split, str(self.side), str(self.questions), settings, *self.kinds, *scenes))

    def __len__(self) -> int:
        return self.size

    def sample(self, index: int, turn: int) -> Sample:
        """Return a scene with its question, in English or Chinese at random."""
        place = turn * self.size + index
        language = ("en", "zh")[random.Random(place).randrange(2)]
        if not self.drawn:
            return copying_conversation(place % DRAWN, self.split, language, self.questions, self.kinds or COPYING)
        if self.scenes:
            round_, slot = divmod(place, len(self.scenes))
            place = round_ * len(KINDS_ASKED) + KINDS_ASKED.index(self.scenes[slot])
        if self.questions > 1:
            kinds = self.kinds or KINDS_TRAINED
            number, share = place % DRAWN, self.described
            return shapes_conversation(number, self.split, language, self.questions, kinds, self.side, described=share)
        return shapes_sample(place % DRAWN, self.split, language, self.side)

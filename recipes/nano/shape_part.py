"""The drawn shapes world as a part of a mixture."""

from __future__ import annotations

import random
from dataclasses import dataclass

from emotion_qwen.records import Sample
from recipes.nano.shape_captions import copying_conversation, shapes_conversation
from recipes.nano.shape_interviews import COPYING, KINDS_TRAINED
from recipes.nano.shape_questions import KINDS_ASKED, shapes_sample

DRAWN = 1 << 30  # turns never repeat a scene before this index


@dataclass(frozen=True)
class ShapesPart:
    """The drawn shapes world; every turn shows scenes that were never shown before."""

    name: str
    domain: str
    split: str
    size: int
    side: int = 64
    questions: int = 1
    """Asked about a scene; more than one come with descriptions now and then, see `shape_captions`."""
    kinds: tuple[str, ...] = ()
    """Of the questions beside a scene's own; none is all of them."""
    drawn: bool = True
    """False asks without a picture, `kinds` alone."""
    described: float = 0.5
    """Share of the scenes with several questions that are described, too."""
    scenes: tuple[str, ...] = ()
    """Kinds of question whose scenes are drawn: only those of counting hold groups of every size; none is all kinds."""

    @property
    def identity(self) -> str:
        """What decides the samples."""
        settings = str(self.described) if self.drawn else "undrawn"
        scenes = ("scenes", *self.scenes) if self.scenes else ()
        return " ".join(("shapes", self.split, str(self.side), str(self.questions), settings, *self.kinds, *scenes))

    def __len__(self) -> int:
        return self.size

    def sample(self, index: int, turn: int) -> Sample:
        """Return a scene with its question, in English and Chinese by turns."""
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

"""Parts of mini's training mixture: faces, voices, texts, facts of clips, and general instructions.

Every sample is a function of the part's seed, its index and the turn alone.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from emotion_qwen.analysis.reader import BLANK
from emotion_qwen.questions import LANGUAGES, TOLD
from emotion_qwen.records import Sample
from emotion_qwen.taxonomy import concept, label_set
from emotion_qwen.verify.facts import ClipFacts, facts_text
from recipes.mini.actions import mirrored
from recipes.mini.banks import facts_of_row
from recipes.mini.clip_facts import FactBank, draw_clip, draw_picture
from recipes.mini.clip_texts import ask_clip, kinds_for
from recipes.mini.ears_voices import Voice
from recipes.mini.ears_voices import vary as vary_voice
from recipes.mini.eyes_data import EMOTIONS, LabelledFaces, item_of, vary
from recipes.mini.face_texts import ask_face
from recipes.mini.label_choices import CHOICES, SETS, answer, closed_question, draw_set, drawn_meaning
from recipes.mini.thinking import draw_form, forms_for, think
from recipes.nano.questions import Exchange, ask_voice

SIDES = (48, 48, 48, 64)
"""Sides of face pictures, pixels, equally often."""
FACE_SETS = {
    "ferplus": ("ferplus8", "ferplus8", "dfew7", "fer7"),
    "aligned": ("fer7", "fer7", "dfew7", "ekman"),
    "lfw": ("fer7", "dfew7", "ekman"),
}
"""Source -> sets of labels that its closed questions offer."""
VOICE_SETS = {
    "EmoDB": ("emodb7", "emodb7", "dfew7", "ekman"),
    "RAVDESS": ("ravdess8", "ravdess8", "dfew7", "fer7"),
    "nEMO": ("weibo6", "weibo6", "dfew7", "fer7"),
    "emotiontts": ("weibo6", "dfew7", "fer7"),
}
FACT_SETS = ("dfew7", "fer7", "ekman")
THINKING = 0.4
"""Share of the clips and pictures with facts of which the first question asks to think in a form."""
CHINESE = 0.35
"""Share of questions in Chinese."""
AGAIN = {"en": ("And here?", "And this one?", "The same question."), "zh": ("这个呢？", "那这一个呢？", "同样的问题。")}
"""What asks a closed question once more, about another item."""


def conversation(name: str, exchanges: Sequence[Exchange], first: Sequence[dict[str, Any]] = (), system: str = ""):
    """Return a sample of questions and answers; `first` are the media of the first question."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for number, exchange in enumerate(exchanges):
        text = {"type": "text", "text": exchange.question}
        messages.append({"role": "user", "content": [*first, text] if number == 0 else exchange.question})
        messages.append({"role": "assistant", "content": exchange.answer})
    return Sample(name, tuple(messages))


def series(
    name: str, items: Sequence[tuple[dict[str, Any], str]], question: str, language: str, rng: random.Random
) -> Sample:
    """Return one question about several items in turn, in full about the first and in short about the others.

    The list of labels is most of a closed question, so a label costs some 0.6 of the tokens that it costs alone.

    Args:
        name: of the sample.
        items: the medium or text of each, as a message part, and the answer.
        question: with the labels.
        language: of the questions.
        rng: draws the short question, one for all.
    """
    short = rng.choice(AGAIN[language])
    messages: list[dict[str, Any]] = []
    for number, (part, reply) in enumerate(items):
        text = {"type": "text", "text": short if number else question}
        messages.append({"role": "user", "content": [part, text]})
        messages.append({"role": "assistant", "content": reply})
    return Sample(name, tuple(messages))


def _language(rng: random.Random, chinese: float = CHINESE) -> str:
    return LANGUAGES[rng.random() < chinese]


def _digest(*facts: object) -> str:
    return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class FacesPart:
    """Faces with a closed question, or with one about what the face does.

    Attributes:
        name: of the part.
        domain: "emotion".
        faces: with votes, and actions where the landmarker detected the face.
        rows: of one pass, rare emotions repeated.
        source: key of `FACE_SETS`.
        seed: of everything that is drawn.
        strength: how much pictures are varied; 0 leaves them as they are.
        closed: share of closed questions.
        blank: share of blank pictures, for which every label is an equally good answer.
        chinese: share of questions in Chinese.
        turns: faces that a closed question is asked about, one after the other.
    """

    name: str
    domain: str
    faces: LabelledFaces
    rows: np.ndarray
    source: str
    seed: int = 0
    strength: float = 1.0
    closed: float = 0.7
    blank: float = 0.04
    chinese: float = CHINESE
    turns: int = 1

    @property
    def identity(self) -> str:
        """A hash of ids and settings."""
        settings = (self.seed, self.strength, self.closed, self.blank, self.turns)
        return _digest(*self.faces.ids, self.rows.tolist(), *settings)

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, index: int, turn: int) -> Sample:
        """Return one face with its question."""
        rng = random.Random(f"{self.seed}/{self.name}/{index}/{turn}")
        language, row = _language(rng, self.chinese), int(self.rows[index])
        name = f"{self.name}/{index}/{turn}"
        leading = EMOTIONS[int(self.faces.targets[row].argmax())]
        if rng.random() < self.blank:
            return _blank(name, rng.choice(FACE_SETS[self.source]), language, rng)
        if leading != "contempt" and rng.random() >= self.closed:
            picture, shown = face_picture(self.faces, row, self.strength, rng)
            return conversation(name, [ask_face(facts_of_row(shown, 0), rng, language)], [picture])
        labels = draw_set(leading, FACE_SETS[self.source], rng)
        columns = [EMOTIONS.index(meaning) for meaning in CHOICES[labels]]
        fitting = self.rows[self.faces.targets[self.rows][:, columns].any(axis=1)].tolist()
        rows = [row, *_others(fitting, self.turns, rng)]
        items = [self._labelled(int(each), labels, language, rng) for each in rows]
        return series(name, items, closed_question(labels, language), language, rng)

    def _labelled(self, row: int, labels: str, language: str, rng: random.Random) -> tuple[dict[str, Any], str]:
        """Return a face's picture and the label that its votes draw from a set."""
        votes = {emotion: float(share) for emotion, share in zip(EMOTIONS, self.faces.targets[row], strict=True)}
        picture, _ = face_picture(self.faces, row, self.strength, rng)
        return picture, answer(labels, drawn_meaning(votes, labels, rng), language)


def face_picture(
    faces: LabelledFaces, row: int, strength: float, rng: random.Random, sides: Sequence[int] = SIDES
) -> tuple[dict[str, Any], LabelledFaces]:
    """Return a face's picture, varied, as a message part, and the face's facts as the picture shows them.

    Where the picture is mirrored or turned, its actions and angles are, too.
    """
    side = rng.choice(sides)
    item = item_of(faces, row)
    generator = torch.Generator().manual_seed(rng.getrandbits(48))
    pixels, geometry = vary(item["pixels"][None].float() / 255, strength, generator, side)
    actions, angles = mirrored(item["actions"][None], item["angles"][None], geometry.turn, geometry.flip)
    array = (pixels[0].permute(1, 2, 0) * 255).round().byte().numpy()
    one = slice(row, row + 1)
    shown = LabelledFaces(
        (faces.ids[row],), faces.pixels[one], faces.targets[one], faces.objects[one], actions.numpy(), angles.numpy()
    )
    return {"type": "image", "image": array}, shown


def _blank(name: str, labels: str, language: str, rng: random.Random) -> Sample:
    """Ask about a blank picture, with any label as the answer; see `analysis.reader`."""
    side = rng.choice(SIDES)
    picture = {"type": "image", "image": np.broadcast_to(BLANK, (side, side, 3)).copy()}
    return conversation(name, [_any(labels, language, rng)], [picture] if rng.random() < 0.7 else [])


def _others(choices: Sequence[Any], turns: int, rng: random.Random) -> list[Any]:
    """Draw what the turns after the first are about."""
    return [choices[rng.randrange(len(choices))] for _ in range(turns - 1)]


def _any(labels: str, language: str, rng: random.Random) -> Exchange:
    return Exchange(closed_question(labels, language), rng.choice(SETS[labels].names(language)), language, "blank")


@dataclass(frozen=True, eq=False)
class FactPicturesPart:
    """Faces with their measured facts: questions of all kinds, and thinking in steps.

    Attributes:
        name: of the part.
        domain: "emotion".
        faces: all of them measured.
        rows: of one pass.
        bank: unused measurements of other faces, for pictures with a second person.
        seed: of everything that is drawn.
        turns: questions about one picture.
    """

    name: str
    domain: str
    faces: LabelledFaces
    rows: np.ndarray
    bank: FactBank
    seed: int = 0
    turns: int = 3

    @property
    def identity(self) -> str:
        """A hash of ids and settings."""
        return _digest(*self.faces.ids, self.rows.tolist(), self.seed, self.turns)

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, index: int, turn: int) -> Sample:
        """Return one picture with facts and questions."""
        rng = random.Random(f"{self.seed}/{self.name}/{index}/{turn}")
        picture, shown = face_picture(self.faces, int(self.rows[index]), 1.0, rng)
        facts = draw_picture(self.bank, _language(rng), rng, facts_of_row(shown, 0))
        return conversation(
            f"{self.name}/{index}/{turn}", interview(facts, self.turns, rng), [picture], facts_text(facts)
        )


@dataclass(frozen=True, eq=False)
class ClipsPart:
    """Facts of composed clips without media: several questions in turn, the account first in half of them.

    Attributes:
        name: of the part.
        domain: "emotion".
        bank: measurements that clips are composed of.
        size: clips of one pass.
        turns: questions about one clip.
        seed: of everything that is drawn.
    """

    name: str
    domain: str
    bank: FactBank
    size: int = 20000
    turns: int = 5
    seed: int = 0

    @property
    def identity(self) -> str:
        """The settings and how much the bank holds."""
        counts = {emotion: len(faces) for emotion, faces in self.bank.faces.items()}
        return _digest(self.size, self.turns, self.seed, counts)

    def __len__(self) -> int:
        return self.size

    def sample(self, index: int, turn: int) -> Sample:
        """Return one clip's facts with questions."""
        rng = random.Random(f"{self.seed}/{self.name}/{index}/{turn}")
        facts = draw_clip(self.bank, _language(rng), rng)
        return conversation(f"{self.name}/{index}/{turn}", interview(facts, self.turns, rng), system=facts_text(facts))


def interview(facts: ClipFacts, turns: int, rng: random.Random) -> list[Exchange]:
    """Return several different questions about a clip, in any order."""
    kinds = kinds_for(facts)
    chosen = rng.sample(kinds, min(turns, len(kinds)))
    if rng.random() < 0.5:
        chosen = ["account", *(kind for kind in chosen if kind != "account")][:turns]
    exchanges = [ask_clip(facts, kind, rng) for kind in chosen]
    if forms_for(facts) and rng.random() < THINKING:
        emotion = concept(facts.likeliest[0][0])
        sets = [name for name in FACT_SETS if emotion in map(concept, label_set(name).labels)]
        exchanges[0] = think(facts, draw_form(facts, rng), label_set(rng.choice(sets)), rng)
    return exchanges


@dataclass(frozen=True, eq=False)
class VoicesPart:
    """Labelled voices, with a closed question or an open one.

    Attributes:
        name: of the part.
        domain: "emotion".
        voices: the sounds.
        seed: of everything that is drawn.
        varied: whether a sound is another rendering in every pass.
        closed: share of closed questions.
        chinese: share of questions in Chinese.
        turns: voices of one corpus that a closed question is asked about, one after the other.
    """

    name: str
    domain: str
    voices: tuple[Voice, ...]
    seed: int = 0
    varied: bool = True
    closed: float = 0.8
    chinese: float = CHINESE
    turns: int = 1

    @property
    def identity(self) -> str:
        """A hash of ids and settings."""
        return _digest(*(voice.identifier for voice in self.voices), self.seed, self.varied, self.closed, self.turns)

    def __len__(self) -> int:
        return len(self.voices)

    def sample(self, index: int, turn: int) -> Sample:
        """Return one voice with its question."""
        rng = random.Random(f"{self.seed}/{self.name}/{index}/{turn}")
        name, language = f"{self.name}/{index}/{turn}", _language(rng, self.chinese)
        voice = self.voices[index]
        if voice.label != "calm" and rng.random() >= self.closed:
            return conversation(name, [ask_voice(voice.label, rng, closed=False)], [self._sound(voice, rng)])
        labels = draw_set(voice.label, VOICE_SETS[voice.corpus], rng)
        fitting = [v for v in self.voices if v.corpus == voice.corpus and v.label in CHOICES[labels]]
        voices = [voice, *_others(fitting, self.turns, rng)]
        items = [(self._sound(each, rng), answer(labels, each.label, language)) for each in voices]
        return series(name, items, closed_question(labels, language), language, rng)

    def _sound(self, voice: Voice, rng: random.Random) -> dict[str, Any]:
        """Return a voice, varied, as a message part."""
        wave = voice.wave.astype(np.float32)
        if self.varied:
            wave = vary_voice(wave, list(self.voices), np.random.default_rng(rng.getrandbits(48)))
        return {"type": "audio", "audio": wave}


@dataclass(frozen=True)
class LabelledText:
    """A text and the concept of its label."""

    text: str
    meaning: str


@dataclass(frozen=True, eq=False)
class TextsPart:
    """Labelled texts with the closed question, as words that a person says or as context.

    Attributes:
        name: of the part.
        domain: "emotion".
        rows: the texts.
        choices: sets of labels, keys of `label_choices.SETS`.
        language: of the texts; most questions are in it.
        seed: of everything that is drawn.
        turns: texts that a question is asked about, one after the other.
    """

    name: str
    domain: str
    rows: tuple[LabelledText, ...]
    choices: tuple[str, ...]
    language: str
    seed: int = 0
    turns: int = 1

    @property
    def identity(self) -> str:
        """A hash of the texts and settings."""
        return _digest(*((row.text, row.meaning) for row in self.rows), self.choices, self.seed, self.turns)

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, index: int, turn: int) -> Sample:
        """Return one text with its question."""
        rng = random.Random(f"{self.seed}/{self.name}/{index}/{turn}")
        row = self.rows[index]
        language = self.language if rng.random() < 0.85 else next(each for each in LANGUAGES if each != self.language)
        labels = draw_set(row.meaning, self.choices, rng)
        form = "words" if rng.random() < 0.85 else "context"
        fitting = [each for each in self.rows if each.meaning in CHOICES[labels]]
        rows = [row, *_others(fitting, self.turns, rng)]
        words = [{"type": "text", "text": TOLD[form][language].format(text=each.text)} for each in rows]
        items = [(part, answer(labels, each.meaning, language)) for part, each in zip(words, rows, strict=True)]
        return series(f"{self.name}/{index}/{turn}", items, closed_question(labels, language), language, rng)


@dataclass(frozen=True, eq=False)
class ReplayPart:
    """General instructions with their answers, without media."""

    name: str
    domain: str
    pairs: tuple[tuple[str, str], ...]

    @property
    def identity(self) -> str:
        """A hash of the texts."""
        return _digest(*self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def sample(self, index: int, turn: int) -> Sample:
        """Return one instruction, the same in every pass."""
        question, reply = self.pairs[index]
        return conversation(f"{self.name}/{index}", [Exchange(question, reply, "en", "replay")])

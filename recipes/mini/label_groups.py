"""What mini is asked when it learns labels: groups of faces, voices, texts or objects with one closed question.

A group is a function of the seed and its number alone. Its targets are the shares of people's votes where there are
several, so that the model also learns how sure people are.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from emotion_qwen.data.pictures import read_pictures
from emotion_qwen.engine.encoding import View
from emotion_qwen.evaluation.tasks.prompts import OBJECT_QUESTION, OBJECT_SET, OBJECTS
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.questions import QUESTIONS, TOLD
from emotion_qwen.taxonomy import LabelSet
from recipes.mini import parts
from recipes.mini.conversations import FACE_SETS, SIDES, VOICE_SETS, FacesPart, TextsPart, face_picture
from recipes.mini.ears_voices import TRAINING, Voice, read_corpora, vary
from recipes.mini.eyes_data import EMOTIONS
from recipes.mini.label_choices import CHOICES, SETS

SEED = 11
REARRANGED = 0.2
"""Share of questions whose labels stand in another order, some of them left out: as in the sets of users."""
CHINESE = 0.15
"""Share of questions in Chinese about faces, voices and objects."""
TOGETHER = 24
"""Items with one question."""
SORTED = 8
"""Groups of texts drawn at once, of which one with texts of similar length is used, so that little is padded."""
WHOLE = 0.5
"""Share of voices that are heard whole, up to `LONGEST` seconds; the others in parts, as a report hears them."""
LONGEST = 6.0
MIXTURE = {
    "ferplus": 0.18, "aligned": 0.15, "lfw": 0.04, "voices": 0.27, "goemotions": 0.2, "dialogue": 0.02, "clue": 0.04,
    "weibo": 0.02, "isear": 0.02, "objects": 0.06,
}  # fmt: skip
"""Source -> share of the groups."""
CORPUS_SHARES = {"EmoDB": 0.22, "RAVDESS": 0.48, "nEMO": 0.26, "emotiontts": 0.04}
FACE_BALANCE = 0.5
"""An emotion is drawn in proportion to the number of its faces to the power of this; 1 changes nothing."""


@dataclass(frozen=True)
class Group:
    """Items with one question.

    Attributes:
        views: of the items; see `engine.encoding`.
        question: with the labels.
        answers: the labels, L of them.
        targets: (N, L) the share of each label among people's votes.
        source: key of `MIXTURE`.
    """

    views: list[View]
    question: str
    answers: tuple[str, ...]
    targets: np.ndarray
    source: str = ""


def choose_labels(labels: LabelSet, language: str, rng: random.Random) -> tuple[list[int], tuple[str, ...]]:
    """Return which labels of a set a question offers, in which order, and their names."""
    order = list(range(len(labels.labels)))
    if rng.random() < REARRANGED:
        order = rng.sample(order, rng.randint(max(len(order) - 2, 3), len(order)))
    names = labels.names(language)
    return order, tuple(names[place] for place in order)


def compose(
    views: list[View], targets: np.ndarray, labels: LabelSet, language: str, wording: str, rng: random.Random
) -> Group:
    """Ask about items; those with less than half of the votes on the offered labels are left out.

    Args:
        views: N.
        targets: (N, all labels of the set) shares of votes.
        labels: the set.
        language: of the question.
        wording: with a place for the labels.
        rng: draws the labels.
    """
    order, names = choose_labels(labels, language, rng)
    offered = targets[:, order]
    kept = np.flatnonzero(offered.sum(1) >= 0.5 * np.maximum(targets.sum(1), 1e-6))
    joined = (", " if language == "en" else "、").join(names)
    shares = offered[kept] / offered[kept].sum(1, keepdims=True)
    return Group([views[row] for row in kept], wording.format(labels=joined), names, shares)


class Groups:
    """Everything that the groups are drawn from; a group is a function of the seed and its number alone."""

    def __init__(self, data: Path, runs: Path, seed: int = SEED) -> None:
        self.seed = seed
        arrays = str(runs / "eyes/arrays")
        self.faces: dict[str, FacesPart] = {
            name: parts.faces(name, "emotion", "train", data / parts.SOURCES[name].file, source=name, arrays=arrays)
            for name in ("ferplus", "aligned", "lfw")
        }
        self.chances = {name: _chances(part) for name, part in self.faces.items()}
        voices = [v for v in read_corpora(data, runs / "ears/waves.npz") if v.corpus in TRAINING and v.split == "train"]
        self.voices = {corpus: [v for v in voices if v.corpus == corpus] for corpus in TRAINING}
        self.texts = {
            "goemotions": _texts(data / "text_goemotions.parquet", ["ekman", "ekman", "dfew7", "fer7"], "en", 0.5, 130),
            "dialogue": _texts(data / "text_dialogue_en.parquet", ["dfew7", "fer7"], "en", 0.5, 140),
            "clue": _texts(data / "text_emotion_zh.parquet", ["clue7"], "zh", 0.3, 60, "CLUEbenchmark"),
            "weibo": _texts(data / "text_emotion_zh.parquet", ["weibo6", "dfew7"], "zh", 0.4, 60, "evanshao408"),
            "isear": _texts(data / "text_isear.parquet", ["isear7"], "en", 0.4, 160),
        }
        self.objects = read_pictures(data / "pictures_cifar10.parquet", "train", 48)
        self.object_rows = [row for row, label in enumerate(self.objects.labels) if label in OBJECTS]

    def group(self, number: int) -> Group:
        """Draw a group."""
        rng = random.Random(f"{self.seed}/{number}")
        source = rng.choices(list(MIXTURE), weights=list(MIXTURE.values()))[0]
        if source in self.faces:
            group = self._faces(self.faces[source], rng)
        elif source in self.texts:
            group = self._texts(self.texts[source], rng)
        else:
            group = self._voices(rng) if source == "voices" else self._objects(rng)
        return replace(group, source=source)

    def _faces(self, part: FacesPart, rng: random.Random) -> Group:
        name, language, side = rng.choice(FACE_SETS[part.source]), _language(rng), rng.choice(SIDES)
        rows = rng.choices(part.rows.tolist(), cum_weights=self.chances[part.source], k=TOGETHER)
        columns = [EMOTIONS.index(meaning) for meaning in CHOICES[name]]
        views: list[View] = [face_picture(part.faces, row, 1.0, rng, (side,))[0] for row in rows]
        targets = part.faces.targets[rows][:, columns]
        targets = np.where(targets.sum(1, keepdims=True) >= 0.5, targets, 0.0)
        return compose(views, targets, SETS[name], language, QUESTIONS["label"][language], rng)

    def _voices(self, rng: random.Random) -> Group:
        corpus = rng.choices(list(CORPUS_SHARES), weights=list(CORPUS_SHARES.values()))[0]
        name, language = rng.choice(VOICE_SETS[corpus]), _language(rng)
        fitting = [voice for voice in self.voices[corpus] if voice.label in CHOICES[name]]
        chosen = [rng.choice(fitting) for _ in range(TOGETHER)]
        views: list[View] = [{"type": "audio", "audio": _heard(voice, fitting, rng)} for voice in chosen]
        targets = np.array([[float(voice.label == meaning) for meaning in CHOICES[name]] for voice in chosen])
        return compose(views, targets, SETS[name], language, QUESTIONS["label"][language], rng)

    def _texts(self, part: TextsPart, rng: random.Random) -> Group:
        name = rng.choice(part.choices)
        language = part.language if rng.random() < 0.9 else ("zh" if part.language == "en" else "en")
        drawn = [part.rows[rng.randrange(len(part.rows))] for _ in range(SORTED * TOGETHER)]
        drawn = sorted((row for row in drawn if row.meaning in CHOICES[name]), key=lambda row: len(row.text))
        first = rng.randint(0, max(len(drawn) - TOGETHER, 0))
        fitting = drawn[first : first + TOGETHER]
        told = TOLD["words" if rng.random() < 0.85 else "context"][language]
        views: list[View] = [{"type": "text", "text": told.format(text=row.text)} for row in fitting]
        targets = np.array([[float(row.meaning == meaning) for meaning in CHOICES[name]] for row in fitting])
        return compose(views, targets, SETS[name], language, QUESTIONS["label"][language], rng)

    def _objects(self, rng: random.Random) -> Group:
        rows, language = [rng.choice(self.object_rows) for _ in range(TOGETHER)], _language(rng)
        views: list[View] = [{"type": "image", "image": _moved(self.objects.pixels[row], rng)} for row in rows]
        targets = np.array([[float(self.objects.labels[row] == name) for name in OBJECT_SET.labels] for row in rows])
        return compose(views, targets, OBJECT_SET, language, OBJECT_QUESTION[language], rng)


def _texts(path: Path, choices: list[str], language: str, balance: float, longest: int, source: str = "") -> TextsPart:
    return parts.texts(
        path.stem, "emotion", "train", path, source=source, choices=choices, language=language, balance=balance,
        longest=longest,
    )  # fmt: skip


def _chances(part: FacesPart) -> list[float]:
    """Return the cumulative weights of faces, with which rare emotions are drawn more often than they occur."""
    leading = part.faces.targets[part.rows].argmax(1)
    counts = np.bincount(leading, minlength=len(EMOTIONS))
    return np.cumsum(counts[leading] ** (FACE_BALANCE - 1)).tolist()


def _language(rng: random.Random) -> str:
    return "zh" if rng.random() < CHINESE else "en"


def _heard(voice: Voice, others: list[Voice], rng: random.Random) -> np.ndarray:
    """Return a voice as it is heard: a varied part of it, or nearly whole and only louder or softer."""
    wave, generator = voice.wave.astype(np.float32), np.random.default_rng(rng.getrandbits(48))
    if rng.random() >= WHOLE:
        return vary(wave, others, generator)
    most = round(LONGEST * SAMPLE_RATE)
    first = rng.randint(0, max(len(wave) - most, 0))
    return wave[first : first + most] * np.float32(10 ** (rng.uniform(-12, 3) / 20))


def _moved(pixels: np.ndarray, rng: random.Random) -> np.ndarray:
    """Mirror half of the pictures, and move all by up to four pixels."""
    padded = np.pad(pixels, ((4, 4), (4, 4), (0, 0)), mode="edge")
    top, left, side = rng.randint(0, 8), rng.randint(0, 8), len(pixels)
    cut = padded[top : top + side, left : left + side]
    return np.ascontiguousarray(cut[:, ::-1] if rng.random() < 0.5 else cut)

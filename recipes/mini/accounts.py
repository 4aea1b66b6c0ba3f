"""Measure mini's texts: claims against independent measurements, questions, and reasoning.

Faces are checked against the landmarker, voices against prosody recomputed from the sound. Every text is also checked
against another clip, which shows how many of its claims would be true of anybody.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.request import Request
from emotion_qwen.analysis.writing import ANSWER_TOKENS
from emotion_qwen.engine.engine import Engine
from emotion_qwen.faces.face_claims import claims_in, is_true
from emotion_qwen.matching.answer import match_label
from emotion_qwen.matching.statements import stated_concepts
from emotion_qwen.media.prosody import prosody_of
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.media.voice_activity import voice_spans
from emotion_qwen.media.voice_claims import voice_claims, voice_claims_in
from emotion_qwen.prepare import PersonPictures, PreparedClip
from emotion_qwen.records import Clip, EmotionReport, FaceTrack
from emotion_qwen.taxonomy import concept, label_set
from emotion_qwen.verify.facts import ClipFacts, facts_text
from recipes.mini.banks import facts_of_row
from recipes.mini.clip_facts import FactBank, draw_clip
from recipes.mini.clip_texts import ask_clip
from recipes.mini.ears_voices import Voice
from recipes.mini.eyes_data import LabelledFaces
from recipes.nano.questions import Exchange

LABELS = "fer7"
FRAMES_PER_SECOND = 4
_OPTIONS = re.compile(r"Choose one: (.+)\.$|请选择一个：(.+)。$")


@dataclass(frozen=True, eq=False)
class Made:
    """A clip made of validation material, with measurements that do not use the model.

    Attributes:
        clip: ready for the model.
        faces: measurements of every face that it shows, by the landmarker.
        voice: words that are true of its voice.
    """

    clip: PreparedClip
    faces: tuple[dict[str, float], ...]
    voice: frozenset[str] = frozenset()


def face_clip(faces: LabelledFaces, row: int) -> Made:
    """Make a picture of one face."""
    return Made(_shown([_picture(faces, row)], [0], None), (dict(facts_of_row(faces, row).values),))


def voice_clip(faces: LabelledFaces, rows: Sequence[int], voice: Voice) -> Made:
    """Make a clip in which a voice speaks while two faces follow each other."""
    wave = voice.wave.astype(np.float32)
    count = max(round(len(wave) / SAMPLE_RATE * FRAMES_PER_SECOND), 4)
    order = [0] * (count // 2) + [1] * (count - count // 2)
    pictures = [_picture(faces, row) for row in rows]
    measured = tuple(dict(facts_of_row(faces, row).values) for row in rows)
    words = frozenset(claim.word for claim in voice_claims(prosody_of(wave, SAMPLE_RATE)))
    return Made(_shown(pictures, order, wave), measured, words)


def _picture(faces: LabelledFaces, row: int, side: int = 96) -> np.ndarray:
    pixels = np.asarray(faces.pixels[row])
    colour = np.repeat(pixels[..., None], 3, -1) if pixels.ndim == 2 else pixels
    return np.asarray(Image.fromarray(colour).resize((side, side)))


def _shown(pictures: Sequence[np.ndarray], order: Sequence[int], wave: np.ndarray | None) -> PreparedClip:
    """Return a clip whose every frame is one face, tracked as one person, without detector and decoder."""
    frames = np.stack([pictures[place] for place in order])
    times, side = np.arange(len(order)) / FRAMES_PER_SECOND, frames.shape[1]
    seconds = 0.0 if wave is None else len(wave) / SAMPLE_RATE
    clip = Clip(
        frames, times, "made", still=wave is None, duration=seconds, size=(side, side), wave=wave,
        sample_rate=0 if wave is None else SAMPLE_RATE,
    )  # fmt: skip
    boxes = np.tile(np.array([0, 0, side, side], np.float32), (len(order), 1))
    track = FaceTrack(1, np.arange(len(order)), boxes, np.ones(len(order), np.float32))
    crops = np.stack([np.asarray(Image.fromarray(frame).resize((48, 48))) for frame in frames])
    voice = () if wave is None else tuple(voice_spans(wave))
    return PreparedClip(clip, clip, (PersonPictures(track, crops, times),), voice=voice)


@dataclass
class Tally:
    """Claims of texts: how many can be checked, and how many are true of their clip and of another one."""

    claims: int = 0
    true: int = 0
    moved_claims: int = 0
    moved_true: int = 0

    def add(self, text: str, language: str, made: Made, other: Made) -> None:
        """Check a text against its clip and against another."""
        own, moved = (truths(text, language, each) for each in (made, other))
        self.claims += len(own)
        self.true += sum(own)
        self.moved_claims += len(moved)
        self.moved_true += sum(moved)

    def shares(self) -> dict[str, float]:
        """Return the counts and the percentages."""
        return {
            "claims": self.claims,
            "true": round(100 * self.true / max(self.claims, 1), 1),
            "true of another clip": round(100 * self.moved_true / max(self.moved_claims, 1), 1),
        }


def truths(text: str, language: str, made: Made) -> list[bool]:
    """Return for every claim of a text that can be checked whether it is true of any face, or of the voice."""
    checked = [
        any(known) for word in claims_in(text, language)
        if (known := [truth for face in made.faces if (truth := is_true(word, face)) is not None])
    ]  # fmt: skip
    absolute = [word for word in voice_claims_in(text, language) if "usual" not in word]
    return checked + ([word in made.voice for word in absolute] if made.voice else [])


def write_about(model: Analyzer, made: Sequence[Made], language: str, steps: bool) -> list[EmotionReport]:
    """Return the reports of made clips, with reasoning steps if wanted."""
    request = Request(LABELS, language, reasoning="steps" if steps else None)
    results = model.read(model.reader(request), [each.clip for each in made], request)
    return [result.report for result in results]  # type: ignore[union-attr]


def descriptions(model: Analyzer, made: Sequence[Made], language: str) -> dict[str, Any]:
    """Have the model describe clips, and check every claim and the label that it names."""
    tally, named, texts = Tally(), [], []
    for place, report in enumerate(write_about(model, made, language, steps=False)):
        tally.add(report.summary, language, made[place], made[(place + 1) % len(made)])
        stated = stated_concepts(report.summary, language)
        named.append(report.label is not None and concept(report.label) in stated)
        texts.append(re.sub(r"\d+(?:\.\d+)?", "", report.summary))
    return {
        **tally.shares(),
        "texts": len(texts),
        "different": len(set(texts)),
        "label named": round(100 * float(np.mean(named)), 1),
        "examples": texts[:5],
    }


def questions(engine: Engine, bank: FactBank, count: int, seed: int = 0) -> dict[str, Any]:
    """Ask closed questions about the facts of composed clips; the answer is one of the options that are offered."""
    rng = random.Random(seed)
    asked: list[tuple[ClipFacts, Exchange, int]] = []
    while len(asked) < count:
        facts = draw_clip(bank, ("en", "zh")[len(asked) % 2], rng)
        if not facts.people or facts.still:
            continue
        exchange = ask_clip(facts, "choice", rng)
        offered = _OPTIONS.search(exchange.question)
        if offered:
            asked.append((facts, exchange, len(re.split(", |、", offered.group(1) or offered.group(2)))))
    replies = engine.write(
        [[] for _ in asked], [e.question for _, e, _ in asked], ANSWER_TOKENS,
        system=[facts_text(facts) for facts, _, _ in asked],
    )  # fmt: skip
    right = [reply.strip(" .。").lower() == e.answer.lower() for reply, (_, e, _) in zip(replies, asked, strict=True)]
    return {
        "questions": count,
        "right": round(100 * float(np.mean(right)), 1),
        "chance": round(100 * float(np.mean([1 / options for _, _, options in asked])), 1),
        "wrong": [
            {"question": e.question, "answer": e.answer, "reply": reply}
            for reply, (_, e, _), fits in zip(replies, asked, right, strict=True)
            if not fits
        ][:8],
    }


def reasoning_consistency(
    model: Analyzer, made: Sequence[Made], taught: Sequence[tuple[str, str]], language: str = "en", seed: int = 0
) -> dict[str, Any]:
    """Measure EPC of the steps: how often a verifier that reads the steps alone names the model's conclusion.

    The verifier is a linear model over TF-IDF of words and pairs of words (`seed_reasoning.md` 2.2), trained on
    (rationale, label) pairs. Words that name an emotion are taken out of the rationale. The floor is the same with the
    rationales of other clips.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    verifier = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000))
    verifier.fit([without_emotions(text) for text, _ in taught], [label for _, label in taught])
    rationales, conclusions, labels = [], [], []
    for report in write_about(model, made, language, steps=True):
        labels.append(report.label)
        steps = {name: text for name, text in report.reasoning.items() if name != "conclusion"}
        rationales.append(without_emotions(" ".join(steps.values())))
        conclusions.append(match_label(report.reasoning["conclusion"], label_set(LABELS), language) or "")
    judged = verifier.predict(rationales)
    order = np.random.default_rng(seed).permutation(len(rationales))
    named = np.array(conclusions)
    return {
        "clips": len(rationales),
        "EPC": round(float((judged == named).mean()), 3),
        "EPC shuffled": round(float((judged[order] == named).mean()), 3),
        "conclusion is the label": round(float((named == np.array(labels)).mean()), 3),
    }


def without_emotions(text: str) -> str:
    """Take the clause that compares emotions, and every word that names one, out of a rationale."""
    clauses = [clause for clause in re.split(r"[;；]", text) if "likelier" not in clause and "更像" not in clause]
    words = re.findall(r"[a-z']+", " ".join(clauses).lower())
    return " ".join(word for word in words if not stated_concepts(word, "en"))


def keep(path: Path, figures: dict[str, Any]) -> None:
    """Write figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

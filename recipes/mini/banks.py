"""Measurements of the data by annotated emotion, from which `clip_facts` composes clips.

Faces come with FER+'s votes and the landmarker's actions, voices with prosody measured against the same speaker's
other recordings, sentences with their label. Measuring the voices takes minutes, so they are kept in a JSON file.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from emotion_qwen.data.voices import decode_voice
from emotion_qwen.faces.face_claims import measurements
from emotion_qwen.files import write_whole
from emotion_qwen.media.prosody import Prosody, prosody_of
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.media.voice_claims import voice_claims
from emotion_qwen.records import HEAD_ANGLES
from emotion_qwen.taxonomy import concept, concept_of_word
from recipes.mini.actions import ACTIONS
from recipes.mini.clip_facts import FactBank
from recipes.mini.eyes_data import EMOTIONS, LabelledFaces
from recipes.mini.face_texts import FaceFacts
from recipes.nano.questions import FEELINGS

VOICES = (
    ("speech_ravdess.parquet", ""),
    ("speech_emodb.parquet", ""),
    ("speech_more.parquet", "nEMO"),
    ("speech_more.parquet", "emotiontts"),
)
"""Files of voices, and the corpora in them that may be used to train the shipped model."""
SENTENCES = {
    "en": ("text_goemotions.parquet", "text_dialogue_en.parquet"),
    "zh": ("text_emotion_zh.parquet",),
}
LETTERS = {"en": (8, 90), "zh": (4, 36)}
"""Shortest and longest sentence, characters."""


def make_bank(faces: Sequence[LabelledFaces], data: Path, cache: Path, split: str) -> FactBank:
    """Collect the measurements of one split.

    Args:
        faces: with actions, angles and votes.
        data: folder of the Parquet files.
        cache: folder for the measured voices.
        split: "train" or "validation".
    """
    by_emotion: dict[str, list[FaceFacts]] = {}
    for facts in face_facts(faces):
        leading = max(facts.votes, key=lambda name: facts.votes[name])
        if facts.votes[leading] >= 0.5:
            by_emotion.setdefault(leading, []).append(facts)
    return FactBank(by_emotion, voice_words(data, cache, split), sentences(data, split))


def face_facts(faces: Sequence[LabelledFaces]) -> Iterator[FaceFacts]:
    """Yield the facts of every face that the landmarker detected and that shows one of `FEELINGS`."""
    for part in faces:
        detected = np.isfinite(part.actions).all(1) & np.isfinite(part.angles).all(1) & (part.targets.sum(1) > 0)
        for row in np.flatnonzero(detected):
            yield facts_of_row(part, int(row))


def facts_of_row(faces: LabelledFaces, row: int) -> FaceFacts:
    """Return the facts of one face; no measurements where the landmarker detected none."""
    shares = {name: float(faces.targets[row, place]) for place, name in enumerate(EMOTIONS) if name in FEELINGS}
    if not np.isfinite(faces.actions[row]).all():
        return FaceFacts({}, shares)
    actions = dict(zip(ACTIONS, faces.actions[row].tolist(), strict=True))
    angles = dict(zip(HEAD_ANGLES, faces.angles[row].tolist(), strict=True))
    return FaceFacts(measurements(actions, angles), shares)


def voice_words(data: Path, cache: Path, split: str) -> dict[str, list[list[str]]]:
    """Return the claims about every voice, by emotion; measured once and stored in `cache`."""
    path = cache / f"voice_words_{split}.json"
    if not path.is_file():
        measured = [row for file, corpus in VOICES for row in measured_voices(data / file, corpus, split)]
        write_whole(path, json.dumps(measured))
    by_emotion: dict[str, list[list[str]]] = {}
    for emotion, words in json.loads(path.read_text(encoding="utf-8")):
        by_emotion.setdefault(emotion, []).append(words)
    return by_emotion


def measured_voices(path: Path, corpus: str, split: str) -> list[tuple[str, list[str]]]:
    """Return the emotion of every voice of a corpus and split, and the words that may be claimed of it."""
    columns = ["audio", "label", "speaker", "split", *(["corpus"] if corpus else [])]
    rows = [row for row in pq.read_table(path, columns=columns).to_pylist() if row["split"] == split]
    rows = [row for row in rows if not corpus or row["corpus"].startswith(corpus)]
    prosodies = [prosody_of(decode_voice(row["audio"]), SAMPLE_RATE) for row in rows]
    usual: dict[str, Prosody] = {}
    for speaker in {row["speaker"] for row in rows}:
        same = [p for p, row in zip(prosodies, rows, strict=True) if p and p.pitch and row["speaker"] == speaker]
        if same:
            middle = {field.name: statistics.median(getattr(p, field.name) for p in same) for field in fields(Prosody)}
            usual[speaker] = Prosody(**middle)
    measured = []
    for row, prosody in zip(rows, prosodies, strict=True):
        words = [claim.word for claim in voice_claims(prosody, usual.get(row["speaker"]))]
        if words and row["label"] in concept_of_word():
            measured.append((concept(row["label"]), words))
    return measured


def sentences(data: Path, split: str) -> dict[str, dict[str, list[str]]]:
    """Return short sentences of one split by language and emotion."""
    texts: dict[str, dict[str, list[str]]] = {}
    for language, files in SENTENCES.items():
        shortest, longest = LETTERS[language]
        for file in files:
            columns = set(pq.read_schema(data / file).names)
            label = "ekman" if "ekman" in columns else "label"
            for row in pq.read_table(data / file, columns=["text", label, "split"]).to_pylist():
                given = row[label] if isinstance(row[label], str) else next(iter(row[label]), "")
                text = row["text"].strip()
                if (
                    row["split"] == split
                    and given in concept_of_word()
                    and shortest <= len(text) <= longest
                    and "[" not in text
                ):
                    texts.setdefault(language, {}).setdefault(concept(given), []).append(text)
    return texts

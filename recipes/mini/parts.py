"""The kinds of parts in mini's training data: `kind: recipes/mini/parts.py:NAME` in the settings of a training run.

Each reader opens one part; its keyword-only parameters are the options that the settings may give.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from emotion_qwen.errors import DataError
from emotion_qwen.taxonomy import concept, concept_of_word
from recipes.mini.banks import face_facts, make_bank
from recipes.mini.conversations import (
    CHINESE,
    ClipsPart,
    FacesPart,
    FactPicturesPart,
    LabelledText,
    ReplayPart,
    TextsPart,
    VoicesPart,
)
from recipes.mini.ears_voices import read_corpora
from recipes.mini.eyes_data import ALIGNED, FERPLUS, LFW, LabelledFaces, Source, class_members, read_faces
from recipes.mini.label_choices import CHOICES
from recipes.nano.parts import pictures, shapes  # noqa: F401  kinds that mini's general stage uses too

SOURCES = {source.name: source for source in (FERPLUS, ALIGNED, LFW)}


def faces(
    name: str, domain: str, split: str, path: Path, *, source: str, arrays: str, landmarks: str = "", seed: int = 0,
    strength: float = 1.0, closed: float = 0.7, blank: float = 0.04, chinese: float = CHINESE, turns: int = 1,
) -> FacesPart:  # fmt: skip
    """Read faces of a source; rare emotions are repeated as for the vision transformer. See `FacesPart`."""
    chosen = SOURCES[source]
    read = _faces(chosen, path, split, arrays, landmarks)
    return FacesPart(
        name, domain, read, _repeated(chosen, read, seed), chosen.name, seed, strength, closed, blank, chinese, turns
    )


def fact_pictures(
    name: str, domain: str, split: str, path: Path, *, source: str, arrays: str, landmarks: str, cache: str,
    seed: int = 0,
) -> FactPicturesPart:  # fmt: skip
    """Read faces that are shown together with their measured facts; see `FactPicturesPart`."""
    read = _faces(SOURCES[source], path, split, arrays, landmarks)
    bank = make_bank([read], path.parent, Path(cache), split)
    rows = _repeated(SOURCES[source], read, seed)
    known = np.isfinite(read.actions).all(1) & (read.targets[:, :7].max(1) >= 0.3)
    return FactPicturesPart(name, domain, read, rows[known[rows]], bank, seed)


def clips(
    name: str, domain: str, split: str, path: Path, *, sources: list[str], arrays: str, landmarks: str, cache: str,
    size: int = 20000, turns: int = 5, seed: int = 0,
) -> ClipsPart:  # fmt: skip
    """Compose clips from measurements of the files next to `path`; see `ClipsPart`."""
    read = [_faces(SOURCES[source], path.parent / SOURCES[source].file, split, arrays, landmarks) for source in sources]
    if not any(True for _ in face_facts(read)):
        raise DataError(f"part {name!r}: {landmarks!r} holds no measured face of {', '.join(sources)}")
    return ClipsPart(name, domain, make_bank(read, path.parent, Path(cache), split), size, turns, seed)


def voices(
    name: str, domain: str, split: str, path: Path, *, corpora: list[str], cache: str, seed: int = 0,
    varied: bool = True, closed: float = 0.8, chinese: float = CHINESE, turns: int = 1,
) -> VoicesPart:  # fmt: skip
    """Read the voices of some corpora from the files next to `path`; see `VoicesPart`."""
    read = [v for v in read_corpora(path.parent, Path(cache)) if v.corpus in corpora and v.split == split]
    return VoicesPart(name, domain, tuple(read), seed, varied, closed, chinese, turns)


def texts(
    name: str, domain: str, split: str, path: Path, *, source: str = "", choices: list[str], language: str,
    balance: float = 0.4, longest: int = 240, seed: int = 0, turns: int = 1,
) -> TextsPart:  # fmt: skip
    """Read labelled texts of a file whose column `source` starts with `source`; see `TextsPart`."""
    columns = pq.read_schema(path).names
    label = "ekman" if "ekman" in columns else "label"
    wanted = ["text", label, "split", *(["source"] if source else [])]
    rows = []
    known = {meaning for each in choices for meaning in CHOICES[each]}
    for row in pq.read_table(path, columns=wanted).to_pylist():
        given = [row[label]] if isinstance(row[label], str) else list(row[label])
        if row["split"] != split or len(given) != 1 or (source and not row["source"].startswith(source)):
            continue
        meaning = concept(given[0]) if given[0] in concept_of_word() else given[0]
        if meaning in known and len(row["text"]) <= longest:
            rows.append(LabelledText(row["text"].strip(), meaning))
    if not rows:
        raise DataError(f"{path.name}: no text has split {split!r} and one of the labels of {', '.join(choices)}")
    return TextsPart(name, domain, tuple(_balanced(rows, balance, seed)), tuple(choices), language, seed, turns)


def replay(
    name: str, domain: str, split: str, path: Path, *, answers: str = "", longest: int = 700, seed: int = 0
) -> ReplayPart:
    """Read general instructions with their answers, or those of the original model; see `ReplayPart`.

    Args:
        name: of the part.
        domain: "general".
        split: "train" or "validation".
        path: `text_instructions.parquet`.
        answers: JSON lines of `{"id", "response"}`; where given, only their prompts are used, with these answers.
        longest: characters of prompt and answer together.
        seed: unused; all parts have one.
    """
    rows = [row for row in pq.read_table(path).to_pylist() if row["split"] == split]
    if answers:
        lines = Path(answers).read_text(encoding="utf-8").splitlines()
        given = {line["id"]: line["response"] for line in map(json.loads, lines)}
        rows = [{**row, "response": given[row["id"]]} for row in rows if row["id"] in given]
    pairs = [(row["prompt"], row["response"]) for row in rows if row["response"]]
    return ReplayPart(name, domain, tuple(pair for pair in pairs if len(pair[0]) + len(pair[1]) <= longest))


def _faces(source: Source, path: Path, split: str, arrays: str, landmarks: str) -> LabelledFaces:
    return read_faces(path.parent, Path(arrays), source, split, Path(landmarks) if landmarks else None)


def _repeated(source: Source, read: LabelledFaces, seed: int) -> np.ndarray:
    """Return the rows of one pass, as `EyesStream` draws them: an emotion's share determines how often it is shown."""
    generator = np.random.default_rng(seed)
    rows = []
    for emotion, share in source.shares.items():
        members = np.flatnonzero(class_members(read, emotion))
        counts = np.full(len(members), int(share))
        counts[generator.permutation(len(members))[: round(len(members) * (share % 1))]] += 1
        rows.append(np.repeat(members, counts))
    return np.concatenate(rows)


def _balanced(rows: list[LabelledText], power: float, seed: int) -> list[LabelledText]:
    """Draw rarer labels more often: 0 leaves the texts unchanged, 1 gives every label the same number."""
    by_label: dict[str, list[LabelledText]] = {}
    for row in rows:
        by_label.setdefault(row.meaning, []).append(row)
    most = max(map(len, by_label.values()))
    wanted = {label: round(len(each) * (most / len(each)) ** power) for label, each in by_label.items()}
    scale = len(rows) / sum(wanted.values())
    generator = np.random.default_rng(seed)
    chosen: list[LabelledText] = []
    for label, each in by_label.items():
        order = generator.permutation(len(each))
        count = max(round(scale * wanted[label]), 1)
        chosen += [each[order[place % len(each)]] for place in range(count)]
    return chosen

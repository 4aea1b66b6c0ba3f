"""Invented files of our own layout (`docs/guides/data.md`): pictures, voices and lines in Parquet. No real data."""

import io
import wave
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .prediction_files import write_pictures
from .skill_files import write_skill_files


def sound(level: float) -> bytes:
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((level * np.sin(np.arange(1600) / 5) * 32767).astype("<i2").tobytes())
    return data.getvalue()


def write_voices(path, labels, corpus=()):
    rows = [
        {"id": f"v{n}", "audio": sound(0.1 + 0.1 * n), "label": label, "speaker": n % 3, "split": split}
        for n, (label, split) in enumerate(labels)
    ]
    rows = [{**row, "corpus": name} for row, name in zip(rows, corpus, strict=True)] if corpus else rows
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_lines(path, rows, label="label"):
    names = ("id", "text", label, "source", "split")
    pq.write_table(pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows]), path)


def _pictures(file: str, *labels: str):
    def write(home: Path) -> Path:
        home.mkdir(parents=True, exist_ok=True)
        splits = ["validation"] * len(labels) + ["train", "test"]
        write_pictures(home / file, [*labels, *labels[:2]], splits=splits)
        return home

    return write


def _voices(file: str, labels: tuple[str, ...], corpus: str = ""):
    def write(home: Path) -> Path:
        home.mkdir(parents=True, exist_ok=True)
        rows = [*((label, "validation") for label in labels), (labels[1], "test"), (labels[0], "train")]
        write_voices(home / file, rows, [corpus] * (len(rows) - 1) + ["URDU"] if corpus else ())
        return home

    return write


def _lines(file: str, source: str, *texts: str):
    def write(home: Path) -> Path:
        home.mkdir(parents=True, exist_ok=True)
        labels = ("joy", "anger", "Powerful")  # the last is none of the seven
        rows = [
            (f"l{n}", text, label, source, "validation")
            for n, (text, label) in enumerate(zip(texts, labels, strict=True))
        ]
        others = [("t1", texts[0], "joy", source, "train"), ("t2", texts[1], "anger", source, "test")]
        write_lines(home / file, [*rows, *others], "ekman")
        return home

    return write


def write_skills(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    return write_skill_files(home)


WRITERS = {
    "fer": _pictures("faces_fer_aligned.parquet", "anger", "happiness", "sadness"),
    "lfw": _pictures("faces_lfw_expressions.parquet", "neutral", "happiness", "happiness", "anger"),
    "cifar": _pictures("pictures_cifar10.parquet", "cat", "dog", "ship"),
    "emodb": _voices("speech_emodb.parquet", ("happiness", "boredom", "anger")),
    "goemotions": _lines("text_goemotions.parquet", "reddit", "What a day!", "No way.", "Hm."),
    "ravdess_voices": _voices("speech_ravdess.parquet", ("calm", "fear", "neutral")),
    "nemo": _voices("speech_more.parquet", ("fear", "sadness", "neutral"), "nEMO"),
    "emotiontts": _voices("speech_more.parquet", ("fear", "happiness"), "emotiontts plain script"),
    "meld_lines": _lines("text_dialogue_en.parquet", "MELD", "Great!", "Get out.", "Well."),
    "dailydialog_lines": _lines("text_dialogue_en.parquet", "DailyDialog (RECCON)", "Great!", "Get out.", "Well."),
    "emorynlp_lines": _lines("text_dialogue_en.parquet", "EmoryNLP", "Great!", "Get out.", "Well."),
    "cped_lines": _lines("text_emotion_zh.parquet", "scutcyr/CPED", "真好。", "气死了。", "随便。"),
    "skills": write_skills,
    "text_perplexity": write_skills,
    "general_prompts": write_skills,
}
"""Task -> writer of its folder."""

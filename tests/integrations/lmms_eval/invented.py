"""Invented files of our tasks in one folder, and a folder's rows as the harness would hold them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from emotion_qwen.integrations.lmms_eval.rows import rows_of
from evaluation import benchmark_files as files

SPLITS = {
    "dfew_en": 7,
    "dfew_zh": 7,
    "mer2024_semi_en": 2,
    "mer2024_noise_zh": 1,
    "mafw_en": 3,
    "ravdess_en": 3,
    "emoset_en": 3,
    "emer_en": 3,
    "emer_zh": 3,
    "goemotions_en": 2,
}


def write_all(home: Path) -> Path:
    for name in ("dfew", "mafw", "ravdess", "emoset", "emer", "mer2024"):
        getattr(files, f"write_{name}")(home / name)
    rows = [("a", "What a day!", "joy"), ("b", "Leave me alone.", "anger"), ("c", "Both.", "joy")]
    table = [
        {"id": i, "text": text, "labels": [label], "ekman": [label], "split": "test" if i == "c" else "validation"}
        for i, text, label in rows
    ]
    pq.write_table(pa.Table.from_pylist(table), home / "text_goemotions.parquet")
    return home


class Rows(list):
    """As much of `datasets.Dataset` as our code touches."""

    def __init__(self, rows=(), split=""):
        super().__init__(rows)
        self.split = split

    @classmethod
    def from_list(cls, rows, split):
        return cls(rows, split)


def held(split: str, home: Path) -> dict:
    """Return documents as models of the harness see them: task -> split -> rows."""
    return {split: {split: Rows(rows_of(split, home), split)}}

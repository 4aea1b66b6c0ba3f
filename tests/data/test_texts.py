"""Comments with one label are read, all else is left out or named."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emotion_qwen.data.texts import read_texts
from emotion_qwen.errors import DataError


def test_one_label_and_one_split(comment_file):
    texts = read_texts(comment_file, "train")
    assert (texts.texts, texts.labels, texts.ids) == (("what a day", "oh no"), ("happiness", "fear"), ("a", "b"))
    assert len(read_texts(comment_file, "validation")) == 1


def test_faults_are_named(comment_file, tmp_path):
    with pytest.raises(DataError, match="does not exist; give a Parquet file with id, text, ekman, split"):
        read_texts(tmp_path / "none.parquet", "train")
    with pytest.raises(DataError, match="no text has split 'test'"):
        read_texts(comment_file, "test")
    pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), tmp_path / "bare.parquet")
    with pytest.raises(DataError, match=r"missing column\(s\) \['ekman', 'split'\]"):
        read_texts(tmp_path / "bare.parquet", "train")

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emotion_qwen.data.pictures import read_pictures
from emotion_qwen.errors import DataError


def png(value: int, size=(20, 10)) -> bytes:
    out = io.BytesIO()
    Image.new("L", size, value).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def file(tmp_path):
    table = pa.table(
        {
            "id": ["a", "b", "c"],
            "image": [png(10), png(20), png(30)],
            "label": ["cat", "dog", "cat"],
            "split": ["train", "validation", "train"],
        }
    )
    pq.write_table(table, tmp_path / "set.parquet")
    return tmp_path / "set.parquet"


def test_only_the_asked_split_is_read(file):
    pictures = read_pictures(file, "train", 8)
    assert pictures.ids == ("a", "c") and pictures.labels == ("cat", "cat")
    assert pictures.pixels.shape == (2, 8, 8, 3) and np.unique(pictures.pixels).tolist() == [10, 30]


def test_faults_are_named(file, tmp_path):
    with pytest.raises(DataError, match=r"no picture has split 'test'; it has \['train', 'validation'\]"):
        read_pictures(file, "test", 8)
    with pytest.raises(DataError, match="gone.parquet' does not exist"):
        read_pictures(tmp_path / "gone.parquet", "train", 8)
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "bare.parquet")
    with pytest.raises(DataError, match=r"bare.parquet: missing column\(s\) \['image', 'label', 'split'\]"):
        read_pictures(tmp_path / "bare.parquet", "train", 8)

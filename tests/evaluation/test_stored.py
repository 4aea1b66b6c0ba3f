"""Pictures inside data files, read when they are needed."""

import base64
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.benchmark_files import loaded

from emotion_qwen.errors import MediaError
from emotion_qwen.evaluation.run.stored import Stored
from emotion_qwen.media.picture import decode_picture

from . import benchmark_files as files


def test_a_row_of_any_group_is_found(tmp_path):
    rows = [{"image": files.image(shade), "n": shade} for shade in (10, 20, 30)]
    path = files.write_parquet(tmp_path / "a.parquet", rows, group=2)
    pictures = [Stored(path, str(number), number % 2, number // 2).load() for number in range(3)]
    assert [int(picture[0, 0, 0]) for picture in pictures] == [10, 20, 30]
    assert pictures[0].dtype == np.uint8 and pictures[0].shape == (32, 32, 3)


def test_bytes_structs_and_the_first_of_a_list_are_read(tmp_path):
    for number, value in enumerate((files.picture(7), files.image(7), [files.image(7), files.image(9)])):
        path = files.write_parquet(tmp_path / f"{number}.parquet", [{"picture": value}])
        assert Stored(path, "x", column="picture").load()[0, 0, 0] == 7


def test_transparency_lies_on_white_and_gray_becomes_rgb():
    assert decode_picture(files.picture(90, mode="L"), "x").shape == (32, 32, 3)
    from PIL import Image

    data = files.io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(data, "PNG")
    assert (decode_picture(data.getvalue(), "x") == 255).all()


def test_what_is_no_picture_is_named_with_its_file(tmp_path):
    path = files.write_parquet(tmp_path / "a.parquet", [{"image": b"no"}, {"image": None}])
    with pytest.raises(MediaError, match=r"a\.parquet, picture p1 is no picture that can be read; expected one of"):
        Stored(path, "p1").load()
    with pytest.raises(MediaError, match=r"a\.parquet, picture p2: holds no bytes"):
        Stored(path, "p2", row=1).load()
    with pytest.raises(MediaError, match=r"b\.tsv, picture p3: not base64"):
        Stored(Path("b.tsv"), "p3", text="?").load()


def test_parts_that_hold_no_stored_picture_stay(tmp_path):
    encoded = base64.b64encode(files.picture(5)).decode()
    parts = ({"type": "image", "image": Stored(Path("b.tsv"), "p", text=encoded)}, {"type": "text", "text": "x"})
    seen, text = loaded(parts)
    assert seen["type"] == "image" and seen["image"][0, 0, 0] == 5 and text is parts[1]
    assert Stored(Path("c/a.tsv"), "p").key == Stored(Path("c/b.tsv"), "p", row=4).key == "c/p"

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emotion_qwen.data import parts as package_parts
from emotion_qwen.errors import DataError, SettingsError
from recipes.nano import parts
from recipes.nano.pictures import BLANK


def read_part(kind, *arguments, **options):
    return package_parts.read_part(f"{parts.__file__}:{kind}", *arguments, **options)


@pytest.fixture
def pictures(tmp_path):
    rng, rows = np.random.default_rng(0), []
    for number in range(30):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)).save(buffer, "PNG")
        label = ("happiness", "fear", "cat", "unicorn")[number % 4]
        rows.append({"id": f"p{number}", "image": buffer.getvalue(), "label": label, "split": "train"})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pictures.parquet")
    return tmp_path / "pictures.parquet"


def shown(sample) -> np.ndarray:
    return sample.messages[0]["content"][0]["image"]


def test_a_picture_is_asked_about_anew_every_turn_and_the_same_again_when_asked_again(pictures):
    part = read_part("pictures", "faces", "emotion", pictures, "train", strength=0.5)
    first, again, later = part.sample(3, 0), part.sample(3, 0), part.sample(3, 1)
    assert first.messages[1] == again.messages[1] and np.array_equal(shown(first), shown(again))
    assert not np.array_equal(shown(first), shown(later))
    assert len({part.sample(3, turn).messages[0]["content"][1]["text"] for turn in range(12)}) > 4


def test_unknown_labels_are_left_out_and_a_cap_holds_for_every_class(pictures):
    part = read_part("pictures", "faces", "emotion", pictures, "train", cap=4)
    labels = [label for i in range(len(part)) for label in part.sample(i, 0).labels.values()]
    assert {name: labels.count(name) for name in set(labels)} == {"happiness": 4, "fear": 4, "cat": 4}


def test_variants_repeat_and_plain_pictures_stay_as_they_are(pictures):
    part = read_part("pictures", "faces", "emotion", pictures, "train", strength=0.5, variants=2)
    assert np.array_equal(shown(part.sample(1, 0)), shown(part.sample(1, 2)))
    assert not np.array_equal(shown(part.sample(1, 0)), shown(part.sample(1, 1)))
    plain = read_part("pictures", "faces", "emotion", pictures, "train")
    assert np.array_equal(shown(plain.sample(1, 0)), shown(plain.sample(1, 7)))


def test_blank_pictures_come_in_their_share_and_without_a_label(pictures):
    part = read_part("pictures", "faces", "emotion", pictures, "train", closed=1.0, blank=0.3)
    drawn = [part.sample(i % len(part), i // len(part)) for i in range(600)]
    blank = [s for s in drawn if (shown(s) == np.array(BLANK, np.uint8)).all()]
    assert 0.24 < len(blank) / 600 < 0.36 and all(not s.labels for s in blank)


def test_texts_are_asked_about_and_joy_is_happiness(tmp_path):
    rows = [
        {"id": "a", "text": "Great!", "ekman": ["joy"], "split": "train"},
        {"id": "b", "text": "Both", "ekman": ["joy", "anger"], "split": "train"},
        {"id": "c", "text": "Held", "ekman": ["fear"], "split": "validation"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "texts.parquet")
    part = read_part("texts", "comments", "emotion", tmp_path / "texts.parquet", "train")
    assert len(part) == 1 and part.sample(0, 0).labels == {"emotion": "happiness"}
    assert all("Great!" in part.sample(0, turn).messages[0]["content"] for turn in range(8))
    with pytest.raises(DataError, match="no text has split 'test'"):
        read_part("texts", "comments", "emotion", tmp_path / "texts.parquet", "test")


def test_shapes_never_repeat_between_turns():
    part = read_part("shapes", "shapes", "general", None, "train", size=5)
    assert len(part) == 5
    seen = {part.sample(i, turn).id.rsplit("/", 1)[0] for turn in range(3) for i in range(5)}
    assert len(seen) == 15


def test_a_scene_is_asked_many_questions_of_the_kinds_that_are_named():
    part = read_part("shapes", "shapes", "general", None, "train", questions=6, kinds=["existence"])
    other = read_part("shapes", "shapes", "general", None, "train", questions=6)
    asked = [m["content"][-1]["text"] for m in part.sample(0, 0).messages if m["role"] == "user"]
    starts = ("Is there", "Can you see", "Does the picture show", "是否有", "图中是否有", "能否看到")
    assert sum(text.startswith(starts) for text in asked) >= 5 and part.identity != other.identity
    with pytest.raises(DataError, match="part 'a': unknown kind of question 'colur'.*Did you mean 'colour'"):
        read_part("shapes", "a", "general", None, "train", kinds=["colur"])


def test_scenes_are_those_of_the_kinds_that_are_named():
    kinds = ["count", "comparison"]
    part = read_part("shapes", "counting", "general", None, "train", size=6, questions=3, scenes=kinds)
    asked = [part.sample(index, turn) for turn in range(2) for index in range(6)]
    assert [sample.labels["shapes"] for sample in asked] == kinds * 6
    assert len({sample.id.rsplit("/", 1)[0] for sample in asked}) == 12
    assert part.identity != read_part("shapes", "counting", "general", None, "train", size=6, questions=3).identity
    with pytest.raises(DataError, match="part 'a': unknown kind of question 'tally'"):
        read_part("shapes", "a", "general", None, "train", scenes=["tally"])


def test_shapes_without_a_picture_are_asked_what_needs_none():
    part = read_part("shapes", "lists", "general", None, "train", questions=4, drawn=False)
    assert all(isinstance(message["content"], str) for message in part.sample(0, 0).messages)
    assert len(part.sample(0, 0).messages) == 8 and part.sample(0, 0).id != part.sample(0, 1).id
    assert part.identity != read_part("shapes", "lists", "general", None, "train", questions=4).identity
    with pytest.raises(DataError, match="unknown kind of question 'colour'; expected one of: legend, letter, recite"):
        read_part("shapes", "lists", "general", None, "train", kinds=["colour"], drawn=False)


def test_wrong_parts_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="parts.py:picture': unknown function 'picture'.*Did you mean 'pictures'"):
        read_part("picture", "a", "emotion", tmp_path, "train")
    with pytest.raises(DataError, match="part 'a': unknown option 'sides'.*Did you mean 'side'"):
        read_part("shapes", "a", "general", None, "train", sides=3)
    with pytest.raises(DataError, match="part 'a' of kind .*parts.py:texts' has no path; give the file"):
        read_part("texts", "a", "general", None, "train")
    with pytest.raises(DataError, match=r"gone.parquet' does not exist"):
        read_part("texts", "a", "general", tmp_path / "gone.parquet", "train")

"""Readers of labelled pictures: EmoSet, and a folder of anyone's files."""

import json

import pytest

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.export.elan import write_eaf
from emotion_qwen.export.tiers import Tier, TierSpan

from .. import benchmark_files as files
from .test_clips import items, told


def test_emoset_reads_the_owners_lists(tmp_path):
    files.write_emoset(tmp_path / "EmoSet-118K")
    found = items("emoset", tmp_path)
    assert [(one.id, one.answer) for one in found] == [("awe_0", "awe"), ("fear_0", "fear"), ("anger_0", "anger")]
    assert found[0].parts[0]["image"].is_file() and "evoke" in found[0].question
    assert told(TASKS["emoset"], tmp_path) == [
        "differs: pictures of test.json: 6, published 17716 (not confirmed: derived from the shares 80, 5 and 15 %)",
        "missing: 1 of 3 pictures are missing: image/anger/anger_0.jpg",
        "fault: 1 row(s) left out, label outside the eight: image/joy/joy_0.jpg (joy)",
        "fault: 2 row(s) left out, not [label, id, picture, annotation]: entry 3, entry 4",
    ]
    assert [one.id for one in items("emoset", tmp_path, split="validation")] == ["awe_0"]
    with pytest.raises(SettingsError, match="unknown split 'train'"):
        items("emoset", tmp_path, split="train")


def test_emoset_finds_pictures_by_name_in_another_place(tmp_path):
    files.write_bytes(tmp_path / "test.json", json.dumps([files.emoset_entry("awe")]).encode())
    files.write_bytes(tmp_path / "pictures" / "awe_0.JPEG", files.picture(kind="JPEG"))
    assert items("emoset", tmp_path)[0].parts[0]["image"] == tmp_path / "pictures" / "awe_0.JPEG"
    assert [line for line in told(TASKS["emoset"], tmp_path) if line.startswith("missing")] == []


def test_emoset_must_be_a_list(tmp_path):
    files.write_bytes(tmp_path / "test.json", b'{"a": 1}')
    with pytest.raises(DataError, match=r"contains dict; expected a list of \[label, id, picture, annotation\]"):
        items("emoset", tmp_path)
    files.write_bytes(tmp_path / "test.json", b"[")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        items("emoset", tmp_path)


def test_a_folder_is_read_by_any_name_of_a_label(tmp_path):
    files.write_folder(tmp_path)
    found = items("folder", tmp_path, "zh")
    assert [(one.id, one.answer, one.parts[0]["type"]) for one in found] == [
        ("Angry/clips/b.mp4", "愤怒", "video"),
        ("happiness/a.png", "高兴", "image"),
        ("sad/c.jpg", "悲伤", "image"),
    ]
    assert told(TASKS["folder"], tmp_path) == [
        "fault: 1 row(s) left out, folder 'holidays' is not a label of fer7: 1 files",
        "fault: 1 row(s) left out, empty file: sad/empty.png",
        "fault: 1 row(s) left out, suffix is not that of a picture or clip: sad/notes.txt",
    ]


def test_the_labels_of_a_folder_are_an_option(tmp_path):
    files.write_folder(tmp_path)
    task = TASKS["folder"].with_options(labels="mer6")
    assert [one.answer for one in task.items(tmp_path, side=48)] == ["angry", "happy", "sad"]
    assert task.score([one.scored() for one in task.items(tmp_path, side=48)], [])["WAR"].value == 0
    with pytest.raises(SettingsError, match="unknown label set 'mer7'"):
        TASKS["folder"].with_options(labels="mer7")
    (tmp_path / "none").mkdir()
    with pytest.raises(
        DataError, match="holds no labelled picture or clip; expected one folder per label of fer7: anger"
    ):
        items("folder", tmp_path / "none")


def test_the_spans_of_a_tier_are_items(tmp_path):
    pytest.importorskip("pympi")
    spans = (TierSpan(0, 1500, "Happiness"), TierSpan(1500, 2250, "悲伤"), TierSpan(2250, 2500, "chewing"))
    (tmp_path / "day").mkdir()
    for name in ("day/a.mp4", "b.mp4", "notes.txt", "c.jpg"):
        (tmp_path / name).write_bytes(b"0")
    write_eaf(tmp_path / "day" / "a.eaf", [Tier("Ann", "emotion", spans), Tier("Bea", "emotion", spans[:1])], "a.mp4")
    task = TASKS["folder"].with_options(tier="Ann", labels="dfew7")
    read = list(task.items(tmp_path, side=48))
    assert [(item.id, item.answer, item.group, item.cluster) for item in read] == [
        ("day/a.mp4 0.000-1.500", "happy", "happy", "day/a.mp4"),
        ("day/a.mp4 1.500-2.250", "sad", "sad", "day/a.mp4"),
    ]
    assert read[1].parts == ({"type": "video", "video": tmp_path / "day" / "a.mp4", "start": 1.5, "end": 2.25},)
    assert told(task, tmp_path) == [
        "fault: 1 row(s) left out, no ELAN file or TextGrid next to it: b.mp4",
        "fault: 1 row(s) left out, not a label of dfew7: chewing in day/a.mp4",
    ]
    with pytest.raises(DataError, match=r"a\.eaf' has no tier 'Cleo'; it has 'Ann', 'Bea'"):
        list(task.with_options(tier="Cleo").items(tmp_path, side=48))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"contains no labelled span; expected clips, each with a file"):
        list(task.items(tmp_path / "none", side=48))

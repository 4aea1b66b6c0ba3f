"""Readers of free questions about pictures: TextVQA and VQAv2."""

import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.stored import Stored
from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.tasks import TASKS

from .. import benchmark_files as files
from .test_clips import items, told


def test_textvqa_keeps_ten_answers_of_people(tmp_path):
    files.write_textvqa(tmp_path)
    (one,) = items("textvqa", tmp_path)
    assert (one.id, one.cluster, one.choices, len(one.references)) == ("34602", "0a1b", (), 10)
    assert isinstance(one.parts[0]["image"], Stored)
    assert told(TASKS["textvqa"], tmp_path) == [
        "differs: questions: 3, published 5000",
        "fault: 1 row(s) left out, not 10 human answers: 34603 (9)",
        "fault: 1 row(s) left out, no human answer: 34604",
    ]
    scored = [one.scored()]
    assert TASKS["textvqa"].score(scored, [Answer("34602", "Stop")])["VQA accuracy"].value == 1
    lenient = [Answer("34602", "a sign that says stop")]
    assert TASKS["textvqa"].score(scored, lenient)["VQA accuracy"].value == 0
    assert TASKS["textvqa"].as_released(scored, lenient) == {"accuracy": 1.0}


def test_textvqa_reads_the_owners_json(tmp_path):
    files.write_textvqa_json(tmp_path)
    found = items("textvqa", tmp_path)
    assert [one.parts[0]["image"] for one in found] == [
        tmp_path / "train_images" / "0a1b.jpg",
        tmp_path / "train_images" / "ffff.jpg",
    ]
    assert "missing: 1 of 2 pictures are missing: ffff" in told(TASKS["textvqa"], tmp_path)
    files.write_bytes(tmp_path / "TextVQA_0.5.1_val.json", b"[]")
    with pytest.raises(DataError, match="has no list 'data'"):
        items("textvqa", tmp_path)


def test_vqav2_reads_parquet_and_the_owners_json(tmp_path):
    files.write_vqav2(tmp_path / "one")
    (one,) = items("vqav2", tmp_path / "one")
    assert (one.id, one.group, one.cluster, one.references) == ("262148000", "number", "262148", ("2",) * 10)
    files.write_vqav2_json(tmp_path / "two")
    (other,) = items("vqav2", tmp_path / "two")
    assert (other.id, other.group, other.references[0]) == ("420", "yes/no", "yes")
    assert other.parts[0]["image"].is_file() and other.cluster == "COCO_val2014_000000000042"
    assert told(TASKS["vqav2"], tmp_path / "two") == [
        "differs: questions: 2, published 214354",
        "fault: 1 row(s) left out, no human answer: 430",
    ]
    files.write_bytes(tmp_path / "two" / "v2_mscoco_val2014_annotations.json", b"[]")
    with pytest.raises(DataError, match="not the owners' questions and annotations"):
        items("vqav2", tmp_path / "two")

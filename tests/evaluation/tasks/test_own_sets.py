"""Voices and lines of our own layout, from invented Parquet files: sources, splits, labels and odd rows."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.tasks import TASKS

from ..own_files import write_lines, write_voices


def answers(name, folder, **more):
    items = TASKS[name].items(folder, side=None, languages=TASKS[name].languages[:1], **more)
    return {item.id: item.answer for item in items}


def test_voices_of_one_corpus_and_split_with_the_words_of_the_set(tmp_path):
    labels = [("happiness", "validation"), ("boredom", "validation"), ("anger", "train"), ("sadness", "test")]
    write_voices(tmp_path / "speech_emodb.parquet", labels)
    assert answers("emodb", tmp_path, split="validation") == {"v0": "happiness", "v1": "boredom"}
    assert answers("emodb", tmp_path, split="test") == {"v3": "sadness"}
    spoken = [("calm", "validation"), ("fear", "validation"), ("surprise", "train")]
    write_voices(tmp_path / "speech_ravdess.parquet", spoken)
    assert answers("ravdess_voices", tmp_path, split="validation") == {"v0": "calm", "v1": "fearful"}
    corpus = ("nEMO", "emotiontts plain script", "nEMO", "URDU")
    write_voices(tmp_path / "speech_more.parquet", [("fear", "validation")] * 4, corpus)
    assert answers("nemo", tmp_path) == {"v0": "fear", "v2": "fear"} and answers("emotiontts", tmp_path) == {
        "v1": "fear"
    }
    (item,) = TASKS["nemo"].items(tmp_path, side=None, limit=1)
    assert item.parts[0]["audio"].dtype == np.float32 and abs(item.parts[0]["audio"]).max() == pytest.approx(
        0.1, abs=0.02
    )
    with pytest.raises(DataError, match="no voice has split 'test'"):
        answers("nemo", tmp_path, split="test")
    write_voices(tmp_path / "speech_emodb.parquet", labels[:1])
    table = pq.read_table(tmp_path / "speech_emodb.parquet").drop_columns(["speaker"])
    pq.write_table(table, tmp_path / "speech_emodb.parquet")
    with pytest.raises(DataError, match=r"missing column\(s\) \['speaker'\]"):
        answers("emodb", tmp_path)


def test_lines_of_one_source_that_have_one_label_of_the_seven(tmp_path):
    rows = [
        ("m1", "Oh!", "surprise", "MELD", "validation"),
        ("m2", "Bye.", "neutral", "MELD", "train"),
        ("m3", "Whatever.", "Powerful", "MELD", "validation"),
        ("d1", "Great.", "happiness", "DailyDialog (RECCON)", "validation"),
        ("e1", "No.", "anger", "EmoryNLP", "validation"),
        ("e2", "Yes.", "joy", "EmoryNLP", "test"),
    ]
    write_lines(tmp_path / "text_dialogue_en.parquet", rows, "ekman")
    assert answers("meld_lines", tmp_path) == {"m1": "surprise"}
    assert answers("dailydialog_lines", tmp_path) == {"d1": "joy"}
    assert answers("emorynlp_lines", tmp_path) == {"e1": "anger"}
    assert answers("emorynlp_lines", tmp_path, split="test") == {"e2": "joy"}
    chinese = [
        ("c1", "真好。", "happiness", "scutcyr/CPED", "validation"),
        ("c2", "随便。", "other", "scutcyr/CPED", "validation"),
        ("c3", "气死了。", "anger", "CLUEbenchmark/x", "validation"),
    ]
    write_lines(tmp_path / "text_emotion_zh.parquet", chinese)
    (item,) = TASKS["cped_lines"].items(tmp_path, side=None, languages=("en", "zh"))
    assert (item.id, item.language, item.answer, item.references) == ("c1", "zh", "喜悦", ("joy",))
    assert item.parts[0]["words"] == "真好。"
    with pytest.raises(DataError, match="no text has split 'test'"):
        answers("meld_lines", tmp_path, split="test")

"""The word table: what is counted, what counts as evidence, and what is not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from emotion_qwen.errors import CheckpointError
from emotion_qwen.verify.sentences import labelled_as
from emotion_qwen.verify.verifier import EMOTIONS
from emotion_qwen.verify.word_table import FILE, PRIOR, WordTable

SADNESS, ANGER = EMOTIONS.index("sadness"), EMOTIONS.index("anger")


def counted() -> WordTable:
    texts = ["I lost it, lost!"] * 40 + ["I lost my temper"] * 5 + ["I hate it"] * 60 + ["It is late"] * 300
    labels = ["sadness"] * 40 + ["anger"] * 65 + ["neutral"] * 300
    return WordTable.count(labelled_as(texts, labels), {"source": "made up"})


def test_words_are_counted_once_per_text():
    table = counted()
    assert "i" not in table.words and "temper" not in table.words  # a single letter; in fewer than 10 texts
    assert table.counts[table.words.index("lost")].tolist() == [5, 0, 0, 0, 0, 40, 0]
    assert table.texts[[ANGER, SADNESS]].tolist() == [65, 40] and table.texts.sum() == 405


def test_a_ratio_is_the_share_of_texts_against_all_others_with_the_prior():
    table = counted()
    prior = PRIOR * 45 / 405
    expected = ((40 + prior) / (40 + PRIOR)) / ((5 + prior) / (365 + PRIOR))
    assert table.ratios[table.words.index("lost"), SADNESS] == pytest.approx(expected)


def test_evidence_is_strong_sure_and_not_neutral():
    (lost,) = counted().evidence("It is late. LOST again")  # "late" tells neutral only
    assert (lost.word, lost.emotion) == ("lost", "sadness") and lost.ratio == pytest.approx(5.2, abs=0.3)
    assert counted().evidence("无 lost") == [] == counted().evidence("")


def test_shares_are_naive_bayes_and_without_words_those_of_the_texts():
    table = counted()
    known, unknown = table.shares(["lost", "xyzzy"])
    assert unknown == pytest.approx(table.texts / 405)
    assert known[SADNESS] / known[ANGER] > unknown[SADNESS] / unknown[ANGER] and known.sum() == pytest.approx(1)


def test_texts_of_several_emotions_and_chinese_are_left_out():
    table = WordTable.count(labelled_as(["so odd"] * 12 + ["还好 odd"] * 3, [("fear", "anger")] * 12 + ["fear"] * 3))
    assert table.words == () and not table.texts.any()


def test_a_table_is_read_as_it_was_saved_and_damage_is_named(tmp_path):
    path = counted().save(tmp_path)
    table = WordTable.load(tmp_path)
    assert table.words == counted().words and np.array_equal(table.counts, counted().counts)
    assert table.facts == {"source": "made up"}
    values = json.loads(path.read_text())
    values["words"]["lost"][SADNESS] = 41  # more texts than there are
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=f"{FILE}.*no word table.*count one again"):
        WordTable.load(tmp_path)


def test_the_shipped_table_knows_plain_words_of_emotion():
    table = WordTable.load()
    assert [(each.word, each.emotion) for each in table.evidence("I am so scared")] == [("scared", "fear")]
    assert table.facts["licence"] == "Apache-2.0" and len(table.words) > 2000

"""Replies as models write them, each with the label that a careful reader takes from it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from emotion_qwen.errors import SettingsError
from emotion_qwen.matching.answer import EMPTY, NOTHING, REFUSED, SEVERAL, UNFINISHED, match_label, read_label
from emotion_qwen.matching.statements import stated_concepts
from emotion_qwen.taxonomy import LABEL_SETS, label_set

UNPARSED = "-"


def replies(table: str) -> list[tuple[str, str | None, str]]:
    """Read (label set, expected label or None, reply) from a table beside this file."""
    rows = []
    for line in (Path(__file__).parent / table).read_text(encoding="utf-8").split("\n"):
        if line and not line.startswith("#"):
            labels, expected, reply = line.split("\t")
            reply = re.sub(r"\\(\\|n)", lambda m: "\n" if m.group(1) == "n" else "\\", reply)
            rows.append((labels, None if expected == UNPARSED else expected, reply))
    return rows


REPLIES = replies("replies.tsv")
REPORTED = replies("reported_replies.tsv")
FURTHER = replies("further_replies.tsv")


def test_the_table_is_large_bilingual_and_without_repetition() -> None:
    chinese = [reply for *_, reply in REPLIES if re.search("[一-鿿]", reply)]
    assert len(REPLIES) >= 600 and len(chinese) >= 180
    assert not [row for row, times in Counter(REPLIES).items() if times > 1]
    assert {labels for labels, *_ in REPLIES} == set(LABEL_SETS)
    unparsed = sum(expected is None for _, expected, _ in REPLIES)
    assert 0.3 < unparsed / len(REPLIES) < 0.6


@pytest.mark.parametrize(("labels", "expected", "reply"), REPLIES + REPORTED)
def test_a_reply_is_read_as_a_careful_reader_would(labels: str, expected: str | None, reply: str) -> None:
    found = read_label(reply, label_set(labels))
    assert found.label == expected
    assert (found.why == "") == (expected is not None)


def test_of_300_further_replies_nearly_all_are_right_and_at_most_one_is_wrong() -> None:
    """The second half is Chinese, pictographs too. A reply without a label that gets one counts as wrong, too."""
    assert len(FURTHER) == 300
    chinese = [bool(re.search("[一-鿿]", reply)) for *_, reply in FURTHER]
    assert sum(chinese[:150]) == 0 and sum(chinese[150:]) >= 148
    read = [(expected, match_label(reply, label_set(labels))) for labels, expected, reply in FURTHER]
    assert sum(expected == label for expected, label in read) >= 0.95 * len(FURTHER)
    assert sum(label not in (expected, None) for expected, label in read) <= 1


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", EMPTY),
        (" ...!", EMPTY),
        ("<think>he is happy", UNFINISHED),
        ("I cannot determine the emotion.", REFUSED),
        ("抱歉，我无法判断。", REFUSED),
        ("a man in a room", NOTHING),
        ("not happy", NOTHING),
        ("happy or sad", SEVERAL),
        ("Final answer: happy or sad", SEVERAL),
    ],
)
def test_an_unparsed_reply_says_why(reply: str, why: str) -> None:
    assert read_label(reply, label_set("dfew7")).why == why


def test_a_language_reads_only_its_own_words() -> None:
    labels = label_set("dfew7")
    assert match_label("happy 悲伤", labels) is None
    assert match_label("happy 悲伤", labels, "en") == "happy"
    assert match_label("happy 悲伤", labels, "zh") == "sad"
    with pytest.raises(SettingsError, match=r"unknown language 'fr'; expected one of: en, zh"):
        match_label("heureux", labels, "fr")


@pytest.mark.parametrize("name", LABEL_SETS)
def test_every_label_reads_as_itself_in_both_languages(name: str) -> None:
    labels = label_set(name)
    for english, chinese in zip(labels.labels, labels.chinese, strict=True):
        assert match_label(english, labels, "en") == english
        assert match_label(english.upper(), labels) == english
        assert match_label(chinese, labels, "zh") == english
        assert match_label(f"not {english}", labels, "en") is None
        assert match_label(f"不是{chinese}", labels, "zh") is None
        assert match_label(f"x{english}x", labels) is None
    assert match_label(", ".join(labels.labels), labels) is None
    assert match_label("、".join(labels.chinese), labels) is None


def test_calm_is_neutral_only_where_no_label_says_calm() -> None:
    assert match_label("calm", label_set("dfew7")) == "neutral"
    assert match_label("calm", label_set("ravdess8")) == "calm"
    assert match_label("neutral and calm", label_set("dfew7")) == "neutral"


def test_stated_concepts_are_those_of_any_set() -> None:
    assert stated_concepts("He is happy and proud, not angry.") == {"happiness", "pride"}
    assert stated_concepts("他很开心，也很自豪，并不生气") == {"happiness", "pride"}
    assert stated_concepts("开心 happy", "en") == {"happiness"}
    assert stated_concepts("") == set()


def test_a_very_long_reply_is_read_in_a_moment() -> None:
    """Nested quantifiers would never end here; the test's own time limit is that it ends."""
    long = "he is not sure if it is, and " * 3000
    assert match_label(long + "happy", label_set("dfew7")) == "happy"
    assert match_label("if " * 5000 + "happy. Answer: sad", label_set("dfew7")) == "sad"
    assert match_label("不" * 20000 + "。高兴", label_set("dfew7")) == "happy"

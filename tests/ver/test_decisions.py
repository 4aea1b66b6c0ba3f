"""Decisions: who, when and what; nothing overwritten, in doubt out, agreement told."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.ver.stats import reviewer_agreement
from emotion_qwen.ver.store.corrections import check_corrections
from emotion_qwen.ver.store.decisions import Decisions


@pytest.fixture
def reviews(tmp_path):
    return Decisions(tmp_path / "reviews.sqlite")


def test_the_latest_decision_of_a_reviewer_counts_and_all_are_kept(reviews):
    reviews.add("a", "ann", "reject")
    made = reviews.add("a", " ann ", "accept", note="on second thought")
    assert reviews.latest() == {"a": {"ann": made}} and made.at.endswith("+00:00")
    with sqlite3.connect(reviews.path) as database:
        assert database.execute("SELECT action FROM decisions ORDER BY number").fetchall() == [("reject",), ("accept",)]


def test_verdicts_keep_only_what_all_keep(reviews):
    reviews.add("a", "ann", "accept")
    reviews.add("a", "bob", "edit", {"en": {"description": "Better."}})
    reviews.add("b", "ann", "accept")
    reviews.add("b", "bob", "reject")
    reviews.add("c", "ann", "flag")
    found = reviews.verdicts()
    assert (found["a"].keep, found["a"].conflict, found["a"].edits) == (True, False, {"en": {"description": "Better."}})
    assert (found["b"].keep, found["b"].conflict) == (False, True)
    assert (found["c"].keep, found["c"].conflict) == (False, False)


def test_agreement_of_two_reviewers(reviews):
    for clip, one, other in (
        ("a", "accept", "accept"),
        ("b", "accept", "reject"),
        ("c", "reject", "flag"),
        ("d", "accept", "accept"),
    ):
        reviews.add(clip, "ann", one)
        reviews.add(clip, "bob", other)
    reviews.add("e", "ann", "accept")
    found = reviewer_agreement(reviews.history())
    (pair,) = found["pairs"]
    assert (pair["reviewers"], pair["clips"], pair["agree"]) == (["ann", "bob"], 4, 0.75)
    assert pair["kappa"] == pytest.approx((0.75 - 0.5) / 0.5)


def test_who_gives_in_after_seeing_the_other_changes_the_set_and_not_the_reviewer_agreement(reviews):
    reviews.add("a", "ann", "reject")
    reviews.add("a", "ann", "accept")  # a slip, mended before bob decided
    reviews.add("a", "bob", "reject")
    assert reviews.verdicts()["a"].conflict
    reviews.add("a", "bob", "accept")  # after ann's decision could be seen
    assert reviews.verdicts()["a"].keep and reviewer_agreement(reviews.history())["pairs"][0]["agree"] == 0.0


@pytest.mark.parametrize(
    "arguments, match",
    [
        (("a", "ann", "maybe"), "unknown action 'maybe'"),
        (("a", " ", "accept"), "has no reviewer"),
        (("a", "ann", "edit"), "with no edits"),
        (("a", "ann", "accept", {"en": {"description": "x"}}), "expected edits with 'edit' alone"),
        (("a", "ann", "edit", {"fr": {"description": "x"}}), "expected en and zh"),
        (("a", "ann", "edit", {"en": {"label": "x"}}), "with description and reasoning"),
        (("a", "ann", "edit", {"en": {"description": " "}}), "leave a text empty"),
        (("a", "ann", "accept", {}, "", {"label": "sad"}), "expected edits with 'edit' alone"),
        (("a", "ann", "edit", {}, "", {"mood": "sad"}), "corrections of mood; expected any of label, valence"),
        (("a", "", "edit", {}, "", {"label": "sad"}), "has no reviewer"),
    ],
)
def test_what_does_not_fit_is_refused(reviews, arguments, match):
    with pytest.raises(DataError, match=match):
        reviews.add(*arguments)


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "reviews.sqlite").write_text("no database at all, only text of some length" * 20)
    with pytest.raises(DataError, match="cannot be opened"):
        Decisions(tmp_path / "reviews.sqlite")


OLD = """
CREATE TABLE decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, clip TEXT NOT NULL, reviewer TEXT NOT NULL, action TEXT NOT NULL,
    edits TEXT NOT NULL DEFAULT '{}', note TEXT NOT NULL DEFAULT '', at TEXT NOT NULL
);
INSERT INTO decisions (clip, reviewer, action, edits, at)
VALUES ('a', 'ann', 'edit', '{"en": {"description": "Old."}}', '2026-01-02T03:04:05+00:00');
"""


def test_files_of_earlier_versions_are_read_and_those_of_this_one_by_them(tmp_path):
    path = tmp_path / "reviews.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(OLD)
    for _ in range(2):  # the column is added once
        reviews = Decisions(path)
        (decision,) = reviews.latest()["a"].values()
        assert (decision.edits, decision.corrections) == ({"en": {"description": "Old."}}, {})
    reviews.add("a", "bob", "edit", {}, "", {"valence": -0.5})
    assert reviews.verdicts()["a"].corrections == {"valence": -0.5} and reviews.verdicts()["a"].keep
    with closing(sqlite3.connect(path)) as database, database:  # as earlier versions read and write
        rows = database.execute("SELECT clip, reviewer, action, edits, note, at FROM decisions").fetchall()
        assert [row[1:4] for row in rows][1] == ("bob", "edit", "{}")
        insert = "INSERT INTO decisions (clip, reviewer, action, edits, note, at) VALUES (?, ?, ?, ?, ?, ?)"
        database.execute(insert, ("a", "bob", "reject", "{}", "", ""))
    assert not reviews.verdicts()["a"].keep


def test_undo_goes_back_one_decision_of_the_reviewer_at_a_time(reviews):
    reviews.add("a", "ann", "accept")
    reviews.add("a", "ann", "reject")
    reviews.add("a", "bob", "flag")
    reviews.add("b", "ann", "flag")
    undone = [reviews.undo(" ann ") for _ in range(3)]
    assert [(decision.clip, decision.action) for decision in undone] == [
        ("b", "flag"),
        ("a", "reject"),
        ("a", "accept"),
    ]
    assert [list(by_reviewer) for by_reviewer in reviews.latest().values()] == [["bob"]]
    assert len(reviews.history()["a"]) == 5  # nothing was removed
    for name, match in (("ann", "'ann' has made no decision"), ("", "no decision that can be undone")):
        with pytest.raises(DataError, match=match):
            reviews.undo(name)
    reviews.add("a", "ann", "accept")
    assert reviews.latest()["a"]["ann"].action == "accept"


def test_an_undone_decision_counts_neither_for_the_set_nor_for_the_agreement(reviews):
    reviews.add("a", "ann", "reject")
    reviews.undo("ann")
    assert reviews.verdicts() == {}
    assert reviewer_agreement(reviews.history()) == {"reviewers": [], "clips": 0, "pairs": []}
    reviews.add("a", "bob", "accept")
    reviews.add("a", "ann", "accept")
    assert reviewer_agreement(reviews.history())["pairs"][0]["agree"] == 1.0
    reviews.add("b", "ann", "accept")
    reviews.add("b", "ann", "reject")
    reviews.undo("ann")  # the acceptance counts again
    reviews.add("b", "bob", "reject")
    reviews.undo("bob")  # after seeing the decision of ann
    reviews.add("b", "bob", "accept")
    assert reviews.verdicts()["b"].keep and reviewer_agreement(reviews.history())["pairs"][0]["agree"] == 0.5


@pytest.mark.parametrize(
    ("ann", "bob", "keep", "conflict"),
    [
        ({"label": "sad"}, {"label": "sad"}, True, False),
        ({"label": "sad"}, {"label": "angry"}, False, True),
        ({"label": "sad"}, None, False, True),
        ({"valence": -0.5}, None, True, False),
        ({"episodes": []}, {"arousal": 0.1}, True, False),
    ],
)
def test_a_label_is_corrected_if_all_who_decided_agree(reviews, ann, bob, keep, conflict):
    for name, corrections in (("ann", ann), ("bob", bob)):
        reviews.add("a", name, "edit" if corrections else "accept", {}, "", corrections)
    verdict = reviews.verdicts()["a"]
    assert (verdict.keep, verdict.conflict) == (keep, conflict)


def test_the_latest_correction_of_a_field_counts_and_its_reviewer_is_known(reviews):
    reviews.add("a", "ann", "edit", {"en": {"description": "Hers."}}, "", {"valence": -0.5, "arousal": 0.3})
    reviews.add("a", "bob", "edit", {}, "", {"valence": -0.2})
    verdict = reviews.verdicts()["a"]
    assert verdict.corrections == {"valence": -0.2, "arousal": 0.3}
    by = {name: decision.reviewer for name, decision in verdict.sources.items()}
    assert by == {"description_en": "ann", "valence": "bob", "arousal": "ann"}


LABELS = ("happy", "sad")
EPISODE = {"onset": 0.5, "offset": 1.0, "label": "sad"}


def test_corrections_are_stored_in_order():
    values = {"label": "sad", "valence": -1, "episodes": [{**EPISODE, "onset": 0.75}, EPISODE]}
    assert check_corrections(values, LABELS, 1.0004) == {
        "label": "sad", "valence": -1.0, "episodes": [EPISODE, {**EPISODE, "onset": 0.75}]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([], "corrections []; expected an object with any of label, valence, arousal, episodes"),
        ({"mood": 1}, "corrections 'mood'; expected an object"),
        ({"label": "sadd"}, "unknown label 'sadd'; expected one of: happy, sad. Did you mean 'sad'?"),
        ({"label": None}, "unknown label None"),
        ({"valence": 1.2}, "valence is 1.2; expected a number from -1 to 1"),
        ({"valence": float("nan")}, "valence is nan"),
        ({"valence": 10**400}, "valence is 1000"),
        ({"arousal": True}, "arousal is True"),
        ({"arousal": "0.5"}, "arousal is '0.5'"),
        ({"episodes": {}}, "episodes is no list"),
        ({"episodes": [EPISODE] * 501}, "at most 500"),
        ({"episodes": [EPISODE, {"onset": 0}]}, "episode 2 is {'onset': 0}; expected an object with onset, offset"),
        ({"episodes": [{**EPISODE, "onset": 1.0}]}, "lasts from 1 to 1 s; expected the onset before the offset"),
        ({"episodes": [{**EPISODE, "offset": 1.01}]}, "offset of episode 1 is 1.01; expected a number from 0 to 1"),
        ({"episodes": [{**EPISODE, "onset": -0.1}]}, "onset of episode 1 is -0.1"),
        ({"episodes": [{**EPISODE, "onset": None}]}, "onset of episode 1 is None"),
        ({"episodes": [{**EPISODE, "label": "joy"}]}, "unknown label 'joy'"),
    ],
)
def test_corrections_that_do_not_fit_are_refused_in_one_line(values, match):
    with pytest.raises(DataError) as caught:
        check_corrections(values, LABELS, 1.0004)
    assert match in str(caught.value) and "\n" not in str(caught.value)

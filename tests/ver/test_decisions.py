"""Decisions: who, when and what; nothing overwritten, in doubt out, agreement told."""

from __future__ import annotations

import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.ver.stats import reviewer_agreement
from emotion_qwen.ver.store.decisions import Decisions


@pytest.fixture
def reviews(tmp_path):
    return Decisions(tmp_path / "reviews.sqlite")


def test_the_latest_decision_of_a_reviewer_counts_and_all_are_kept(reviews):
    reviews.add("a", "ann", "reject")
    made = reviews.add("a", " ann ", "accept", note="on second thought")
    assert reviews.latest() == {"a": {"ann": made}} and made.at.endswith("+00:00")
    import sqlite3

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
    ],
)
def test_what_does_not_fit_is_refused(reviews, arguments, match):
    with pytest.raises(DataError, match=match):
        reviews.add(*arguments)


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "reviews.sqlite").write_text("no database at all, only text of some length" * 20)
    with pytest.raises(DataError, match="cannot be opened"):
        Decisions(tmp_path / "reviews.sqlite")

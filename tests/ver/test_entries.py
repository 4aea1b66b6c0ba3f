"""The set after review, on small tables: what became of every clip, what is restored, and what a person corrected."""

from __future__ import annotations

import json

import pytest
from tests.ver.sets import settings

from emotion_qwen.ver.export import flat, samples
from emotion_qwen.ver.store.decisions import FILE, Decisions
from emotion_qwen.ver.store.entries import entries
from emotion_qwen.ver.store.folder import SetFolder

TEXTS = {
    "description": "d", "reasoning": "r", "body": "", "voice": "", "scene": "", "context": "", "facial_cues": [],
    "emotions": ["happy", "surprised"], "valence": 0.7, "arousal": 0.2, "people": 1, "speaker": 0,
}  # fmt: skip
KEPT, NO_FACE, LEAK, CHECKED, LOST, UNCUT = "kept", "noface", "leak", "checked", "lost", "uncut"
WRITTEN = {language: {"description": "New.", "reasoning": "Seen."} for language in ("en", "zh")}
VALUES = {"label": "sad", "valence": -0.5, "arousal": 0.1}


def row(clip, reason="", **values):
    return {"clip": clip, "status": "rejected" if reason else "kept", "reason": reason, **values}


@pytest.fixture
def folder(tmp_path):
    """A set of six clips, of which one is accepted and the others end in different steps."""
    pytest.importorskip("pyarrow")
    made = SetFolder(settings(tmp_path / "films", tmp_path / "set", "http://127.0.0.1:1"))
    made.work.mkdir(parents=True)
    text, origin = json.dumps(TEXTS), {"source_id": "s", "group": "", "source": "f.mp4", "path": "f.mp4", "start": 0.0}
    described = {"en": text, "zh": text, "teacher": "m"}
    revised = json.dumps(TEXTS | {"description": "revised"})
    tables = {
        "segment": [row(name, **origin, end=2.0, license="MIT") for name in (KEPT, NO_FACE, LEAK, CHECKED, LOST)]
        + [row(UNCUT, "shorter than 1 s", **origin, end=0.5)],
        "cut": [row(name, media=f"{name}.mp4", seconds=2.0) for name in (KEPT, NO_FACE, LEAK, CHECKED, LOST)],
        "look": [row(name, people=1, hashes="[]") for name in (KEPT, NO_FACE, LEAK, CHECKED, LOST)],
        "select": [
            row(KEPT), row(NO_FACE, "no face"), row(LEAK, "shows the same as benchmark file 't.mp4'"), row(CHECKED),
            row(LOST),
        ],
        "listen": [{"clip": name, "words": "[]"} for name in (KEPT, CHECKED, LOST)],
        "describe": [row(name, **described) for name in (KEPT, CHECKED, LOST)],
        "check": [
            row(KEPT, label="happy", **described), row(LOST, "a process died"),
            row(CHECKED, "en: people: 2 described", label="happy", en=revised, zh=text),
        ],
    }  # fmt: skip
    for name, rows in tables.items():
        table = made.tables[name]
        rows = sorted(rows, key=lambda values: (KEPT, NO_FACE, LEAK, CHECKED, LOST, UNCUT).index(values["clip"]))
        table.open()
        for values in rows:
            table.append(values["clip"], [values])
        table.finish(values["clip"] for values in rows)
    return made


def test_every_clip_is_listed_with_the_step_at_which_it_ended(folder):
    outcomes = {outcome["clip"]: outcome for outcome in folder.outcomes()}
    ends = {clip: (outcome["step"], outcome["status"]) for clip, outcome in outcomes.items()}
    assert ends == {
        KEPT: ("check", "kept"), NO_FACE: ("select", "rejected"), LEAK: ("select", "rejected"),
        CHECKED: ("check", "rejected"), LOST: ("check", "rejected"), UNCUT: ("segment", "rejected"),
    }  # fmt: skip
    assert json.loads(outcomes[CHECKED]["en"])["description"] == "revised"
    assert json.loads(outcomes[LOST]["en"])["description"] == "d"  # what was described before the process died
    assert outcomes[NO_FACE].get("en") is None and outcomes[UNCUT].get("media") is None
    (evidence,) = folder.evidence("select", "listen", "describe", "check")
    assert outcomes[KEPT] == {**evidence, "step": "check"}


def test_without_decisions_only_accepted_clips_are_in_the_set(folder):
    (entry,) = entries(folder)
    assert (entry.row["clip"], entry.corrected, entry.restored, entry.episodes) == (KEPT, {}, "", None)
    assert [sample.labels for sample in samples(folder)] == [{"emotion": "happy"}] * 2


@pytest.mark.parametrize(
    ("clip", "edits", "corrections", "restored"),
    [
        (CHECKED, {}, {}, True),
        (LOST, {}, {}, True),
        (NO_FACE, WRITTEN, VALUES, True),
        (NO_FACE, {}, {}, False),
        (NO_FACE, {"en": WRITTEN["en"]}, VALUES, False),
        (NO_FACE, WRITTEN, {"label": "sad", "valence": 0.0}, False),
        (LEAK, WRITTEN, VALUES, False),
        (UNCUT, WRITTEN, VALUES, False),
    ],
)
def test_a_rejected_clip_is_restored_if_it_is_described_and_leaks_no_test(folder, clip, edits, corrections, restored):
    reviews = Decisions(folder.output / FILE)
    reviews.add(clip, "ann", "edit" if edits or corrections else "accept", edits, "", corrections)
    added = [entry for entry in entries(folder) if entry.row["clip"] != KEPT]
    assert len(added) == restored
    if restored:
        assert added[0].restored and added[0].texts["zh"]["description"] and added[0].media == f"clips/{clip}.mp4"
        shown = flat(added[0], ("en", "zh"), folder.output)
        assert shown["restored_after"] == added[0].restored and shown["emotion"] == corrections.get("label", "happy")
    reviews.add(clip, "bob", "reject")
    assert [entry.row["clip"] for entry in entries(folder)] == [KEPT]


def test_corrected_values_are_exported_with_the_reviewer_and_the_value_before(folder):
    episodes = [{"onset": 0.5, "offset": 1.0, "label": "sad"}]
    reviews = Decisions(folder.output / FILE)
    reviews.add(KEPT, "ann", "edit", {"en": {"description": "New."}}, "", {**VALUES, "episodes": episodes})
    made = reviews.add(KEPT, "bob", "edit", {}, "", {"label": "sad", "arousal": 0.4})
    (entry,) = entries(folder)
    for language in ("en", "zh"):
        texts = entry.texts[language]
        assert (texts["emotions"], texts["valence"], texts["arousal"]) == (["sad", "surprised"], -0.5, 0.4)
    assert entry.corrected["label"] == {"by": "bob", "at": made.at, "from": "happy"}
    assert entry.corrected["valence"]["from"] == 0.7 and "from" not in entry.corrected["description_en"]
    english, chinese = samples(folder)
    values = {"emotion": "sad", "valence": "-0.5", "arousal": "0.4", "episodes": json.dumps(episodes)}
    names = "arousal, description, episodes, label, valence"
    assert english.labels == {**values, "corrected": names, "corrected_by": "ann, bob"}
    assert chinese.labels["corrected"] == "arousal, episodes, label, valence"
    assert english.messages[-1]["content"] == "sad" and english.messages[1]["content"] == "New."
    shown = flat(entry, ("en", "zh"), folder.output)
    assert shown["emotion"] == "sad" and json.loads(shown["episodes"]) == episodes and shown["valence_zh"] == -0.5
    assert json.loads(shown["corrected"]) == entry.corrected

"""Data of other emotion systems: in, out again, and what is refused rather than guessed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.test_importers import encoded

from emotion_qwen.cli import main
from emotion_qwen.data.commands import FORMS
from emotion_qwen.data.dialogues import CausePair, pairs_text, read_pairs
from emotion_qwen.data.form_export import WRITERS, export_manifest
from emotion_qwen.data.forms import read_amt, read_ecf, read_emocfg, read_emocue, read_emoverse
from emotion_qwen.data.import_options import ImportOptions
from emotion_qwen.data.importers import IMPORTERS
from emotion_qwen.data.manifest import Fault, read_manifest
from emotion_qwen.errors import DataError

EMOVERSE = {
    "id": "p7", "image_path": "a.png", "emotion": "awe", "description": "A cliff above the sea.", "confidence": 8.0,
    "background": "semi-dark sky", "attribute": "steep", "subject": "cliff", "B-A-S": "semi-dark sky-steep-cliff",
    "bbox": [{"x1": 1.0, "y1": 2.0, "x2": 9.0, "y2": 12.0}], "mask_path": "masks/7.png",
}  # fmt: skip
AMT = [
    {"id": "1", "query": "<video>\nHow does it sound?", "response": "Negative.", "task": "MSA", "videos": ["a.mp4"]},
    {"id": "2", "query": 'He says "no". <emotion> [joy, anger]', "response": "Joy.", "task": "MER"},
    {"id": "3", "query": "<image>\nWhich emotion?", "response": "surprise", "task": "FER", "images": ["a.png"]},
    {"id": "4", "query": "<video>\nWhy?", "response": "She lost her key.", "task": "ERI", "videos": ["b.mp4"]},
    {"id": "5", "query": "1_joy. A: hi\nTarget: 1_joy", "response": "1_joy,1;1_joy,2", "task": "ECPE"},
    {"id": "6", "query": "1_anger. A: hm\nTarget: 1_anger", "response": "", "task": "ECPE"},
]
EMOCFG = [
    {"id": "q1", "messages": [{"role": "user", "content": "<video>\nWhat does the mouth do?"},
                              {"role": "assistant", "content": "It opens."}],
     "labels": "It opens.", "videos": ["a.mp4"], "source": "QA_mouth"},
]  # fmt: skip
EMOCUE = [
    {"id": "c1", "video": "b.mp4", "description": "In this context her brows fall.", "emotion": "sadness",
     "cues": {"visual": ["the brows fall", "the context is dark"], "emotional": ["she is sad"]},
     "subtitle": "I do not know."},
]  # fmt: skip
ECF = [
    {"conversation_ID": "12", "emotion-cause_pairs": [["2_surprise", "1"], ["2_surprise", "2"]],
     "conversation": [{"utterance_ID": 1, "text": "I am back.", "speaker": "Ann", "emotion": "neutral"},
                      {"utterance_ID": 2, "text": "What?", "speaker": "Bob", "emotion": "surprise"}]},
    {"conversation_ID": "13", "emotion-cause_pairs": [],
     "conversation": [{"utterance_ID": 1, "text": "Hm.", "speaker": "Ann", "emotion": "neutral"}]},
]  # fmt: skip
RECCON = {
    "tr_9": [[
        {"turn": 1, "speaker": "A", "utterance": "I got the job.", "emotion": "happiness",
         "expanded emotion cause evidence": [1]},
        {"turn": 2, "speaker": "B", "utterance": "Great!", "emotion": "happiness",
         "expanded emotion cause evidence": [1, 2]},
        {"turn": 3, "speaker": "A", "utterance": "Bye.", "emotion": "neutral"},
    ]]
}  # fmt: skip
PUBLISHED = {"emoverse": [EMOVERSE], "amt": AMT, "emocfg": EMOCFG, "emocue": EMOCUE, "ecf": ECF, "reccon": RECCON}


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "a.png").write_bytes(encoded())
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    return tmp_path


def lines_of(path: Path):
    text = path.read_text(encoding="utf-8")
    return (
        json.loads(text)
        if text[0] == "[" or path.stem == "reccon"
        else [json.loads(line) for line in text.splitlines()]
    )


@pytest.mark.parametrize("kind", FORMS)
def test_what_is_imported_is_exported_again(folder, kind):
    source, manifest, again = (folder / name for name in (f"{kind}.json", "m.jsonl", f"out/{kind}.json"))
    source.write_text(json.dumps(PUBLISHED[kind]))
    assert main(["data", "import", kind, str(source), str(manifest), "--no-decode"]) == 0
    (folder / "out").mkdir()
    assert main(["data", "export", kind, str(manifest), str(again)]) == 0
    text = json.dumps(lines_of(again)).replace("../", "")
    assert json.loads(text) == PUBLISHED[kind]


def test_the_tables_and_the_commands_name_the_same_forms():
    assert set(FORMS) == set(WRITERS) and set(FORMS) <= set(IMPORTERS)


def imported(read, folder, *records, **options):
    source = folder / "s.json"
    source.write_text(json.dumps(list(records)))
    return list(read(source, ImportOptions(folder / "media", **options)))


def test_samples_ask_our_questions(folder):
    (sample,) = imported(read_emoverse, folder, EMOVERSE)
    assert [message["content"] for message in sample.messages[1::2]] == ["A cliff above the sea.", "awe"]
    assert sample.messages[0]["content"][0] == {"type": "image", "image": str(folder / "a.png")}
    assert "evoke" in sample.messages[2]["content"] and sample.labels["subject"] == "cliff"
    first, second = imported(read_ecf, folder, *ECF, language="zh")
    assert "2. Bob: What?" in first.messages[0]["content"] and "哪些话" in first.messages[0]["content"]
    assert [sample.messages[1]["content"] for sample in (first, second)] == ["2 surprise: 1, 2", "none"]
    (cue,) = imported(read_emocue, folder, {**EMOCUE[0], "description": ""})
    assert cue.messages[1]["content"] == "the brows fall. the context is dark. she is sad."


@pytest.mark.parametrize(
    "read, record, reason",
    [
        (read_amt, {**AMT[1], "response": "Perhaps."}, "label"),  # the published code: neutral
        (read_amt, {**AMT[0], "response": "no idea"}, "sentiment 'no idea'"),  # the published code: Negative
        (read_amt, {**AMT[4], "response": "the first one"}, "expected pairs such as 3_surprise,1"),
        (read_amt, {**AMT[0], "task": "OCR"}, "task 'OCR'"),
        (read_amt, {"query": "a"}, "response is None"),
        (read_emoverse, {**EMOVERSE, "emotion": "boredom"}, "label 'boredom'"),
        (read_emoverse, {**EMOVERSE, "bbox": [{"x1": 9, "y1": 2, "x2": 1, "y2": 3}]}, "expected x1 < x2"),
        (read_emoverse, {**EMOVERSE, "confidence": "high"}, "confidence is 'high'"),
        (read_emocfg, {**EMOCFG[0], "messages": EMOCFG[0]["messages"][:1], "labels": "", "response": "It shuts."},
         "a model's response is none"),
        (read_emocue, {**EMOCUE[0], "cues": {"text": ["a"]}}, "expected an object with any of visual"),
        (read_emocue, {**EMOCUE[0], "cues": {}, "description": ""}, "neither a cue nor a description"),
        (read_ecf, {**ECF[0], "emotion-cause_pairs": [["5_joy", "1"]]}, "with numbers of utterances"),
        (read_ecf, {"conversation_ID": 1}, "'conversation' is missing"),
    ],
)  # fmt: skip
def test_nothing_is_guessed(folder, read, record, reason):
    (fault,) = imported(read, folder, record)
    assert isinstance(fault, Fault) and reason in fault.reason


def test_emoverse_triplets(folder):
    bare = {key: value for key, value in EMOVERSE.items() if key not in ("background", "attribute", "subject")}
    joined, ambiguous, partly = imported(
        read_emoverse, folder, {**bare, "B-A-S": "sky-steep-cliff"}, bare, {**bare, "subject": "cliff"}
    )
    assert joined.labels["background"] == "sky" and joined.labels["subject"] == "cliff"
    assert "background" not in ambiguous.labels  # four parts: which one is the background?
    assert partly.labels["subject"] == "cliff" and "background" not in partly.labels  # unknown, not the first class


def test_tasks_are_found_by_their_form(folder):
    records = [{key: value for key, value in record.items() if key != "task"} for record in AMT]
    assert [sample.labels["task"] for sample in imported(read_amt, folder, *records)] == [r["task"] for r in AMT]


def test_dialogues_become_queries_that_offer_the_target(folder):
    (folder / "ecf.json").write_text(json.dumps(ECF))
    assert main(["data", "import", "ecf", str(folder / "ecf.json"), str(folder / "m.jsonl")]) == 0
    assert export_manifest("amt", folder / "m.jsonl", folder / "amt.jsonl") == (1, {})
    (record,) = lines_of(folder / "amt.jsonl")
    assert (
        record["response"] == "2_surprise,1;2_surprise,2" and "Candidates: 1, 2\nTarget: 2_surprise" in record["query"]
    )


def test_what_does_not_fit_is_left_out_and_named(folder, capsys):
    (folder / "amt.json").write_text(json.dumps(AMT))
    assert main(["data", "import", "amt", str(folder / "amt.json"), str(folder / "m.jsonl"), "--no-decode"]) == 0
    assert main(["data", "export", "emoverse", str(folder / "m.jsonl"), str(folder / "e.json")]) == 0
    assert "1 record(s) written" in capsys.readouterr().out.splitlines()[-1]
    assert len(read_manifest(folder / "m.jsonl")) == 6
    with pytest.raises(DataError, match="exists already"):
        export_manifest("emoverse", folder / "m.jsonl", folder / "e.json")
    with pytest.raises(DataError, match="no sample of .* fits the form 'ecf'; the first, '1': expected a dialogue"):
        export_manifest("ecf", folder / "m.jsonl", folder / "f.json")


@pytest.mark.parametrize(
    "text, pairs",
    [
        ("3 surprise: 1, 3; 5 anger: 4", {(3, "surprise", 1), (3, "surprise", 3), (5, "anger", 4)}),
        ("3_surprise,1;5_joy,2", {(3, "surprise", 1), (5, "happiness", 2)}),
        ("5 joy：2、4", {(5, "happiness", 2), (5, "happiness", 4)}),
        ("None.", set()), ("", set()), ("没有", set()), ("the first", None), ("3", None),
    ],
)  # fmt: skip
def test_pairs_are_read_in_both_forms(text, pairs):
    assert read_pairs(text) == (None if pairs is None else {CausePair(*pair) for pair in pairs})


def test_pairs_are_written_as_they_are_read():
    pairs = frozenset({CausePair(3, "fear", 3), CausePair(3, "fear", 1), CausePair(1, "anger", 2)})
    assert read_pairs(pairs_text(sorted(pairs))) == pairs and pairs_text([]) == "none"

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from emotion_qwen.cli import main
from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run import score as module
from emotion_qwen.evaluation.run.plan import make_answerer
from emotion_qwen.evaluation.run.predictions import HEADER
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.run.score import confusion_of, folders_of, score_folder, score_run, task_of
from emotion_qwen.evaluation.scoring.records import Judged, ScoredItem
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.evaluation.tasks.scorers import WheelScores, released_dfew

from . import benchmark_files as files
from .prediction_files import write_pictures
from .scripted import emotion_item, toy

LABELS = ["happiness", "fear", "happiness", "sadness", "fear"]
REPLIES = ["She is happy.", "not sure", "sad", "She looks sad.", None]


def answered(folder, task, replies, language="en"):
    rows = [
        {"id": f"toy/{n}", "text": reply} if reply is not None else {"id": f"toy/{n}", "error": "timed out"}
        for n, reply in enumerate(replies)
    ]
    path = folder.parent.parent / f"{folder.parent.name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    answer_task(make_answerer(f"file:{path}"), task, folder, languages=(language,))


@pytest.fixture
def run(tmp_path, monkeypatch):
    task = toy([emotion_item(n, label) for n, label in enumerate(LABELS)])
    monkeypatch.setitem(TASKS, "toy", task)
    answered(tmp_path / "run" / "model" / "toy", task, REPLIES)
    return tmp_path / "run"


def test_unread_and_failed_answers_stay_in_the_denominator(run):
    (column,) = score_run(run).columns
    tally = column.result.tally
    assert column.result["WAR"].value == pytest.approx(2 / 5) and column.result["WAR"].items == 5
    assert (tally.items, tally.answered, tally.parsed, tally.failures) == (5, 4, 3, 1)
    assert (column.model, column.language, column.whole) == ("model", "en", False)
    assert column.lines["toy/4"].error == "timed out"


def test_scores_are_made_without_torch_model_or_data(tmp_path, capsys):
    write_pictures(tmp_path / "pictures_cifar10.parquet", ["cat", "dog", "ship"])
    output = tmp_path / "run"
    path = tmp_path / "theirs.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"pictures_cifar10/{n}", "text": "cat"}) + "\n" for n in range(3)),
        encoding="utf-8",
    )
    options = ["--tasks", "cifar", "--data", str(tmp_path), "--output", str(output), "--model", f"file:{path}"]
    assert main(["eval", *options]) == 0
    first = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    (output / "scores.json").unlink()
    (tmp_path / "pictures_cifar10.parquet").unlink()
    code = (
        "import sys; from emotion_qwen.cli import main; code = main(sys.argv[1:]);"
        "assert not {'torch', 'transformers', 'pyarrow'} & set(sys.modules), 'heavy'; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, "eval", "score", str(output)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((output / "scores.json").read_text(encoding="utf-8")) == first
    assert first["columns"][0]["scores"]["accuracy"]["value"] == pytest.approx(1 / 3, abs=1e-6)


def test_columns_of_the_release_are_apart_and_read_texts_only(run, monkeypatch):
    seen = []
    released = replace(TASKS["toy"], as_released=lambda items, answers: seen.append(list(answers)) or {"WAR": 0.9})
    monkeypatch.setitem(TASKS, "toy", released)
    (column,) = score_folder(run / "model" / "toy")
    assert column.as_released == {"WAR": 0.9} and column.result["WAR"].value == pytest.approx(0.4)
    assert [answer.id for answer in seen[0]] == ["toy/0", "toy/1", "toy/2", "toy/3"]


def test_two_languages_are_two_columns_and_told_together(run, monkeypatch):
    names = ("en", "zh")
    items = [emotion_item(n, label, language) for language in names for n, label in enumerate(LABELS)]
    task = toy(items, between_languages=lambda en, zh: {"agree": float(len(en.judged) == len(zh.judged))})
    monkeypatch.setitem(TASKS, "toy", task)
    path = run.parent / "both.jsonl"
    path.write_text("".join(json.dumps({"id": f"toy/{n}", "text": "happy 高兴"}) + "\n" for n in range(5)))
    answer_task(make_answerer(f"file:{path}"), task, run / "both" / "toy", languages=names)
    found = score_run(run / "both")
    assert [column.language for column in found.columns] == ["en", "zh"]
    assert dict(found.between) == {("both", "toy"): {"agree": 1.0}}


def test_likelihoods_are_renamed_to_what_the_scorer_knows(tmp_path, monkeypatch):
    item = emotion_item(0, "happiness", "zh")
    monkeypatch.setitem(TASKS, "toy", toy([item]))
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"id": "toy/0", "scores": {"高兴": 0.8, "恐惧": 0.2}}), encoding="utf-8")
    answer_task(make_answerer(f"file:{path}"), TASKS["toy"], tmp_path / "m" / "toy", languages=("zh",))
    (column,) = score_folder(tmp_path / "m" / "toy")
    assert column.result["WAR"].value == 1.0


def test_what_cannot_be_scored_is_named_and_the_rest_goes_on(run, monkeypatch):
    header = run / "other" / "gone" / HEADER
    header.parent.mkdir(parents=True)
    header.write_text('{"task": "gone"}', encoding="utf-8")
    found = score_run(run)
    assert len(found.columns) == 1 and found.unscored["other/gone"].startswith(
        "task 'gone' of the predictions is unknown"
    )
    with pytest.raises(DataError, match="holds no predictions; expected the folder that `emotion-qwen eval` wrote"):
        folders_of(run / "figures")
    monkeypatch.setitem(TASKS, "toy", replace(TASKS["toy"], score=None))
    assert "has no scorer" in score_run(run).unscored["model/toy"]


def test_a_scorer_that_lacks_a_setting_is_named_and_the_rest_goes_on(run, monkeypatch):
    monkeypatch.setitem(TASKS, "bare", replace(toy([emotion_item(0)]), name="bare", score=WheelScores()))
    path = run.parent / "m.jsonl"
    path.write_text(json.dumps({"id": "toy/0", "text": "happy"}) + "\n", encoding="utf-8")
    answer_task(make_answerer(f"file:{path}"), TASKS["bare"], run / "model" / "bare")
    found = score_run(run)
    assert len(found.columns) == 1 and "no emotion wheels; give the organisers' folder" in found.unscored["model/bare"]


def test_the_release_has_no_column_in_another_language(run, monkeypatch):
    """Its English labels stand in no Chinese reply; all of them would be wrong."""
    items = [emotion_item(0, language=language) for language in ("en", "zh")]
    monkeypatch.setitem(TASKS, "toy", toy(items, as_released=released_dfew))
    path = run.parent / "both.jsonl"
    path.write_text(json.dumps({"id": "toy/0", "text": "高兴, happiness"}) + "\n", encoding="utf-8")
    answer_task(make_answerer(f"file:{path}"), TASKS["toy"], run / "both" / "toy", languages=("en", "zh"))
    english, chinese = score_folder(run / "both" / "toy")
    assert english.as_released["WAR"] == 1 and chinese.as_released == {} and chinese.result["WAR"].value == 1


def test_wheels_may_come_after_the_answers(tmp_path, monkeypatch):
    """An hour of replies is not lost because the wheels were forgotten."""
    files.write_unibench(tmp_path / "data")
    wheels = str(files.write_wheels(tmp_path / "wheels"))
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"id": "a1", "text": "glad"}) + "\n", encoding="utf-8")
    folder, answerer = tmp_path / "run" / "m" / "mer_unibench", make_answerer(f"file:{path}")
    answer_task(answerer, TASKS["mer_unibench"], folder, data=tmp_path / "data")
    assert list(score_run(tmp_path / "run").unscored) == ["m/mer_unibench"]
    task = TASKS["mer_unibench"].with_options(wheels=wheels)
    answer_task(answerer, task, folder, data=tmp_path / "data", options={"wheels": wheels})
    assert score_run(tmp_path / "run").columns[0].result["precision"].value == pytest.approx(1 / 3)
    answer_task(answerer, TASKS["mer_unibench"], folder, data=tmp_path / "data")
    assert score_run(tmp_path / "run").columns, "what was given once is remembered"


def test_a_header_names_wording_and_options(monkeypatch):
    made = []
    task = replace(toy([]), options={"folder": "of clips"}, make=lambda **given: made.append(given) or toy([]))
    monkeypatch.setitem(TASKS, "toy", task)
    assert task_of({"task": "toy", "options": {"folder": "x"}}).name == "toy" and made == [{"folder": "x"}]


def test_confusion_of_closed_labels_letters_and_nothing_else():
    def judged(right, read, allowed=("a", "b")):
        return Judged(ScoredItem(right + str(read), (right,), allowed), read, "", 0.0)

    names, counts = confusion_of([judged("a", "a"), judged("a", "b"), judged("b", None), judged("b", "b")])
    assert names == ["a", "b"] and np.array_equal(counts, [[1, 1, 0], [0, 1, 1]])
    names, counts = confusion_of([judged("A", "B", ("cat", "dog")), judged("B", "B", ("red", "blue"))])
    assert names == ["A", "B"] and np.array_equal(counts, [[0, 1, 0], [0, 1, 0]])
    assert confusion_of([judged("red", "blue", ("red", "blue")), judged("one", "two", ("one", "two"))]) is None
    assert confusion_of([Judged(ScoredItem("i", ("a", "b")), "a", "", 1.0)]) is None
    assert module.CLASSES >= 28, "GoEmotions has 28"


def test_repeated_and_unknown_ids_of_a_file_stand_in_the_record_and_on_the_page(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "toy", toy([emotion_item(n, label) for n, label in enumerate(LABELS)]))
    path = tmp_path / "theirs.jsonl"
    ids = ["toy/0", "toy/0", "toy/1", "toy/0", "toy/9"]
    path.write_text("".join(json.dumps({"id": name, "text": "happy"}) + "\n" for name in ids), encoding="utf-8")
    options = ["--tasks", "toy", "--output", str(tmp_path / "run"), "--model", f"file:{path}"]
    main(["eval", *options])
    record = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))["columns"][0]
    assert record["duplicates"] == ["toy/0"] and record["strays"] == ["toy/9"] and record["groups"] == 5
    page = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "answered more than once" in page and "answers to unknown items" in page

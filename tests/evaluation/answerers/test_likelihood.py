import json
from dataclasses import replace

import pytest

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.answerers.local import LocalModel, picture_side
from emotion_qwen.evaluation.run.predictions import HEADER, LINES, read_predictions, read_run_header
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.task import Item
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.evaluation.tasks.parquet import PictureFile
from emotion_qwen.evaluation.tasks.prompts import emotion_question
from emotion_qwen.evaluation.tasks.scorers import LabelScores
from emotion_qwen.taxonomy import LabelSet
from recipes.nano.tasks import BY_NAME

from ..prediction_files import without_seconds, write_pictures
from ..scripted import everywhere

OBJECT_LABELS = ["cat", "dog", "ship", "frog", "bird", "truck", "deer"]


def predict(engine, task, output, **options):
    return list(answer_task(LocalModel(engine, batch=3), task, output / task.column, **options).predictions)


class Watched:
    """An engine that counts the visuals it scores, and stops at a call if told to."""

    def __init__(self, engine, stop_at: int | None = None, weights: str | None = None):
        self.engine, self.stop_at, self.weights, self.calls, self.seen = engine, stop_at, weights, 0, 0

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def score(self, parts, question, answers):
        self.calls, self.seen = self.calls + 1, self.seen + len(parts)
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        return self.engine.score(parts, question, answers)

    def provenance(self):
        found = self.engine.provenance()
        return {**found, "weights": self.weights or found["weights"]}


@pytest.fixture
def data(tmp_path):
    write_pictures(tmp_path / "pictures_cifar10.parquet", OBJECT_LABELS)
    write_pictures(tmp_path / "faces_lfw_expressions.parquet", ["happiness", "neutral", "fear"])
    return tmp_path


def test_a_line_says_everything(shallow, data):
    found = predict(shallow, TASKS["cifar"], data / "out", data=data)
    assert [one.answer for one in found] == OBJECT_LABELS
    fields = json.loads((data / "out" / "cifar" / LINES).read_text(encoding="utf-8").splitlines()[0])
    said = ["text", "frames", "seconds", "error", "unanswered", "answerer", "continuation"]
    assert list(fields) == [
        "id",
        "language",
        "group",
        "answer",
        "predicted",
        "scores",
        "gate",
        "options",
        "asked",
        *said,
    ]
    assert (fields["text"], fields["frames"], fields["error"], fields["answerer"]) == (None, 1, "", "nano")
    assert fields["seconds"] > 0
    assert sum(fields["scores"].values()) == pytest.approx(1, abs=1e-4) and sum(fields["gate"]) == pytest.approx(1)
    assert fields["predicted"] == max(fields["scores"], key=fields["scores"].get)
    header = read_run_header(data / "out" / "cifar")
    assert header["weights"] == shallow.provenance()["weights"] and header["settings"]["person_gray"] is True
    assert read_predictions(data / "out" / "cifar") == found


def test_faces_are_read_by_their_crops_and_only_allowed_labels_are_chosen(shallow, data, monkeypatch):
    monkeypatch.setattr("emotion_qwen.analysis.analyzer.CenterFaceDetector", lambda: everywhere)
    engine = Watched(shallow)
    found = predict(engine, TASKS["lfw"], data / "out", data=data)
    assert engine.seen == 2 * 2 + 1, "two faces, each as it is and mirrored, and one empty picture"
    assert len(found[0].scores) == 7 and found[0].options == 2
    assert all(one.predicted in ("happiness", "neutral") for one in found)


def test_a_task_may_have_a_label_set_of_its_own(shallow, data, monkeypatch):
    monkeypatch.setattr("emotion_qwen.analysis.analyzer.CenterFaceDetector", lambda: everywhere)
    own = LabelSet("mine", ("happiness", "neutral", "fear"), ("高兴", "中性", "恐惧"), "this test")
    source = PictureFile("faces_lfw_expressions.parquet", own, emotion_question)
    task = replace(TASKS["lfw"], name="own", source=source, score=LabelScores(own))
    for language in ("en", "zh"):
        found = predict(shallow, task, data / language, data=data, languages=(language,))
        assert [list(one.scores) for one in found] == [list(own.names(language))] * 3
        assert all(one.predicted for one in found)
    replied = predict(shallow, replace(task, answered="text"), data / "text", data=data)
    assert all(one.predicted for one in replied), "analyze asks the same question, so the label is its own"


def test_shapes_with_questions_of_their_own_are_scored_as_if_alone(shallow, data):
    items = BY_NAME["shapes"].items(None, side=48, languages=("en", "zh"), limit=16)
    found = {
        one.key: one for one in predict(shallow, BY_NAME["shapes"], data / "out", languages=("en", "zh"), limit=16)
    }
    assert len(found) == 32
    for item in items[:32:5]:
        alone = shallow.score([item.parts], item.question, item.choices).log_likelihood[0].softmax(-1)
        mine = found[item.id, item.language]
        assert list(mine.scores.values()) == pytest.approx(alone.tolist(), abs=1e-3)
        assert mine.answer == item.answer and mine.options == len(item.choices)


def test_an_interrupted_run_goes_on_to_the_same_file(shallow, data):
    whole = data / "whole" / "cifar" / LINES
    predict(shallow, TASKS["cifar"], data / "whole", data=data)
    lines = data / "parts" / "cifar" / LINES
    with pytest.raises(KeyboardInterrupt):
        predict(Watched(shallow, stop_at=3), TASKS["cifar"], data / "parts", data=data)  # two calls a batch
    assert len(read_predictions(lines.parent)) == 3
    engine = Watched(shallow)
    predict(engine, TASKS["cifar"], data / "parts", data=data)
    assert without_seconds(lines) == without_seconds(whole) and engine.seen == 4 + 2
    again = Watched(shallow)
    predict(again, TASKS["cifar"], data / "parts", data=data)
    assert again.calls == 0


def test_a_half_written_last_line_is_dropped_and_answered_anew(shallow, data):
    first = predict(shallow, TASKS["cifar"], data / "out", data=data)
    path = data / "out" / "cifar" / LINES
    path.write_bytes(path.read_bytes()[:-30])
    assert len(read_predictions(path.parent)) == 6
    again = predict(shallow, TASKS["cifar"], data / "out", data=data)
    assert [one.predicted for one in again] == [one.predicted for one in first]
    assert len(read_predictions(path.parent)) == 7 and path.read_bytes().endswith(b"\n")


def test_a_limit_returns_its_items_and_keeps_the_others(shallow, data):
    predict(shallow, TASKS["cifar"], data / "out", data=data)
    engine = Watched(shallow)
    few = predict(engine, TASKS["cifar"], data / "out", data=data, limit=2)
    assert [one.answer for one in few] == ["cat", "frog"] and engine.calls == 0
    assert len(read_predictions(data / "out" / "cifar")) == 7


def test_two_models_are_never_mixed(shallow, data):
    predict(shallow, TASKS["cifar"], data / "out", data=data, limit=1)
    with pytest.raises(
        DataError, match=r"cifar: holds predictions made with other settings \(weights \w{16}, now ffff\); give"
    ):
        predict(Watched(shallow, weights="ffff"), TASKS["cifar"], data / "out", data=data, limit=1)


def test_the_same_weights_under_another_path_go_on(shallow, data):
    predict(shallow, TASKS["cifar"], data / "out", data=data, limit=1)
    path = data / "out" / "cifar" / HEADER
    path.write_text(path.read_text(encoding="utf-8").replace('"nano"', '"elsewhere/nano"'), encoding="utf-8")
    predict(shallow, TASKS["cifar"], data / "out", data=data, limit=2)


def test_a_changed_question_is_refused(shallow, data):
    class Reworded:
        def items(self, *arguments) -> list[Item]:
            items = TASKS["cifar"].source.items(*arguments)
            return [replace(item, question=item.question + "!") for item in items]

    predict(shallow, TASKS["cifar"], data / "out", data=data, limit=1)
    with pytest.raises(DataError, match="the question or the answer of item 'pictures_cifar10/0' has changed"):
        predict(shallow, replace(TASKS["cifar"], source=Reworded()), data / "out", data=data, limit=1)


def test_broken_files_are_named(data):
    folder = data / "broken"
    folder.mkdir()
    (folder / LINES).write_text('{"id": "a"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 1: not a prediction"):
        read_predictions(folder)
    with pytest.raises(DataError, match=r"task\.json: cannot be read"):
        read_run_header(folder)
    assert read_predictions(data / "nothing") == []


def test_pictures_come_at_the_side_of_person_crops(shallow):
    assert picture_side(shallow) == 48


def test_faces_are_scored_as_analyze_scores_them(nano, shared_data, tmp_path):
    items = TASKS["lfw"].items(shared_data, side=None, limit=12)
    found = predict(nano, TASKS["lfw"], tmp_path, data=shared_data, limit=12)
    analyzer = Analyzer(nano)
    for item, one in list(zip(items, found, strict=True))[:3]:
        path = tmp_path / "face.jpg"
        path.write_bytes(item.parts[0]["image"].read())
        report = analyzer.analyze(path, "fer7")
        assert list(one.scores.values()) == pytest.approx(list(report.distribution.values()), abs=1e-4)
        assert one.gate == pytest.approx(tuple(report.gate.values()), abs=1e-4)
    assert sum(one.right for one in found) > 0.7 * len(found)

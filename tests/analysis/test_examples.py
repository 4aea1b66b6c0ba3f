"""Labelled examples: what is near is found, what it says counts as far as it helped on validation clips."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.examples import (
    FILE,
    ExampleFit,
    ExampleIndex,
    fit_examples,
    neighbour_shares,
    spaced,
)
from emotion_qwen.analysis.features import ClipFeatures
from emotion_qwen.analysis.request import Request
from emotion_qwen.batch.folder import made_by
from emotion_qwen.batch.indexing import LabelledClip, labelled_clips, make_index
from emotion_qwen.cli import main
from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.taxonomy import label_set
from emotion_qwen.views.sections import examples_text

LABELS = ("happy", "sad", "angry")


@pytest.fixture
def face_file(astronaut, tmp_path):
    path = tmp_path / "astronaut.png"
    Image.fromarray(astronaut).save(path)
    return path


def features(*numbers: float) -> ClipFeatures:
    vector = np.array(numbers, np.float32)
    return ClipFeatures(vector, None, vector, np.zeros(2, np.float32))


def small_index(weight: float = 0.5, neighbours: int = 3) -> ExampleIndex:
    vectors = np.array([[0, 0], [1, 0], [0, 3], [8, 8], [9, 7]], np.float32)
    fit = ExampleFit(neighbours, weight, 11, 0.5, 0.6)
    return ExampleIndex(vectors, np.array([1, 1, 2, 0, 0]), LABELS, tuple("abcde"), {"prompt": "p"}, fit)


def test_the_nearest_are_found_and_their_labels_counted():
    near = small_index().nearest(np.array([0.25, 0.0]))
    assert [(each.source, each.label) for each in near.examples] == [("a", "sad"), ("b", "sad"), ("c", "angry")]
    scale = small_index().vectors.std(axis=0) * np.sqrt(2)
    assert near.examples[1].distance == pytest.approx(0.75 / scale[0])
    assert near.opinion == pytest.approx(np.array([1 / 12, 7 / 12, 4 / 12]) ** 0.5)  # (n + 1/3) / 4


def test_unrelated_examples_are_about_the_root_of_two_apart():
    drawn = np.random.default_rng(0).normal(5.0, 7.0, (60, 300)).astype(np.float32)
    assert spaced(drawn[:40], drawn[40:]).mean() == pytest.approx(np.sqrt(2), abs=0.05)


def test_shares_of_neighbours_are_never_zero():
    assert neighbour_shares(np.array([[0, 0, 0, 2]]), 4)[0] == pytest.approx([3.25 / 5, 0.25 / 5, 1.25 / 5, 0.25 / 5])


def labelled(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors that tell the label, the labels, and shares of a model that is often wrong."""
    rng = np.random.default_rng(seed)
    columns = rng.integers(0, 3, count)
    vectors = rng.normal(size=(count, 5)) + 2.5 * np.eye(5)[columns]
    shares = rng.dirichlet([1, 1, 1], count) + 0.3 * np.eye(3)[columns]
    return vectors.astype(np.float32), columns, shares / shares.sum(axis=1, keepdims=True)


def test_examples_that_help_get_weight_and_others_none():
    vectors, columns, _ = labelled(90, 0)
    asked, right, shares = labelled(70, 1)
    fit = fit_examples(vectors, columns, asked, shares, right)
    assert fit.weight > 0.5 and fit.accuracy_with > fit.accuracy + 0.1 and fit.clips == 70
    misleading = fit_examples(vectors, (columns + 1) % 3, asked, shares, right)
    assert (misleading.weight, misleading.accuracy_with) == (0.0, misleading.accuracy)
    with pytest.raises(DataError, match="3 examples and 70 validation clips; expected 4"):
        fit_examples(vectors[:3], columns[:3], asked, shares, right)


def test_an_index_is_read_as_it_was_written_and_damage_is_named(tmp_path):
    index = small_index()
    path = index.write(tmp_path / "new")
    read = ExampleIndex.read(tmp_path / "new")
    assert (read.sources, read.labels, read.fit, read.made) == (index.sources, LABELS, index.fit, index.made)
    assert np.array_equal(read.vectors, index.vectors) and np.array_equal(read.columns, index.columns)
    assert read.digest == index.digest != replace(index, fit=replace(index.fit, weight=0.75)).digest
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="no index of this version.*emotion-qwen index"):
        ExampleIndex.read(tmp_path / "new")
    with pytest.raises(DataError, match=FILE):
        ExampleIndex.read(tmp_path)


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match="nowhere.* does not exist; give a folder that `emotion-qwen index` wrote"):
        ExampleIndex.read(tmp_path / "nowhere")
    with pytest.raises(DataError, match="does not exist; expected a folder of labels, or a table of files"):
        labelled_clips(tmp_path / "nowhere", label_set("fer7"))


def test_other_labels_and_other_models_are_refused():
    index, labels = small_index(), label_set("dfew7")
    with pytest.raises(SettingsError, match="have the labels happy,sad,angry, asked for are happy,sad,neutral"):
        index.check(labels, {"prompt": "p"})
    with pytest.raises(SettingsError, match="made otherwise.*prompt 'p', now 'q'.*index the clips again"):
        replace(index, labels=labels.labels).check(labels, {"prompt": "q"})


def test_a_report_combines_the_shares_and_lists_the_examples(nano, face_file):
    analyzer, plain = Analyzer(nano), Request("dfew7")
    prepared = analyzer.prepare(face_file)
    (alone,) = analyzer.read(analyzer.reader(plain), [prepared], plain)
    state = alone.features.pooled
    names = label_set("dfew7").labels
    other = names[(names.index(alone.report.label) + 2) % 7]
    clips = [(LabelledClip(face_file, other, False), SimpleNamespace(features=features(*(state + 0.1 * n))))
             for n in range(1, 6)]  # fmt: skip
    for number, label in enumerate((other, other, alone.report.label), 6):
        made = SimpleNamespace(features=features(*(state + number)), report=alone.report)
        clips.append((LabelledClip(face_file, label, True), made))
    index = replace(make_index(clips, analyzer, plain), fit=ExampleFit(4, 2.0, 3, 0.25, 0.5))
    request = Request("dfew7", examples=index)
    (result,) = analyzer.read(analyzer.reader(request), [prepared], request)
    report = result.report
    opinion = np.array([(4 * (name == other) + 1 / 7) / 5 for name in names]) ** 2.0
    expected = np.array([alone.report.distribution[name] for name in names]) * opinion
    assert list(report.distribution.values()) == pytest.approx(expected / expected.sum(), abs=1e-5)
    assert [example.label for example in report.examples] == [other] * 4
    assert report.people[0].distribution == pytest.approx(alone.report.people[0].distribution, abs=1e-5)
    assert not report.uncertainty.calibrated and alone.report.examples == ()
    idle = Request("dfew7", examples=replace(index, fit=ExampleFit(4, 0.0, 3, 0.25, 0.25)))
    (same,) = analyzer.read(analyzer.reader(idle), [prepared], idle)
    assert same.report.uncertainty.calibrated and len(same.report.examples) == 4
    assert made_by(analyzer, request)["asked"]["examples"] == index.digest
    assert "examples" not in made_by(analyzer, plain)["asked"]
    text = examples_text(report, {"examples": "like", "colon": ": ", "semicolon": "; ", "aside": "{what} ({aside})"})
    assert text.startswith(f"like: {other} ") and text.count(str(face_file)) == 4


def test_too_few_clips_are_refused_before_any_is_analyzed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Analyzer, "load", lambda *more, **options: pytest.fail("a model was loaded"))
    for number in range(3):
        (tmp_path / "joy").mkdir(exist_ok=True)
        (tmp_path / "joy" / f"{number}.png").touch()
    assert main(["index", str(tmp_path), "--to", str(tmp_path / "index")]) == 2
    assert "3 examples and 0 validation clips; expected 4 and 1 or more" in capsys.readouterr().err


def test_clips_come_from_folders_or_a_table(tmp_path):
    for label, count in (("Joy", 5), ("sadness", 4)):
        (tmp_path / label).mkdir()
        for number in range(count):
            (tmp_path / label / f"{number}.png").touch()
    clips = labelled_clips(tmp_path, label_set("dfew7"))
    assert [clip.label for clip in clips] == ["happy"] * 5 + ["sad"] * 4
    assert sum(clip.validation for clip in clips) == 2 and clips == labelled_clips(tmp_path, label_set("dfew7"))
    table = tmp_path / "clips.csv"
    table.write_text("file,label,split\nJoy/1.png,joy,train\nsadness/0.png,sad,validation\n")
    first, second = labelled_clips(table, label_set("dfew7"))
    assert (first.path, first.label, first.validation) == (tmp_path / "Joy/1.png", "happy", False)
    assert (second.label, second.validation) == ("sad", True)
    for row, message in ((",joy,train", "row 1: file '', label 'joy'"), ("a.png,joy,test", "split 'test'")):
        table.write_text(f"file,label,split\n{row}\n")
        with pytest.raises(DataError, match=message):
            labelled_clips(table, label_set("dfew7"))
    (tmp_path / "lines.jsonl").write_text(json.dumps({"file": "a.png", "label": "xyzzy"}))
    with pytest.raises(DataError, match="unknown label 'xyzzy'"):
        labelled_clips(tmp_path / "lines.jsonl", label_set("dfew7"))

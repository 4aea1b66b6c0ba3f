import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from emotion_qwen.errors import SettingsError
from emotion_qwen.faces import Detections, ScriptedDetector
from emotion_qwen.inference.analyzer import EmotionQwen
from emotion_qwen.inference.render import as_json, show

KEYS = ["source", "label", "distribution", "people", "gate", "summary", "language", "provenance"]


@pytest.fixture(scope="module")
def analyzer(nano):
    return EmotionQwen(nano)


@pytest.fixture(scope="module")
def face_file(astronaut, tmp_path_factory):
    path = tmp_path_factory.mktemp("faces") / "astronaut.png"
    Image.fromarray(astronaut).save(path)
    return path


def test_a_face_becomes_a_person_with_their_own_distribution(analyzer, face_file):
    report = analyzer.analyze(face_file)
    (person,) = report.people
    assert sum(report.distribution.values()) == pytest.approx(1) and report.label in report.distribution
    assert report.distribution == pytest.approx(person.distribution)  # nano reads people alone, and there is one
    assert all(0 <= share <= 1 for share in person.box) and person.frames == 1
    assert sum(report.gate.values()) == pytest.approx(1)
    facts = report.provenance
    assert facts["label_set"] == "dfew7" and facts["channels"] == ["picture"] and facts["frames"] == 1


def test_two_faces_stay_two_people(nano, gray_clip):
    two = Detections(np.array([[4, 8, 20, 30], [40, 8, 58, 30]], np.float32), np.array([0.9, 0.8], np.float32))
    report = EmotionQwen(nano, ScriptedDetector([two] * 4)).analyze(gray_clip, "ekman", "zh")
    assert [p.person for p in report.people] == [0, 1]
    assert [p.frames for p in report.people] == [4, 4] and report.language == "zh"


def test_without_a_face_the_frames_answer(analyzer, gray_clip):
    report = analyzer.analyze(gray_clip)
    assert report.people == () and sum(report.distribution.values()) == pytest.approx(1)


def test_an_untrained_label_set_is_said_to_be_so(analyzer, face_file):
    report = analyzer.analyze(face_file, "mikels8")
    assert report.provenance["label_set_trained"] is False
    assert "never trained for the label set 'mikels8'" in report.provenance["warnings"][0]
    assert analyzer.analyze(face_file, "dfew7").provenance["label_set_trained"] is True


def test_unknown_choices_are_named(analyzer, face_file):
    with pytest.raises(SettingsError, match="unknown label set 'dfew'.*Did you mean 'dfew7'"):
        analyzer.analyze(face_file, "dfew")
    with pytest.raises(SettingsError, match="unknown language 'fr'"):
        analyzer.analyze(face_file, language="fr")


def test_json_is_one_line_with_the_promised_keys(analyzer, face_file):
    line = as_json(analyzer.analyze(face_file, language="zh"))
    assert "\n" not in line and list(json.loads(line)) == KEYS


def test_the_terminal_view_says_what_matters(analyzer, face_file, gray_clip):
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    report = analyzer.analyze(face_file, "mikels8")
    show(report, console)
    show(dataclasses.replace(analyzer.analyze(gray_clip), language="zh"), console)
    text = console.export_text()
    for expected in (report.label, "person", "gate: general expert", "never trained", "no face was found", "mikels8"):
        assert expected in text

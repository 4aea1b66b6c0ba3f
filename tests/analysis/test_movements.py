"""What the faces of a clip do: claims over time, mirrored crops, and the way of the numbers into reports and files."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from tests.conftest import write_clip
from tests.facial_heads import ERRORS, NAMES, detector, with_head

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.features import FeatureFile, action_errors, read_features
from emotion_qwen.analysis.movements import movements, unmirrored
from emotion_qwen.analysis.request import Request
from emotion_qwen.batch.folder import made_by
from emotion_qwen.engine.encoding import Encoder
from emotion_qwen.engine.engine import Engine
from emotion_qwen.records import FacialMovement
from emotion_qwen.views.render import as_json


def crops(**series: list[float]) -> dict[float, dict[str, float]]:
    """Return actions at 0, 1, 2 ... seconds; an action without a side is given to both."""
    length = len(next(iter(series.values())))
    values = [
        {key + side: s[time] for key, s in series.items() for side in ([""] if key in NAMES else ["Left", "Right"])}
        for time in range(length)
    ]
    return dict(zip(map(float, range(length)), values, strict=True))


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        pytest.param({"jawOpen": [0.1, 0.1]}, [], id="nothing is claimed between the bounds"),
        pytest.param({"jawOpen": [0.1, 0.5, 0.1]}, [("mouth wide open", 1, 1, 1, 0.5)], id="a single crop"),
        pytest.param({"jawOpen": [0.5, 0.9, 0.6]}, [("mouth wide open", 0, 2, 1, 0.9)], id="the clearest value"),
        pytest.param({"jawOpen": [0.02, 0.0, 0.01]}, [("mouth closed", 0, 2, 1, 0.0)], id="clearest is lowest"),
        pytest.param({"yaw": [-21, -35, -25]}, [("head left", 0, 2, 1, -35)], id="clearest is most negative"),
        pytest.param({"jawOpen": [0.5, 0.1, 0.6]}, [("mouth wide open", 0, 2, 2, 0.6)], id="one crop is bridged"),
        pytest.param(
            {"jawOpen": [0.5, 0.1, 0.1, 0.6]}, [("mouth wide open", 0, 0, 0, 0.5), ("mouth wide open", 3, 3, 3, 0.6)],
            id="two crops are not",
        ),
        pytest.param(
            {"jawOpen": [0.5, 0.2, 0.6]},
            [("mouth wide open", 0, 0, 0, 0.5), ("mouth open", 1, 1, 1, 0.2), ("mouth wide open", 2, 2, 2, 0.6)],
            id="another claim is not",
        ),
        pytest.param(
            {"mouthSmile": [0.1, 0.9, 0.9], "pitch": [25, 25, 0], "roll": [0, 0, 0]},
            [("head up", 0, 1, 0, 25), ("broad smile", 1, 2, 1, 0.9)],
            id="in order of time",
        ),
    ],
)  # fmt: skip
def test_movements_are_spans_in_which_a_claim_holds(series, expected):
    told = movements(crops(**series), {})
    assert [(m.word, m.start, m.end, m.peak, m.value) for m in told] == expected


def test_an_action_that_is_measured_badly_is_not_claimed():
    actions = crops(mouthSmile=[0.9], jawOpen=[0.9], yaw=[-50])
    assert {m.word for m in movements(actions, {})} == {"broad smile", "mouth wide open", "head left"}
    assert {m.word for m in movements(actions, {"facial_actions": ERRORS})} == {"broad smile", "mouth wide open"}
    half = {**ERRORS, "mouthSmileRight": {"r2": 0.1, "mean_absolute_error": 0.2}}
    assert [m.word for m in movements(actions, {"facial_actions": half})] == ["mouth wide open"]


def test_a_mirrored_copy_is_turned_back():
    assert unmirrored(NAMES, np.array([0.1, 0.7, 0.3, 15.0, -8.0, 4.0])).tolist() == [0.7, 0.1, 0.3, -15.0, -8.0, -4.0]


# --- in a report -----------------------------------------------------------------------------------------------------


@pytest.fixture
def moving_clip(tmp_path):
    frames = np.random.default_rng(3).integers(0, 255, (10, 48, 64, 3), dtype=np.uint8)
    return write_clip(tmp_path / "moving.mp4", frames)


def test_a_report_has_what_the_head_measures_of_every_crop(shallow, moving_clip, tmp_path, monkeypatch):
    encoded: list[int] = []
    encode = Encoder._encode
    monkeypatch.setattr(
        Encoder, "_encode", lambda self, kind, media: encoded.append(len(media)) or encode(self, kind, media)
    )
    engine = with_head(shallow, tmp_path)
    plain = Engine(shallow.model, engine.processor, engine.name, tmp_path)
    before = Analyzer(plain, detector()).analyze(moving_clip)
    media, encoded[:] = list(encoded), []
    analyzer = Analyzer(engine, detector())
    report = analyzer.analyze(moving_clip)
    assert encoded == media  # nothing is encoded for it
    (person,) = report.people
    (pictures,) = Analyzer(engine, detector()).prepare(moving_clip).people
    assert len(pictures.crops) == 8  # each as it is, then mirrored
    views = engine.encoder().views([[{"type": "image", "image": crop}] for crop in pictures.crops])
    measured = np.stack([parts[0]["image"].actions.numpy() for parts in views])
    back = measured[1::2][:, [1, 0, 2, 3, 4, 5]] * [1, 1, 1, -1, 1, -1]
    measured = (measured[::2] + back) / 2
    assert len(np.unique(measured.round(3))) > 20  # every number differs
    for seen, expected in zip(person.seen, measured, strict=True):
        assert list(seen.actions) == list(NAMES) and list(seen.actions.values()) == pytest.approx(expected, abs=2e-3)
    assert person.face == movements({s.time: s.actions for s in person.seen}, {"facial_actions": ERRORS}) != ()
    assert {type(m) for m in person.face} == {FacialMovement} and "yaw" not in {m.name for m in person.face}
    assert report.provenance["facial_actions"] == {name: ERRORS.get(name, {}) for name in NAMES}
    assert person.distribution == pytest.approx(before.people[0].distribution, abs=1e-6)
    (unmeasured,) = json.loads(as_json(before))["people"]  # of a model without a head
    assert "face" not in unmeasured and all("actions" not in seen for seen in unmeasured["seen"])
    assert "facial_actions" not in before.provenance
    values = json.loads(as_json(report))
    assert set(values["people"][0]["seen"][0]["actions"]) == set(NAMES) and values["people"][0]["face"]


def test_roll_is_that_of_the_picture_where_a_crop_was_rotated_upright(shallow, moving_clip, tmp_path):
    analyzer = Analyzer(with_head(shallow, tmp_path, person_mirrored=False), detector())
    prepared = analyzer.prepare(moving_clip)
    (person,) = prepared.people
    turned = dataclasses.replace(person.track, rolls=np.array([0, 25, -40, 10], np.float32))
    clips = [prepared, dataclasses.replace(prepared, people=(dataclasses.replace(person, track=turned),))]
    upright, rotated = (
        np.array([list(seen.actions.values()) for seen in analysis.report.people[0].seen])
        for analysis in analyzer.read(analyzer.reader(Request()), clips, Request())
    )
    expected = np.zeros((4, 6))
    expected[:, NAMES.index("roll")] = [0, 25, -40, 0]  # a face that is turned by 10 degrees is cut out as it is
    np.testing.assert_allclose(rotated - upright, expected, atol=2e-3)


def test_features_have_a_column_per_action(shallow, moving_clip, gray_clip, tmp_path):
    analyzer = Analyzer(with_head(shallow, tmp_path), detector())
    reader = analyzer.reader(Request())
    seen, unseen = analyzer.prepare(moving_clip), Analyzer(analyzer.engine).prepare(gray_clip)
    first, second = analyzer.read(reader, [seen, unseen], Request())
    mean = np.mean([list(s.actions.values()) for s in first.report.people[0].seen], axis=0)
    assert first.features.actions.dtype == np.float32
    np.testing.assert_allclose(first.features.actions, mean, atol=2e-3)
    assert np.isnan(second.features.actions).all()
    path = tmp_path / "out.safetensors"
    file = FeatureFile(path, made_by(analyzer, Request()), resume=False)
    for number, analysis in enumerate((first, second)):
        file.add({"source": str(number), "bytes": 1, "modified": 1}, analysis.features)
    file.save()
    assert read_features(path)[1]["actions"].shape == (2, 6)
    assert list(action_errors(path)) == list(NAMES) and action_errors(path)["jawOpen"] == ERRORS["jawOpen"]

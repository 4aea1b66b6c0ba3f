"""Reports become tracks and films: by measured actions or by emotions, of the person that was asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from tests.views.reports import two_people

from emotion_qwen.batch.view_files import ViewFiles
from emotion_qwen.cli import main
from emotion_qwen.errors import DataError, MediaError
from emotion_qwen.express.avatar import FPS, write_avatar
from emotion_qwen.express.replay import person_of, replay_track
from emotion_qwen.express.track import EMOTIONS, PLACE, read_track
from emotion_qwen.records import EmotionReport, Person
from emotion_qwen.views.render import as_json


@pytest.fixture(scope="module")
def report() -> EmotionReport:
    return two_people()


def measured(person: Person) -> Person:
    """Return a person whose smile grows and whose head turns."""
    last = person.seen[-1].time
    seen = tuple(
        replace(s, actions={"mouthSmileLeft": s.time / last, "yaw": -20.0, "pitch": 0.0, "roll": 0.0})
        for s in person.seen
    )
    return replace(person, seen=seen)


def test_a_replay_follows_the_timeline_of_the_person(report: EmotionReport) -> None:
    track = replay_track(report, 1, fps=10)
    sad, happy = (track.emotions[:, EMOTIONS.index(name)] for name in ("sadness", "happiness"))
    assert sad[20] > 0.5 > happy[20] and happy[-20] > 0.5 > sad[-20]
    smile = track.frames[:, PLACE["mouthSmileLeft"]]
    assert smile[-20] > smile[20] + 0.4
    assert track.provenance.details["actions"] == "by emotion" and track.seconds == pytest.approx(20, abs=0.2)
    weak = replay_track(report, 1, fps=10, intensity=0.3)
    assert weak.frames.max() < track.frames.max()


def test_measured_actions_are_replayed_as_they_are(report: EmotionReport) -> None:
    person = measured(report.people[0])
    track = replay_track(replace(report, people=(person,)), fps=10)
    smile = track.frames[:, PLACE["mouthSmileLeft"]]
    assert np.corrcoef(smile, track.times)[0, 1] > 0.99 and not track.frames[:, PLACE["mouthSmileRight"]].any()
    assert track.head[50, 0] == pytest.approx(-20, abs=0.5)
    assert track.provenance.details["actions"] == "measured"


def test_the_person_seen_most_is_the_default_and_others_are_named(report: EmotionReport) -> None:
    assert person_of(report, None).person == 1 and person_of(report, 2).person == 2
    with pytest.raises(DataError, match=r"has no person 9; expected one of: 1, 2"):
        person_of(report, 9)
    with pytest.raises(DataError, match=r"has no person; expected a clip in which a face was found"):
        person_of(replace(report, people=()), None)


def test_a_film_shows_the_face_only_while_it_was_seen(report: EmotionReport, tmp_path: Path) -> None:
    seen = tuple(replace(sighting, time=0.5 + 0.5 * k) for k, sighting in enumerate(report.people[1].seen[:2]))
    person = replace(report.people[1], start=0.5, end=1.0, seen=seen, timeline=())
    short = replace(
        report, people=(person,), timeline=(), gaps=(), utterances=(), cues=(),
        provenance={**report.provenance, "seconds": [0.0, 2.0]},
    )  # fmt: skip
    write_avatar(short, tmp_path / "avatar.mp4", size=128)
    with av.open(str(tmp_path / "avatar.mp4")) as file:
        assert json.loads(file.metadata["comment"])["synthetic"] is True and not file.streams.audio
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) == round(2 * FPS)
    detail = [float(frame[25:88, 38:88].std()) for frame in frames]
    assert detail[1] < 3 < 20 < detail[round(0.75 * FPS)] and detail[round(1.8 * FPS)] < 3


def test_a_clip_without_a_face_has_no_replay(report: EmotionReport, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no face was found, so there is nothing to replay; leave --avatar out"):
        write_avatar(replace(report, people=()), tmp_path / "avatar.mp4")


def test_analyze_writes_one_replay_per_clip_into_a_folder(tmp_path: Path) -> None:
    views = ViewFiles.of({"avatar": tmp_path / "replays"}, [Path("a.mov"), Path("b.png")])
    assert views.places([Path("a.mov"), Path("b.png")]) == {
        "avatar": [tmp_path / "replays" / "a.mp4", tmp_path / "replays" / "b.mp4"]
    }


def test_express_makes_a_track_of_a_stored_report(report: EmotionReport, tmp_path: Path, capsys) -> None:
    (tmp_path / "r.json").write_text(as_json(report))
    arguments = ["express", "--report", str(tmp_path / "r.json"), "--output", str(tmp_path / "track.json")]
    assert main([*arguments, "--person", "2", "--fps", "5"]) == 0
    track = read_track(tmp_path / "track.json")
    assert track.provenance.source == "report" and track.provenance.details["person"] == 2
    assert main([*arguments, "--person", "7"]) == 2 and "has no person 7" in capsys.readouterr().err

"""`analyze --avatar` from a clip to the film and the page; bad inputs of `probe` and `express check`, one line each."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import av
import numpy as np
import pytest

from emotion_qwen.cli import main
from emotion_qwen.express.film import write_film
from emotion_qwen.express.motion import held, make_track
from emotion_qwen.express.prototypes import emotion_weights
from emotion_qwen.express.rigs import DrawnRig
from emotion_qwen.express.track import Provenance, track_json


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """A clip of one second with a happy face."""
    path = tmp_path_factory.mktemp("clip") / "happy.mp4"
    track = make_track(held(emotion_weights({"happiness": 1.0}), 1.0), 1.0, fps=6, seed=0, provenance=Provenance())
    write_film(track, DrawnRig(), "cedar", path, size=256)
    return path


def test_analyze_replays_a_clip_without_it(clip: Path, tmp_path: Path, capsys) -> None:
    page = tmp_path / "replay.html"
    assert main(["analyze", str(clip), "--model", "nano", "--device", "cpu", "--json", "--avatar", str(page)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["people"][0]["label"] == "happy"
    text = page.read_text(encoding="utf-8")
    assert re.search('class="note">Synthetic face: what the report says of person 1', text)
    film = base64.b64decode(re.search(r'id="media-data">([^<]+)<', text)[1])
    with av.open(io.BytesIO(film)) as target:
        stored = json.loads(target.metadata["comment"])
        frames = [frame.to_ndarray(format="rgb24") for frame in target.decode(video=0)]
    assert stored["synthetic"] is True and stored["source"] == "report" and stored["details"]["model"] == "nano"
    assert 10 <= len(frames) <= 16 and frames[0].shape == (512, 512, 3)
    with av.open(str(clip)) as source:
        first = next(source.decode(video=0)).to_ndarray(format="rgb24")
    shirts = first[-8, 128].astype(int), frames[7][-16, 256].astype(int)
    assert np.abs(shirts[0] - shirts[1]).max() > 30, "the face of the replay is another one than that of the clip"


def test_a_replay_is_refused_before_the_clip_is_read(clip: Path, tmp_path: Path, capsys) -> None:
    assert main(["analyze", str(clip), "--avatar", str(clip)]) == 2
    assert lines_of(capsys) == 1


def lines_of(capsys) -> int:
    """Return the number of lines of the error, which must begin with "error: "."""
    text = capsys.readouterr().err
    assert text.startswith("error: "), text
    return len(text.strip().splitlines())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--emotions", "joyful"], "unknown emotions 'joyful'"),
        (["--emotions", ""], "unknown emotions ''"),
        (["--conditions", "fog"], "unknown conditions 'fog'"),
        (["--intensities", "0.5,nan"], "expected ascending numbers above 0"),
        (["--intensities", "0.5,2"], "at most 1.5"),
        (["--identities", "mona"], "unknown identities 'mona'"),
        (["--rig", "missing.glb"], "missing.glb"),
        (["--model", "missing_module:read"], "no module 'missing_module'"),
        (["--model", "json:read"], "json has no function 'read'"),
        (["--model", "no_such_folder"], "no_such_folder"),
        (["--output", "probe.csv"], "unknown suffix '.csv'; expected .json or .html"),
    ],
)
def test_a_probe_that_cannot_run_says_why_in_one_line(options: list[str], message: str, capsys) -> None:
    assert main(["probe", *options]) == 2
    text = capsys.readouterr().err
    assert message in text and text.startswith("error: ") and len(text.strip().splitlines()) == 1, text


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"answers": []}', "\x00"])
def test_a_file_that_is_no_probe_is_refused(content: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "bad.json").write_text(content)
    assert main(["probe", "compare", str(tmp_path / "bad.json"), str(tmp_path / "bad.json")]) == 2
    assert lines_of(capsys) == 1


def test_a_probe_whose_answers_are_not_those_of_its_grid_is_refused(tmp_path: Path, capsys) -> None:
    stored = json.loads(Path(__file__).with_name("nano_probe.json").read_text())
    del stored["answers"][2]
    (tmp_path / "short.json").write_text(json.dumps(stored))
    assert main(["probe", "compare", str(tmp_path / "short.json"), str(tmp_path / "short.json")]) == 2
    text = capsys.readouterr().err
    assert "its answers are not those to its grid" in text and len(text.strip().splitlines()) == 1


def broken(change: dict) -> str:
    track = make_track(held(emotion_weights({"fear": 1.0}), 0.2), 0.2, fps=10, seed=0, provenance=Provenance())
    return json.dumps(json.loads(track_json(track)) | change)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected an expression track"),
        ("[]", "expected an expression track"),
        (broken({"version": "9"}), "version"),
        (broken({"fps": 0}), "fps"),
        (broken({"head": [[0, 0, 0]]}), "head has the shape (1, 3)"),
        (broken({"head": [[0, 0, 400]] * 2}), "less than or equal to 90"),
        (broken({"emotion_curve": [[0] * 7] * 2}), "no intended emotion"),
        (broken({"emotions": ["joy"] * 7}), "unexpected names"),
        (broken({"frames": [["x"] * 52] * 2}), "valid number"),
    ],
)
def test_a_track_that_cannot_be_checked_says_why_in_one_line(
    content: str, message: str, tmp_path: Path, capsys
) -> None:
    (tmp_path / "track.json").write_text(content)
    (tmp_path / "judge.py").write_text("def read(picture):\n    return {'fear': 1.0}\n")
    arguments = ["express", "check", str(tmp_path / "track.json"), "--model", f"{tmp_path}/judge.py:read"]
    assert main(arguments) == 2
    text = capsys.readouterr().err
    assert message in text and text.startswith("error: ") and len(text.strip().splitlines()) == 1, text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--identity", "mona"], "unknown identity 'mona'"),
        (["--rig", "missing.glb"], "missing.glb"),
        (["--model", "missing_module:read"], "no module 'missing_module'"),
    ],
)
def test_a_check_that_cannot_run_says_why_in_one_line(options: list[str], message: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "track.json").write_text(broken({}))
    assert main(["express", "check", str(tmp_path / "track.json"), *options]) == 2
    text = capsys.readouterr().err
    assert message in text and text.startswith("error: ") and len(text.strip().splitlines()) == 1, text


def test_a_missing_track_and_an_answer_that_is_none(tmp_path: Path, capsys) -> None:
    assert main(["express", "check", str(tmp_path / "none.json")]) == 2
    assert lines_of(capsys) == 1
    (tmp_path / "track.json").write_text(broken({}))
    (tmp_path / "odd.py").write_text("def read(picture):\n    return 7\n")
    assert main(["express", "check", str(tmp_path / "track.json"), "--model", f"{tmp_path}/odd.py:read"]) == 2
    assert "returned int; expected emotion -> share, a word, or None" in capsys.readouterr().err

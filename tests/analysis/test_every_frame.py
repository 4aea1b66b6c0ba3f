"""Every frame of a video: its faces, their numbers, their shares, and flat memory."""

from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import write_clip
from tests.media.films import write_video

import emotion_qwen.analysis.every_frame as every_frame_module
from emotion_qwen import EmotionQwen
from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.every_frame import EveryFrame
from emotion_qwen.analysis.request import Request
from emotion_qwen.cli import main
from emotion_qwen.errors import MediaError
from emotion_qwen.export.every_frame import write_every_frame
from emotion_qwen.faces import Detections

BRIGHT = {230: 0.9, 150: 0.8, 90: 0.5}
"""Grey level of a painted face -> score with which it is found."""


class PaintedFaces:
    """Finds rectangles of the grey levels in `BRIGHT`."""

    def __call__(self, frame):
        gray = frame.mean(2)
        boxes, scores = [], []
        for level, score in BRIGHT.items():
            rows, columns = np.nonzero(np.abs(gray - level) < 12)
            if len(rows) > 60:
                boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                scores.append(score)
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32))


def painted(count: int, faces: dict[int, tuple[int, int]], side: int = 96) -> np.ndarray:
    """Paint faces (level -> first and last frame) that move slowly, each in its own band."""
    frames = np.zeros((count, side, side, 3), np.uint8)
    for band, (level, (first, last)) in enumerate(faces.items()):
        for place in range(first, last + 1):
            left = 10 + abs(40 - place % 80)
            frames[place, 6 + 30 * band : 30 + 30 * band, left : left + 24] = level
    return frames


@pytest.fixture
def analyzer(shallow):
    return Analyzer(shallow, PaintedFaces())


def all_faces(analyzer, path, **options) -> list:
    request = Request(**options)
    reading = EveryFrame(analyzer, path, analyzer.analyze(path, **options), request)
    parts = list(reading.faces())
    assert sum(read for read, _ in parts) == reading.count
    return [face for _, faces in parts for face in faces]


def test_every_frame_has_its_faces_with_the_numbers_of_the_report(analyzer, tmp_path):
    path = write_clip(tmp_path / "two.mp4", painted(100, {230: (0, 99), 150: (30, 90)}))
    faces = all_faces(analyzer, path)
    first = [face for face in faces if face.person == 1]
    second = [face for face in faces if face.person == 2]
    assert [face.frame for face in first] == list(range(100))
    assert [face.frame for face in second] == list(range(30, 91))
    assert [face.seen.time for face in first] == pytest.approx(np.arange(100) / 10, abs=1e-9)
    assert {face.person for face in faces} == {1, 2}
    assert [(face.frame, face.person) for face in faces] == sorted((face.frame, face.person) for face in faces)
    assert first[7].seen.box == pytest.approx((43 / 96, 6 / 96, 67 / 96, 30 / 96), abs=0.03)


def test_a_frame_shows_what_the_report_says_of_it(analyzer, tmp_path):
    path = write_clip(tmp_path / "one.mp4", painted(60, {230: (0, 59)}))
    report = analyzer.analyze(path)
    by_time = {face.seen.time: face.seen for face in all_faces(analyzer, path)}
    assert len(by_time) == 60 > len(report.people[0].seen) > 5
    for seen in report.people[0].seen:
        assert by_time[seen.time].distribution == pytest.approx(seen.distribution, abs=1e-4)
        assert by_time[seen.time].box == seen.box


def test_a_face_between_the_frames_of_the_report_gets_a_further_number(analyzer, tmp_path):
    path = write_clip(tmp_path / "brief.mp4", painted(60, {230: (0, 59), 150: (33, 35)}))
    report = analyzer.analyze(path)
    assert len(report.people) == 1  # 2 of 10 frames per second are read, none of them from 3.3 to 3.5 s
    faces = all_faces(analyzer, path)
    assert [face.frame for face in faces if face.person == 2] == [33, 34, 35]


def test_a_faint_face_in_a_single_frame_is_left_out(analyzer, tmp_path):
    path = write_clip(tmp_path / "faint.mp4", painted(60, {230: (0, 59), 90: (32, 32), 150: (47, 47)}))
    others = [face.frame for face in all_faces(analyzer, path) if face.person > 1]
    assert others == [47]


def test_the_size_of_a_part_changes_nothing(analyzer, tmp_path, monkeypatch):
    path = write_clip(tmp_path / "two.mp4", painted(70, {230: (0, 69), 150: (20, 55)}))
    whole = all_faces(analyzer, path)
    monkeypatch.setattr(every_frame_module, "AT_ONCE", 7)
    parts = all_faces(analyzer, path)
    assert [(f.frame, f.person, f.seen.time, f.seen.box) for f in parts] == [
        (f.frame, f.person, f.seen.time, f.seen.box) for f in whole
    ]
    for one, other in zip(parts, whole, strict=True):
        assert one.seen.distribution == pytest.approx(other.seen.distribution, abs=1e-4)


def test_a_part_of_the_video_keeps_the_numbers_of_its_frames(analyzer, tmp_path):
    path = write_clip(tmp_path / "part.mp4", painted(90, {230: (0, 89)}))
    faces = all_faces(analyzer, path, start=2.0, end=4.5)
    assert [face.frame for face in faces] == list(range(20, 45))
    assert faces[0].seen.time == pytest.approx(2.0)


def test_times_are_those_of_the_packets_at_a_variable_rate(tmp_path, analyzer):
    stamps = [0, 33, 70, 101, 400, 433, 900, 1234, 1267, 3001, 3034]
    path = write_video(tmp_path / "variable.mkv", count=len(stamps), stamps=stamps, size=(64, 64))
    frames = every_frame_module.every_frame(path, 64)
    parts = list(frames.parts(4))
    assert [len(numbers) for numbers, _ in parts] == [4, 4, 3]
    assert np.concatenate([clip.times for _, clip in parts]) * 1000 == pytest.approx(stamps, abs=1e-6)
    assert np.concatenate([numbers for numbers, _ in parts]).tolist() == list(range(11))  # an odd number of frames


def test_animated_and_still_pictures_have_frames_and_sounds_do_not(analyzer, tmp_path):
    pictures = [Image.fromarray(frame) for frame in painted(5, {230: (0, 4)})]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=200)
    pictures[0].save(tmp_path / "a.png")
    moving = all_faces(analyzer, tmp_path / "a.gif")
    assert [(face.frame, round(1000 * face.seen.time)) for face in moving] == [(k, 200 * k) for k in range(5)]
    assert [face.frame for face in all_faces(analyzer, tmp_path / "a.png")] == [0]
    (tmp_path / "a.txt").write_text("no picture")
    with pytest.raises(MediaError):
        EveryFrame(analyzer, tmp_path / "a.txt", analyzer.analyze(tmp_path / "a.png"), Request())


def peak(analyzer, path: Path, target: Path) -> int:
    report = analyzer.analyze(path)
    tracemalloc.start()
    write_every_frame(target, analyzer, path, report, Request())
    top = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return top


def test_three_minutes_take_no_more_memory_than_one(analyzer, tmp_path):
    made = painted(40, {230: (0, 39)}, side=64)
    one = write_clip(tmp_path / "one.mp4", np.concatenate([made] * 3), fps=2)
    three = write_clip(tmp_path / "three.mp4", np.concatenate([made] * 9), fps=2)
    small, large = (peak(analyzer, path, tmp_path / f"{path.stem}.csv") for path in (one, three))
    assert large < 1.2 * small
    rows = list(csv.DictReader((tmp_path / "three.csv").open(encoding="utf-8")))
    assert [int(row["frame"]) for row in rows] == list(range(360))
    assert float(rows[-1]["timestamp"]) == pytest.approx(359 / 2, abs=1e-3)
    assert {row["face_id"] for row in rows} == {"1"}
    assert (tmp_path / "three_data_dictionary.csv").is_file()


@pytest.mark.usefixtures("nano_in_commands")
def test_the_command_writes_a_table_per_clip(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("emotion_qwen.analysis.analyzer.CenterFaceDetector", PaintedFaces)
    for name, count in (("a", 12), ("b", 9)):
        write_clip(tmp_path / f"{name}.mp4", painted(count, {230: (0, count - 1)}))
    clips = [str(tmp_path / f"{name}.mp4") for name in "ab"]
    assert (
        main(["analyze", *clips, "--every-frame", str(tmp_path / "tables"), "--output", str(tmp_path / "r.jsonl")]) == 0
    )
    for name, count in (("a", 12), ("b", 9)):
        rows = list(csv.DictReader((tmp_path / f"tables/{name}.csv").open(encoding="utf-8")))
        assert [int(row["frame"]) for row in rows] == list(range(count))
        assert sum(float(rows[3][word]) for word in ("happiness", "sadness", "neutral", "anger", "surprise", "disgust",
                                                     "fear")) == pytest.approx(1, abs=1e-5)  # fmt: skip
    capfd.readouterr()
    assert main(["analyze", clips[0], "--every-frame", str(tmp_path / "frames.eaf")]) == 2
    assert "expected a folder, or a file ending in .csv" in capfd.readouterr().err


def test_python_yields_the_rows_of_the_table(shallow, tmp_path):
    model = EmotionQwen(shallow, PaintedFaces())
    path = write_clip(tmp_path / "two.mp4", painted(40, {230: (0, 39), 150: (10, 29)}))
    rows = list(model.every_frame(path, report=model.analyze(path)))
    assert [row["frame"] for row in rows if row["face_id"] == 2] == list(range(10, 30))
    write_every_frame(tmp_path / "t.csv", model, path, model.analyze(path), Request())
    stored = list(csv.DictReader((tmp_path / "t.csv").open(encoding="utf-8")))
    assert len(stored) == len(rows) == 60
    for row, line in zip(rows, stored, strict=True):
        assert {name: str(value) for name, value in row.items() if isinstance(value, int | str)} == {
            name: line[name] for name, value in row.items() if isinstance(value, int | str)
        }
        assert float(line["happiness"]) == pytest.approx(row["happiness"], abs=1e-4)

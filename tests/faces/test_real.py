"""What CenterFace and the tracker find in real pictures and videos. Data: see ../shared/data/README.md."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emotion_qwen.faces import CenterFaceDetector, best_box, track_faces
from emotion_qwen.media import read_clip
from emotion_qwen.settings import ClipSettings

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no example data at {DATA}")


def tracks_of(name: str, fps: float = 2.0):
    clip = read_clip(DATA / name, ClipSettings(fps=fps, working_side=720))
    return clip, track_faces(clip.frames, clip.times, CenterFaceDetector())


def pictures(name: str, count: int) -> list[np.ndarray]:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = next(parquet.ParquetFile(DATA / name).iter_batches(count, columns=["image"])).column("image").to_pylist()
    data = [row["bytes"] if isinstance(row, dict) else row for row in rows]
    return [np.array(Image.open(io.BytesIO(one)).convert("RGB")) for one in data]


def test_the_astronaut_has_one_face():
    from skimage import data

    found = CenterFaceDetector()(data.astronaut())
    assert len(found.scores) == 1 and found.scores[0] > 0.8
    assert found.boxes[0].tolist() == pytest.approx([178, 55, 271, 179], abs=6)


@needs_data
def test_a_woman_who_hides_her_face_is_one_track():
    clip, (track,) = tracks_of("clips/WolfgangLanger_Pexels.mp4")
    assert len(clip.frames) >= 38 and len(track.frames) >= 0.95 * len(clip.frames)


@needs_data
@pytest.mark.parametrize("fps", [2.0, pytest.param(4.0, marks=pytest.mark.slow)])
def test_a_track_ends_when_the_face_does(fps):
    clip, (track,) = tracks_of("clips/face_noface.mov", fps)
    assert clip.times[track.frames[0]] == 0
    assert 2.0 <= clip.times[track.frames[-1]] <= 2.7 < clip.times[-1]


@needs_data
@pytest.mark.parametrize("name", ["hungry", "sorry", "thanks"])
def test_small_faces_are_followed(name):
    clip, (track,) = tracks_of(f"clips/asl_{name}.mkv")
    assert len(track.frames) == len(clip.frames)
    assert 50 < best_box(track)[2] - best_box(track)[0] < 90


@needs_data
@pytest.mark.parametrize(
    ("name", "faces"),
    [
        ("clips/multi_face.jpg", 5),
        ("clips/single_face.jpg", 1),
        ("photos/19064748793_bb942deea1_k.jpg", 0),
        ("photos/34501842524_3c858b3080_k.jpg", 0),
        ("photos/24274813513_0cfd2ce6d0_k.jpg", 0),
        ("photos/33823288584_1d21cf0a26_k.jpg", 2),  # two cyclists near by; the crowd behind is too small
    ],
)
def test_faces_in_a_picture(name, faces):
    assert len(tracks_of(name)[1]) == faces


@needs_data
@pytest.mark.parametrize("count", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_small_pictures_of_things_have_no_faces(count):
    detector = CenterFaceDetector()
    found = [len(detector(picture).scores) for picture in pictures("pictures_cifar10.parquet", count)]
    assert len(found) == count and sum(found) == 0


@needs_data
def test_faces_that_fill_a_small_picture_are_found():
    detector = CenterFaceDetector()
    found = [len(detector(picture).scores) for picture in pictures("faces_fer_aligned.parquet", 60)]
    assert sum(count == 1 for count in found) >= 56


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"),
    [("faces_ferplus.parquet", 190), ("faces_rafdb.parquet", 188), ("faces_lfw_expressions.parquet", 198)],
)
def test_faces_of_tight_pictures_are_found(name, least):
    found = sum(bool(track_faces(p[None], np.zeros(1), CenterFaceDetector())) for p in validation(name, 200))
    print(f"{name}: {found} of 200 found")
    assert found >= least


@needs_data
@pytest.mark.slow
def test_at_most_a_stray_face_in_300_pictures_of_things():
    pictures_of_things = validation("pictures_cifar10.parquet", 300)
    found = sum(bool(track_faces(p[None], np.zeros(1), CenterFaceDetector())) for p in pictures_of_things)
    print(f"CIFAR-10: {found} of 300 show a face")
    assert found <= 1


@needs_data
@pytest.mark.parametrize(("name", "roll"), [("face_turned_90.jpg", -90), ("face_turned_180.jpg", 180)])
def test_turned_files_are_righted(name, roll):
    (track,) = tracks_of(f"trials/{name}")[1]
    assert abs((float(track.rolls[0]) - roll + 180) % 360 - 180) < 15


def validation(name: str, count: int) -> list[np.ndarray]:
    """Draw validation pictures by a seed that chose no setting; pictures whose voters saw no face are none."""
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [row for row in parquet.read_table(DATA / name).to_pylist() if row["split"] == "validation"]
    rows = [row for row in rows if "votes" not in row or row["votes"][9] < 5]
    chosen = np.random.default_rng(7).permutation(len(rows))[:count]
    return [np.array(Image.open(io.BytesIO(rows[place]["image"])).convert("RGB")) for place in chosen]

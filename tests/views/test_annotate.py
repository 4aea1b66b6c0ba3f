from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tests.media.footage import GREY, read_film, sounds, write_film, write_sound
from tests.views.reports import KINDS, abstaining, frame_shares, picture_only, shares, two_people

from emotion_qwen.errors import MediaError
from emotion_qwen.records import EmotionReport, Seen
from emotion_qwen.views import annotate as drawing
from emotion_qwen.views.annotate import Painter, annotate
from emotion_qwen.views.colours import COLOURS
from emotion_qwen.views.playhead import moment_at

SIZE = (640, 360)
BOX = (0.25, 0.5, 0.5, 0.75)


def rgb(concept: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(COLOURS[concept][1:]), np.uint8).astype(int)


def near(pixels: np.ndarray, colour: np.ndarray, within: int = 14) -> np.ndarray:
    return np.abs(pixels.astype(int) - colour).max(-1) <= within


def still_face(*times: float) -> EmotionReport:
    """Return a report of one person whose face stands still while it is seen."""
    person = replace(two_people().people[0], seen=tuple(Seen(time, BOX, 0.9, frame_shares(time)) for time in times))
    return replace(two_people(), people=(person,))


def painted(report: EmotionReport, time: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.asarray(Painter(report, size).paint(Image.new("RGB", size, (GREY, GREY, GREY)), time))


def test_a_box_stands_where_the_face_is_in_the_colour_of_its_label():
    frame = painted(still_face(*np.arange(0, 20, 0.5)), 3.0)
    left, right = (near(frame[180:270, x], rgb("sadness")).mean() for x in (161, 319))
    assert left > 0.8 and right > 0.8  # both upright edges, from 25% to 50% of the width
    assert near(frame[200:260, 200:300], np.full(3, GREY), 0).all()  # and nothing inside
    assert near(painted(still_face(*np.arange(0, 20, 0.5)), 12.0)[180:270, 161], rgb("happiness")).mean() > 0.8


def test_no_box_where_the_face_is_not_seen():
    report = still_face(0.0, 0.5, 1.0, 8.0, 8.5)
    assert near(painted(report, 0.8)[:360], rgb("sadness")).any()
    assert (painted(report, 4.0)[:360] == GREY).all()


def test_the_strip_stands_under_the_picture_and_turns_with_the_clip():
    frame = painted(replace(two_people(), people=()), 15.0)
    assert (frame[:360] == GREY).all() and frame.shape[0] > 360 and frame.shape[0] % 2 == 0
    row = next(row for row in frame[361:] if near(row, rgb("sadness")).mean() > 0.3)
    sad, happy = np.flatnonzero(near(row, rgb("sadness"))), np.flatnonzero(near(row, rgb("happiness")))
    assert sad.max() < happy.min() and (sad.max() - sad.min()) / (happy.max() - sad.min()) == pytest.approx(
        0.45, abs=0.02
    )
    head = np.flatnonzero(near(row, np.full(3, 255), 2))
    assert (head.mean() - sad.min()) / (happy.max() - sad.min()) == pytest.approx(0.75, abs=0.01)


def test_a_tag_says_what_the_face_shows_in_the_frame_not_in_the_window(monkeypatch):
    """At 7.5 s the windows say sad, the frame says happy; between two frames the nearest counts."""
    sad, happy = shares(0.1, 0.72), shares(0.83, 0.05)
    seen = (Seen(7.0, BOX, 0.9, sad), Seen(7.5, BOX, 0.9, happy), Seen(8.0, BOX, 0.9))
    report = replace(still_face(), people=(replace(still_face().people[0], seen=seen),))
    assert moment_at(report.people[0].timeline, 7.5).label == "sad"
    drawn = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, xy, text, **_: drawn.append(text))
    for time, expected in ((7.0, "1  sad 72%"), (7.2, "1  sad 72%"), (7.3, "1  happy 83%"), (8.0, "1  happy 83%")):
        drawn.clear()
        painted(report, time)
        assert drawn[0] == expected


def test_a_gap_has_its_reason_under_the_picture(monkeypatch):
    drawn = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, xy, text, **_: drawn.append(text))
    painted(KINDS["gapped"](), 11.0, (1280, 720))
    assert drawn[0] == "no answer: no face was found, and no voice was heard"
    drawn.clear()
    painted(KINDS["gapped"](), 11.0, (320, 180))
    assert drawn[0] == "no answer"
    drawn.clear()
    painted(KINDS["unanswered_clip"](), 3.0, (1280, 720))
    assert drawn[0].startswith("no answer: no face") and "None" not in "".join(drawn)


def test_tags_of_near_faces_do_not_cover_each_other():
    painter = Painter(two_people(), SIZE)
    person = two_people().people[0]
    boxes = [(100.0, 100.0, 150.0, 160.0), (130.0, 105.0, 180.0, 160.0), (110.0, 98.0, 170.0, 150.0)]
    placed = [tag.area for tag in painter._tags([(person, box) for box in boxes], ["1  happy 97%"] * 3)]
    for number, area in enumerate(placed):
        assert area[1] >= 0 and area[3] <= SIZE[1]
        assert not any(area[0] < b[2] and b[0] < area[2] and area[1] < b[3] and b[1] < area[3] for b in placed[:number])
    (edge,) = painter._tags([(person, (600.0, 0.0, 640.0, 30.0))], ["1  happy 97%"])
    assert edge.area[2] <= SIZE[0]


def test_doubt_is_written(monkeypatch):
    assert Painter(abstaining(), SIZE)._whole() == "clip: not sure (happy? 24%)"
    assert Painter(KINDS["unanswered"](), SIZE)._whole() == "no answer"
    assert Painter(two_people(), SIZE)._whole() == "clip: happy 55%"


def test_chinese_names_need_a_font_that_has_them(monkeypatch):
    monkeypatch.setattr(drawing, "CHINESE_FONTS", ("no-such-font.ttf",))
    drawing._font.cache_clear()
    assert Painter(KINDS["chinese"](), SIZE)._whole() == "clip: happy 55%"
    drawing._font.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 48), (360, 640)])
def test_every_report_can_be_drawn_in_any_size(kind, size):
    frame = painted(KINDS[kind](), 2.0, size)
    assert frame.shape[1] == size[0] and frame.shape[0] > size[1]


def test_a_video_is_written_with_its_sound_and_times(tmp_path):
    media = write_film(tmp_path / "clip.mp4", count=20, size=SIZE, sound="aac")
    out = annotate(still_face(*np.arange(0, 2, 0.5)), media, tmp_path / "out" / "drawn.mp4")
    frames, times = read_film(out)
    assert (
        out == tmp_path / "out" / "drawn.mp4"
        and len(frames) == 20
        and times == pytest.approx(np.arange(20) / 10, abs=1e-3)
    )
    assert frames[0].shape[0] > 360 and near(frames[10][180:270, 160:163], rgb("sadness"), 60).any(1).mean() > 0.8
    assert sounds(out)[0][0] == "aac" and [path.name for path in out.parent.iterdir()] == ["drawn.mp4"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_is_written_as_a_picture(tmp_path, suffix):
    Image.new("RGB", SIZE, (GREY, GREY, GREY)).save(tmp_path / "family.png")
    out = annotate(picture_only(), tmp_path / "family.png", tmp_path / f"drawn{suffix}")
    frame = np.asarray(Image.open(out).convert("RGB"))
    assert frame.shape[1] == 640 and near(frame[:360], rgb("happiness"), 40).any()


def test_kinds_that_do_not_fit_are_refused(tmp_path):
    Image.new("RGB", SIZE).save(tmp_path / "family.png")
    film = write_film(tmp_path / "clip.mp4", count=2)
    with pytest.raises(
        MediaError, match=r"family.png' is a picture, and '.*b.mp4' ends in '.mp4'; expected .png, .jpg"
    ):
        annotate(picture_only(), tmp_path / "family.png", tmp_path / "b.mp4")
    with pytest.raises(
        MediaError, match=r"clip.mp4' is a video, '.*b.png' a picture; name a video, for example .*b.mp4"
    ):
        annotate(two_people(), film, tmp_path / "b.png")
    with pytest.raises(MediaError, match=r"'.*b.gif' ends in '.gif'; expected a video: .mp4"):
        annotate(two_people(), film, tmp_path / "b.gif")
    with pytest.raises(MediaError, match="holds only sound"):
        annotate(KINDS["sound_only"](), write_sound(tmp_path / "voice.wav"), tmp_path / "b.mp4")
    with pytest.raises(MediaError, match="'.*none.mp4' does not exist"):
        annotate(two_people(), tmp_path / "none.mp4", tmp_path / "b.mp4")
    assert {path.name for path in tmp_path.iterdir()} == {"family.png", "clip.mp4", "voice.wav"}

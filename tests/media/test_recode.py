import numpy as np
import pytest
from PIL import Image
from tests.media.footage import GREY, read_film, sounds, write_film, write_sound

from emotion_qwen.errors import MediaError
from emotion_qwen.media.write import film
from emotion_qwen.media.write.film import encoder
from emotion_qwen.media.write.recode import recode, recode_sound


def same(picture: Image.Image, _: float) -> Image.Image:
    return picture


def test_pictures_pass_through_paint_with_their_times(tmp_path):
    told: list[float] = []

    def paint(picture: Image.Image, time: float) -> Image.Image:
        told.append(time)
        shown = np.asarray(picture).copy()
        shown[:, : picture.width // 2] = (200, 40, 40)
        return Image.fromarray(shown)

    recode(write_film(tmp_path / "a.mp4", count=12), tmp_path / "b.mp4", paint)
    frames, times = read_film(tmp_path / "b.mp4")
    assert len(frames) == 12 and told == pytest.approx(np.arange(12) / 10) and times == pytest.approx(told, abs=1e-3)
    assert frames[5].shape == (180, 320, 3)
    assert np.abs(frames[5][90, 40].astype(int) - (200, 40, 40)).max() < 12
    assert np.abs(frames[5][90, 280].astype(int) - GREY).max() < 6


def test_a_variable_frame_rate_keeps_every_time(tmp_path):
    stamps = [0, 40, 80, 500, 540, 1700, 1740, 3000]
    recode(write_film(tmp_path / "a.mkv", count=8, stamps=stamps), tmp_path / "b.mp4", same)
    assert read_film(tmp_path / "b.mp4")[1] == pytest.approx(np.array(stamps) / 1000, abs=2e-3)


def test_second_zero_is_the_first_picture(tmp_path):
    source = write_film(tmp_path / "a.mkv", count=6, stamps=[2000 + 100 * n for n in range(6)])
    told = []
    recode(source, tmp_path / "b.mp4", lambda picture, time: told.append(time) or picture)
    assert told[0] == 0 and read_film(tmp_path / "b.mp4")[1] == pytest.approx(np.arange(6) / 10, abs=2e-3)


def test_a_turned_film_comes_upright(tmp_path):
    sizes = []
    source = write_film(tmp_path / "a.mp4", count=4, rotation=90)
    recode(source, tmp_path / "b.mp4", lambda picture, _: sizes.append(picture.size) or picture)
    frames, _ = read_film(tmp_path / "b.mp4")
    assert sizes[0] == (180, 320) and frames[0].shape == (320, 180, 3)


def test_odd_sides_become_even(tmp_path):
    recode(
        write_film(tmp_path / "a.mp4", count=3), tmp_path / "b.mp4", lambda picture, _: picture.crop((0, 0, 101, 75))
    )
    assert read_film(tmp_path / "b.mp4")[0][0].shape == (74, 100, 3)


@pytest.mark.parametrize(
    ("sound", "source", "out", "expected"),
    [
        ("aac", "a.mp4", "b.mp4", "aac"),  # copied
        ("pcm_s16le", "a.mkv", "b.mp4", "aac"),
        ("aac", "a.mp4", "b.webm", "opus"),
    ],
)
def test_sound_is_kept(tmp_path, sound, source, out, expected):
    recode(write_film(tmp_path / source, count=10, sound=sound), tmp_path / out, same)
    ((codec, seconds),) = sounds(tmp_path / out)
    assert codec == expected and seconds == pytest.approx(1.0, abs=0.06)
    assert len(read_film(tmp_path / out)[0]) == 10


def test_sound_before_the_first_picture_does_not_open_the_file_too_soon(tmp_path):
    source = write_film(tmp_path / "a.mkv", count=6, stamps=[300 + 100 * n for n in range(6)], sound="aac")
    recode(source, tmp_path / "b.mp4", same)
    assert read_film(tmp_path / "b.mp4")[0][0].shape == (180, 320, 3) and sounds(tmp_path / "b.mp4")[0][0] == "aac"


def test_sound_alone_becomes_aac(tmp_path):
    recode_sound(write_sound(tmp_path / "a.wav"), tmp_path / "b.m4a")
    assert sounds(tmp_path / "b.m4a") == [("aac", pytest.approx(1.0, abs=0.06))]
    with pytest.raises(MediaError, match=r"'.*silent.mp4' cannot be written as AAC"):
        recode_sound(write_film(tmp_path / "silent.mp4", count=2), tmp_path / "c.m4a")
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "b.m4a", "silent.mp4"}


def test_nothing_is_left_of_a_file_that_failed(tmp_path):
    source = write_film(tmp_path / "a.mp4", count=6)
    (tmp_path / "b.mp4").write_bytes(b"before")

    def fail(picture: Image.Image, time: float) -> Image.Image:
        if time > 0.3:
            raise MediaError("enough")
        return picture

    with pytest.raises(MediaError, match="enough"):
        recode(source, tmp_path / "b.mp4", fail)
    assert (tmp_path / "b.mp4").read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 2


def test_unknown_kinds_and_missing_encoders_are_named(tmp_path, monkeypatch):
    with pytest.raises(MediaError, match=r"'b.gif' ends in '.gif'; expected a video: .mp4, .m4v, .mov, .mkv, .webm"):
        encoder(tmp_path.__class__("b.gif"))

    def none(name: str, mode: str) -> None:
        raise film.UnknownCodecError(name)

    monkeypatch.setattr(film, "Codec", none)
    with pytest.raises(MediaError, match="none of the encoders libx264, libopenh264, mpeg4; install PyAV's own wheel"):
        encoder(tmp_path / "b.mp4")


def test_a_missing_source_is_said(tmp_path):
    with pytest.raises(MediaError, match="'.*a.mp4' does not exist"):
        recode(tmp_path / "a.mp4", tmp_path / "b.mp4", same)

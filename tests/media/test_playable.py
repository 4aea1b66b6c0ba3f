import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.media.footage import read_film, sounds, write_film, write_sound

from emotion_qwen.errors import MediaError
from emotion_qwen.media.write import film
from emotion_qwen.media.write.playable import COPY_SIDE, Playable, playable, wave_peaks

LIMIT = 10_000_000


def shown(tmp_path, media, limit=LIMIT) -> Playable:
    return playable(media, tmp_path / "page.html", limit)


@pytest.mark.parametrize(
    ("name", "codec", "sound", "mime"),
    [
        ("a.mp4", "libx264", "aac", "video/mp4"),
        ("a.m4v", "libx264", None, "video/mp4"),
        ("a.webm", "libvpx-vp9", "libopus", "video/webm"),
        ("a.webm", "libvpx", None, "video/webm"),
    ],
)
def test_what_browsers_play_stays_as_it_is(tmp_path, name, codec, sound, mime):
    media = write_film(tmp_path / name, count=4, codec=codec, sound=sound)
    assert shown(tmp_path, media) == Playable("video", mime, media.read_bytes())


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [
        ("a.mp4", "mpeg4", None),
        ("a.avi", "mpeg4", None),
        ("a.mkv", "libx264", "aac"),
        ("a.mov", "libx264", None),
        ("a.mp4", "libx264", "ac3"),
    ],
)
def test_what_browsers_do_not_play_is_copied_small(tmp_path, name, codec, sound):
    media = write_film(tmp_path / name, count=5, codec=codec, sound=sound, size=(1280, 720))
    made = shown(tmp_path, media)
    assert (made.kind, made.mime, made.copied, made.address) == ("video", "video/mp4", "640×360", "")
    (tmp_path / "copy.mp4").write_bytes(made.data)
    frames, times = read_film(tmp_path / "copy.mp4")
    assert len(frames) == 5 and max(frames[0].shape) == COPY_SIDE and times[0] == 0
    assert [codec for codec, _ in sounds(tmp_path / "copy.mp4")] == (["aac"] if sound else [])
    assert playable(tmp_path / "copy.mp4", tmp_path / "page.html", LIMIT).copied == ""  # a copy needs no other


def test_a_film_whose_first_picture_is_late_is_put_on_the_reports_clock(tmp_path):
    media = write_film(tmp_path / "a.webm", count=4, codec="libvpx", stamps=[1000, 1100, 1200, 1300])
    made = shown(tmp_path, media)
    assert made.copied and made.mime == "video/mp4"


def test_without_h264_the_copy_is_vp9(tmp_path, monkeypatch):
    true = film.Codec

    def without(name: str, mode: str):
        if "264" in name:
            raise film.UnknownCodecError(name)
        return true(name, mode)

    media = write_film(tmp_path / "a.mkv", count=3)
    monkeypatch.setattr(film, "Codec", without)
    made = shown(tmp_path, media)
    assert made.mime == "video/webm" and made.data[:4] == b"\x1aE\xdf\xa3"


def test_a_large_medium_is_referred_to(tmp_path):
    folder = tmp_path / "my clips"
    folder.mkdir()
    media = write_film(folder / "a&b #1.mp4", count=4)
    made = playable(media, tmp_path / "pages" / "page.html", 100)
    assert (made.data, made.address) == (b"", "../my%20clips/a%26b%20%231.mp4")


def test_a_large_copy_stands_beside_the_page_and_replaces_nothing(tmp_path):
    media = write_film(tmp_path / "page.mkv", count=4)
    before = media.read_bytes()
    made = shown(tmp_path, media, 100)
    assert made.address == "page.copy.mp4" and made.data == b"" and media.read_bytes() == before
    assert len(read_film(tmp_path / "page.copy.mp4")[0]) == 4


@pytest.mark.parametrize(("form", "mime"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
def test_pictures_that_browsers_show_stay(tmp_path, form, mime):
    Image.new("RGB", (60, 40), "teal").save(tmp_path / "a", form)
    assert shown(tmp_path, tmp_path / "a") == Playable("picture", mime, (tmp_path / "a").read_bytes())


def test_other_pictures_become_jpeg_upright(tmp_path):
    picture = Image.new("RGB", (60, 40), "teal")
    picture.save(tmp_path / "a.tiff")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(tmp_path / "b.png", exif=turned)
    for name, size in (("a.tiff", (60, 40)), ("b.png", (40, 60))):
        made = shown(tmp_path, tmp_path / name)
        assert made.mime == "image/jpeg" and made.copied == f"{size[0]}×{size[1]}"
        assert Image.open(io.BytesIO(made.data)).size == size


def test_sound_stays_or_becomes_aac(tmp_path):
    wav = write_sound(tmp_path / "a.wav")
    assert shown(tmp_path, wav) == Playable("sound", "audio/wav", wav.read_bytes())
    m4a = write_sound(tmp_path / "a.m4a", "aac")
    assert shown(tmp_path, m4a) == Playable("sound", "audio/mp4", m4a.read_bytes())
    made = shown(tmp_path, write_sound(tmp_path / "a.aiff", "pcm_s16be"))
    assert (made.kind, made.mime, made.copied) == ("sound", "audio/mp4", "AAC") and made.data


def test_a_missing_medium_is_said(tmp_path):
    with pytest.raises(MediaError, match="none.mp4' does not exist"):
        shown(tmp_path, tmp_path / "none.mp4")


def test_the_wave_follows_the_sound(tmp_path):
    found = wave_peaks(write_sound(tmp_path / "a.wav", seconds=2.0))
    assert found is not None and found["start"] == 0 and found["end"] == pytest.approx(2.0, abs=0.01)
    assert max(found["peaks"]) == 100 and np.mean(found["peaks"]) > 80  # a steady tone
    with_film = wave_peaks(write_film(tmp_path / "a.mp4", count=10, sound="aac"))
    assert with_film is not None and with_film["end"] == pytest.approx(1.0, abs=0.1)
    assert wave_peaks(write_film(tmp_path / "silent.mp4", count=4)) is None


UNDER_THE_DECODERS_LIMIT = """
import resource, sys
from pathlib import Path

resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from emotion_qwen.media.write.playable import playable

made = playable(Path(sys.argv[1]), Path(sys.argv[2]), 1 << 30)
status = Path("/proc/self/status").read_text()
threads = int(status.split("Threads:")[1].split()[0])
print(made.copied, threads)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts threads as Linux tells them")
def test_a_long_copy_fits_the_address_space_of_a_decoder_and_leaves_no_threads(tmp_path):
    """A scaler per frame left hundreds of threads, and more address space than a decoder of the server may use."""
    media = write_film(tmp_path / "long.mkv", count=300)
    done = subprocess.run(
        [sys.executable, "-c", UNDER_THE_DECODERS_LIMIT, str(media), str(tmp_path / "page.html")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    copied, threads = done.stdout.split()
    assert copied == "320×180" and int(threads) < 20


def test_a_copy_that_cannot_be_written_is_named_by_its_medium(tmp_path, monkeypatch):
    media = write_film(tmp_path / "a.mkv", count=4)

    def full(_self, _picture, _time):
        raise OSError(28, "No space left on device", "/tmp/inner/copy.mp4")

    monkeypatch.setattr(film.Film, "add_picture", full)
    with pytest.raises(MediaError, match=r"a copy of .*mkv. cannot be written .No space left on device.") as error:
        shown(tmp_path, media)
    assert "inner" not in str(error.value)

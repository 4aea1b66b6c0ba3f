import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from emotion_qwen.errors import MediaError
from emotion_qwen.media import read_clip, read_picture
from emotion_qwen.media.picture import decode_picture, is_picture
from emotion_qwen.settings import ClipSettings

SETTINGS = ClipSettings()


def test_pixels_are_untouched(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    clip = read_picture(tmp_path / "p.png", SETTINGS)
    assert np.array_equal(clip.frames[0], pixels)
    assert clip.still and clip.times.tolist() == [0.0]
    assert (clip.size, clip.duration, clip.warnings) == ((90, 120), 0.0, ())


@pytest.mark.parametrize(("tag", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0)), (2, (0, -1))])
def test_exif_orientation(tmp_path, tag, corner):
    pixels = np.zeros((20, 30, 3), dtype=np.uint8)
    pixels[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.fromarray(pixels).save(tmp_path / "o.png", exif=exif)
    clip = read_picture(tmp_path / "o.png", SETTINGS)
    assert clip.size == clip.frames.shape[1:3] == ((30, 20) if tag in (6, 8) else (20, 30))
    assert clip.frames[0][corner].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(tmp_path, mode):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 0, 255))
    if mode == "P":
        image = Image.new("P", (4, 4), 0)
        image.putpalette([9, 9, 9, 0, 0, 0])
        image.putpixel((0, 0), 1)
        image.info["transparency"] = 0
    image.convert(mode).save(tmp_path / "t.png", **({"transparency": 0} if mode == "P" else {}))
    frame = read_picture(tmp_path / "t.png", SETTINGS).frames[0]
    assert frame[0, 0].tolist() == [0, 0, 0] and frame[3, 3].tolist() == [255, 255, 255]


def test_grey_sixteen_bit_and_one_pixel(tmp_path):
    Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16)).save(tmp_path / "g.png")
    assert read_picture(tmp_path / "g.png", SETTINGS).frames[0, 0, :, 0].tolist() == [0, 128, 255]
    Image.new("L", (1, 1), 77).save(tmp_path / "l.bmp")
    assert read_picture(tmp_path / "l.bmp", SETTINGS).frames.tolist() == [[[[77, 77, 77]]]]


def test_only_very_large_pictures_are_reduced(tmp_path):
    Image.new("RGB", (5000, 100)).save(tmp_path / "w.png")
    clip = read_picture(tmp_path / "w.png", SETTINGS)
    assert clip.frames.shape == (1, 82, 4096, 3) and clip.size == (100, 5000)
    assert clip.warnings == ("reduced from 5000x100 to 4096x82 pixels",)


def test_pictures_that_cannot_be_used(tmp_path):
    Image.new("RGB", (402, 2)).save(tmp_path / "thin.png")
    with pytest.raises(MediaError, match=r"thin\.png' is 402x2 pixels; one side may be at most 200 times"):
        read_picture(tmp_path / "thin.png", SETTINGS)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:1500])
    with pytest.raises(MediaError, match=r"cut\.jpg': damaged JPEG picture \("):
        read_picture(tmp_path / "cut.jpg", SETTINGS)
    (tmp_path / "n.png").write_bytes(b"\0\1\2" * 50)
    with pytest.raises(MediaError, match=r"n\.png' is no picture that can be read; expected one of JPEG"):
        read_picture(tmp_path / "n.png", SETTINGS)
    (tmp_path / "h.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    with pytest.raises(MediaError, match=r"h\.jpg' is a HEIC picture"):
        read_picture(tmp_path / "h.jpg", SETTINGS)


@pytest.mark.parametrize("limit", [3000, 1000])  # PIL warns above its limit and raises above twice that
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_refused(tmp_path, monkeypatch, limit):
    Image.new("RGB", (64, 64)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(MediaError, match=rf"bomb\.png'.*expected at most {limit:,}"):
        read_picture(tmp_path / "bomb.png", SETTINGS)


@pytest.mark.parametrize(
    "error", [RuntimeError("two\nlines"), EOFError("short"), IndexError("out"), struct.error("4 bytes")]
)
@pytest.mark.parametrize("when", ["opened", "decoded"])
def test_whatever_pils_readers_raise_is_one_line(tmp_path, monkeypatch, when, error):
    """AVIF raises RuntimeError, PPM ValueError and so on; found by flipping bytes in real files."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(*((Image, "open") if when == "opened" else (Image.Image, "convert")), fail)
    assert is_picture(tmp_path / "a.png")
    with pytest.raises(MediaError, match=r"a\.png': damaged.*fetch it again") as caught:
        read_picture(tmp_path / "a.png", ClipSettings())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "place"), [("a.ppm", 7), ("a.jpg", 300), ("a.tif", 4), ("a.gif", 10), ("a.webp", 16)])
def test_pictures_with_damaged_heads_are_refused_or_read(tmp_path, name, place):
    path = tmp_path / name
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(path)
    sound = path.read_bytes()
    for seed in range(8):
        content = bytearray(sound)
        content[place : place + 6] = np.random.default_rng(seed).integers(0, 256, 6, dtype=np.uint8).tobytes()
        path.write_bytes(content)
        try:
            assert read_clip(path, ClipSettings()).frames.ndim == 4
        except MediaError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.linspace(0, 1, 64, dtype=np.float32), "taken as 0 to 1"),
        (np.linspace(0, 250, 64, dtype=np.float32), "taken as 0 to 255"),
        (np.linspace(-3, 900, 64, dtype=np.float32), "numbers from -3 to 900"),
        (np.linspace(0, 4000, 64).astype(np.uint16), "taken as of 12 bits"),
        (np.linspace(0, 1000, 64).astype(np.uint16), "taken as of 10 bits"),
        (np.linspace(0, 65000, 64).astype(np.uint16), ""),
        (np.linspace(0, 90_000, 64).astype(np.int32), "numbers from 0 to 90000"),
    ],
)
def test_rare_number_types_are_scaled_and_said(tmp_path, values, told):
    Image.fromarray(np.repeat(values[None], 48, 0)).save(tmp_path / "a.tif")
    clip = read_picture(tmp_path / "a.tif", SETTINGS)
    row = clip.frames[0, 5, :, 0].astype(int)
    assert row[0] < 3 and row[-1] > 240 and np.abs(np.diff(row) - row[-1] / 63).max() < 1.6
    assert "; ".join(clip.warnings).count(told) if told else not clip.warnings


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_colours_of_twelve_bits_in_sixteen_are_not_black(tmp_path, name):
    pixels = np.zeros((48, 64, 3), np.uint16)
    pixels[:, :, 0], pixels[:, :, 1] = np.linspace(0, 4000, 64).astype(np.uint16), 1000
    cv2.imwrite(str(tmp_path / name), pixels[..., ::-1])
    clip = read_picture(tmp_path / name, SETTINGS)
    assert clip.frames[0, 5, -1].tolist() == [249, 62, 0] and "taken as of 12 bits" in clip.warnings[0]
    cv2.imwrite(str(tmp_path / name), pixels * 16)
    assert not read_picture(tmp_path / name, SETTINGS).warnings


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("name", ["a.tif", "a.jpg", "a.png", "a.webp"])
def test_the_size_is_that_of_the_upright_picture(tmp_path, name, tag):
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.new("RGB", (40, 30)).save(tmp_path / name, exif=exif)
    clip = read_picture(tmp_path / name, SETTINGS)
    assert clip.size == clip.frames.shape[1:3] == ((40, 30) if tag >= 5 else (30, 40))


def test_a_png_of_high_dynamic_range_is_said_and_mapped(tmp_path):
    Image.new("RGB", (40, 30), (148, 148, 148)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    body = b"cICP" + bytes([9, 16, 0, 1])
    chunk = (4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])  # behind the header
    clip = read_picture(tmp_path / "a.png", SETTINGS)
    assert clip.frames[0, 0, 0].tolist() == pytest.approx([246] * 3, abs=4) and "(PQ)" in clip.warnings[0]


def test_bytes_that_are_no_picture_are_named_without_pillows_objects():
    with pytest.raises(MediaError, match=r"^row 7 is no picture that can be read; expected one of JPEG, ") as caught:
        decode_picture(b"nothing", "row 7")
    assert "BytesIO" not in str(caught.value)

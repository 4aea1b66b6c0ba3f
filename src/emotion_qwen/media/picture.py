"""Read a picture file as a clip of one frame, upright and in RGB.

Pictures with a longer side of up to 4096 pixels keep their size, so that the model's resizing gets the same input as
transformers' image processor. Only larger pictures are reduced here.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from emotion_qwen.errors import MediaError, printable
from emotion_qwen.media.container import SNIFF, check_readable, read_head
from emotion_qwen.media.high_dynamic_range import TRANSFERS, to_standard_range
from emotion_qwen.records import Clip
from emotion_qwen.settings import ClipSettings

MAX_SIDE = 4096
MAX_ASPECT = 200  # the limit of Qwen2-VL
_DARK = 64  # of 255; a 16-bit colour picture that is nowhere brighter may use only its lower bits
# Formats with an unambiguous signature. PIL mistakes MPEG streams for pictures, and almost any file for a TGA.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
DAMAGE = (
    OSError, SyntaxError, ValueError, RuntimeError, EOFError, LookupError, TypeError, OverflowError, struct.error,
    zlib.error,
)  # fmt: skip
"""Errors that PIL's readers raise on damaged files."""
_ANIMATED = {"GIF", "WEBP", "PNG"}  # not TIFF and MPO: their further pictures are not frames
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"}


def read_picture(path: str | Path, settings: ClipSettings) -> Clip:
    """Read a picture, or the first frame of an animation.

    The EXIF orientation is applied, transparency is composited on white, and every mode is converted to 8-bit RGB.

    Args:
        path: a file in one of `FORMATS`.
        settings: unused, because a picture has no frame budget; all readers have this argument.

    Raises:
        MediaError: the file is missing, empty, not a picture, damaged, above PIL's limit for decompression bombs, or
            one side is more than 200 times the other.
    """
    path = Path(path)
    with open_picture(path) as image:
        if max(image.size) > MAX_ASPECT * min(image.size):
            raise MediaError(
                f"{str(path)!r} is {image.width}x{image.height} pixels; one side may be at most {MAX_ASPECT} times the "
                "other, crop the picture"
            )
        warnings = ["animated picture read as its first frame"] if _is_animation(image) else []
        try:
            picture = _upright_rgb(image, path.read_bytes, warnings)
        except DAMAGE as error:
            reason = " ".join(str(error).split())
            raise MediaError(f"{str(path)!r}: damaged {image.format} picture ({reason}); fetch it again") from error
    height, width = picture.height, picture.width
    if max(height, width) > MAX_SIDE:
        picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BICUBIC)
        warnings.append(f"reduced from {width}x{height} to {picture.width}x{picture.height} pixels")
    return Clip(
        frames=np.asarray(picture)[None],
        times=np.zeros(1),
        source=printable(path),
        still=True,
        size=(height, width),
        warnings=tuple(warnings),
    )


def decode_picture(data: bytes, name: str) -> np.ndarray:
    """Decode a picture in memory to (H, W, 3) uint8 RGB by the rules of `read_picture`.

    Args:
        data: the encoded bytes.
        name: name of the picture in messages.

    Raises:
        MediaError: the picture cannot be read.
    """
    Image.init()
    try:
        with Image.open(io.BytesIO(data), formats=_known_formats()) as image:
            return np.asarray(_upright_rgb(image, lambda: data, []))
    except UnidentifiedImageError as error:  # PIL's own message contains the address of a buffer
        raise MediaError(f"{name} is no picture that can be read; expected one of {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, *DAMAGE) as error:
        raise MediaError(f"{name}: cannot be decoded ({error}); fetch its file again") from error


def is_picture(path: Path) -> bool:
    """Return whether the content of a file is a picture, which includes animations."""
    try:
        Image.init()
        with Image.open(path, formats=_known_formats()):
            return True
    except UnidentifiedImageError:
        return read_head(path)[4:8] == b"ftyp" and read_head(path)[8:12] in _HEIC_BRANDS
    except (Image.DecompressionBombError, *DAMAGE):
        return True  # recognised as a picture; reading it reports the error


def is_animation(path: Path) -> bool:
    """Return whether a picture file is an animation.

    Raises:
        MediaError: the picture cannot be read.
    """
    with open_picture(path) as image:
        return _is_animation(image)


def open_picture(path: Path) -> Image.Image:
    """Open a picture without decoding it.

    Raises:
        MediaError: the file is missing, empty, not a picture, or above PIL's limit for decompression bombs.
    """
    check_readable(path)
    Image.init()
    limit = Image.MAX_IMAGE_PIXELS or 2**62
    try:
        image = Image.open(path, formats=_known_formats())
    except Image.DecompressionBombError as error:
        raise MediaError(f"{str(path)!r}: {error}; expected at most {limit:,} pixels, reduce the picture") from error
    except UnidentifiedImageError as error:
        if read_head(path)[8:12] in _HEIC_BRANDS:
            raise MediaError(f"{str(path)!r} is a HEIC picture, which is not supported; save it as JPEG") from error
        raise MediaError(
            f"{str(path)!r} is no picture that can be read; expected one of {', '.join(FORMATS)}"
        ) from error
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise MediaError(f"{str(path)!r}: damaged picture ({reason}); fetch it again") from error
    if image.width * image.height > limit:
        image.close()
        raise MediaError(
            f"{str(path)!r} has {image.width}x{image.height} pixels; expected at most {limit:,}, reduce the picture"
        )
    return image


def _known_formats() -> list[str]:
    return [name for name in FORMATS if name in Image.OPEN]  # some builds of PIL lack AVIF or JPEG2000


def _is_animation(image: Image.Image) -> bool:
    if image.format not in _ANIMATED:
        return False
    try:  # counting the frames reads the whole file
        return getattr(image, "n_frames", 1) > 1
    except DAMAGE:
        return False  # damaged; reading the first frame reports the error


def _upright_rgb(image: Image.Image, read: Callable[[], bytes], warnings: list[str]) -> Image.Image:
    """Decode a picture for display as 8-bit RGB; guesses about its range are added to `warnings`."""
    deep = ";16" in str(getattr(image, "tile", "")) and image.mode.startswith(
        ("RGB", "LA")
    )  # PIL keeps only the upper 8 bits of these
    picture = flat_rgb(ImageOps.exif_transpose(image), warnings)
    if deep and int(np.asarray(picture).max()) < _DARK:
        picture = flat_rgb(ImageOps.exif_transpose(_all_bits(image, read(), warnings)))
    transfer = _transfer(image, read)
    if transfer in TRANSFERS:
        warnings.append(f"of high dynamic range ({TRANSFERS[transfer]}); it was brought into the standard range")
        picture = Image.fromarray(to_standard_range(np.asarray(picture).astype(np.uint16) * 257, transfer))
    return picture


def flat_rgb(image: Image.Image, warnings: list[str] | None = None) -> Image.Image:
    """Convert any mode to 8-bit RGB on white; a guessed range is added to `warnings`."""
    if image.mode.startswith(("I", "F")):  # PIL's own conversion clips values above 255
        values, warning = _eight_bits(np.asarray(image))
        if warning and warnings is not None:
            warnings.append(warning)
        return Image.fromarray(values).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return image.convert("RGB")


def _eight_bits(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Scale samples of another number type to uint8; return them with a warning if the range was guessed, else "".

    Integers are assumed to have the smallest fitting depth of 8, 10, 12, 14 and 16 bits. Other numbers are assumed to
    range from 0 to 1 or from 0 to 255. Anything else is stretched from its minimum to its maximum.
    """
    whole = values.dtype.kind in "ui"
    values = np.nan_to_num(values.astype(np.float64), nan=0, posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    ranges = (
        {f"of {bits} bits": 2.0**bits - 1 for bits in (8, 10, 12, 14, 16)} if whole else {"0 to 1": 1, "0 to 255": 255}
    )
    name = next((name for name, top in ranges.items() if low >= 0 and high <= top), None)
    if name is None:
        spread = (values - low) / ((high - low) or 1)
        return np.rint(255 * spread).astype(np.uint8), f"numbers from {low:g} to {high:g}; this range became 0 to 255"
    scaled = np.rint(255 * values / ranges[name]).astype(np.uint8)
    usual = not high or name == "of 16 bits"
    return scaled, "" if usual else f"numbers of a rare type; taken as {name}, for they reach {high:g}"


def _all_bits(image: Image.Image, data: bytes, warnings: list[str]) -> Image.Image:
    """Decode a 16-bit colour picture with empty upper bits at full depth, before its orientation is applied."""
    import cv2  # imported late: it takes 0.1 s, and few pictures need it

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        warnings.append("a picture of 16 bits that leaves its upper bits empty; it may be too dark")
        return image
    values, warning = _eight_bits(pixels)
    warnings.extend([warning] if warning else [])
    order = [2, 1, 0, 3][: pixels.shape[2]]  # OpenCV returns blue, green, red
    scaled = Image.fromarray(np.ascontiguousarray(values[..., order]))
    if image.format != "TIFF":  # OpenCV's TIFF reader has already applied the orientation
        scaled.info.update(image.info)
    return scaled


def _transfer(image: Image.Image, read: Callable[[], bytes]) -> int:
    """Return the transfer characteristics (ITU-T H.273) stated in an AVIF or PNG file; 0 if there are none."""
    mark, place = {"AVIF": (b"colrnclx", 10), "PNG": (b"cICP", 5)}.get(image.format or "", (b"", 0))
    at = (head := read()[:SNIFF]).find(mark) if mark else -1
    return int.from_bytes(head[at + place : at + place + (2 if image.format == "AVIF" else 1)], "big") if at >= 0 else 0

"""Picture file to a clip of one frame, upright and in RGB.

Pixels stay as they are up to a longer side of 4096: the model's own resizing must see what transformers' image
processor would see. Only larger pictures are reduced here.
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
MAX_ASPECT = 200  # Qwen2-VL's own limit
_DARK = 64  # of 255; a colour picture of 16 bits that is nowhere brighter may hold fewer bits
# Formats with a clear mark at their beginning: PIL takes MPEG streams for pictures and almost anything for a TGA.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
DAMAGE = (
    OSError, SyntaxError, ValueError, RuntimeError, EOFError, LookupError, TypeError, OverflowError, struct.error,
    zlib.error,
)  # fmt: skip
"""What PIL's readers raise on damaged files, each in its own way."""
_ANIMATED = {"GIF", "WEBP", "PNG"}  # a second picture in a TIFF or MPO is no second frame
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"}


def read_picture(path: str | Path, settings: ClipSettings) -> Clip:
    """Read a picture; of an animation, its first frame.

    The EXIF orientation is applied, transparency is laid on white, and every mode becomes 8-bit RGB.

    Args:
        path: a file in one of `FORMATS`.
        settings: taken for the common form of the readers; a picture has no frame budget.

    Raises:
        MediaError: the file is missing, empty, no picture, damaged, too large to be harmless, or more than 200 times
            as long as wide.
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
    """Decode an encoded picture that is no file of its own to (H, W, 3) uint8, by the rules of `read_picture`.

    Args:
        data: its bytes.
        name: how messages call it.

    Raises:
        MediaError: it is no picture that can be read.
    """
    Image.init()
    try:
        with Image.open(io.BytesIO(data), formats=_known_formats()) as image:
            return np.asarray(_upright_rgb(image, lambda: data, []))
    except UnidentifiedImageError as error:  # its own message shows where PIL held the bytes
        raise MediaError(f"{name} is no picture that can be read; expected one of {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, *DAMAGE) as error:
        raise MediaError(f"{name}: cannot be decoded ({error}); fetch its file again") from error


def is_picture(path: Path) -> bool:
    """Tell by its content whether a file is a picture; an animation is one too."""
    try:
        Image.init()
        with Image.open(path, formats=_known_formats()):
            return True
    except UnidentifiedImageError:
        return read_head(path)[4:8] == b"ftyp" and read_head(path)[8:12] in _HEIC_BRANDS
    except (Image.DecompressionBombError, *DAMAGE):
        return True  # recognised; reading it tells what is wrong


def is_animation(path: Path) -> bool:
    """Tell whether a picture file holds several frames over time.

    Raises:
        MediaError: it is no readable picture.
    """
    with open_picture(path) as image:
        return _is_animation(image)


def open_picture(path: Path) -> Image.Image:
    """Open a picture without decoding it.

    Raises:
        MediaError: the file is missing, empty, no picture, or too large to be harmless.
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
    return [name for name in FORMATS if name in Image.OPEN]  # AVIF and JPEG2000 are not in every build of PIL


def _is_animation(image: Image.Image) -> bool:
    if image.format not in _ANIMATED:
        return False
    try:  # counting walks through the file
        return getattr(image, "n_frames", 1) > 1
    except DAMAGE:
        return False  # damaged; reading the first frame tells


def _upright_rgb(image: Image.Image, read: Callable[[], bytes], warnings: list[str]) -> Image.Image:
    """Decode a picture as it is shown, its numbers brought to 8 bits; what had to be guessed is added to `warnings`."""
    deep = ";16" in str(getattr(image, "tile", "")) and image.mode.startswith(
        ("RGB", "LA")
    )  # of these, PIL keeps the upper 8 bits
    picture = flat_rgb(ImageOps.exif_transpose(image), warnings)
    if deep and int(np.asarray(picture).max()) < _DARK:
        picture = flat_rgb(ImageOps.exif_transpose(_all_bits(image, read(), warnings)))
    transfer = _transfer(image, read)
    if transfer in TRANSFERS:
        warnings.append(f"of high dynamic range ({TRANSFERS[transfer]}); it was brought into the standard range")
        picture = Image.fromarray(to_standard_range(np.asarray(picture).astype(np.uint16) * 257, transfer))
    return picture


def flat_rgb(image: Image.Image, warnings: list[str] | None = None) -> Image.Image:
    """Bring any mode to 8-bit RGB, transparency laid on white; a scale that was guessed is added to `warnings`."""
    if image.mode.startswith(("I", "F")):  # PIL's own conversion would cut off everything above 255
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
    """Scale samples of another number type to uint8: by the type, or by what they hold, which the warning says.

    Whole numbers are taken to have the fewest of 8, 10, 12, 14 and 16 bits that hold them, other numbers to reach from
    0 to 1 or from 0 to 255 if they lie in it. What fits neither is spread from its least to its greatest.
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
    """Decode a colour picture of 16 bits whose upper bits are empty, with all of its bits, not yet turned."""
    import cv2  # late: its import takes a tenth of a second, and few pictures need it

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        warnings.append("a picture of 16 bits that leaves its upper bits empty; it may be too dark")
        return image
    values, warning = _eight_bits(pixels)
    warnings.extend([warning] if warning else [])
    order = [2, 1, 0, 3][: pixels.shape[2]]  # OpenCV's order is blue, green, red
    scaled = Image.fromarray(np.ascontiguousarray(values[..., order]))
    if image.format != "TIFF":  # whose own reader has turned it already, and forgotten how
        scaled.info.update(image.info)
    return scaled


def _transfer(image: Image.Image, read: Callable[[], bytes]) -> int:
    """Read the transfer characteristics (ITU-T H.273) that an AVIF or PNG file names; 0 where it names none."""
    mark, place = {"AVIF": (b"colrnclx", 10), "PNG": (b"cICP", 5)}.get(image.format or "", (b"", 0))
    at = (head := read()[:SNIFF]).find(mark) if mark else -1
    return int.from_bytes(head[at + place : at + place + (2 if image.format == "AVIF" else 1)], "big") if at >= 0 else 0

"""Picture file to a clip of one frame, upright and in RGB.

Pixels stay as they are up to a longer side of 4096: the model's own resizing must see what transformers' image
processor would see. Only larger pictures are reduced here.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from emotion_qwen.errors import MediaError, printable
from emotion_qwen.media.container import check_readable, read_head
from emotion_qwen.records import Clip
from emotion_qwen.settings import ClipSettings

MAX_SIDE = 4096
MAX_ASPECT = 200  # Qwen2-VL's own limit
# Formats with a clear mark at their beginning: PIL takes MPEG streams for pictures and almost anything for a TGA.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
# What PIL's readers raise on damaged files, each in its own way.
_DAMAGE = (
    OSError, SyntaxError, ValueError, RuntimeError, EOFError, LookupError, TypeError, OverflowError, struct.error,
    zlib.error,
)  # fmt: skip
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
        height, width = _upright_size(image)
        if max(height, width) > MAX_ASPECT * min(height, width):
            raise MediaError(
                f"{str(path)!r} is {width}x{height} pixels; one side may be at most {MAX_ASPECT} times the other, "
                "crop the picture"
            )
        warnings = ["animated picture read as its first frame"] if _is_animation(image) else []
        try:
            picture = _rgb(ImageOps.exif_transpose(image))
        except _DAMAGE as error:
            reason = " ".join(str(error).split())
            raise MediaError(f"{str(path)!r}: damaged {image.format} picture ({reason}); fetch it again") from error
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
            return np.asarray(_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError as error:  # its own message shows where PIL held the bytes
        raise MediaError(f"{name} is no picture that can be read; expected one of {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, *_DAMAGE) as error:
        raise MediaError(f"{name}: cannot be decoded ({error}); fetch its file again") from error


def is_picture(path: Path) -> bool:
    """Tell by its content whether a file is a picture; an animation is one too."""
    try:
        Image.init()
        with Image.open(path, formats=_known_formats()):
            return True
    except UnidentifiedImageError:
        return read_head(path)[4:8] == b"ftyp" and read_head(path)[8:12] in _HEIC_BRANDS
    except (Image.DecompressionBombError, *_DAMAGE):
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
    except _DAMAGE as error:
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
    except _DAMAGE:
        return False  # damaged; reading the first frame tells


def _upright_size(image: Image.Image) -> tuple[int, int]:
    try:
        turned = image.getexif().get(0x0112, 1)  # EXIF tag Orientation
    except _DAMAGE:  # a PNG cut short fails here; reading its pixels tells why
        turned = 1
    sideways = turned in (5, 6, 7, 8)  # these swap the axes
    return (image.width, image.height) if sideways else (image.height, image.width)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits: PIL's own conversion would clip everything above 255 to white
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return image.convert("RGB")

"""Decode videos on a device that FFmpeg offers, such as the decoder of a GPU, if the user asks for one.

The environment variable `EMOTION_QWEN_HWACCEL` names the kind of device as FFmpeg does: cuda, qsv, vaapi, videotoolbox,
and so on, with its number if there are several (`cuda:1`). It is inherited by processes that prepare clips. Without
such a device there is one warning, and videos are decoded on the CPU, as are those in a format that the device
does not support.
"""

from __future__ import annotations

import os
import sys
from functools import cache

import av
import av.error
from av.codec.hwaccel import HWAccel, hwdevices_available

VARIABLE = "EMOTION_QWEN_HWACCEL"
PROBED = "h264"
"""Codec with which a device is tested; every GPU decoder supports it."""


def accelerator() -> HWAccel | None:
    """Return the device to decode one video on; None for the processor."""
    name = os.environ.get(VARIABLE, "")
    return _device(name) if name and _is_usable(name) else None


@cache
def _is_usable(name: str) -> bool:
    """Try a device; if it cannot be used, print one line and prevent later processes from trying again."""
    kinds = hwdevices_available()
    try:
        if name.partition(":")[0] not in kinds:
            raise ValueError(f"this FFmpeg offers {', '.join(kinds) or 'none'}")
        _device(name).create(av.Codec(PROBED, "r"))
    except (av.error.FFmpegError, NotImplementedError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        print(f"warning: {VARIABLE}={name}: not usable ({reason}); videos are decoded on the CPU", file=sys.stderr)
        os.environ.pop(VARIABLE, None)
        return False
    return True


def _device(name: str) -> HWAccel:
    kind, _, number = name.partition(":")
    return HWAccel(kind, device=number or None, allow_software_fallback=True)

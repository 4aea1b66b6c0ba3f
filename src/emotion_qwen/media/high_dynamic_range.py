"""Convert pictures of high dynamic range (PQ and HLG, ITU-R BT.2100) to the standard range.

Reference white, 203 cd/m2 (ITU-R BT.2408), maps to white of the standard range. Brightness up to four fifths of it is
exact, and everything above is compressed into the remaining fifth.
"""

from __future__ import annotations

from functools import cache

import numpy as np

PQ, HLG = 16, 18
TRANSFERS = {PQ: "PQ", HLG: "HLG"}
"""Transfer characteristics of high dynamic range (ITU-T H.273, table 3) and their names."""
_REFERENCE_WHITE = 203.0  # cd/m2
_HLG_PEAK = 1000.0  # cd/m2, peak of the display for which HLG's nominal rendering is defined
_KNEE = 0.8  # share of reference white above which highlights are compressed
_LUMINANCE_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
_FROM_2020 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)  # linear RGB of BT.2020 to BT.709 (ITU-R BT.2087)


def to_standard_range(picture: np.ndarray, transfer: int) -> np.ndarray:
    """Map a picture from high to standard dynamic range.

    Args:
        picture: (H, W, 3) uint16 RGB with the primaries of BT.2020, full range.
        transfer: `PQ` or `HLG`.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    light = _linear(transfer)[picture]
    if transfer == HLG:  # light of the scene, raised by the display's own curve
        light = (
            light
            * np.maximum(light @ _LUMINANCE_2020, 1e-6)[..., None] ** 0.2
            * np.float32(_HLG_PEAK / _REFERENCE_WHITE)
        )
    light = np.maximum(light @ _FROM_2020.T, 0)
    above = (1 - _KNEE) * (1 - np.exp((_KNEE - light) / (1 - _KNEE)))
    light = np.where(light > _KNEE, _KNEE + above, light)
    return _standard()[np.rint(light * 4095).astype(np.uint16)]


@cache
def _linear(transfer: int) -> np.ndarray:
    """Return (65536,) float32 light per 16-bit code: relative to reference white for PQ, scene light for HLG."""
    code = np.arange(65536) / 65535
    if transfer == PQ:  # SMPTE ST 2084
        root = code ** (32 / 2523)
        light = (np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)) ** (16384 / 2610)
        return (light * 10_000 / _REFERENCE_WHITE).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)


@cache
def _standard() -> np.ndarray:
    """Return (4096,) uint8 sRGB codes (IEC 61966-2-1) for 4,096 equal steps of light."""
    light = np.arange(4096) / 4095
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    return np.rint(255 * code).astype(np.uint8)

"""Eyes, brows, nose, mouth and wrinkles of the drawn face, as shapes that depend on the 52 facial actions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from emotion_qwen.express.identities import Identity, toned
from emotion_qwen.express.scene import Colour, Shape, ellipse, lifted, on_head, spline, stroke
from emotion_qwen.express.track import CHANNELS

SIDES = (("Left", 1.0), ("Right", -1.0))
"""Side of the person -> sign of x: the person's left is on the right of the picture."""
INK: Colour = (40, 24, 24)
TEETH: Colour = (246, 243, 236)
FAINT = 0.04
"""Strength below which a wrinkle is not drawn."""


class Actions:
    """The facial actions of one frame by name; `pair` returns both sides, `both` their mean.

    Args:
        frame: (52,) strengths of `CHANNELS`.
    """

    def __init__(self, frame: np.ndarray) -> None:
        self._values = dict(zip(CHANNELS, frame.tolist(), strict=True))

    def __call__(self, name: str) -> float:
        """Return the strength of an action."""
        return self._values[name]

    def both(self, name: str) -> float:
        """Return the mean of an action over both sides."""
        return (self._values[f"{name}Left"] + self._values[f"{name}Right"]) / 2


def brow_line(act: Actions, side: str, sign: float) -> np.ndarray:
    """Return the centre line (N, 2) of a brow, from the nose outwards."""
    down, inner, outer = act(f"browDown{side}"), act("browInnerUp"), act(f"browOuterUp{side}")
    points = [
        (0.135 - 0.05 * down + 0.01 * inner, 0.41 - 0.105 * down + 0.17 * inner + 0.05 * outer),
        (0.25 - 0.035 * down, 0.452 - 0.1 * down + 0.1 * inner + 0.11 * outer),
        (0.40 - 0.01 * down, 0.472 - 0.055 * down + 0.03 * inner + 0.145 * outer),
        (0.575, 0.412 - 0.01 * down - 0.03 * inner + 0.12 * outer),
    ]
    return spline(np.array(points) * (sign, 1.0))


def brows(act: Actions, who: Identity) -> Iterator[Shape]:
    """Yield the brows, with the shadow of a lowered brow on the lid."""
    for side, sign in SIDES:
        line = brow_line(act, side, sign)
        down = act(f"browDown{side}")
        shade = np.concatenate([line[:20], lifted(line[:20][::-1], -0.13)])
        yield Shape(on_head(shade), toned(who.skin, 0.52, 10), 0.12 + 0.5 * down, 0.035, "face")
        wide = stroke(line, 0.088 * who.brow_width, start=0.72, end=0.1, bulge=0.6)
        yield Shape(on_head(wide, 0.03), who.brow, 0.35, 0.012, "face")
        narrow = stroke(line, 0.07 * who.brow_width, start=0.8, end=0.08, bulge=0.55)
        yield Shape(on_head(narrow, 0.03), who.brow, 0.95, 0.0, "face")


def eye_lids(act: Actions, who: Identity, side: str, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges (N, 2) of the upper and lower lid, from the inner to the outer corner."""
    wide, squint, blink = act(f"eyeWide{side}"), act(f"eyeSquint{side}"), act(f"eyeBlink{side}")
    cheek = max(act(f"cheekSquint{side}"), 0.5 * act(f"mouthSmile{side}"))
    down = act(f"eyeLookDown{side}")
    upper = (0.086 + 0.074 * wide - 0.03 * squint - 0.045 * down) * who.eye
    lower = (0.062 + 0.022 * wide - 0.042 * squint - 0.045 * cheek) * who.eye
    lower = max(lower, 0.012)
    upper = upper + (-lower * 0.85 - upper) * blink
    t = np.linspace(0, 1, 17)
    arch = np.sin(np.pi * t) ** 0.85
    half = 0.168 * who.eye
    x = 0.36 - half + 2 * half * t
    corner = 0.212 + 0.022 * t
    slope = 0.035 * max(act("browInnerUp") - 0.4 * act(f"browOuterUp{side}") - wide, 0) - 0.05 * act(f"browDown{side}")
    top = corner + arch * (upper + slope * (1 - 1.6 * t) * (1 - blink))
    bottom = corner - np.sin(np.pi * t) ** 0.95 * lower
    top = np.maximum(top, bottom + 0.002)
    return np.stack([sign * x, top], 1), np.stack([sign * x, bottom], 1)


def eyes(act: Actions, who: Identity) -> Iterator[Shape]:
    """Yield both eyes with their lids and lashes."""
    for side, sign in SIDES:
        top, bottom = eye_lids(act, who, side, sign)
        blink, squint = act(f"eyeBlink{side}"), act(f"eyeSquint{side}")
        socket = ellipse(sign * 0.35, 0.25, 0.235, 0.165)
        yield Shape(on_head(socket), toned(who.skin, 0.72, 14), 0.38, 0.06, "face")
        opening, clip = np.concatenate([top, bottom[::-1]]), f"eye{side}"
        yield Shape(on_head(opening, -0.02), (244, 240, 237), 1.0, 0.0, "face", clip)
        shadow = np.concatenate([lifted(top, 0.03), lifted(top[::-1], -0.035)])
        yield from _iris(act, who, side, sign, clip)
        yield Shape(on_head(shadow, -0.02), (70, 50, 48), 0.42, 0.014, clip)
        corner = ellipse(sign * (0.36 - 0.155 * who.eye), 0.208, 0.022, 0.018)
        yield Shape(on_head(corner, -0.02), (214, 140, 130), 0.7, 0.006, clip)
        lift = 0.042 + 0.012 * act(f"eyeWide{side}") + 0.03 * blink - 0.022 * act(f"browDown{side}")
        crease = top[2:-1] + np.array([0, lift]) * np.sin(np.linspace(0.25, np.pi - 0.1, 14))[:, None]
        yield Shape(on_head(stroke(crease, 0.02, start=0.3)), toned(who.skin, 0.5, 8), 0.5, 0.004, "face")
        lash = stroke(lifted(top, 0.004), 0.034, start=0.35, end=0.75, bulge=0.6)
        yield Shape(on_head(lash), INK, 0.95)
        wing = np.stack([top[-4], top[-1] + (sign * 0.028, 0.016)])
        yield Shape(on_head(stroke(np.linspace(wing[0], wing[1], 6), 0.026, start=0.9)), INK, 0.9)
        yield Shape(on_head(stroke(bottom[2:], 0.014, end=0.6)), toned(who.skin, 0.42, 10), 0.75, 0.002)
        bag = lifted(bottom[1:-1], 0.02 * squint - 0.055)
        strength = 0.16 + 0.3 * squint + 0.25 * act(f"cheekSquint{side}") + 0.25 * who.age
        yield Shape(on_head(stroke(bag, 0.024)), toned(who.skin, 0.55, 12), min(strength, 0.65), 0.01, "face")


def _iris(act: Actions, who: Identity, side: str, sign: float, clip: str) -> Iterator[Shape]:
    across = act(f"eyeLookOut{side}") - act(f"eyeLookIn{side}")
    up = act(f"eyeLookUp{side}") - act(f"eyeLookDown{side}")
    x, y, size = sign * (0.36 + 0.085 * across), 0.232 + 0.07 * up, who.eye
    for radius, colour, opacity, blur in (
        (0.097, toned(who.iris, 0.42), 1.0, 0.004),
        (0.085, who.iris, 1.0, 0.008),
        (0.06, toned(who.iris, 1.35), 0.6, 0.014),
        (0.044, (14, 10, 12), 1.0, 0.003),
    ):
        yield Shape(on_head(ellipse(x, y, radius * size, radius * size), -0.01), colour, opacity, blur, clip)
    yield Shape(on_head(ellipse(x - 0.03, y + 0.036, 0.02, 0.017), 0.0), (255, 255, 255), 0.95, 0.002, clip)
    yield Shape(on_head(ellipse(x + 0.034, y - 0.03, 0.012, 0.01), 0.0), (255, 255, 255), 0.4, 0.004, clip)


def nose(act: Actions, who: Identity) -> Iterator[Shape]:
    """Yield the nose; a sneer raises and widens its wings."""
    scale, dark = who.nose, toned(who.skin, 0.6, 12)
    side = spline([(0.075, 0.3), (0.06, 0.1), (0.10, -0.1), (0.155 * scale, -0.2), (0.06, -0.22), (0.035, 0.0)])
    yield Shape(on_head(side, 0.1), toned(who.skin, 0.66, 12), 0.38, 0.03, "face")
    other = side * (-1, 1)
    yield Shape(on_head(other, 0.1), toned(who.skin, 0.74, 12), 0.22, 0.03, "face")
    ridge = stroke(spline([(0, 0.28), (-0.005, 0.05), (-0.005, -0.12)]), 0.06)
    yield Shape(on_head(ridge, 0.2), toned(who.skin, 1.9), 0.4, 0.02, "face")
    yield Shape(on_head(ellipse(-0.01, -0.15, 0.055, 0.04), 0.26), toned(who.skin, 2.2), 0.45, 0.022, "face")
    mean = act.both("noseSneer")
    under = ellipse(0, -0.265 + 0.02 * mean, 0.12 * scale, 0.03)
    yield Shape(on_head(under, 0.08), toned(who.skin, 0.55, 10), 0.4, 0.025, "face")
    for name, sign in SIDES:
        sneer = act(f"noseSneer{name}")
        rise, wide = 0.05 * sneer, (0.02 * sneer)
        wing = spline(
            np.array([
                (0.118 * scale + wide, -0.125 + rise), (0.152 * scale + wide, -0.175 + rise),
                (0.142 * scale + wide, -0.222 + rise), (0.105 * scale + wide, -0.232 + rise),
            ]) * (sign, 1)
        )  # fmt: skip
        yield Shape(on_head(stroke(wing, 0.024), 0.1), dark, 0.75, 0.006, "face")
        nostril = ellipse(sign * 0.066 * scale, -0.226 + 0.6 * rise, 0.04 * scale, 0.018 + 0.01 * sneer, sign * 0.35)
        yield Shape(on_head(nostril, 0.14), toned(who.skin, 0.28), 0.85, 0.006, "face")


Fold = tuple[np.ndarray, float, float]
"""The line of a wrinkle (N, 2), its width, and its strength, which may be outside of 0 to 1."""


def wrinkles(act: Actions, who: Identity) -> Iterator[Shape]:
    """Yield the wrinkles of brow, nose, eyes, cheeks and chin: dark grooves, each with a light rim below it.

    They are yielded layer by layer, so that those of a layer are painted at once.
    """
    folds = [(line, width, min(s, 1.0)) for line, width, s in wrinkle_folds(act, who) if s >= FAINT]
    folds = [(line, width * (0.35 + 0.65 * strength), strength) for line, width, strength in folds]
    dark, light, groove = toned(who.skin, 0.6, 12), toned(who.skin, 1.8), toned(who.skin, 0.44, 14)
    for line, width, strength in folds:
        yield Shape(on_head(stroke(line, 2.2 * width)), dark, 0.42 * strength, 0.02, "face")
    for line, width, strength in folds:
        yield Shape(on_head(stroke(lifted(line, -0.9 * width), width)), light, 0.35 * strength, 0.01, "face")
    for line, width, strength in folds:
        yield Shape(on_head(stroke(line, width)), groove, 0.85 * strength, 0.004, "face")


def wrinkle_folds(act: Actions, who: Identity) -> Iterator[Fold]:
    """Yield the folds, each with the strength of the actions that cause it; their number is always the same."""
    inner, outer, down = act("browInnerUp"), act.both("browOuterUp"), act.both("browDown")
    sneer = act.both("noseSneer")
    for row, y in enumerate((0.66, 0.745, 0.825)):
        across = np.linspace(-1, 1, 15)
        raised = spline(np.stack([0.46 * across, y + 0.05 * outer + 0.02 * np.cos(2 * np.pi * across)], 1), steps=3)
        yield raised, 0.018, max(0.95 * outer, 0.28 * who.age) - 0.12 * row
        grief = np.stack([0.2 * across, y - 0.015 + 0.05 * inner + 0.03 * (1 - across**2)], 1)
        yield grief, 0.017, inner * (1 - outer) * 0.9 - 0.1 * row
    for sign in (1.0, -1.0):
        frown = spline(np.array([(0.05, 0.6 - 0.03 * down), (0.052, 0.5), (0.062, 0.41), (0.045, 0.35)]) * (sign, 1))
        yield frown, 0.03, down + 0.1 * who.age
        outer_frown = spline(np.array([(0.1, 0.58), (0.112, 0.5), (0.098, 0.44)]) * (sign, 1))
        yield outer_frown, 0.018, 0.7 * down - 0.15
    across = np.linspace(-1, 1, 9)
    for y, share in ((0.335, 0.75), (0.285, 0.5), (0.235, 0.3)):
        root = np.stack([0.085 * across, y + 0.012 * across**2], 1)
        yield root, 0.018, share * max(sneer, 0.7 * down)
    for name, sign in SIDES:
        squint = act(f"noseSneer{name}")
        for k in range(3):
            y = 0.2 - 0.06 * k
            bunny = spline(np.array([(0.05, y), (0.09, y - 0.012), (0.125, y - 0.05)]) * (sign, 1))
            yield bunny, 0.018, squint * (1 - 0.15 * k)
        crow = max(act(f"cheekSquint{name}"), 0.5 * act(f"eyeSquint{name}") - 0.1) + 0.3 * who.age
        for angle in (0.55, 0.12, -0.32):
            begin = np.array([0.565, 0.225])
            end = begin + 0.12 * np.array([np.cos(angle), np.sin(angle)])
            yield spline(np.stack([begin, (begin + end) / 2, end])) * (sign, 1), 0.014, 0.8 * crow
        yield from _nasolabial(act, who, name, sign)
    chin = act("mouthShrugLower")
    for sign in (1.0, -1.0):
        dimple = spline(np.array([(0.03, -0.84), (0.1, -0.80), (0.16, -0.83)]) * (sign, 1))
        yield lifted(dimple, -0.2 * act("jawOpen")), 0.02, 0.9 * chin


def _nasolabial(act: Actions, who: Identity, name: str, sign: float) -> Iterator[Fold]:
    """Yield the fold from the nose around the corner of the mouth, and the one below a corner that is drawn down."""
    smile, sneer, frown = act(f"mouthSmile{name}"), act(f"noseSneer{name}"), act(f"mouthFrown{name}")
    strength = 0.85 * smile + 0.9 * sneer + 0.55 * act(f"mouthUpperUp{name}") + 0.4 * frown + 0.3 * who.age
    strength += 0.45 * act(f"mouthStretch{name}")
    out = 0.06 * smile + 0.03 * act(f"mouthStretch{name}")
    line = spline(
        np.array([
            (0.165, -0.14 + 0.04 * sneer), (0.25 + 0.6 * out, -0.26 + 0.03 * sneer + 0.03 * smile),
            (0.325 + out, -0.41 + 0.04 * smile), (0.35 + out, -0.54 + 0.05 * smile),
        ]) * (sign, 1)
    )  # fmt: skip
    yield line, 0.024, strength + 0.12
    low = spline(np.array([(0.31, -0.6), (0.34, -0.68), (0.33, -0.78)]) * (sign, 1))
    yield lifted(low, -0.06 * frown), 0.02, 0.85 * frown + 0.2 * who.age

"""The mouth of the drawn face: lips, teeth and tongue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from emotion_qwen.express.features import INK, TEETH, Actions
from emotion_qwen.express.identities import Identity, toned
from emotion_qwen.express.scene import Shape, ellipse, lifted, on_head, stroke

MIDDLE = -0.535
"""Height of the resting mouth."""
HALF = 0.262
"""Half of its width."""


@dataclass(frozen=True, eq=False)
class Mouth:
    """The lines of a mouth, each (N, 2) from the person's right to the left.

    Attributes:
        top: upper edge of the upper lip; `inner_top` its lower edge.
        inner_bottom: upper edge of the lower lip; `bottom` its lower edge.
        drop: how far the lower jaw has moved down.
        shift: how far the jaw has moved sideways.
    """

    top: np.ndarray
    inner_top: np.ndarray
    inner_bottom: np.ndarray
    bottom: np.ndarray
    drop: float
    shift: float


def jaw_drop(act: Actions) -> float:
    """Return how far an open jaw has moved down."""
    return 0.34 * act("jawOpen")


def _corner(act: Actions, who: Identity, side: str) -> tuple[float, float]:
    """Return half the width and the height of a corner of the mouth."""
    smile, frown, stretch = act(f"mouthSmile{side}"), act(f"mouthFrown{side}"), act(f"mouthStretch{side}")
    out = (
        0.085 * smile
        + 0.09 * stretch
        + 0.03 * act(f"mouthDimple{side}")
        - 0.005 * frown
        - 0.055 * act("jawOpen") * (1 - stretch) * (1 - smile)
    )
    x = (HALF * who.mouth + out) * (1 - 0.4 * act("mouthPucker")) * (1 - 0.28 * act("mouthFunnel"))
    y = 0.125 * smile - 0.105 * frown - 0.035 * stretch - 0.42 * jaw_drop(act) * (1 - 0.7 * smile)
    return x - 0.01 * act(f"mouthPress{side}"), MIDDLE + y


def mouth_of(act: Actions, who: Identity) -> Mouth:
    """Return the lines of the mouth."""
    u = np.linspace(-1, 1, 33)
    left, right = _corner(act, who, "Left"), _corner(act, who, "Right")
    is_left, part = u > 0, np.abs(u)
    sideways = 0.08 * (act("mouthLeft") - act("mouthRight"))
    jaw_side = 0.06 * (act("jawLeft") - act("jawRight"))
    x = np.where(is_left, left[0] * u, right[0] * u) + sideways + 0.5 * jaw_side * (1 - part)
    corner = np.where(is_left, left[1], right[1])
    near = lambda name: np.where(is_left, act(f"{name}Left"), act(f"{name}Right"))  # noqa: E731
    drop, funnel, press = jaw_drop(act), act("mouthFunnel"), near("mouthPress")
    smile, frown = act.both("mouthSmile"), act.both("mouthFrown")
    pout, up = act("mouthShrugLower"), act("mouthShrugUpper")
    middle = MIDDLE + 0.012 * smile + 0.03 * frown + 0.03 * pout + 0.015 * up
    bump = np.exp(-(((part - 0.4) / 0.4) ** 2)) + 0.3 * np.exp(-((part / 0.4) ** 2))
    top = middle + 0.012 * act("jawOpen") + 0.03 * funnel
    low = middle - drop * (1 - 0.92 * act("mouthClose")) - 0.06 * funnel
    bow = 0.008 * np.exp(-((u / 0.3) ** 2))  # the middle of the upper lip hangs a little
    inner_top = (
        top
        + (corner - top) * part ** (1.9 + 0.6 * act("jawOpen"))
        + 0.085 * near("mouthUpperUp") * bump * (1 - part**4)
        - bow
    )
    sag = 0.11 * near("mouthLowerDown") * bump * (1 - part**4)
    inner_bottom = low + (corner - low) * part ** (2.6 - 0.6 * (drop < 0.05)) - sag - bow
    inner_top = np.maximum(inner_top, inner_bottom)
    rolled = act("mouthRollUpper"), act("mouthRollLower")
    full = 1 + 0.35 * act("mouthPucker") + 0.3 * funnel
    thin = (1 - 0.5 * press) * (1 - 0.2 * near("mouthStretch")) * full
    cupid = 1 - 0.22 * np.exp(-((u / 0.12) ** 2)) - 0.10 * part
    edge = np.clip(1 - part**2.2, 0, 1) ** 0.8
    upper = 0.068 * edge * cupid * thin * (1 - 0.7 * rolled[0]) * (1 - 0.25 * near("mouthSmile")) + 0.006
    lower = 0.088 * np.clip(1 - part**2.6, 0, 1) ** 0.7 * thin * (1 - 0.7 * rolled[1]) * (1 + 0.25 * pout) + 0.006
    lower = lower * (1 - 0.2 * smile)
    top_edge, bottom_edge = np.stack([x, inner_top + upper], 1), np.stack([x, inner_bottom - lower], 1)
    return Mouth(top_edge, np.stack([x, inner_top], 1), np.stack([x, inner_bottom], 1), bottom_edge, drop, jaw_side)


def mouth(act: Actions, who: Identity) -> Iterator[Shape]:
    """Yield the mouth: the inside, teeth, tongue, lips, and the shadows around them."""
    m = mouth_of(act, who)
    under = lifted(m.bottom[6:-6], -0.03)
    yield Shape(on_head(stroke(under, 0.06), 0.04), toned(who.skin, 0.62, 10), 0.4, 0.026, "face")
    inside = np.concatenate([m.inner_top, m.inner_bottom[::-1]])
    yield Shape(on_head(inside, 0.04), (74, 22, 26), 1.0, 0.0, "face", "mouth")
    tongue = ellipse(m.shift, float(m.inner_bottom[16, 1]) - 0.01 + 0.04 * act("tongueOut"), 0.15, 0.085)
    yield Shape(on_head(tongue, 0.02), (190, 96, 98), 0.9, 0.012, "mouth")
    yield from _teeth(m, who)
    shade = np.concatenate([lifted(m.inner_top, 0.02), lifted(m.inner_top[::-1], -0.025)])
    yield Shape(on_head(shade, 0.04), (40, 10, 14), 0.5, 0.014, "mouth")
    upper, lower = np.concatenate([m.top, m.inner_top[::-1]]), np.concatenate([m.inner_bottom, m.bottom[::-1]])
    yield Shape(on_head(upper, 0.05), toned(who.lips, 0.88), 0.95, 0.004, "face", "upper lip")
    yield Shape(on_head(lower, 0.06), who.lips, 0.95, 0.004, "face", "lower lip")
    glow = m.inner_bottom[9:-9] * 0.45 + m.bottom[9:-9] * 0.55
    yield Shape(on_head(stroke(glow, 0.035), 0.06), toned(who.lips, 1.9), 0.5, 0.014, "lower lip")
    line = lifted(m.inner_top, -0.002)
    yield Shape(on_head(stroke(line, 0.018, start=0.7, end=0.7, bulge=0.4), 0.05), INK, 0.75, 0.003, "face")
    for row, sign in ((0, -1.0), (-1, 1.0)):
        corner = ellipse(m.inner_top[row, 0] + sign * 0.012, m.inner_top[row, 1], 0.028, 0.022)
        yield Shape(on_head(corner, 0.04), toned(who.skin, 0.45, 10), 0.6, 0.012, "face")
    out = act("tongueOut")
    shape = ellipse(m.shift, float(m.inner_bottom[16, 1]) - 0.09 * out, 0.12, 0.05 + 0.1 * out)
    yield Shape(on_head(shape, 0.08), (206, 104, 104), min(10 * out, 1.0), 0.004, "face")


def _teeth(m: Mouth, who: Identity) -> Iterator[Shape]:
    """Yield the teeth as far as the open lips show them, and the gaps between the upper ones."""
    x = m.inner_top[:, 0]
    edge = MIDDLE - 0.073 + 0.045 * (x / (0.27 * who.mouth)) ** 2
    low = MIDDLE - m.drop - 0.015 - 0.02 * ((x - m.shift) / 0.27) ** 2
    top, bottom = m.inner_top[:, 1], m.inner_bottom[:, 1]
    lower = np.concatenate([np.stack([x, low.clip(bottom, top)], 1), m.inner_bottom[::-1]])
    upper = np.concatenate([m.inner_top, np.stack([x, edge.clip(bottom, top)], 1)[::-1]])
    yield Shape(on_head(lower, 0.05), toned(TEETH, 0.86))
    yield Shape(on_head(upper, 0.05), TEETH)
    for place in np.linspace(-0.2, 0.2, 7):
        gap = np.array([(place, float(edge.min()) - 0.01), (place, MIDDLE + 0.1)])
        line = stroke(np.linspace(gap[0], gap[1], 5), 0.006, start=1, end=1)
        yield Shape(on_head(line, 0.05), (190, 178, 168), 0.35, 0.0, "mouth")

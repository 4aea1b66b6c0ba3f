"""Hair of the drawn face."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from emotion_qwen.express.identities import Identity, toned
from emotion_qwen.express.scene import OUTLINE, Shape, at_depth, ellipse, spline, stroke

_BACK = {
    "bob": [(0, 1.30), (0.55, 1.22), (0.92, 0.85), (1.02, 0.3), (1.04, -0.3), (0.98, -0.75), (0.72, -0.95),
            (0.4, -0.8)],
    "short": [(0, 1.27), (0.5, 1.2), (0.82, 0.88), (0.88, 0.45), (0.84, 0.15), (0.5, 0.0)],
    "long": [(0, 1.30), (0.55, 1.22), (0.93, 0.86), (1.02, 0.3), (1.06, -0.4), (1.1, -1.0), (0.95, -1.45),
            (0.45, -1.3)],
    "receding": [(0, 1.2), (0.45, 1.14), (0.78, 0.85), (0.86, 0.45), (0.84, 0.15), (0.5, 0.0)],
}  # fmt: skip
"""Style -> the left half of the hair behind the head."""
_FRONT = {
    "bob": [(0.1, 1.24), (0.5, 1.15), (0.83, 0.82), (0.93, 0.35), (0.93, -0.3), (0.86, -0.72), (0.78, -0.45),
            (0.77, 0.1),
            (0.74, 0.5), (0.6, 0.78), (0.3, 0.95), (-0.15, 1.0)],
    "short": [(0, 1.25), (0.5, 1.15), (0.78, 0.86), (0.84, 0.5), (0.83, 0.25), (0.765, 0.3), (0.74, 0.55),
            (0.66, 0.74),
              (0.4, 0.9), (0, 0.93)],
    "long": [(0, 1.27), (0.5, 1.17), (0.82, 0.85), (0.93, 0.35), (0.96, -0.3), (0.98, -0.9), (0.86, -1.1),
            (0.8, -0.5),
              (0.77, 0.05), (0.72, 0.45), (0.52, 0.82), (0.2, 1.05), (0, 1.08)],
    "receding": [(0, 1.2), (0.45, 1.12), (0.76, 0.83), (0.83, 0.5), (0.82, 0.2), (0.765, 0.28), (0.745, 0.55),
            (0.6, 0.9),
              (0.35, 1.05), (0, 1.08)],
}  # fmt: skip
"""Style -> the left half of the hair in front of the head."""


def back_hair(who: Identity) -> Iterator[Shape]:
    """Yield the hair behind the head."""
    half = np.array(_BACK[who.style]) * (who.width, 1)
    points = spline(np.concatenate([half, half[:0:-1] * (-1, 1)]), closed=True, steps=6)
    yield Shape(at_depth(points, -0.35), toned(who.hair, 0.72), turns=OUTLINE)


def front_hair(who: Identity) -> Iterator[Shape]:
    """Yield the hair in front of the head with its shadow and strands."""
    half = np.array(_FRONT[who.style]) * (who.width, 1)
    for sign in (1, -1):
        points = spline(half * (sign, 1), closed=True, steps=6)
        yield Shape(at_depth(points - (0, 0.05), 0.1), toned(who.skin, 0.5, 10), 0.3, 0.05, "face", turns=OUTLINE)
    for sign in (1, -1):
        points, name = spline(half * (sign, 1), closed=True, steps=6), f"hair {sign}"
        yield Shape(at_depth(points, 0.1), who.hair, 1.0, 0.0, "", name, OUTLINE)
        shine = ellipse(-0.42 if sign < 0 else 0.3, 1.02, 0.22, 0.07, 0.5 if sign < 0 else -0.5)
        yield Shape(at_depth(shine, 0.1), toned(who.hair, 1.5), 0.55, 0.05, name, turns=OUTLINE)
        for k in range(5):
            bend = 0.16 * k
            begin, bent = (0.02 + 0.3 * bend, 1.24), (0.45 + 0.3 * bend, 1.1 - 0.25 * bend)
            line = spline(np.array([begin, bent, (0.78 + 0.03 * k, 0.6 - bend), (0.84, -0.2)]) * (sign * who.width, 1))
            yield Shape(at_depth(stroke(line, 0.02), 0.1), toned(who.hair, 0.7), 0.4, 0.008, name, turns=OUTLINE)

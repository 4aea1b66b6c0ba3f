"""The drawn face: a head of soft vector shapes in depth, moved by the 52 facial actions; works without any other file.

No part of it is taken from a person or a scan. Each feature is a curve whose control points move with the actions that
the Facial Action Coding System names for them; wrinkles appear where the skin is compressed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from emotion_qwen.express.features import Actions, brows, eyes, nose, wrinkles
from emotion_qwen.express.hair import back_hair, front_hair
from emotion_qwen.express.identities import Identity, identity_of, toned
from emotion_qwen.express.mouth import jaw_drop, mouth
from emotion_qwen.express.paint import paint
from emotion_qwen.express.scene import (
    BODY,
    OUTLINE,
    STILL,
    VIEW,
    Shape,
    at_depth,
    ellipse,
    lifted,
    on_head,
    on_picture,
    spline,
    turned,
)

SIZE = 512
"""Side of a rendered picture, pixels."""
FACE_BOX = (-0.80, -1.06, 0.80, 0.86)
"""x1, y1, x2, y2 of the face from chin to hairline, in units of the scene."""


def face_outline(act: Actions, who: Identity) -> np.ndarray:
    """Return the outline (N, 3) of the face, from the top over the person's left side."""
    drop, puff = 0.62 * jaw_drop(act) + 0.03 * act("jawForward"), 0.07 * act("cheekPuff")
    smile = 0.025 * act.both("mouthSmile")
    side = 0.05 * (act("jawLeft") - act("jawRight"))
    half = [
        (0.0, 1.18), (0.42, 1.09), (0.70, 0.80), (0.80, 0.42), (0.80, 0.08), (0.755 + smile, -0.24),
        (0.69 + puff + smile, -0.50), (0.565 * who.jaw + puff, -0.75 - 0.35 * drop),
        (0.35 * who.jaw, -0.955 - 0.85 * drop), (0.13, -1.045 - drop),
    ]  # fmt: skip
    points = np.array(half) * (who.width, 1.0)
    low = np.clip((-points[:, 1] - 0.3) / 0.75, 0, 1)
    left = points + np.stack([side * low, np.zeros(len(low))], 1)
    right = points[1:][::-1] * (-1, 1) + np.stack([side * low[1:][::-1], np.zeros(len(low) - 1)], 1)
    curve = spline(np.concatenate([left, right]), closed=True, steps=6)
    return at_depth(curve, 0.5 * np.clip((-curve[:, 1] - 0.2) / 0.8, 0, 1))


def face_shapes(frame: np.ndarray, who: Identity) -> list[Shape]:
    """Return the shapes of a face from back to front.

    Args:
        frame: (52,) facial actions.
        who: identity.
    """
    act = Actions(frame)
    outline = face_outline(act, who)
    return [
        Shape(at_depth(np.array([VIEW[:2], VIEW[2:]])), who.background, 0.0, turns=STILL),
        *_behind(who),
        Shape(outline, who.skin, 1.0, 0.0, "", "face", OUTLINE),
        *_shading(act, who, outline),
        *wrinkles(act, who),
        *nose(act, who),
        *mouth(act, who),
        *eyes(act, who),
        *brows(act, who),
        *_hair(who),
    ]


def draw_face(
    frame: np.ndarray, head: np.ndarray, identity: str = "amber", size: int = SIZE, fine: int = 2
) -> np.ndarray:
    """Draw one frame; returns (size, size, 3) uint8 RGB.

    Args:
        frame: (52,) facial actions.
        head: yaw, pitch and roll in degrees.
        identity: a name of `IDENTITIES`.
        size: side of the picture, pixels.
        fine: as of `paint`.

    Raises:
        SettingsError: there is no such identity.
    """
    return paint(face_shapes(frame, identity_of(identity)), head.tolist(), size, fine)


def drawn_box(head: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Return x1, y1, x2, y2 of the drawn face in pixels, as a face detector would mark it."""
    x1, y1, x2, y2 = FACE_BOX
    corners = at_depth(np.array([(x1, y1), (x1, y2), (x2, y1), (x2, y2)]), 0.4)
    points = on_picture(turned(corners, head, OUTLINE), size)
    return np.concatenate([points.min(0), points.max(0)]).clip(0, size)


@lru_cache(maxsize=8)
def _behind(who: Identity) -> tuple[Shape, ...]:
    """Return the shapes behind the face that do not depend on its actions."""
    return (*_backdrop(who), *back_hair(who), *_body(who), *_ears(who))


@lru_cache(maxsize=8)
def _hair(who: Identity) -> tuple[Shape, ...]:
    return tuple(front_hair(who))


def _backdrop(who: Identity) -> Iterator[Shape]:
    glow = ellipse(0, 0.1, 1.35, 1.45)
    yield Shape(at_depth(glow, -0.5), toned(who.background, 1.5), 0.7, 0.25, turns=STILL)


def _body(who: Identity) -> Iterator[Shape]:
    half = [(0.0, -1.38), (0.42, -1.36), (0.95, -1.5), (1.3, -1.75), (1.42, -2.2)]
    shirt = spline([*half, *[(-x, y) for x, y in half[::-1]]], steps=6)
    yield Shape(at_depth(shirt, -0.2), who.shirt, 1.0, 0.0, "", "shirt", BODY)
    fold = spline([(-1.0, -1.55), (-0.3, -1.75), (0.3, -1.75), (1.0, -1.55), (1.2, -2.3), (-1.2, -2.3)], closed=True)
    yield Shape(at_depth(fold, -0.2), toned(who.shirt, 0.75), 0.5, 0.12, "shirt", turns=BODY)
    neck = [(0.40, -0.5), (0.385, -1.15), (0.5, -1.42), (0.3, -1.52), (0, -1.56)]
    outline = spline([*neck, *[(-x, y) for x, y in neck[-2::-1]]], steps=6)
    yield Shape(at_depth(outline, -0.1), toned(who.skin, 0.9, 4), 1.0, 0.0, "", "neck", BODY)
    shadow = ellipse(0.02, -0.98, 0.62, 0.34)
    yield Shape(at_depth(shadow, 0.1), toned(who.skin, 0.5, 12), 0.75, 0.07, "neck", turns=OUTLINE)
    collar = spline([(-0.52, -1.40), (-0.3, -1.53), (0, -1.58), (0.3, -1.53), (0.52, -1.40)])
    band = np.concatenate([collar, (collar - (0, 0.09))[::-1]])
    yield Shape(at_depth(band, -0.1), toned(who.shirt, 0.82), 1.0, turns=BODY)


def _ears(who: Identity) -> Iterator[Shape]:
    for sign in (1, -1):
        x = sign * 0.8 * who.width
        yield Shape(at_depth(ellipse(x, 0.08, 0.1, 0.2, -0.15 * sign), -0.28), toned(who.skin, 0.95, 6))
        yield Shape(
            at_depth(ellipse(x + sign * 0.02, 0.08, 0.05, 0.12, -0.15 * sign), -0.28),
            toned(who.skin, 0.66, 10),
            0.6,
            0.02,
        )


def _shading(act: Actions, who: Identity, outline: np.ndarray) -> Iterator[Shape]:
    """Yield light from the upper left of the picture, cheeks, and the shadow of the hair."""
    dark, light = toned(who.skin, 0.7, 12), toned(who.skin, 1.55)
    for sign, strength in ((1, 0.55), (-1, 0.28)):
        side = spline(
            [(0.86, 0.9), (0.66, 0.35), (0.62, -0.2), (0.5, -0.7), (0.3, -1.06), (0.9, -1.2), (1.1, 0)], closed=True
        )
        yield Shape(at_depth(side * (sign, 1)), dark, strength, 0.10, "face", turns=OUTLINE)
    yield Shape(on_head(ellipse(-0.08, 0.72, 0.36, 0.17)), light, 0.4, 0.12, "face")
    chin = ellipse(0, -0.9 - 0.6 * jaw_drop(act), 0.15, 0.08)
    yield Shape(on_head(chin), light, 0.3, 0.05, "face")
    for name, sign in (("Left", 1), ("Right", -1)):
        lift = max(act(f"mouthSmile{name}"), act(f"cheekSquint{name}"))
        puff = act("cheekPuff")
        blush = ellipse(sign * 0.47, -0.14 + 0.07 * lift, 0.2, 0.14)
        yield Shape(on_head(blush), toned(who.skin, 0.93, 26), 0.5, 0.08, "face")
        apple = ellipse(sign * 0.42, -0.06 + 0.06 * lift, 0.14, 0.08 + 0.05 * puff)
        yield Shape(on_head(apple), light, 0.22 + 0.35 * lift + 0.3 * puff, 0.05, "face")
        under = spline(np.array([(0.3, -0.2), (0.5, -0.22), (0.62, -0.1)]) * (sign, 1))
        yield Shape(on_head(lifted(under, -0.02 * lift)), dark, 0.3 * lift, 0.04, "face")

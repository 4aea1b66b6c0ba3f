"""Drawn shapes: scenes of one to five shapes on a calm background, and their rendering.

Everything about a scene is known exactly, so every question about it (see `shape_questions`) has one correct answer.
Shapes are deliberately few, large and far apart: at 64 pixels, a small model processes a picture in patches of 8
pixels. Size means the radius alone: every kind fills its disc well enough that `CLEARLY_LARGER` in radius is also
larger in area, whatever the two kinds are.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from emotion_qwen.errors import DataError

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (214, 36, 40),
    "orange": (247, 128, 20),
    "yellow": (252, 218, 44),
    "green": (34, 156, 66),
    "blue": (38, 96, 228),
    "purple": (124, 44, 184),
    "pink": (255, 142, 196),
    "white": (252, 252, 252),
}
COLOUR_NAMES = tuple(COLOURS)

BACKGROUNDS: tuple[RGB, ...] = (
    (154, 170, 182), (172, 167, 154), (152, 172, 160), (164, 161, 178),
    (40, 46, 58), (50, 42, 52), (34, 50, 48), (46, 46, 46),
)  # fmt: skip
"""Calm tones, four light and four dark; the light ones end at middle grey, so that white stands out."""

GRADIENT = 10
"""Difference between the two ends of a background and its tone, in levels of 255."""

SMALL, LARGE = (0.112, 0.132), (0.212, 0.245)
"""Lowest and highest radius of the two sizes, as shares of the picture's side."""

CLEARLY_LARGER = 1.6
"""Minimum ratio of radii for one shape to count as larger than another: true for every large and every small shape."""

MOST_SHAPES = 5
SMALLEST_SIDE = 32

_MARGIN, _GAP = 0.02, 0.045
_SUPERSAMPLING = 4
_SHADOW_SHIFT, _SHADOW_BLUR = 0.014, 0.012
_SHADOW_LEVELS = [round(0.3 * level) for level in range(256)]


def _polygon(radii: tuple[float, ...], turn: float = 0.0) -> tuple[tuple[float, float], ...]:
    """Distribute corners evenly around the centre, the first one at the top; y points down."""
    angles = [math.tau * place / len(radii) + turn for place in range(len(radii))]
    return tuple((radius * math.sin(a), -radius * math.cos(a)) for radius, a in zip(radii, angles, strict=True))


def _cross(half_width: float) -> tuple[tuple[float, float], ...]:
    reach = math.sqrt(1 - half_width**2)
    arm = [(-half_width, -reach), (half_width, -reach), (half_width, -half_width)]
    corners = list(arm)
    for _ in range(3):
        arm = [(-y, x) for x, y in arm]
        corners += arm
    return tuple(corners)


_OUTLINES = {
    "square": _polygon((1.0,) * 4, turn=math.pi / 4),
    "triangle": _polygon((1.0,) * 3),
    "star": _polygon((1.0, 0.47) * 5),
    "cross": _cross(0.31),
}
"""Corners of the upright shape in a disc of radius 1."""

_DISCS = {"circle": (0.92, 0.0), "ring": (0.96, 0.52)}
"""Radius of the disc and of its hole; a little less than 1, because round shapes would look larger than the others
otherwise.
"""

KINDS = ("circle", "square", "triangle", "star", "cross", "ring")

_TURNS = {"square": 18.0, "cross": 18.0, "triangle": 180.0, "star": 180.0}
"""Maximum rotation of a kind in either direction, in degrees: a square on its corner would be a diamond, a cross an X.
"""


@dataclass(frozen=True)
class Shape:
    """One shape. Lengths are shares of the picture's side, from the top left corner.

    Attributes:
        kind: one of `KINDS`.
        colour: one of `COLOURS`.
        x: of the centre, to the right.
        y: of the centre, downwards.
        radius: of the disc that contains the whole shape.
        turn: rotation as a share of the maximum of its kind, -1 (counter-clockwise) to 1 (clockwise); 0 is upright.
    """

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    turn: float

    @property
    def angle(self) -> float:
        """Clockwise rotation of the shape from upright, in degrees."""
        return self.turn * _TURNS.get(self.kind, 0.0)


@dataclass(frozen=True)
class Background:
    """A soft gradient from `first` to `second` (RGB) in the direction of `angle` (degrees); equal ends give a plain
    colour.
    """

    first: RGB
    second: RGB
    angle: float


@dataclass(frozen=True)
class Scene:
    """One to five shapes that do not touch each other and are inside the picture."""

    shapes: tuple[Shape, ...]
    background: Background


@dataclass(frozen=True)
class Reference:
    """The name of a shape or a group of shapes in a question; an empty field matches any shape."""

    kind: str = ""
    colour: str = ""
    rank: str = ""

    def fits(self, shape: Shape) -> bool:
        """Return whether a shape has the named kind and colour; the rank is ignored."""
        return self.kind in ("", shape.kind) and self.colour in ("", shape.colour)


References = tuple[Reference, ...]
VALUES = {"kind": KINDS, "colour": COLOUR_NAMES}


def draw_scene(rng: random.Random, count: int | None = None) -> Scene:
    """Draw a scene.

    Kinds and colours are drawn from a few of each, so that shapes often share one and a question requires both.

    Args:
        rng: source of all randomness; the same state gives the same scene.
        count: number of shapes, 1 to 5; None draws it evenly.

    Raises:
        DataError: `count` is out of range.
    """
    if count is None:
        count = rng.randint(1, MOST_SHAPES)
    if not 1 <= count <= MOST_SHAPES:
        raise DataError(f"a scene cannot have {count} shapes; ask for 1 to {MOST_SHAPES}")
    kinds, colours = rng.sample(KINDS, rng.randint(2, 4)), rng.sample(tuple(COLOURS), rng.randint(2, 5))
    shapes = []
    for x, y, radius in _places(rng, count):
        shapes.append(Shape(rng.choice(kinds), rng.choice(colours), x, y, radius, rng.uniform(-1, 1)))
    return Scene(tuple(shapes), _draw_background(rng))


def paint(scene: Scene, place: int, **changes: str) -> Scene:
    """Return the scene with another `kind` or `colour` for the shape at `place`."""
    shapes = list(scene.shapes)
    shapes[place] = replace(shapes[place], **changes)  # type: ignore[arg-type]
    return replace(scene, shapes=tuple(shapes))


def tell_apart(rng: random.Random, scene: Scene, places: Sequence[int], manner: str) -> tuple[Scene, References]:
    """Repaint a scene so that each of some shapes has a name that fits no other shape.

    Args:
        rng: source of all randomness.
        scene: scene to repaint.
        places: indices of the shapes to be named.
        manner: property for naming them: "kind", "colour" or "both".

    Returns:
        The scene and one reference for each of `places`.
    """
    if manner != "both":
        values = VALUES[manner]
        chosen = rng.sample(values, len(places))
        rest = [value for value in values if value not in chosen]
        for place, shape in enumerate(scene.shapes):
            if place in places:
                scene = paint(scene, place, **{manner: chosen[places.index(place)]})
            elif getattr(shape, manner) in chosen:
                scene = paint(scene, place, **{manner: rng.choice(rest)})
        return scene, tuple(Reference(**{manner: value}) for value in chosen)
    references: References = ()
    for place in places:
        references += (Reference(scene.shapes[place].kind, scene.shapes[place].colour),)
        rest = [name for name in COLOUR_NAMES if name not in {shape.colour for shape in references}]
        for other, twin in enumerate(scene.shapes):
            if other != place and references[-1].fits(twin):
                scene = paint(scene, other, colour=rng.choice(rest))
    return scene, references


def group(rng: random.Random, scene: Scene, manner: str, sizes: Sequence[int]) -> tuple[Scene, References]:
    """Repaint a scene so that it has groups of exactly these sizes, each with a common "kind" or "colour" (`manner`).

    Returns:
        The scene and one reference for each group; the remaining shapes belong to no group.
    """
    places = rng.sample(range(len(scene.shapes)), len(scene.shapes))
    values = rng.sample(VALUES[manner], len(VALUES[manner]))
    chosen, rest = values[: len(sizes)], values[len(sizes) :]
    for value, size in zip(chosen, sizes, strict=True):
        for place in places[:size]:
            scene = paint(scene, place, **{manner: value})
        places = places[size:]
    for place in places:
        scene = paint(scene, place, **{manner: rng.choice(rest)})
    return scene, tuple(Reference(**{manner: value}) for value in chosen)


def render(scene: Scene, side: int) -> np.ndarray:
    """Paint an antialiased scene with soft shadows on the background only.

    Args:
        scene: scene to paint.
        side: side of the square picture, in pixels.

    Returns:
        (side, side, 3) uint8 RGB.

    Raises:
        DataError: `side` is too small for the shapes to be distinguishable.
    """
    if side < SMALLEST_SIDE:
        raise DataError(f"a side of {side} pixels is too small for shapes; use {SMALLEST_SIDE} or more")
    image = Image.fromarray(_paint_background(scene.background, side))
    masks = [_mask(shape, side) for shape in scene.shapes]
    shift, blur = max(1, round(_SHADOW_SHIFT * side)), ImageFilter.GaussianBlur(_SHADOW_BLUR * side)
    for mask, (left, top) in masks:  # all shadows first, so that none falls on a neighbour
        shadow = mask.filter(blur).point(_SHADOW_LEVELS)
        image.paste((0, 0, 0), (left + shift, top + shift), shadow)
    for shape, (mask, corner) in zip(scene.shapes, masks, strict=True):
        image.paste(COLOURS[shape.colour], corner, mask)
    return np.array(image)


def clearly_larger(shape: Shape, other: Shape) -> bool:
    """Return whether `shape` is clearly larger than `other`."""
    return shape.radius >= CLEARLY_LARGER * other.radius


def _places(rng: random.Random, count: int) -> list[tuple[float, float, float]]:
    """Find (x, y, radius) for every shape, away from each other and from the border; large ones first, being harder to
    place.
    """
    while True:
        large = rng.randint(0, min(count, 1 if count == MOST_SHAPES else 2))
        placed: list[tuple[float, float, float]] = []
        for number in range(count):
            radius = rng.uniform(*(LARGE if number < large else SMALL))
            low, high = radius + _MARGIN, 1 - radius - _MARGIN
            for _ in range(20):
                x, y = rng.uniform(low, high), rng.uniform(low, high)
                if all(math.hypot(x - u, y - v) >= radius + r + _GAP for u, v, r in placed):
                    placed.append((x, y, radius))
                    break
            else:
                break
        if len(placed) == count:
            rng.shuffle(placed)
            return placed


def _draw_background(rng: random.Random) -> Background:
    tone = rng.choice(BACKGROUNDS)
    step = rng.choice((0, GRADIENT))
    red, green, blue = tone
    brighter, darker = (red + step, green + step, blue + step), (red - step, green - step, blue - step)
    return Background(brighter, darker, rng.uniform(0, 360))


def _paint_background(background: Background, side: int) -> np.ndarray:
    first, second = (np.array(end, np.float32) for end in (background.first, background.second))
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    angle = math.radians(background.angle)
    # Divided by the diagonal, the distance along the gradient stays within -0.5 to 0.5 at every angle.
    way = (axis[None, :] * math.cos(angle) + axis[:, None] * math.sin(angle)) / math.sqrt(2) + 0.5
    return (first + way[..., None] * (second - first) + 0.5).astype(np.uint8)


def _mask(shape: Shape, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """Draw the coverage mask of a shape, with margin for its shadow; return it with its top left corner."""
    room = math.ceil(3 * _SHADOW_BLUR * side)
    left, top = (math.floor((place - shape.radius) * side) - room for place in (shape.x, shape.y))
    extent = math.ceil(2 * shape.radius * side) + 2 * room + 1
    fine = Image.new("L", (extent * _SUPERSAMPLING, extent * _SUPERSAMPLING))
    draw = ImageDraw.Draw(fine)
    # Pixel centres are offset by half a pixel, so the fine grid starts half a fine pixel earlier.
    x, y = (shape.x * side - left) * _SUPERSAMPLING - 0.5, (shape.y * side - top) * _SUPERSAMPLING - 0.5
    radius = shape.radius * side * _SUPERSAMPLING
    if shape.kind in _DISCS:
        for share, level in zip(_DISCS[shape.kind], (255, 0), strict=True):
            if share:
                reach = radius * share
                draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=level)
    else:
        cos, sin = math.cos(math.radians(shape.angle)) * radius, math.sin(math.radians(shape.angle)) * radius
        corners = [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in _OUTLINES[shape.kind]]
        draw.polygon(corners, fill=255)
    return fine.reduce(_SUPERSAMPLING), (left, top)

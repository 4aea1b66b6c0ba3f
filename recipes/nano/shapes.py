"""A generated world of drawn shapes: scenes of one to five shapes on a calm background, and how they are painted.

Everything about a scene is known exactly, so whatever is asked about it (see `shape_questions`) has one right answer.
Shapes are few, large and far apart on purpose: at 64 pixels a small model sees a picture through patches of 8 pixels.
Size is carried by the radius alone: every kind fills its disc well enough that `CLEARLY_LARGER` in radius is larger in
area too, whatever the two kinds are.
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
"""Calm tones, four light and four dark; light stops at middle grey, so that white still stands out."""

GRADIENT = 10
"""How far, in levels of 255, the two ends of a background lie above and below its tone."""

SMALL, LARGE = (0.112, 0.132), (0.212, 0.245)
"""Lowest and highest radius of the two sizes, as shares of the picture's side."""

CLEARLY_LARGER = 1.6
"""Ratio of radii from which one shape counts as larger than another: every large shape against every small one."""

MOST_SHAPES = 5
SMALLEST_SIDE = 32

_MARGIN, _GAP = 0.02, 0.045
_SUPERSAMPLING = 4
_SHADOW_SHIFT, _SHADOW_BLUR = 0.014, 0.012
_SHADOW_LEVELS = [round(0.3 * level) for level in range(256)]


def _polygon(radii: tuple[float, ...], turn: float = 0.0) -> tuple[tuple[float, float], ...]:
    """Place corners evenly around the centre, the first one at the top; y points down."""
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
"""Corners in a disc of radius 1, upright."""

_DISCS = {"circle": (0.92, 0.0), "ring": (0.96, 0.52)}
"""Radius of the disc and of its hole; a little less than 1, or round shapes would look larger than the others."""

KINDS = ("circle", "square", "triangle", "star", "cross", "ring")

_TURNS = {"square": 18.0, "cross": 18.0, "triangle": 180.0, "star": 180.0}
"""How far a kind may turn either way, degrees: a square on its corner would be called a diamond, a cross an X."""


@dataclass(frozen=True)
class Shape:
    """One shape. Lengths are shares of the picture's side, from the top left corner.

    Attributes:
        kind: one of `KINDS`.
        colour: one of `COLOURS`.
        x: of the centre, to the right.
        y: of the centre, downwards.
        radius: of the disc that holds the whole shape.
        turn: of how far its kind may be turned, -1 (counter-clockwise) to 1 (clockwise); 0 is upright.
    """

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    turn: float

    @property
    def angle(self) -> float:
        """Return how far the shape is turned clockwise from upright, degrees."""
        return self.turn * _TURNS.get(self.kind, 0.0)


@dataclass(frozen=True)
class Background:
    """A soft gradient from `first` to `second` (RGB) in the direction of `angle`, degrees; equal ends make it flat."""

    first: RGB
    second: RGB
    angle: float


@dataclass(frozen=True)
class Scene:
    """One to five shapes that neither touch each other nor leave the picture."""

    shapes: tuple[Shape, ...]
    background: Background


@dataclass(frozen=True)
class Reference:
    """How a question names a shape, or a group of them: by what it says and nothing else; empty means any shape."""

    kind: str = ""
    colour: str = ""
    rank: str = ""

    def fits(self, shape: Shape) -> bool:
        """Say whether a shape has the kind and the colour that are named; the rank is not looked at."""
        return self.kind in ("", shape.kind) and self.colour in ("", shape.colour)


References = tuple[Reference, ...]
VALUES = {"kind": KINDS, "colour": COLOUR_NAMES}


def draw_scene(rng: random.Random, count: int | None = None) -> Scene:
    """Draw a scene.

    Kinds and colours come from a few of each, so that shapes often share one and a question has to look at both.

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
    """Repaint a scene until each of some shapes can be named, and a name fits no other shape.

    Args:
        rng: source of all randomness.
        scene: what to repaint.
        places: of the shapes to be named.
        manner: what names them: "kind", "colour" or "both".

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
    """Repaint a scene so that it holds groups of exactly these sizes, each alike in "kind" or "colour" (`manner`).

    Returns:
        The scene and one reference for each group; the shapes that are left over belong to none.
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
    """Paint a scene, antialiased, with a soft shadow that lies on the background only.

    Args:
        scene: what to paint.
        side: of the square picture, pixels.

    Returns:
        (side, side, 3) uint8 RGB.

    Raises:
        DataError: `side` is too small for the shapes to be told apart.
    """
    if side < SMALLEST_SIDE:
        raise DataError(f"a side of {side} pixels is too small for shapes; use {SMALLEST_SIDE} or more")
    image = Image.fromarray(_paint_background(scene.background, side))
    masks = [_mask(shape, side) for shape in scene.shapes]
    shift, blur = max(1, round(_SHADOW_SHIFT * side)), ImageFilter.GaussianBlur(_SHADOW_BLUR * side)
    for mask, (left, top) in masks:  # all shadows first: none may fall on a neighbour
        shadow = mask.filter(blur).point(_SHADOW_LEVELS)
        image.paste((0, 0, 0), (left + shift, top + shift), shadow)
    for shape, (mask, corner) in zip(scene.shapes, masks, strict=True):
        image.paste(COLOURS[shape.colour], corner, mask)
    return np.array(image)


def clearly_larger(shape: Shape, other: Shape) -> bool:
    """Say whether anybody would call `shape` the larger of the two."""
    return shape.radius >= CLEARLY_LARGER * other.radius


def _places(rng: random.Random, count: int) -> list[tuple[float, float, float]]:
    """Find (x, y, radius) for every shape, free of each other and of the border; large ones first, they need luck."""
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
    # Divided by the diagonal, the way along the gradient stays within -0.5..0.5 at every angle.
    way = (axis[None, :] * math.cos(angle) + axis[:, None] * math.sin(angle)) / math.sqrt(2) + 0.5
    return (first + way[..., None] * (second - first) + 0.5).astype(np.uint8)


def _mask(shape: Shape, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """Draw the coverage of a shape, with room for its shadow; return it with its top left corner in the picture."""
    room = math.ceil(3 * _SHADOW_BLUR * side)
    left, top = (math.floor((place - shape.radius) * side) - room for place in (shape.x, shape.y))
    extent = math.ceil(2 * shape.radius * side) + 2 * room + 1
    fine = Image.new("L", (extent * _SUPERSAMPLING, extent * _SUPERSAMPLING))
    draw = ImageDraw.Draw(fine)
    # Pixel centres lie half a pixel in, so the fine grid starts half a fine pixel earlier.
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

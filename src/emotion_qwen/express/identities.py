"""The four invented identities of the drawn face: colours, proportions and hair. None is modelled on a person."""

from __future__ import annotations

from dataclasses import dataclass

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.express.scene import Colour


@dataclass(frozen=True)
class Identity:
    """The fixed features of a drawn face.

    Attributes:
        skin: base colour; shadows and highlights are derived from it.
        lips: colour of the lips, `brow` of the brows, `hair`, `iris`, `shirt` and `background` likewise.
        width: of the head relative to the first identity; `jaw` of the jaw.
        eye: size of the eyes; `nose` and `mouth` likewise.
        brow_width: thickness of the brows.
        style: of the hair: "bob", "short", "long" or "receding".
        age: 0 to 1; strength of lines in the resting face.
    """

    skin: Colour
    lips: Colour
    brow: Colour
    hair: Colour
    iris: Colour
    shirt: Colour
    background: Colour
    width: float = 1.0
    jaw: float = 1.0
    eye: float = 1.0
    nose: float = 1.0
    mouth: float = 1.0
    brow_width: float = 1.0
    style: str = "bob"
    age: float = 0.15


IDENTITIES: dict[str, Identity] = {
    "amber": Identity(
        skin=(238, 197, 170), lips=(196, 98, 96), brow=(92, 58, 42), hair=(104, 62, 42), iris=(96, 120, 78),
        shirt=(74, 110, 128), background=(222, 226, 226), style="bob",
    ),
    "basalt": Identity(
        skin=(141, 92, 66), lips=(128, 66, 60), brow=(38, 27, 24), hair=(36, 28, 27), iris=(70, 44, 30),
        shirt=(196, 160, 92), background=(214, 219, 224), width=1.03, jaw=1.1, eye=0.96, nose=1.16, mouth=1.1,
        brow_width=1.2, style="short", age=0.2,
    ),
    "cedar": Identity(
        skin=(226, 180, 140), lips=(180, 92, 84), brow=(40, 32, 32), hair=(38, 32, 36), iris=(72, 48, 34),
        shirt=(150, 88, 92), background=(224, 222, 214), width=0.97, jaw=0.94, eye=0.95, nose=0.92, mouth=0.96,
        brow_width=0.9, style="long", age=0.1,
    ),
    "dune": Identity(
        skin=(224, 178, 152), lips=(172, 96, 90), brow=(128, 118, 112), hair=(150, 146, 144), iris=(84, 112, 138),
        shirt=(84, 90, 104), background=(216, 222, 218), width=1.02, jaw=1.12, eye=0.93, nose=1.1, mouth=1.03,
        brow_width=1.25, style="receding", age=0.6,
    ),
}  # fmt: skip
"""Name -> identity. The names are materials, so that they suggest no person."""


def identity_of(name: str) -> Identity:
    """Return an identity of the drawn face.

    Raises:
        SettingsError: there is none with that name.
    """
    if name not in IDENTITIES:
        raise SettingsError(unknown_choice("identity", name, IDENTITIES))
    return IDENTITIES[name]


def toned(colour: Colour, factor: float, warmth: float = 0.0) -> Colour:
    """Return a colour lighter (factor above 1) or darker, and redder by `warmth`."""
    red, green, blue = (value * factor if factor <= 1 else 255 - (255 - value) / factor for value in colour)
    return (min(red + warmth, 255.0), max(green - warmth * 0.5, 0.0), max(blue - warmth * 0.4, 0.0))

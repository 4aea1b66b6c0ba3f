"""Verbal claims about a face, each with the measurement against which it can be checked.

A face is measured by facial actions (ARKit's blendshapes, 0 to 1) and head angles (degrees). A description may
use only the phrases in `PHRASES` for these, so that every claim can be found in a text and checked. Nothing is claimed
between the bounds of "present" and "absent", because the measurement itself is uncertain by about as much.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from emotion_qwen.matching.phrases import PhraseFinder, Phrases
from emotion_qwen.records import HEAD_ANGLES

SHAPES: dict[str, tuple[str, ...]] = {
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "mouth corners": ("mouthFrownLeft", "mouthFrownRight"),
    "jaw": ("jawOpen",),
    "upper lip": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "lower lip": ("mouthLowerDownLeft", "mouthLowerDownRight"),
    "pressed lips": ("mouthPressLeft", "mouthPressRight"),
    "pucker": ("mouthPucker",),
    "stretched mouth": ("mouthStretchLeft", "mouthStretchRight"),
    "lowered brows": ("browDownLeft", "browDownRight"),
    "inner brows": ("browInnerUp",),
    "outer brows": ("browOuterUpLeft", "browOuterUpRight"),
    "eyelids": ("eyeBlinkLeft", "eyeBlinkRight"),
    "narrowed eyes": ("eyeSquintLeft", "eyeSquintRight"),
    "wide eyes": ("eyeWideLeft", "eyeWideRight"),
    "lowered gaze": ("eyeLookDownLeft", "eyeLookDownRight"),
    "raised gaze": ("eyeLookUpLeft", "eyeLookUpRight"),
}
"""Measurement -> the blendshapes whose mean it is."""
Scale = tuple[tuple[float, str | None], ...]
SCALES: dict[str, Scale] = {
    "smile": ((0.08, "no smile"), (0.3, None), (0.75, "smile"), (math.inf, "broad smile")),
    "mouth corners": ((0.12, None), (math.inf, "mouth corners down")),
    "jaw": ((0.03, "mouth closed"), (0.15, None), (0.4, "mouth open"), (math.inf, "mouth wide open")),
    "upper lip": ((0.3, None), (math.inf, "upper lip raised")),
    "lower lip": ((0.35, None), (math.inf, "lower lip down")),
    "pressed lips": ((0.15, None), (math.inf, "lips pressed")),
    "pucker": ((0.4, None), (math.inf, "lips pushed forward")),
    "stretched mouth": ((0.2, None), (math.inf, "mouth stretched")),
    "lowered brows": ((0.3, None), (0.6, "brows lowered"), (math.inf, "brows strongly lowered")),
    "inner brows": ((0.35, None), (math.inf, "inner brows raised")),
    "outer brows": ((0.35, None), (math.inf, "brows raised")),
    "eyelids": ((0.2, "eyes open"), (0.4, None), (0.6, "eyes almost closed"), (math.inf, "eyes closed")),
    "narrowed eyes": ((0.6, None), (math.inf, "eyes narrowed")),
    "wide eyes": ((0.08, None), (math.inf, "eyes wide")),
    "lowered gaze": ((0.45, None), (math.inf, "gaze lowered")),
    "raised gaze": ((0.4, None), (math.inf, "gaze raised")),
    "yaw": ((-20.0, "head left"), (-12.0, None), (12.0, "head forward"), (20.0, None), (math.inf, "head right")),
    "pitch": ((-18.0, "head down"), (18.0, None), (math.inf, "head up")),
    "roll": ((-12.0, "head tilted left"), (12.0, None), (math.inf, "head tilted right")),
}
"""Measurement -> (upper bound, excluded; word, None where nothing is claimed), ascending."""
PHRASES: dict[str, Phrases] = {
    "no smile": (("there is no smile", "the mouth does not smile"), ("没有笑容", "嘴角没有笑意")),
    "smile": (("the corners of the mouth are raised", "the mouth smiles", "there is a smile"),
              ("嘴角上扬", "面带微笑", "露出笑容")),
    "broad smile": (("the smile is broad", "the mouth smiles broadly", "the corners of the mouth are raised high"),
                    ("笑得很开", "嘴角高高扬起", "笑容灿烂")),
    "mouth corners down": (("the corners of the mouth are turned down", "the mouth corners droop"),
                           ("嘴角下垂", "嘴角向下")),
    "mouth closed": (("the mouth is closed", "the lips are together"), ("嘴闭着", "双唇合拢")),
    "mouth open": (("the mouth is open", "the lips are parted"), ("嘴张开", "双唇分开")),
    "mouth wide open": (("the mouth is wide open", "the jaw has dropped"), ("嘴张得很大", "下巴张开")),
    "upper lip raised": (("the upper lip is raised", "the upper lip is pulled up"), ("上唇抬起", "上唇上提")),
    "lower lip down": (("the lower lip is pulled down", "the lower teeth show"), ("下唇下拉", "露出下牙")),
    "lips pressed": (("the lips are pressed together", "the lips are pressed tight"), ("双唇紧抿", "嘴唇抿紧")),
    "lips pushed forward": (("the lips are pushed forward", "the lips are puckered"), ("嘴唇前伸", "嘴唇撅起")),
    "mouth stretched": (("the mouth is stretched sideways", "the mouth is pulled wide"),
                        ("嘴向两侧拉开", "嘴角向外拉")),
    "brows lowered": (("the brows are lowered", "the brows are drawn down"), ("眉头下压", "眉毛压低")),
    "brows strongly lowered": (("the brows are strongly lowered", "the brows are drawn far down"),
                               ("眉头紧锁", "眉毛压得很低")),
    "inner brows raised": (("the inner brows are raised", "the inner ends of the brows are raised"),
                           ("眉头内侧抬起", "眉心上扬")),
    "brows raised": (("the brows are raised", "the eyebrows are up"), ("眉毛扬起", "双眉抬高")),
    "eyes open": (("the eyes are open",), ("眼睛睁着",)),
    "eyes almost closed": (("the eyes are almost closed", "the eyelids are lowered"), ("眼睛几乎闭上", "眼睑低垂")),
    "eyes closed": (("the eyes are closed", "the eyes are shut"), ("闭着眼睛", "双眼紧闭")),
    "eyes narrowed": (("the eyes are narrowed", "the eyes are squinting"), ("眼睛眯起", "眯着眼")),
    "eyes wide": (("the eyes are wide", "the eyes are opened wide"), ("眼睛睁大", "双眼圆睁")),
    "gaze lowered": (("the gaze is lowered", "the eyes look down"), ("目光低垂", "眼睛向下看")),
    "gaze raised": (("the gaze is raised", "the eyes look up"), ("目光上抬", "眼睛向上看")),
    "head left": (("the head is turned to the left of the picture",), ("头转向画面左侧",)),
    "head forward": (("the head faces the camera", "the face is turned to the camera"), ("正对镜头", "面朝镜头")),
    "head right": (("the head is turned to the right of the picture",), ("头转向画面右侧",)),
    "head down": (("the head is lowered", "the head is bent down"), ("低着头", "头部下垂")),
    "head up": (("the head is raised", "the chin is lifted"), ("抬着头", "下巴抬起")),
    "head tilted left": (("the head is tilted to the left of the picture",), ("头歪向画面左侧",)),
    "head tilted right": (("the head is tilted to the right of the picture",), ("头歪向画面右侧",)),
}  # fmt: skip
"""Word -> its phrases in English and in Chinese; no phrase is contained in that of another measurement."""
NAMES = {word: name for name, scale in SCALES.items() for _, word in scale if word is not None}
"""Word -> the measurement that it is about."""
PLAIN = ("no smile", "mouth closed", "eyes open", "head forward")
"""Words that are true of most faces most of the time and are omitted for readers."""


def other_side(action: str) -> str:
    """Return the action of the other half of the face; one that has no side is its own."""
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if action.endswith(side):
            return action.removesuffix(side) + other
    return action


@dataclass(frozen=True)
class FaceClaim:
    """A true statement about a face.

    Attributes:
        name: the measurement, a key of `SCALES`.
        word: the claim, a key of `PHRASES`.
        value: the measured value.
    """

    name: str
    word: str
    value: float

    @property
    def strength(self) -> float:
        """How far the value is inside the word's interval: 0 at the bound, larger is clearer."""
        low, high = bounds_of(self.word)
        width = abs(high) if math.isinf(low) else abs(low) if math.isinf(high) else high - low
        return min(self.value - low, high - self.value) / max(width, 1e-9)


def measurements(actions: Mapping[str, float], angles: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return the measurements of a face, keys of `SCALES`.

    Args:
        actions: blendshape -> 0 to 1; names of ARKit. Measurements whose blendshapes are missing are left out.
        angles: of `HEAD_ANGLES`, in degrees.
    """
    values = {
        name: sum(actions[shape] for shape in shapes) / len(shapes)
        for name, shapes in SHAPES.items()
        if all(shape in actions for shape in shapes)
    }
    return values | {name: angles[name] for name in HEAD_ANGLES if angles is not None and name in angles}


def face_word(name: str, value: float) -> str | None:
    """Return the word for a value of a measurement, a key of `PHRASES`; None where nothing is claimed."""
    return next(word for bound, word in SCALES[name] if value < bound or math.isinf(bound))


def bounds_of(word: str) -> tuple[float, float]:
    """Return the values, from the first up to the second, for which a word is claimed."""
    low = -math.inf
    for high, each in SCALES[NAMES[word]]:
        if each == word:
            return low, high
        low = high
    raise KeyError(word)


def face_claims(values: Mapping[str, float]) -> list[FaceClaim]:
    """Return the claims that may be made about a face with the given measurements, in the order of `SCALES`."""
    words = ((name, face_word(name, values[name])) for name in SCALES if name in values)
    return [FaceClaim(name, word, values[name]) for name, word in words if word is not None]


def is_true(word: str, values: Mapping[str, float]) -> bool | None:
    """Return whether a word is true of a face; None if it was not measured.

    Of the values next to a word's interval for which nothing is claimed, the nearer half counts as true, up to 0.1 or
    5 degrees.
    """
    name = NAMES[word]
    if name not in values:
        return None
    low, high = bounds_of(word)
    scale, most = SCALES[name], 5.0 if name in HEAD_ANGLES else 0.1
    place = next(number for number, (_, each) in enumerate(scale) if each == word)
    if place and scale[place - 1][1] is None:
        floor = scale[place - 2][0] if place > 1 else 0.0
        low -= min(most, (low - floor) / 2)
    if place + 1 < len(scale) and scale[place + 1][1] is None:
        high += min(most, (scale[place + 1][0] - high) / 2)
    return low <= values[name] < high


def claims_in(text: str, language: str = "en") -> list[str]:
    """Return the words, keys of `PHRASES`, that a text claims, in its order."""
    return _FINDER.words(text, language)


def unknown_movements(text: str) -> list[str]:
    """Return the statements of an English text about parts of the face that are not phrases of `PHRASES`, in lower
    case.

    A model that mixes phrases makes statements that are not measured, such as "the upper lip is pulled down".
    """
    left = text.lower()
    for phrase in _LONGEST_FIRST:
        left = left.replace(phrase, "")
    return _PART_MOVES.findall(left)


_FINDER = PhraseFinder(PHRASES)
_LONGEST_FIRST = sorted((phrase for english, _ in PHRASES.values() for phrase in english), key=len, reverse=True)
_PART_MOVES = re.compile(
    r"\bthe (?:(?:upper|lower|inner|outer|left|right) )?(?:corners of the mouth|mouth corners|lips?|brows?|eyebrows?|"
    r"mouth|jaw|chin|eyes?|eyelids?|gaze|head|cheeks?|nose|nostrils?) (?:is|are) (?!not\b)\w+"
    r"(?: (?:up|down|open|closed|together|apart|back|forward|high|wide|sideways|raised|lowered)\b)?"
)

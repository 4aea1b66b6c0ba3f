"""One fixed colour per emotion, used in the terminal, the page and the annotated video.

The colours of all label sets but GoEmotions can also be distinguished with red, green and blue colour blindness (a test
simulates them by Machado, Oliveira and Fernandes 2009) and are visible on light and dark backgrounds. GoEmotions has
more labels (28) than colours that can be distinguished, so related emotions have similar colours there. A colour is
therefore always shown with a name.
"""

from __future__ import annotations

import colorsys
import zlib

from emotion_qwen.taxonomy import concept_of_word

COLOURS: dict[str, str] = {
    "happiness": "#E99A25",
    "sadness": "#4266B4",
    "neutral": "#9DA1A7",
    "anger": "#BB3B2F",
    "surprise": "#30C6E9",
    "disgust": "#279C61",
    "fear": "#965487",
    "worry": "#8A99FD",
    "calm": "#80C86E",
    "contempt": "#7A2BE0",
    "helplessness": "#AA6600",
    "amusement": "#E1AF08",
    "awe": "#0DC9D9",
    "contentment": "#ACBE66",
    "excitement": "#C46D07",
    "boredom": "#665650",
    "admiration": "#D2A24C",
    "annoyance": "#D4674F",
    "approval": "#7FB04A",
    "caring": "#E58F7B",
    "confusion": "#A58BC4",
    "curiosity": "#5AA9D6",
    "desire": "#D65A86",
    "disappointment": "#8866EE",
    "disapproval": "#A8553C",
    "embarrassment": "#C27A9E",
    "gratitude": "#C79A2E",
    "grief": "#4A5F9E",
    "love": "#E86A92",
    "nervousness": "#A66BBE",
    "optimism": "#DDAE3A",
    "pride": "#D98B1F",
    "realization": "#7FB2C9",
    "relief": "#6FB58A",
    "remorse": "#5B6FA8",
}
DARK, LIGHT = "#111318", "#FFFFFF"
GAP = "#3A3F4A"
"""Colour of periods without an answer."""


def colour_of(label: str) -> str:
    """Return the colour of a label or alias as "#RRGGBB"; one that is not a known emotion gets a distinct hue."""
    name = concept_of_word().get(label.strip().lower())
    if name is not None:
        return COLOURS[name]
    red, green, blue = colorsys.hls_to_rgb(zlib.crc32(label.encode()) / 2**32, 0.5, 0.55)
    return f"#{round(255 * red):02X}{round(255 * green):02X}{round(255 * blue):02X}"


def luminance(colour: str) -> float:
    """Return the relative luminance of "#RRGGBB" by WCAG 2, 0 (black) to 1 (white)."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours by WCAG 2, 1 (none) to 21 (black on white)."""
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def ink_on(colour: str) -> str:
    """Return the text colour, dark or light, with the higher contrast on a background colour."""
    return max((DARK, LIGHT), key=lambda ink: contrast(ink, colour))

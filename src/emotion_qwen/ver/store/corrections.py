"""Corrected values of a clip: its label, valence, arousal and episodes, checked before they are stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from emotion_qwen.errors import DataError, unknown_choice

CORRECTABLE = ("label", "valence", "arousal", "episodes")
MOST_EPISODES = 500
_EPISODE = {"onset", "offset", "label"}


def check_corrections(values: Any, labels: Sequence[str], seconds: float) -> dict[str, Any]:
    """Return the corrections of a request in their stored form, episodes in the order of their onsets.

    Args:
        values: any of "label" (text), "valence" and "arousal" (-1 to 1), and "episodes", a list of
            `{"onset", "offset", "label"}` with times in seconds from the start of the clip.
        labels: labels of the set.
        seconds: length of the clip.

    Raises:
        DataError: a key or label is unknown, a number is out of its range, or an episode is not within the clip.
    """
    if not isinstance(values, dict) or (unknown := set(values) - set(CORRECTABLE)):
        shown = values if not isinstance(values, dict) else ", ".join(sorted(map(str, unknown)))
        raise DataError(f"corrections {shown!r}; expected an object with any of {', '.join(CORRECTABLE)}")
    checked: dict[str, Any] = {}
    if "label" in values:
        checked["label"] = _label(values["label"], labels)
    for name in ("valence", "arousal"):
        if name in values:
            checked[name] = _number(values[name], name, -1.0, 1.0)
    if "episodes" in values:
        checked["episodes"] = _episodes(values["episodes"], labels, seconds)
    return checked


def _label(value: Any, labels: Sequence[str]) -> str:
    if value not in labels:
        raise DataError(unknown_choice("label", value, labels))
    return str(value)


def _number(value: Any, name: str, least: float, most: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise DataError(f"{name} is {value!r}; expected a number from {least:g} to {most:g}")
    return float(value)


def _episodes(values: Any, labels: Sequence[str], seconds: float) -> list[dict[str, Any]]:
    if not isinstance(values, list) or len(values) > MOST_EPISODES:
        raise DataError(f"episodes is no list of at most {MOST_EPISODES}; expected a list of onset, offset and label")
    episodes = []
    longest = math.floor(seconds * 1000) / 1000
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict) or set(value) != _EPISODE:
            raise DataError(f"episode {number} is {value!r}; expected an object with onset, offset and label")
        onset, offset = (
            _number(value[name], f"{name} of episode {number}", 0, longest) for name in ("onset", "offset")
        )
        if onset >= offset:
            raise DataError(
                f"episode {number} lasts from {onset:g} to {offset:g} s; expected the onset before the offset"
            )
        episodes.append({"onset": onset, "offset": offset, "label": _label(value["label"], labels)})
    return sorted(episodes, key=lambda episode: (episode["onset"], episode["offset"]))

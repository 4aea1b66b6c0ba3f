"""Facial actions of every crop that was read, and the movements that follow from them.

The measurements come with the answers that a reading already has; nothing is encoded for them. A crop and its mirrored
copy are averaged after left and right of the latter are exchanged and its yaw and roll negated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from emotion_qwen.analysis.cues import is_righted
from emotion_qwen.analysis.reading import PICTURE, ClipReading
from emotion_qwen.faces.face_claims import SCALES, SHAPES, FaceClaim, face_claims, measurements, other_side
from emotion_qwen.prepare import PersonPictures
from emotion_qwen.records import HEAD_ANGLES, FacialMovement

RELIABLE = 0.3
"""Smallest coefficient of determination (R2) of an action, on people unseen in training, from which words claim it."""
BRIDGED = 1
"""Largest number of consecutive crops without a claim about a measurement, within one movement."""
_TURNED = ("yaw", "roll")
"""Angles that change their sign when a picture is mirrored."""


def crop_actions(
    reading: ClipReading, person: PersonPictures, channels: Collection[str] = PICTURE
) -> tuple[np.ndarray, np.ndarray]:
    """Measure the crops of a person.

    Roll is relative to the picture also for a face whose crop was rotated upright; yaw and pitch are relative to the
    crop.

    Args:
        reading: of a clip, by a model that measures facial actions.
        person: of that clip.
        channels: of the views that were scored already; the measurements are the same for all that have the picture.

    Returns:
        (R,) rows of the glimpses that show the person, and (R, A) actions and angles.
    """
    names = reading.engine.facial_actions
    rows = np.flatnonzero(reading.rows_of(person.track.person))
    answers = reading.answers([reading.glimpses[row].view(channels, reading.language) for row in rows])
    actions = [answer.actions for answer in answers if answer is not None and answer.actions is not None]
    assert len(actions) == len(rows)  # crops have a picture, and the model measures it
    measured = torch.stack(actions).double().numpy()
    if reading.engine.processor.settings.person_mirrored:  # the pictures of a crop: as it is, then mirrored
        measured[1::2] = unmirrored(names, measured[1::2])
    measured[:, names.index("roll")] += [_righting(reading, person, reading.glimpses[row].time) for row in rows]
    return rows, measured


def unmirrored(names: Sequence[str], values: np.ndarray) -> np.ndarray:
    """Return the (..., A) values of pictures, given those of their mirrored copies in the order of `names`."""
    places = [names.index(other_side(name)) for name in names]
    signs = np.array([-1.0 if name in _TURNED else 1.0 for name in names])
    return values[..., places] * signs


def _righting(reading: ClipReading, person: PersonPictures, time: float) -> float:
    """Return the degrees clockwise by which a face was turned before its crop was rotated upright; 0 if it was not."""
    track = person.track
    near = int(np.abs(reading.prepared.clip.times[track.frames] - time).argmin())
    return float(track.rolls[near]) if track.rolls is not None and is_righted(track, near) else 0.0


def person_actions(reading: ClipReading, person: PersonPictures) -> dict[float, dict[str, float]]:
    """Return time -> facial actions and angles of a person's crops, in order of time; empty if none are measured."""
    names = reading.engine.facial_actions
    if not names:
        return {}
    rows, values = crop_actions(reading, person)
    times = np.array([reading.glimpses[row].time for row in rows])
    means = {time: values[times == time].mean(0).tolist() for time in np.unique(times).tolist()}
    return {time: {name: round(v, 3) for name, v in zip(names, mean, strict=True)} for time, mean in means.items()}


def movements(actions: Mapping[float, Mapping[str, float]], facts: Mapping[str, Any]) -> tuple[FacialMovement, ...]:
    """Return the movements of a face, in order of time, then of `SCALES`.

    Consecutive crops with the same claim are one movement. It may bridge a crop without a claim about the measurement,
    but not one with a different claim.

    Args:
        actions: of `person_actions`.
        facts: training facts of the model; `facial_actions` may contain the measured error of each action.
    """
    unreliable = unreliable_actions(facts)
    names = [name for name in SCALES if not unreliable & set(SHAPES.get(name, (name,)))]
    claims = [_claims(values, names) for values in actions.values()]
    times = list(actions)
    runs = [(name, run) for name in names for run in _runs([each.get(name) for each in claims])]
    made = [_movement(times, {place: claims[place][name] for place in run}) for name, run in runs]
    order = list(SCALES)
    return tuple(sorted(made, key=lambda movement: (movement.start, order.index(movement.name))))


def unreliable_actions(facts: Mapping[str, Any]) -> set[str]:
    """Return the actions and angles whose R2, by a model's training facts, is below `RELIABLE`."""
    errors = facts.get("facial_actions", {})
    return {name for name, error in errors.items() if error["r2"] < RELIABLE}


def _claims(values: Mapping[str, float], names: Collection[str]) -> dict[str, FaceClaim]:
    angles = {name: values[name] for name in HEAD_ANGLES if name in values}
    return {claim.name: claim for claim in face_claims(measurements(values, angles)) if claim.name in names}


def _runs(claims: Sequence[FaceClaim | None]) -> list[list[int]]:
    """Divide the crops with a claim about one measurement into movements."""
    runs: list[list[int]] = []
    for place, claim in enumerate(claims):
        if claim is None:
            continue
        last = claims[runs[-1][-1]] if runs else None
        if last is not None and last.word == claim.word and place - runs[-1][-1] <= 1 + BRIDGED:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _movement(times: Sequence[float], claims: Mapping[int, FaceClaim]) -> FacialMovement:
    first, last = min(claims), max(claims)
    peak = max(claims, key=lambda place: claims[place].strength)
    clearest = claims[peak]
    return FacialMovement(clearest.name, clearest.word, times[first], times[last], times[peak], clearest.value)

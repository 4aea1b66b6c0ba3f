"""A report as a track: the expressions of a person in a clip, without the person.

Where the model measured facial actions, these are replayed; otherwise the shares of emotions over time move the face by
the hand-written prototypes. The measurements come at the rate at which the clip was analyzed, a few times per second;
between them, the face moves by rules.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.express.motion import PACE, Keyframe, damped, make_track, region_seconds
from emotion_qwen.express.prototypes import emotion_weights, seven_shares
from emotion_qwen.express.track import (
    CHANNELS,
    LARGEST_ANGLE,
    MOST_SECONDS,
    PLACE,
    ExpressionTrack,
    Provenance,
)
from emotion_qwen.records import HEAD_ANGLES, EmotionReport, Person
from emotion_qwen.views.playhead import clip_span

STILL_SECONDS = 3.0
"""Length of a replay of a picture."""
FOLLOWING = 0.5
"""Share of the usual time constants with which measured actions are followed, because they were smooth already."""


def replay_track(
    report: EmotionReport,
    number: int | None = None,
    *,
    fps: float = 30.0,
    intensity: float = 1.0,
    seed: int = 0,
    seconds: float | None = None,
) -> ExpressionTrack:
    """Make a track of one person of a report.

    Args:
        report: of a clip or a picture.
        number: of the person, as in the report; None takes the one that was seen most.
        fps: frames per second.
        intensity: 0 to 1.5, multiplies the intensity of the report.
        seed: of the motion between measurements, where the model measured no facial actions.
        seconds: length of the track; None takes the clip's, at most `MOST_SECONDS`.

    Raises:
        DataError: the report has no such person.
        SettingsError: the intensity is out of range, or no label means one of the seven emotions.
    """
    person = person_of(report, number)
    length = seconds or min(clip_span(report)[1] or STILL_SECONDS, MOST_SECONDS)
    provenance = Provenance(
        source="report",
        details={
            "person": person.person,
            "model": str(report.provenance.get("model", "")),
            "intensity": intensity,
            "seed": seed,
            "actions": "measured" if _has_actions(person) else "by emotion",
        },
    )
    track = make_track(emotion_keyframes(person, intensity), length, fps=fps, seed=seed, provenance=provenance)
    if not _has_actions(person):
        return track
    actions, head = measured_actions(person, track.times)
    rise = np.array([region_seconds(name) for name in CHANNELS]) * FOLLOWING
    frames = damped(actions * intensity, rise, rise, fps).clip(0, 1)
    turns = damped(head, np.full(3, FOLLOWING * PACE.blink_gap), np.full(3, FOLLOWING * PACE.blink_gap), fps)
    return ExpressionTrack(fps, frames, turns.clip(-LARGEST_ANGLE, LARGEST_ANGLE), track.emotions, provenance)


def person_of(report: EmotionReport, number: int | None) -> Person:
    """Return a person of a report; None is the one that was seen most.

    Raises:
        DataError: the report has nobody, or not that person.
    """
    if not report.people:
        raise DataError(f"the report of {report.source!r} has no person; expected a clip in which a face was found")
    if number is None:
        return max(report.people, key=lambda person: (person.frames, -person.person))
    for person in report.people:
        if person.person == number:
            return person
    numbers = ", ".join(str(person.person) for person in report.people)
    raise DataError(f"the report of {report.source!r} has no person {number}; expected one of: {numbers}")


def emotion_keyframes(person: Person, intensity: float = 1.0) -> list[Keyframe]:
    """Return keyframes at the middle of each window of a person's timeline; for a picture, one.

    Raises:
        SettingsError: no label means one of the seven emotions.
    """
    moments = [((moment.start + moment.end) / 2, moment.distribution) for moment in person.timeline]
    moments = moments or [(person.start, person.distribution)]
    return [Keyframe(time, emotion_weights(seven_shares(shares), intensity)) for time, shares in moments]


def _has_actions(person: Person) -> bool:
    return any(sighting.actions for sighting in person.seen)


def measured_actions(person: Person, times: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the facial actions (T, 52) and head angles (T, 3) of a person at times (T,) seconds.

    They are interpolated linearly between the frames that were measured; actions that the model does not measure are 0.
    """
    sightings = [sighting for sighting in person.seen if sighting.actions]
    at = [sighting.time for sighting in sightings]
    actions, head = np.zeros((len(times), len(CHANNELS))), np.zeros((len(times), 3))
    for name in sightings[0].actions:
        values = np.interp(times, at, [sighting.actions.get(name, 0.0) for sighting in sightings])
        if name in PLACE:
            actions[:, PLACE[name]] = values
        elif name in HEAD_ANGLES:
            head[:, HEAD_ANGLES.index(name)] = values
    return actions.clip(0, 1), head

"""Prototypes and their blends, and the motion between them."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.express.motion import PACE, Keyframe, blink_curve, damped, held, make_track, neutral_weights, wander
from emotion_qwen.express.prototypes import (
    ACTION_UNITS,
    EMOTION_UNITS,
    PROTOTYPES,
    circle_shares,
    emotion_weights,
    expression,
    parse_shares,
)
from emotion_qwen.express.track import CHANNELS, EMOTIONS, PLACE


def test_every_prototype_is_made_of_action_units_of_the_table() -> None:
    assert set(EMOTION_UNITS) == set(EMOTIONS)
    assert {unit for units in EMOTION_UNITS.values() for unit in units} <= set(ACTION_UNITS)
    assert {channel for unit in ACTION_UNITS.values() for channel in unit} <= set(CHANNELS)
    apart = [np.abs(a - b).max() for i, a in enumerate(PROTOTYPES) for b in PROTOTYPES[:i]]
    assert min(apart) > 0.5 and not PROTOTYPES[EMOTIONS.index("neutral")].any()


def test_a_blend_contains_its_parts_and_grows_with_intensity() -> None:
    weights = emotion_weights({"sad": 0.6, "fear": 0.4})
    assert weights[EMOTIONS.index("sadness")] == 0.6 and weights.sum() == pytest.approx(1)
    faces = [expression(emotion_weights({"happiness": 1.0}, strength)) for strength in (0, 0.5, 1, 1.5)]
    smile = [face[CHANNELS.index("mouthSmileLeft")] for face in faces]
    assert smile[0] == 0 and smile[0] < smile[1] < smile[2] <= smile[3] <= 1


def test_the_circle_returns_the_emotion_at_its_own_place() -> None:
    assert circle_shares(0.9, 0.4) == pytest.approx({"happiness": 1.0})
    assert circle_shares(0.45, 0.2) == pytest.approx({"happiness": 0.5})
    assert set(circle_shares(0.6, 0.6)) == {"happiness", "surprise"}
    assert circle_shares(0, 0) == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: emotion_weights({"hangry": 1}), "unknown emotion 'hangry'"),
        (lambda: emotion_weights({"fear": float("nan")}), "the share of 'fear' is nan"),
        (lambda: emotion_weights({"fear": 0.8, "anger": 0.8}), "the shares add up to 1.6; expected at most 1"),
        (lambda: emotion_weights({"fear": 1}, 2), "intensity is 2; expected 0 to 1.5"),
        (lambda: parse_shares("fear:much"), "'fear:much'; expected emotions with shares"),
        (lambda: circle_shares(2, 0), "valence 2 and arousal 0; expected two numbers from -1 to 1"),
        (lambda: make_track([], 1), "expected at least one"),
        (lambda: make_track([Keyframe(0, neutral_weights())], 1, fps=-1), "fps is -1"),
    ],
)
def test_what_does_not_fit_is_refused(call, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        call()


@pytest.mark.parametrize("seconds", [0, 36_000, float("nan")])
def test_a_length_out_of_range_is_refused(seconds: float) -> None:
    with pytest.raises(DataError, match="expected more than 0 and at most 600 s"):
        make_track([Keyframe(0, neutral_weights())], seconds)


def test_a_step_is_followed_without_overshoot_and_falls_more_slowly() -> None:
    steps = np.concatenate([np.zeros(1), np.ones(60), np.zeros(60)])[:, None]
    path = damped(steps, np.array([0.1]), np.array([0.2]), 30)[:, 0]
    assert path.max() <= 1 and path.min() >= -1e-9
    rise = int(np.argmax(path > 0.9)) - 1
    fall = int(np.argmax(path[61:] < 0.1))
    assert rise < fall and path[60] > 0.99


def test_the_same_seed_gives_the_same_track_and_another_seed_another() -> None:
    frames = held(emotion_weights({"anger": 1.0}), 3)
    tracks = [make_track(frames, 3, seed=seed) for seed in (1, 1, 2)]
    assert (tracks[0].frames == tracks[1].frames).all() and (tracks[0].frames != tracks[2].frames).any()
    assert tracks[0].emotion == "anger" and len(tracks[0].frames) == 90


def test_a_held_smile_and_the_head_move_as_fast_as_those_of_real_faces() -> None:
    """Within half and twice of what the landmarker measured in two clips; see `recipes.express.motion`."""
    track = make_track(held(emotion_weights({"happiness": 1.0}), 20), 20, seed=3)
    middle = slice(60, 450)  # while the emotion is held
    left, right = (track.frames[middle, PLACE[f"mouthSmile{side}"]] for side in ("Left", "Right"))
    speed = np.abs(np.diff(left)).mean() * 30
    assert 0.72 / 2 < speed / left.mean() < 1.29 * 2, "0.72 and 1.29 of its mean per second in the clips"
    assert 2.7 / 2 < np.abs(np.diff(track.head[middle], axis=0)).mean() * 30 < 6.4 * 2, "degrees per second"
    free = (left < 1) & (right < 1)
    assert np.ptp(left[free] / right[free]) < 1e-9, "both sides vary together"


def test_variation_is_slow_and_blinks_come_at_their_rate() -> None:
    random = np.random.default_rng(0)
    noise = wander(random, (6000, 4), PACE.jitter_seconds, 30)
    assert noise.std() == pytest.approx(1, abs=0.1)
    power = (np.abs(np.fft.rfft(noise, axis=0)) ** 2).sum(1)
    slow = np.fft.rfftfreq(6000, 1 / 30) < 3
    assert power[slow].sum() / power.sum() > 0.7
    closed = blink_curve(random, 30 * 600, 30) > 0.5
    blinks = int((closed[1:] & ~closed[:-1]).sum())
    assert 10 * PACE.blinks_per_minute * 0.7 < blinks < 10 * PACE.blinks_per_minute * 1.3

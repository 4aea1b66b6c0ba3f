"""The last seconds of a live session: what is kept, where it lies on the clock, and that no more is kept."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_qwen.media.sound import SAMPLE_RATE as RATE
from emotion_qwen.serving.http.rolling import STALE, RollingBuffer

SPAN = 6.0


def rolling(**options) -> RollingBuffer:
    return RollingBuffer(**{"span": SPAN, "apart": 0.5, "side": 64, "most": 12, **options})


def picture(value: int = 0, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def voice(seconds: float) -> np.ndarray:
    """A hum of 150 Hz with overtones, as a voice's pitch."""
    time = np.arange(round(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * 150 * number * time) / number for number in range(1, 6)).astype(np.float32) / 4


def test_pictures_of_the_last_seconds_in_order():
    held = rolling()
    for number in range(40):
        assert held.wants_picture(0.5 * number)
        held.add_picture(0.5 * number, picture(number))
    clip = held.clip(with_sound=True)
    assert clip.times.tolist() == [14 + 0.5 * number for number in range(12)]
    assert clip.frames[:, 0, 0, 0].tolist() == list(range(28, 40)) and clip.wave is None and not clip.still


def test_a_picture_that_comes_too_soon_is_not_wanted_and_one_a_little_early_is():
    held = rolling()
    held.add_picture(1.0, picture())
    assert not held.wants_picture(1.2) and held.wants_picture(1.45) and not held.wants_picture(1.0)


def test_a_large_picture_is_reduced_and_another_size_is_another_camera():
    held = rolling()
    held.add_picture(0.0, picture(1, 300, 400))
    assert held.clip(with_sound=False).frames.shape == (1, 48, 64, 3)
    held.add_picture(1.0, picture(2, 64, 48))
    clip = held.clip(with_sound=False)
    assert clip.frames.shape == (1, 64, 48, 3) and clip.still and clip.times.tolist() == [1.0]


def test_sound_lies_where_its_time_says_and_gaps_are_silent():
    held = rolling()
    for first, value in ((2.0, 0.1), (2.5, 0.2), (4.0, 0.3)):
        held.add_sound(first, np.full(RATE // 2, value, np.float32))
    clip = held.clip(with_sound=True)
    assert clip.wave_start == 2.0 and len(clip.wave) == 2.5 * RATE
    at = lambda time: float(clip.wave[round((time - 2) * RATE)])  # noqa: E731
    assert [at(time) for time in (2.1, 2.7, 3.5, 4.2)] == pytest.approx([0.1, 0.2, 0.0, 0.3])


def test_pieces_in_any_order_are_laid_as_a_plain_table_would():
    draw = np.random.default_rng(3)
    for _ in range(30):
        held, table, clock, end = rolling(), np.zeros(150 * RATE, np.float32), 20 * RATE, 0
        for _ in range(60):
            clock += int(draw.integers(-RATE, 2 * RATE))
            piece = draw.random(int(draw.integers(1, RATE)), dtype=np.float32)
            held.add_sound(clock / RATE, piece)
            assert clock >= 0
            table[clock : clock + len(piece)] = piece
            end = max(end, clock + len(piece))
        clip = held.clip(with_sound=True)
        first = round(clip.wave_start * RATE)
        assert first + len(clip.wave) == end and len(clip.wave) <= SPAN * RATE
        assert np.array_equal(clip.wave, table[first:end])


def test_whatever_comes_no_more_is_kept():
    held = rolling()
    piece = np.zeros(round(SPAN * RATE), np.float32)
    for number in range(300):  # all at one time, then far apart, then tiny
        held.add_sound(1.0, piece)
        held.add_sound(1e6 * number, piece)
        held.add_sound(1.0, piece[:1])
        held.add_picture(1e-6 * number, picture())
    kept = [held._wave, *(one for _, one in held.pictures)]
    assert sum(one.nbytes for one in kept) <= 4 * SPAN * RATE + 12 * picture().nbytes
    assert held.clip(with_sound=True).wave.nbytes <= 4 * SPAN * RATE


def test_a_clock_that_was_set_back_begins_anew():
    held = rolling()
    held.add_picture(100.0, picture(1))
    held.add_sound(100.0, voice(1))
    assert held.wants_picture(3.0)
    held.add_picture(3.0, picture(2))
    clip = held.clip(with_sound=True)
    assert clip.times.tolist() == [3.0] and clip.wave is None


def test_a_stale_picture_is_left_out_while_sound_goes_on():
    held = rolling()
    held.add_picture(1.0, picture())
    held.add_sound(1.0, voice(0.5))
    assert held.has_pictures and not held.sound_only and len(held.clip(with_sound=True).frames) == 1
    held.add_sound(1.5 + STALE, voice(0.5))
    clip = held.clip(with_sound=True)
    assert not held.has_pictures and held.sound_only and not len(clip.frames) and len(clip.wave) == (1 + STALE) * RATE
    held = rolling()
    held.add_sound(0.0, voice(STALE / 2))
    assert not held.sound_only  # the first picture may be on its way


def test_speech_is_a_voice_and_hum_and_noise_are_none(speech):
    held = rolling()
    assert held.voiced() is None
    held.add_sound(0.0, speech)
    assert held.voiced() > 0.5
    for other in (voice(2), np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)):
        held = rolling()
        held.add_sound(0.0, other)
        assert held.voiced() == 0

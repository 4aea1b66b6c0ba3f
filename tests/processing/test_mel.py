import functools

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from emotion_qwen.errors import DataError, SettingsError, ShapeError
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.processing.mel import FAINTEST_LEVEL, HOP, WINDOW, log_mel, loudest, mel_windows
from emotion_qwen.settings import HearingSettings


@functools.lru_cache(maxsize=4)
def whisper(mels: int) -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(feature_size=mels)


def speech_like(samples: int) -> np.ndarray:
    """A gliding tone that swells and fades, in faint noise, with a silent stretch in the middle."""
    time = np.arange(samples) / SAMPLE_RATE
    tone = 0.4 * np.sin(2 * np.pi * (200 * time + 300 * time**2)) * np.abs(np.sin(5 * time))
    wave = tone + 0.01 * np.random.default_rng(samples).standard_normal(samples)
    wave[samples // 3 : samples // 2] = 0
    return wave.astype(np.float32)


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("samples", [201, 320, 1599, 16000, 16001, 40123, 33 * SAMPLE_RATE])
def test_a_wave_of_any_length_is_as_in_whisper_without_padding(samples, mels):
    wave = speech_like(samples)
    theirs = whisper(mels)(wave, sampling_rate=16000, padding="longest", truncation=False)["input_features"][0]
    ours = log_mel(torch.from_numpy(wave), mels)
    assert ours.dtype == torch.float32 and ours.shape == theirs.shape == (mels, samples // HOP)
    assert np.abs(ours.numpy() - theirs).max() < 1e-5


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("samples", [1, 16000, 77777, WINDOW, WINDOW + 5000])
def test_a_padded_wave_is_as_in_whisper(samples, mels):
    wave = speech_like(samples)
    theirs = whisper(mels)(wave, sampling_rate=16000)["input_features"][0]
    ours = log_mel(torch.from_numpy(wave), mels, length=WINDOW)
    assert ours.shape == theirs.shape == (mels, 3000)
    assert np.abs(ours.numpy() - theirs).max() < 1e-5


def test_silence_is_as_in_whisper():
    theirs = whisper(80)(np.zeros(16000, np.float32), sampling_rate=16000)["input_features"][0]
    assert np.array_equal(log_mel(torch.zeros(16000), length=WINDOW).numpy(), theirs)


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 200])
def test_a_wave_too_short_for_whisper_gives_a_frame_for_each_10_ms(samples):
    features = log_mel(torch.from_numpy(speech_like(samples)))
    assert features.shape == (80, samples // 160) and bool(features.isfinite().all())


def test_a_wave_of_doubles_and_a_part_of_another_wave_are_taken():
    wave = torch.from_numpy(speech_like(16000))
    assert torch.equal(log_mel(wave.double()), log_mel(wave))
    assert torch.equal(log_mel(wave.repeat_interleave(2)[::2]), log_mel(wave))


@pytest.mark.parametrize("shape", [(), (2, 100)])
def test_only_one_channel_is_heard(shape):
    text = f"a wave of shape {shape}; expected (samples,), mix the channels to one first"
    with pytest.raises(ShapeError) as caught:
        log_mel(torch.zeros(shape))
    assert str(caught.value) == text


@pytest.mark.parametrize(("mels", "length"), [(0, None), (80, 0)])
def test_bands_and_length_must_be_positive(mels, length):
    with pytest.raises(SettingsError, match=f"mels {mels} and length {length}; expected both to be at least 1, raise"):
        log_mel(torch.zeros(400), mels, length)


def test_windows_follow_each_other_and_tell_how_much_of_them_is_sound():
    hearing = HearingSettings(mels=8, window_seconds=1.0)
    wave = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, 2 * SAMPLE_RATE + 161).astype(np.float32))
    mel, held = mel_windows(wave, hearing)
    assert mel.shape == (3, 8, 100) and held.tolist() == [100, 100, 2]
    assert torch.equal(mel[1], log_mel(wave[SAMPLE_RATE : 2 * SAMPLE_RATE], 8))
    assert torch.equal(mel[2], log_mel(wave[2 * SAMPLE_RATE :], 8, SAMPLE_RATE))
    assert mel_windows(wave[:1], hearing)[1].tolist() == [1]
    with pytest.raises(DataError, match="the sound has no samples; leave its audio part out"):
        mel_windows(wave[:0], hearing)


@pytest.mark.parametrize("gain", [-24.0, -12.0, 12.0])
def test_with_a_level_the_gain_of_a_recording_changes_nothing(gain):
    hearing = HearingSettings(mels=80, window_seconds=1.0, level=-15.0)
    wave = torch.from_numpy(speech_like(40000))
    mels, _ = mel_windows(wave, hearing)
    assert torch.allclose(mel_windows(wave * 10 ** (gain / 20), hearing)[0], mels, atol=1e-4)
    quieter = torch.cat([wave, wave / 10])  # its parts stay as loud beside each other
    assert torch.allclose(mel_windows(quieter, hearing)[0][:2], mels[:2], atol=1e-4)
    untouched, _ = mel_windows(wave, HearingSettings(mels=80, window_seconds=1.0))
    assert not torch.allclose(untouched, mels, atol=1e-2)


def test_silence_is_not_raised_to_speech():
    assert loudest(torch.zeros(1000)) == loudest(torch.full((4000,), 1e-6)) == FAINTEST_LEVEL
    assert loudest(torch.ones(10)) == pytest.approx(0.0, abs=1e-3)
    burst = torch.zeros(16000)
    burst[3200:4800] = 0.1
    assert loudest(burst) == pytest.approx(-20.0, abs=0.1)

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emotion_qwen.errors import MediaError
from emotion_qwen.media import voice_activity
from emotion_qwen.media.sound import SoundBytes, read_sound
from emotion_qwen.media.voice_activity import voice_spans

RATE = 16_000
SPEECH = ("speech_emodb", "speech_ravdess", "speech_more")


def recordings(folder: Path, name: str, count: int | None, seed: int = 0) -> list[np.ndarray]:
    """Waves of a table of emotional speech, drawn at random; all of them if `count` is None."""
    table = pytest.importorskip("pyarrow.parquet").read_table(folder / f"{name}.parquet", columns=["audio"])
    rows = np.random.default_rng(seed).permutation(table.num_rows)[:count]
    return [read_sound(SoundBytes(cell.as_py(), name)).wave for cell in table["audio"].take(rows)]


def coloured(rng: np.random.Generator, count: int, power: float) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** power
    return np.fft.irfft(spectrum, count)


def music(rng: np.random.Generator, seconds: int) -> np.ndarray:
    """Plucked notes and held chords with vibrato, of a major scale in three octaves."""
    scale = 261.63 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
    wave = np.zeros(seconds * RATE)
    time = np.arange(RATE) / RATE
    for beat in range(3 * (seconds - 1)):
        pitch = rng.choice(scale) * rng.choice([0.5, 1, 2])
        note = sum(np.sin(2 * np.pi * pitch * k * time) / k**1.5 for k in range(1, 8))
        start = beat * RATE // 3
        wave[start : start + RATE] += note * np.exp(-3 * time) * np.minimum(200 * time, 1)
    for bar in range(seconds):
        for pitch in rng.choice(scale, 3, replace=False) / 2:
            held = sum(np.sin(2 * np.pi * pitch * k * time + 0.05 * k * np.sin(31 * time)) / k for k in range(1, 9))
            wave[bar * RATE : (bar + 1) * RATE] += 0.3 * held * np.hanning(RATE) ** 0.3
    return wave


def voiceless(seed: int, seconds: int) -> dict[str, np.ndarray]:
    """Sounds without a voice, made by a seed, each with a mean square of 0.01."""
    rng = np.random.default_rng(seed)
    time = np.arange(seconds * RATE) / RATE
    sounds = {
        "white noise": rng.standard_normal(len(time)),
        "pink noise": coloured(rng, len(time), 0.5),
        "brown noise": coloured(rng, len(time), 1),
        "hum": sum(np.sin(2 * np.pi * 50 * k * time) / k for k in range(1, 12)),
        "siren": np.sin(2 * np.pi * np.cumsum(800 + 400 * np.sin(2 * np.pi * 0.3 * time)) / RATE),
        "clicks": (rng.random(len(time)) < 3e-4).astype(float),
        "music": music(rng, seconds),
    }
    return {name: (0.1 * wave / np.sqrt(np.mean(wave**2))).astype(np.float32) for name, wave in sounds.items()}


@pytest.mark.parametrize("name", SPEECH)
def test_speech_is_voice_at_any_level_and_offset(shared_data, name):
    for wave in recordings(shared_data, name, 4):
        spans = voice_spans(wave, RATE)
        assert sum(end - start for start, end in spans) > 0.5, spans
        assert spans[0][0] >= 0 and spans[-1][1] <= len(wave) / RATE
        assert np.allclose(voice_spans(wave * np.float32(0.01) + np.float32(0.3), RATE), spans, atol=0.033)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), zip(SPEECH, (1.0, 0.985, 0.995), strict=True))
def test_share_of_speech_recognised(shared_data, name, least):
    found = [bool(voice_spans(wave, RATE)) for wave in recordings(shared_data, name, None)]
    print(f"{name}: a voice in {np.mean(found):.2%} of {len(found)} recordings")
    assert np.mean(found) >= least


@pytest.mark.parametrize("name", sorted(voiceless(0, 2)))
def test_music_hum_and_noise_are_no_voice(name):
    wave = voiceless(3, 4)[name]
    assert voice_spans(wave, RATE) == []
    assert voice_spans(wave * np.float32(0.01), RATE) == []  # -60 dB of full scale


@pytest.mark.slow
def test_no_voice_in_hours_of_voiceless_sounds():
    for seed in range(20):
        for name, wave in voiceless(seed, 60).items():
            assert voice_spans(wave, RATE) == [], (seed, name)


@pytest.mark.parametrize("wave", [np.zeros(0), np.zeros(100), np.zeros(40_000), np.full(40_000, 0.4)])
def test_silence_is_no_voice(wave):
    assert voice_spans(wave.astype(np.float32), RATE) == []


def test_voice_stands_where_it_is(shared_data):
    wave = recordings(shared_data, "speech_emodb", 1)[0]
    silence = np.zeros(3 * RATE, np.float32)
    spans = voice_spans(np.concatenate([silence, wave, silence, wave, silence[:777]]), RATE)
    inside = [(3, 3 + len(wave) / RATE), (6 + len(wave) / RATE, 6 + 2 * len(wave) / RATE)]
    assert all(any(low - 0.1 <= start < end <= high + 0.1 for low, high in inside) for start, end in spans)
    assert all(sum(end - start for start, end in spans if low < end and start < high) > 0.5 for low, high in inside)


def test_blocks_do_not_change_the_answer(shared_data, monkeypatch):
    wave = np.concatenate(recordings(shared_data, "speech_ravdess", 2))
    whole = voice_activity._probabilities(wave, np.float32(0), np.float32(1))
    monkeypatch.setattr(voice_activity, "_BLOCK", 7)
    assert np.allclose(voice_activity._probabilities(wave, np.float32(0), np.float32(1)), whole, atol=1e-5)


FRAME = 0.032


@pytest.mark.parametrize(
    ("probabilities", "spans"),
    [
        ([0.4] * 20, []),  # never reaches the onset
        ([0.1] * 2 + [0.9] * 10 + [0.1] * 10, [(2 * FRAME - 0.03, 12 * FRAME + 0.03)]),
        ([0.9] * 10 + [0.4] * 10, [(0, 20 * FRAME)]),  # between release and onset a voice goes on
        ([0.9] * 5 + [0.1] * 3 + [0.9] * 5, [(0, 13 * FRAME)]),  # a pause of 0.096 s is none
        ([0.9] * 9 + [0.1] * 5 + [0.9] * 8, [(0, 9 * FRAME + 0.03), (14 * FRAME - 0.03, 22 * FRAME)]),
        ([0.1] * 5 + [0.9] * 7 + [0.1] * 9, []),  # 0.224 s are too short
        ([0.1] * 5 + [0.9] * 8 + [0.1] * 2, [(5 * FRAME - 0.03, 13 * FRAME + 0.03)]),
    ],
)
def test_frames_become_spans(probabilities, spans):
    found = voice_activity._spans(np.array(probabilities, np.float32), len(probabilities) * FRAME)
    assert np.allclose(found, spans, atol=1e-6) and len(found) == len(spans)


def test_other_rates_and_shapes_are_refused():
    with pytest.raises(MediaError, match="at 44100 Hz; expected"):
        voice_spans(np.zeros(44_100, np.float32), 44_100)
    with pytest.raises(MediaError, match="mono"):
        voice_spans(np.zeros((2, 16_000), np.float32), RATE)


def test_neither_torch_nor_the_package_is_imported():
    code = (
        "import sys, numpy as np\n"
        "from emotion_qwen.media.voice_activity import voice_spans\n"
        "voice_spans(np.sin(np.arange(16000, dtype=np.float32)), 16000)\n"
        "assert not {'torch', 'torchaudio', 'onnxruntime', 'silero_vad'} & set(sys.modules), sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

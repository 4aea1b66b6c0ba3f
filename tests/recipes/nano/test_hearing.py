"""The audio side learns voices that sound different, begins by passing bands on, and its measuring resumes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from emotion_qwen.data.voices import Voices
from emotion_qwen.model.configuration import EmotionQwenAudioConfig
from recipes.nano import hearing
from recipes.nano.hearing import (
    BandReader,
    HearingRun,
    VoiceStudent,
    band_statistics,
    hearing_settings,
    listen_plainly,
    renderings,
    share_right,
    train_hearing,
    vary_mels,
    write_page,
)

AUDIO = {
    "d_model": 24, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "num_mel_bins": 16,
    "max_source_positions": 20, "frames_per_token": 5,
}  # fmt: skip


def tones(seed: int = 0) -> Voices:
    """Build 24 voices of 0.4 s: low tones are sad, high ones glad."""
    rng, waves, labels = np.random.default_rng(seed), [], []
    for number in range(24):
        pitch = rng.uniform(150, 300) if number % 2 else rng.uniform(1500, 2500)
        waves.append((0.3 * np.sin(2 * np.pi * pitch * np.arange(6400) / 16000)).astype(np.float32))
        labels.append("sadness" if number % 2 else "happiness")
    ids = tuple(map(str, range(24)))
    return Voices("tones", tuple(waves), tuple(labels), tuple(n // 8 for n in range(24)), ids)


def test_it_learns_what_can_be_heard_and_new_voices_too():
    student = train_hearing(tones(), HearingRun(passes=8, batch_size=8), AUDIO)
    assert not student.training and share_right(student, tones(seed=1)) > 0.9


def test_the_same_seed_gives_the_same_weights():
    first, again, other = (train_hearing(tones(), HearingRun(passes=1, seed=seed), AUDIO) for seed in (0, 0, 1))
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_the_encoder_starts_by_passing_bands_on():
    torch.manual_seed(0)
    tower = VoiceStudent(EmotionQwenAudioConfig(**AUDIO), 32, 2).tower
    listen_plainly(tower, noise=0.0)
    mels = torch.rand(1, 16, 40)
    with torch.no_grad():
        passed = torch.nn.functional.gelu(tower.encoder.conv1(mels))[0, :16]
    assert np.corrcoef(passed.flatten(), mels.flatten())[0, 1] > 0.99


def test_band_statistics_count_frames_of_speech_alone():
    mels = torch.full((1, 4, 30), -1.0)
    mels[:, :, 10:20] = torch.tensor([0.5, 1.0, 0.0, 0.2])[None, :, None]
    told = band_statistics(mels)
    assert told.shape == (1, 21)
    assert told[0, :4].tolist() == pytest.approx([0.5, 1.0, 0.0, 0.2]) and told[0, 4:8].abs().max() < 1e-6
    assert told[0, -1].item() == pytest.approx(10 / 30)


def test_the_reader_of_bands_tells_low_from_high():
    voices = tones()
    mels = renderings(voices, hearing_settings(AUDIO))[:, 2]
    labels = torch.tensor([label == "sadness" for label in voices.labels]).long()
    assert bool((BandReader(mels, labels, strength=1.0)(mels).argmax(1) == labels).all())


def test_varied_mels_keep_their_shape_and_are_drawn_from_the_generator():
    mels = torch.rand(3, 16, 40)
    first, again = (vary_mels(mels, 0.7, torch.Generator().manual_seed(5)) for _ in range(2))
    assert first.shape == mels.shape and torch.equal(first, again) and not torch.equal(first, mels)


def test_speakers_are_left_out_one_by_one_and_a_second_run_does_nothing(tmp_path, monkeypatch):
    asked = []

    def fit(mels, labels, run, audio, classes):
        asked.append((len(labels), run.seed))
        return VoiceStudent(EmotionQwenAudioConfig(**AUDIO), 256, classes)

    monkeypatch.setattr(hearing, "NANO_HEARING", AUDIO)
    monkeypatch.setattr(hearing, "_fit", fit)
    monkeypatch.setattr(hearing, "read_voices", lambda path: tones())
    output = tmp_path / "speakers.jsonl"
    lines = hearing.leave_speakers_out(tmp_path / "x", output, seeds=2)
    assert asked == [(16, 0)] * 3 + [(16, 1)] * 3 and len(lines) == 6
    output.write_text("".join(json.dumps(line) + "\n" for line in lines[:4]))
    assert [line["speaker"] for line in hearing.leave_speakers_out(tmp_path / "x", output, seeds=2)] == [0, 1, 2] * 2
    assert asked[6:] == [(16, 1)] * 2
    write_page(lines, tmp_path)
    assert "| 0 | 8 |" in (tmp_path / "hearing.md").read_text()

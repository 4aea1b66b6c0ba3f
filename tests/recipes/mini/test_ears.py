"""The audio side of mini: speakers stay apart, drawn voices differ, features are those in use, figures are right."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from emotion_qwen.convert.hearing import hearing_settings
from emotion_qwen.model.audio import EmotionQwenAudioTower, group_statistics
from emotion_qwen.model.configuration import EmotionQwenAudioConfig
from emotion_qwen.processing.mel import mel_windows
from emotion_qwen.settings import HearingSettings
from recipes.mini import ears
from recipes.mini.ears import EarsRun, answers, cross_validate, lesson, speaker_interval, summaries, train_ears
from recipes.mini.ears_features import encode, features
from recipes.mini.ears_page import write_page
from recipes.mini.ears_shipping import EMBEDDING_NORM, finished_tower, other_lengths, other_levels, write_tower
from recipes.mini.ears_voices import LABELS, Voice, folds, labels_of, vary
from recipes.mini.ears_words import word_errors

RUN = EarsRun(passes=12, batch_size=16, dropout=0.1, mixed=0.0)
LOW, HIGH = ("sadness", "anger")


@pytest.fixture(scope="module")
def voices() -> list[Voice]:
    """Build 48 voices of 0.5 s in two corpora of four speakers: low tones are sad, high ones angry."""
    random, made = np.random.default_rng(0), []
    for number in range(48):
        corpus = ("EmoDB", "nEMO")[number % 2]
        label = (LOW, HIGH)[number // 2 % 2]
        pitch = random.uniform(150, 250) if label == LOW else random.uniform(1500, 2500)
        wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(8000) / 16000) + random.normal(0, 0.01, 8000)
        split = "train" if number < 36 else "validation"
        made.append(Voice(str(number), corpus, label, f"{corpus} {number // 12}", split, wave.astype(np.float16)))
    return made


@pytest.fixture(scope="module")
def tower() -> tuple[EmotionQwenAudioTower, HearingSettings]:
    torch.manual_seed(0)
    config = EmotionQwenAudioConfig(
        d_model=16, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=16, num_mel_bins=16,
        max_source_positions=20, frames_per_token=5, group_features="statistics",
    )  # fmt: skip
    tower = EmotionQwenAudioTower(config, ears.WIDTH).eval()
    with torch.no_grad():  # drawn as usual, the sound would be lost beside the positions
        for layer in (tower.encoder.conv1, tower.encoder.conv2):
            layer.weight.mul_(10)
    return tower, HearingSettings.of(hearing_settings(config), "hearing")


@pytest.fixture(scope="module")
def material(voices, tower, tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    return lesson(voices, [features(folder, rendering, voices, *tower) for rendering in range(2)], 5)


@pytest.fixture(scope="module")
def student(material, tower):
    return train_ears(material, np.arange(36), tower[0].config, RUN)


def test_no_speaker_is_in_two_folds_and_every_fold_is_used(voices):
    numbers = folds(voices, 4)
    speakers = np.array([voice.speaker for voice in voices])
    assert all(len(set(numbers[speakers == name])) == 1 for name in speakers) and set(numbers) == set(range(4))


@torch.no_grad()
def test_frames_are_those_of_the_tower_in_use_silence_behind_the_sound_included(voices, tower):
    audio, hearing = tower
    wave = voices[0].wave.astype(np.float32)  # 0.5 s: a window of 0.4 s and a quarter of the next
    mel, lengths = mel_windows(torch.from_numpy(wave), hearing)
    used = audio(mel, lengths)
    frames = torch.from_numpy(encode(audio, hearing, [wave])[0]).float()
    tokens = audio.compressor.mlp(audio.compressor.norm(group_statistics(frames.view(-1, 5, 16))))
    assert torch.allclose(tokens, torch.cat(used.pooler_output), atol=2e-3) and len(tokens) == 5


def test_a_rendering_is_computed_once_and_drawn_ones_differ(voices, tower, tmp_path, monkeypatch):
    first = features(tmp_path, 0, voices, *tower)
    drawn = features(tmp_path, 1, voices, *tower)
    assert len(first.starts) == len(voices) + 1 and not np.array_equal(drawn.starts, first.starts)
    monkeypatch.setattr("recipes.mini.ears_features.encode", None)
    assert np.array_equal(features(tmp_path, 1, voices, *tower).frames, drawn.frames)
    (tmp_path / "frames_1.npy").rename(tmp_path / "frames_1.partial.npy")  # as a stop leaves it
    with pytest.raises(TypeError):
        features(tmp_path, 1, voices, *tower)


def test_drawn_voices_change_in_length_level_and_sound(voices):
    random = np.random.default_rng(3)
    drawn = [vary(np.tile(voices[0].wave, 6), voices, random) for _ in range(20)]
    levels = [20 * np.log10(np.sqrt(np.mean(wave**2))) for wave in drawn]
    assert all(wave.dtype == np.float32 and np.isfinite(wave).all() for wave in drawn)
    assert max(levels) - min(levels) > 20 and len({len(wave) for wave in drawn}) > 5
    assert 1.2 * 16000 - 1 <= min(len(wave) for wave in drawn) < max(len(wave) for wave in drawn) == 32000


def test_it_learns_and_names_only_labels_of_the_corpus(voices, material, student):
    pooled, read = answers(student, material, np.arange(36, 48))
    truth = material.labels[36:].numpy()
    assert (pooled == truth).mean() > 0.9 and (read == truth).mean() > 0.9
    assert {LABELS[number] for number in (*pooled, *read)} <= set(labels_of(voices)["EmoDB"]) == {LOW, HIGH}


def test_the_same_seed_gives_the_same_weights(material, tower):
    runs = (EarsRun(passes=1, batch_size=32, seed=seed) for seed in (0, 0, 1))
    first, again, other = (train_ears(material, np.arange(36), tower[0].config, run) for run in runs)
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_validation_goes_on_where_it_stopped_and_counts_every_voice_once(
    material, tower, voices, tmp_path, monkeypatch
):
    monkeypatch.setattr(ears, "FOLDS", 2)
    run = EarsRun(passes=1, batch_size=16)
    output = tmp_path / "lines.jsonl"
    lines = cross_validate(material, folds(voices, 2), tower[0].config, run, output)
    assert [line["left_out"] for line in lines] == ["0", "1", "nEMO"]
    assert sorted(row for line in lines[:2] for row in line["rows"]) == list(range(48))
    output.write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    calls = []
    monkeypatch.setattr(ears, "train_ears", lambda *given: calls.append(given) or train_ears(*given))
    assert cross_validate(material, folds(voices, 2), tower[0].config, run, output) == lines and len(calls) == 1
    assert set(material.corpora[calls[0][1]]) == {"EmoDB"}  # the language left out trains nothing
    figures = summaries(material, lines, "pooled")
    assert {name: part["voices"] for name, part in figures.items()} == {"EmoDB": 24, "nEMO": 24, "nEMO withheld": 24}


def test_an_interval_is_wider_where_speakers_differ():
    speakers = np.repeat(np.array(["a", "b", "c", "d"]), 50)
    same = np.tile([True, False], 100)
    low, high = speaker_interval(same, speakers)
    assert low == high == 0.5
    low, high = speaker_interval(np.repeat([True, True, False, False], 50), speakers)
    assert low < 0.1 and high > 0.9


def test_the_shipped_tower_names_what_its_student_names_and_makes_tokens_as_long_as_words(
    voices, material, tower, student, tmp_path
):
    audio, hearing = tower
    finished = EmotionQwenAudioTower(audio.config, ears.WIDTH).eval()
    finished.encoder.load_state_dict(audio.encoder.state_dict())
    factor = finished_tower(finished, student, material)
    with torch.no_grad():
        tokens = finished.compressor.mlp(finished.compressor.norm(torch.cat(material.groups[0])))
    assert float(tokens.norm(dim=-1).mean()) == pytest.approx(EMBEDDING_NORM, rel=1e-3)
    write_tower(tmp_path, finished, hearing, student, {"token_factor": factor})
    description = json.loads((tmp_path / "tower.json").read_text())
    other = EmotionQwenAudioTower(EmotionQwenAudioConfig(**description["audio_config"]), ears.WIDTH)
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert description["hearing_settings"] == hearing.model_dump()
    levels = other_levels(student, finished, hearing, voices[36:])
    assert levels["voices"] == 60 and levels["right"] > 54 and levels["changed"].keys() == levels["right_after"].keys()
    assert other_lengths(student, finished, hearing, voices[36:])["whole"] > 90


def test_words_are_counted_after_normalising():
    assert word_errors("Kids are talking by the door.", " kids ARE talking, by the door") == (0, 6)
    assert word_errors("Dogs are sitting by the door", "Dogs sitting by a door now") == (3, 6)


def test_the_page_shows_every_figure(tmp_path):
    part = {
        "voices": 408, "speakers": 8, "accuracy": 86.1, "interval": [80.2, 90.3], "unweighted": 85.0,
        "recall": {"anger": 91.5},
    }  # fmt: skip
    figures = {
        "tower": {"layers": 2, "seconds": 4.0, "tokens_per_second": 2.5},
        "folds": 8,
        "cross_validated": {"pooled": {"EmoDB": part}, "read": {"EmoDB": {**part, "accuracy": 77.7}}},
        "shipped": {"pooled": {"EmoDB": part}, "read": {"EmoDB": part}},
        "levels": {"voices": 60, "right": 50, "changed": {"-12 dB": 3}, "right_after": {"-12 dB": 49}},
        "lengths": {"whole": 80.0},
        "windows": [{"seconds": 4.0, "EmoDB": 81.2, "RAVDESS": 70.3, "for 2 s": 1.7, "for 30 s": 13.0}],
        "words": {
            "recogniser": "faster-whisper 1.2.1", "clips": 120, "words": 720, "word_error_rate": 9.9,
            "interval": [7.0, 12.0], "clips_without_error": 70.0, "by_label": {"anger": 12.3},
        },
    }  # fmt: skip
    write_page(figures, tmp_path)
    text = (tmp_path / "ears.md").read_text()
    for number in ("86.1 (80.2–90.3)", "77.7", "91.5", "3 at -12 dB", "49 at -12 dB", "81.2", "9.9 %", "12.3", "80.0"):
        assert number in text
    assert json.loads((tmp_path / "ears.json").read_text()) == figures

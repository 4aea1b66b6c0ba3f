"""The frozen encoder's output for every voice, stored in files, so that the compressor can be trained in minutes.

There is a file per rendering: rendering 0 is the unchanged voice, the others are random (`ears_voices.vary`). Every
file is complete before it gets its name, so that interrupted work can be continued.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from emotion_qwen.convert.ctranslate2 import read_ctranslate2
from emotion_qwen.convert.hearing import hearing_settings
from emotion_qwen.convert.whisper import EncoderCut, audio_config
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.model.audio import EmotionQwenAudioTower, audio_token_counts
from emotion_qwen.model.configuration import EmotionQwenAudioConfig
from emotion_qwen.processing.mel import mel_windows
from emotion_qwen.settings import HearingSettings
from recipes.mini.ears_voices import TRAINING, Voice, vary

BATCH = 16  # windows
LEVEL = -15.0
"""Decibels of full scale of the loudest tenth of a second: RAVDESS is recorded 20 dB fainter than EmoDB, and a
compressor would learn that."""


@dataclass(frozen=True)
class Features:
    """Encoder frames of voices, one after another.

    Attributes:
        frames: (F, width) float16; each voice has a whole number of groups, the last one filled with the encoder's
            frames of silence, as in use.
        starts: (N + 1,) first frame of each voice, and the end of the last one.
    """

    frames: np.ndarray
    starts: np.ndarray

    def voice(self, number: int) -> np.ndarray:
        """Return (F, width) frames of one voice."""
        return self.frames[self.starts[number] : self.starts[number + 1]]


def read_encoder(whisper: Path, cut: EncoderCut, out_hidden_size: int) -> tuple[EmotionQwenAudioTower, HearingSettings]:
    """Read an audio tower whose encoder is Whisper's and whose compressor is new.

    Args:
        whisper: folder in CTranslate2's format.
        cut: how much of the encoder is taken.
        out_hidden_size: width of the language model.
    """
    values, stored = read_ctranslate2(whisper)
    config: EmotionQwenAudioConfig = audio_config(values, cut, str(whisper))
    tower = EmotionQwenAudioTower(config, out_hidden_size).eval()
    tower.encoder.load_state_dict(encoder_weights(tower.encoder, stored))
    return tower, HearingSettings.of({**hearing_settings(config), "level": LEVEL}, "hearing_settings")


def encoder_weights(encoder: WhisperEncoder, stored: dict) -> dict[str, torch.Tensor]:
    """Return the stored weights of an encoder in fp32, positions cut to its window."""
    weights = {name: stored["model.encoder." + name].read().float() for name in encoder.state_dict()}
    place = "embed_positions.weight"
    return {**weights, place: weights[place][: encoder.config.max_source_positions]}


@torch.no_grad()
def encode(tower: EmotionQwenAudioTower, hearing: HearingSettings, waves: list[np.ndarray]) -> list[np.ndarray]:
    """Return for each (S,) wave its (F, width) float16 encoder frames, a whole number of groups per window."""
    windows = [mel_windows(torch.from_numpy(np.ascontiguousarray(wave, np.float32)), hearing) for wave in waves]
    mels = torch.cat([mel for mel, _ in windows])
    frames = torch.cat([tower.encoder(part).last_hidden_state.half() for part in mels.split(BATCH)])
    group = hearing.frames_per_token
    out, first = [], 0
    for _, lengths in windows:
        counts = (audio_token_counts(lengths, group) * group).tolist()
        out.append(torch.cat([frames[first + row, :count] for row, count in enumerate(counts)]).numpy())
        first += len(counts)
    return out


def features(
    folder: Path, rendering: int, voices: list[Voice], tower: EmotionQwenAudioTower, hearing: HearingSettings
) -> Features:
    """Read a rendering's frames from its file, or compute and keep them; drawn are only corpora that train."""
    path = folder / f"frames_{rendering}.npy"
    starts = folder / f"starts_{rendering}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        parts: list[np.ndarray] = []
        for first in track(range(0, len(voices), BATCH), f"rendering {rendering}"):
            batch = voices[first : first + BATCH]
            waves = [
                vary(voice.wave, voices, np.random.default_rng((rendering, first + place))) if rendering else voice.wave
                for place, voice in enumerate(batch)
                if not rendering or voice.corpus in TRAINING
            ]
            encoded = iter(encode(tower, hearing, waves)) if waves else iter(())
            nothing = np.zeros((0, tower.config.d_model), np.float16)
            parts += [next(encoded) if not rendering or v.corpus in TRAINING else nothing for v in batch]
        np.save(starts, np.cumsum([0, *(len(part) for part in parts)]))
        partial = path.with_suffix(".partial.npy")
        np.save(partial, np.concatenate(parts))
        partial.rename(path)
    return Features(np.load(path, mmap_mode="r"), np.load(starts))


def seconds(voices: list[Voice]) -> float:
    """Return the length of voices together."""
    return sum(len(voice.wave) for voice in voices) / SAMPLE_RATE

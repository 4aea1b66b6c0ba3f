"""The audio side that mini uses, and its answers when the level or length of a recording changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.model.audio import EmotionQwenAudioTower, group_statistics
from emotion_qwen.settings import HearingSettings
from recipes.mini.ears import EarsStudent, Lesson, best_labels
from recipes.mini.ears_features import encode
from recipes.mini.ears_voices import LABELS, Voice, labels_of

EMBEDDING_NORM = 3.2
"""Mean length of the rows of SmolLM2-135M-Instruct's embedding: audio tokens start with the length of words."""
GAINS = (-24, -12, -6, 6, 12)  # dB
TRIED = 60  # voices whose level is changed


@torch.no_grad()
def finished_tower(tower: EmotionQwenAudioTower, student: EarsStudent, material: Lesson) -> float:
    """Put the student's compressor into a tower, with tokens of the length of words.

    Args:
        tower: its encoder is already there.
        student: trained.
        material: voices whose tokens are measured.

    Returns:
        The factor by which the last layer was multiplied.
    """
    tower.compressor.load_state_dict(student.compressor.state_dict())
    compressor = tower.compressor
    groups = torch.cat(material.groups[0])
    factor = EMBEDDING_NORM / float(compressor.mlp(compressor.norm(groups)).norm(dim=-1).mean())
    for name in ("weight", "bias"):
        compressor.mlp[2].get_parameter(name).mul_(factor)
    return factor


def write_tower(
    folder: Path, tower: EmotionQwenAudioTower, hearing: HearingSettings, student: EarsStudent, facts: dict[str, Any]
) -> None:
    """Write weights, configuration and hearing settings of an audio tower, and the heads with which it was trained."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in tower.state_dict().items()}, folder / "model.safetensors")
    heads = {name: value for name, value in student.state_dict().items() if not name.startswith("compressor.")}
    save_file(heads, folder / "heads.safetensors")
    description = {"audio_config": tower.config.to_dict(), "hearing_settings": hearing.model_dump(), **facts}
    (folder / "tower.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def name_waves(
    student: EarsStudent,
    tower: EmotionQwenAudioTower,
    hearing: HearingSettings,
    waves: list[np.ndarray],
    corpora: list[str],
    have: dict[str, tuple[str, ...]],
) -> np.ndarray:
    """Return the label numbers (N,) that the pooling head names for waves, each among the labels its corpus has."""
    named = []
    for frames, corpus in zip(encode(tower, hearing, waves), corpora, strict=True):
        groups = group_statistics(
            torch.from_numpy(frames.astype(np.float32)).view(-1, hearing.frames_per_token, frames.shape[1])
        )
        logits, _ = student(groups[None], torch.ones(1, len(groups), dtype=torch.bool))
        allowed = torch.tensor([[label in have[corpus] for label in LABELS]])
        named.append(int(best_labels(logits, [corpus], allowed)))
    return np.array(named)


def other_levels(
    student: EarsStudent, tower: EmotionQwenAudioTower, hearing: HearingSettings, voices: list[Voice]
) -> dict[str, Any]:
    """Count how many of `TRIED` voices get a different label when their level is changed, and how many are right."""
    places = np.linspace(0, len(voices) - 1, TRIED).round().astype(int)
    tried, have = [voices[place] for place in places], labels_of(voices)
    corpora = [voice.corpus for voice in tried]
    truth = np.array([LABELS.index(voice.label) for voice in tried])
    waves = [voice.wave.astype(np.float32) for voice in tried]
    usual = name_waves(student, tower, hearing, waves, corpora, have)
    out: dict[str, Any] = {"voices": len(tried), "right": int((usual == truth).sum()), "changed": {}, "right_after": {}}
    for gain in GAINS:
        named = name_waves(student, tower, hearing, [wave * 10 ** (gain / 20) for wave in waves], corpora, have)
        out["changed"][f"{gain:+d} dB"] = int((named != usual).sum())
        out["right_after"][f"{gain:+d} dB"] = int((named == truth).sum())
    return out


def other_lengths(
    student: EarsStudent, tower: EmotionQwenAudioTower, hearing: HearingSettings, voices: list[Voice]
) -> dict[str, Any]:
    """Compare whole voices with their middle 1.5 s, and with the same voice repeated three times."""
    corpora, have = [voice.corpus for voice in voices], labels_of(voices)
    truth = np.array([LABELS.index(voice.label) for voice in voices])
    waves = [voice.wave.astype(np.float32) for voice in voices]
    part = round(1.5 * SAMPLE_RATE)
    middles = [wave[max(0, (len(wave) - part) // 2) :][:part] for wave in waves]
    kinds = {"whole": waves, "middle 1.5 s": middles, "three times": [np.tile(wave, 3) for wave in waves]}
    return {
        kind: round(100 * float((name_waves(student, tower, hearing, sounds, corpora, have) == truth).mean()), 1)
        for kind, sounds in kinds.items()
    }

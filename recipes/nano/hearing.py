"""Train the audio encoder alone, from random weights, on a few hundred voices.

With so few voices, a network learns to recognise speakers rather than emotions. Three measures help. The encoder is
initialised to pass on the bands of the spectrogram and their changes, instead of noise (`listen_plainly`). A linear
classifier of band statistics, which generalises well from few data, is fitted first and serves as teacher for every
augmented voice, like the teacher of the vision transformer (Touvron et al. 2021, DeiT). Voices are augmented by speed,
shift, level, masks, and mixing of two voices (Zhang et al. 2018, mixup).

Generalisation to new speakers is measured by leaving out one speaker at a time:

python -m recipes.nano.hearing --data DATA --runs RUNS --results docs/results
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import nn

from emotion_qwen.console import run_command
from emotion_qwen.data.voices import Voices, read_voices
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.model.audio import EmotionQwenAudioTower
from emotion_qwen.model.configuration import ENCODER_FRAME_SECONDS, EmotionQwenAudioConfig
from emotion_qwen.model.presets import NANO_HEARING, preset
from emotion_qwen.processing.mel import log_mel
from emotion_qwen.settings import HearingSettings
from emotion_qwen.training.optimizer import MuonWithAdamW, split_parameters
from emotion_qwen.training.plan import native_dtype

VOICES = "speech_emodb.parquet"
SPEEDS = (0.88, 0.94, 1.0, 1.06, 1.12)
LOUD = 1.0
"""Maximum distance of a speech frame's loudest band from the loudest of all: 40 dB."""


@dataclass(frozen=True)
class HearingRun:
    """Settings of one training of the audio encoder.

    Attributes:
        passes: number of passes over the voices.
        learning_rate: maximum, followed by cosine decay.
        batch_size: number of voices per step.
        follow: share of the teacher's prediction in the targets.
        mixed: parameter of the Beta distribution for mixing two voices; 0 disables mixing.
        strength: strength of masks, noise and level, 0 to 1.
        weight_decay: weight decay of matrices.
        seed: seed of all random draws.
    """

    passes: int = 20
    learning_rate: float = 4e-3
    batch_size: int = 32
    follow: float = 0.7
    mixed: float = 0.3
    strength: float = 0.7
    weight_decay: float = 0.05
    seed: int = 0


def hearing_settings(audio: dict[str, Any]) -> HearingSettings:
    """Return the settings for preparing sound for an audio configuration."""
    return HearingSettings(
        mels=audio["num_mel_bins"],
        window_seconds=audio["max_source_positions"] * ENCODER_FRAME_SECONDS,
        frames_per_token=audio["frames_per_token"],
    )


class VoiceStudent(nn.Module):
    """The audio tower with a temporary head that predicts an emotion from the mean of its tokens."""

    def __init__(self, config: EmotionQwenAudioConfig, width: int, classes: int) -> None:
        super().__init__()
        self.tower = EmotionQwenAudioTower(config, width)
        self.norm, self.drop, self.head = nn.LayerNorm(width), nn.Dropout(0.3), nn.Linear(width, classes)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        """Return logits (B, classes) for one window each, (B, mels, frames)."""
        with torch.autocast(mels.device.type, torch.bfloat16, enabled=native_dtype() == torch.bfloat16):
            tokens = self.tower.compressor(self.tower.encoder(mels).last_hidden_state)
        return self.head(self.drop(self.norm(tokens.float().mean(1))))


@torch.no_grad()
def listen_plainly(tower: EmotionQwenAudioTower, loudness: float = 2.0, noise: float = 0.1) -> None:
    """Initialise the encoder to pass on the bands of the spectrogram and their changes; all of it stays trainable.

    The first channels copy one band each, shifted to where GELU is nearly linear; the others hold the change over time
    of groups of bands. The compressor starts with the mean of its frames.

    Args:
        tower: audio tower with at least as many channels as bands.
        loudness: scale of the copies; it must not be small, because positions are added to them.
        noise: share of the usual random initialisation that is kept.
    """
    first, second, compressor = tower.encoder.conv1, tower.encoder.conv2, tower.compressor
    width, bands, _ = first.weight.shape
    for layer in (first, second):
        layer.weight.mul_(noise)
        layer.bias.zero_()
    places = torch.arange(bands)
    first.weight[places, places, 1] += 1.0
    first.bias[:bands] = 2.0
    for extra in range(width - bands):
        group = slice(extra * bands // (width - bands), (extra + 1) * bands // (width - bands))
        first.weight[bands + extra, group, 0] -= 3.0 / (group.stop - group.start)
        first.weight[bands + extra, group, 2] += 3.0 / (group.stop - group.start)
    every = torch.arange(width)
    second.weight[every, every] += loudness * torch.tensor([0.25, 0.5, 0.25])
    joined = compressor.mlp[0].get_parameter("weight")
    out, frames = joined.shape[0], compressor.group
    alike = torch.randn(out, 1, width) / math.sqrt(width) / frames
    joined.copy_((alike.expand(out, frames, width) + noise * joined.view(out, frames, width)).reshape(out, -1))


class BandReader:
    """The teacher: a linear classifier of band statistics, by regularised logistic regression.

    Args:
        mels: (N, mels, frames).
        labels: (N,) class numbers.
        strength: inverse of the regularisation.
    """

    def __init__(self, mels: torch.Tensor, labels: torch.Tensor, strength: float = 0.006) -> None:
        from sklearn.linear_model import LogisticRegression

        features = band_statistics(mels)
        self.mean, self.spread = features.mean(0), features.std(0) + 1e-6
        fitted = LogisticRegression(C=strength, max_iter=300).fit(self._scaled(features).numpy(), labels.numpy())
        weight, bias = torch.from_numpy(fitted.coef_).float(), torch.from_numpy(fitted.intercept_).float()
        # For two classes, scikit-learn stores only the difference.
        self.weight = torch.cat([-weight, weight]) / 2 if len(weight) == 1 else weight
        self.bias = torch.cat([-bias, bias]) / 2 if len(bias) == 1 else bias

    def _scaled(self, statistics: torch.Tensor) -> torch.Tensor:
        return (statistics - self.mean) / self.spread

    def __call__(self, mels: torch.Tensor) -> torch.Tensor:
        """Return logits (B, classes)."""
        return self._scaled(band_statistics(mels)) @ self.weight.T + self.bias


def band_statistics(mels: torch.Tensor) -> torch.Tensor:
    """Return (B, 5 mels + 1): mean, spread, lowest and highest decile and mean change of each band, and the share of
    speech.

    Only speech frames count, which are not much fainter than the loudest frame.
    """
    loudest = mels.amax(1)
    speech = loudest > loudest.amax(1, keepdim=True) - LOUD
    counted, length = speech[:, None].float(), speech.sum(1)[:, None, None].clamp(min=1)
    mean = (mels * counted).sum(2, keepdim=True) / length
    spread = (((mels - mean).square() * counted).sum(2, keepdim=True) / length).sqrt()
    only = torch.where(speech[:, None], mels, torch.nan)
    low, high = torch.nanquantile(only, torch.tensor([0.1, 0.9]), dim=2)
    both = (speech[:, 1:] & speech[:, :-1])[:, None].float()
    change = (mels.diff(dim=2).abs() * both).sum(2) / both.sum(2).clamp(min=1)
    return torch.cat([mean[..., 0], spread[..., 0], low, high, change, speech.float().mean(1, keepdim=True)], 1)


def renderings(voices: Voices, settings: HearingSettings) -> torch.Tensor:
    """Return (N, speeds, mels, frames) log-mel of every voice at every speed, each one window long."""
    length = round(settings.window_seconds * SAMPLE_RATE)
    return torch.stack([torch.stack([_at_speed(w, s, settings.mels, length) for s in SPEEDS]) for w in voices.waves])


def _at_speed(wave: np.ndarray, speed: float, mels: int, length: int) -> torch.Tensor:
    places = np.arange(int(len(wave) / speed)) * speed
    return log_mel(torch.from_numpy(np.interp(places, np.arange(len(wave)), wave).astype(np.float32)), mels, length)


def vary_mels(mels: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Draw random variants of (B, mels, frames): shifted in time, with masked bands and times, noise and level."""
    batch, bands, frames = mels.shape

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    shift = ((draw(batch, 1, 1) * 2 - 1) * 0.15 * frames).round().long()
    place = torch.arange(frames) - shift
    moved = mels.gather(2, place.clamp(0, frames - 1).expand(batch, bands, frames))
    varied = torch.where((place >= 0) & (place < frames), moved, mels.amin((1, 2), keepdim=True))
    mean = varied.mean((1, 2), keepdim=True)
    for size, axis in ((bands, torch.arange(bands)[:, None]), (frames, torch.arange(frames)[None])):
        width = draw(batch, 1, 1) * 0.1 * strength * size
        start = draw(batch, 1, 1) * (size - width)
        varied = torch.where((axis >= start) & (axis < start + width), mean, varied)
    noise = 0.03 * torch.randn(varied.shape, generator=generator) + 0.1 * torch.randn(batch, 1, 1, generator=generator)
    tilt = 0.05 * torch.randn(batch, 1, 1, generator=generator) * torch.linspace(-1, 1, bands)[:, None]
    return varied + strength * (noise + tilt)


def train_hearing(voices: Voices, run: HearingRun, audio: dict[str, Any] | None = None) -> VoiceStudent:
    """Train an audio tower on labelled voices.

    Args:
        voices: training voices.
        run: settings of the training.
        audio: configuration of the audio tower; None is nano's.

    Returns:
        The trained student, in evaluation mode; its classes are the sorted labels.
    """
    audio = NANO_HEARING if audio is None else audio
    settings, classes = hearing_settings(audio), sorted(set(voices.labels))
    labels = torch.tensor([classes.index(label) for label in voices.labels])
    return _fit(renderings(voices, settings), labels, run, audio, len(classes)).eval()


def _fit(
    mels: torch.Tensor, labels: torch.Tensor, run: HearingRun, audio: dict[str, Any], classes: int
) -> VoiceStudent:
    torch.manual_seed(run.seed)
    generator = torch.Generator().manual_seed(run.seed)
    config = EmotionQwenAudioConfig(**audio)
    config._attn_implementation = "eager"
    student = VoiceStudent(config, preset("nano").text_config.hidden_size, classes)
    listen_plainly(student.tower)
    draws = [vary_mels(_drawn(mels, generator), run.strength / 2, generator) for _ in range(4)]
    teacher = BandReader(torch.cat([*draws, mels[:, len(SPEEDS) // 2]]), labels.repeat(5))
    optimizer = MuonWithAdamW(split_parameters(student, {}, run.learning_rate, run.weight_decay))
    steps = run.passes * math.ceil(len(labels) / run.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    for _ in range(run.passes):
        order = torch.randperm(len(labels), generator=generator)
        for rows in order.split(run.batch_size):
            heard = vary_mels(_drawn(mels[rows], generator), run.strength, generator)
            targets = F.one_hot(labels[rows], classes) * 0.95 + 0.05 / classes
            heard, targets = _mix(heard, targets, run.mixed, generator)
            targets = (1 - run.follow) * targets + run.follow * teacher(heard).softmax(-1)
            loss = -(targets * F.log_softmax(student(heard), -1)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return student


def _rate(done: float) -> float:
    return min(1.0, done / 0.1) * 0.5 * (1 + math.cos(math.pi * done))


def _drawn(mels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw one speed of each voice: (B, speeds, mels, frames) to (B, mels, frames)."""
    return mels[torch.arange(len(mels)), torch.randint(mels.shape[1], (len(mels),), generator=generator)]


def _mix(
    heard: torch.Tensor, targets: torch.Tensor, mixed: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix every voice of a batch with another one, and their targets in the same way."""
    if not mixed:
        return heard, targets
    seed = int(torch.randint(2**31, (1,), generator=generator))
    share = float(np.random.default_rng(seed).beta(mixed, mixed))
    other = torch.randperm(len(heard), generator=generator)
    return share * heard + (1 - share) * heard[other], share * targets + (1 - share) * targets[other]


@torch.no_grad()
def share_right(student: VoiceStudent, voices: Voices) -> float:
    """Return the share of voices whose emotion the student predicts; both must have the same labels."""
    settings, classes = hearing_settings(student.tower.config.to_dict()), sorted(set(voices.labels))
    mels = renderings(voices, settings)[:, len(SPEEDS) // 2]
    labels = torch.tensor([classes.index(label) for label in voices.labels])
    return float((student(mels).argmax(-1) == labels).float().mean())


def leave_speakers_out(path: Path, output: Path, seeds: int, console: Console | None = None) -> list[dict[str, Any]]:
    """Train once per speaker and seed on all other speakers, and write one line for each, so that runs can be resumed.

    Args:
        path: voice file.
        output: file of the lines; finished trainings are not repeated.
        seeds: number of trainings per speaker.

    Returns:
        The lines: speaker, seed, voices of the speaker, accuracy in percent.
    """
    voices, settings = read_voices(path), hearing_settings(NANO_HEARING)
    mels, classes = renderings(voices, settings), sorted(set(voices.labels))
    labels, speakers = torch.tensor([classes.index(label) for label in voices.labels]), np.array(voices.speakers)
    lines = [json.loads(line) for line in output.read_text().splitlines()] if output.is_file() else []
    known = {(line["speaker"], line["seed"]) for line in lines if line["run"] == asdict(HearingRun())}
    lines = [line for line in lines if line["run"] == asdict(HearingRun())]
    jobs = [(speaker, seed) for seed in range(seeds) for speaker in sorted(set(speakers.tolist()))]
    waiting = [job for job in jobs if job not in known]
    for speaker, seed in track(waiting, "speakers left out", console=console or Console(stderr=True)):
        rest, test = torch.from_numpy(speakers != speaker), torch.from_numpy(speakers == speaker)
        student = _fit(mels[rest], labels[rest], HearingRun(seed=seed), NANO_HEARING, len(classes)).eval()
        with torch.no_grad():
            right = (student(mels[test, len(SPEEDS) // 2]).argmax(-1) == labels[test]).float().mean()
        lines.append(
            {"speaker": speaker, "seed": seed, "voices": int(test.sum()), "right": round(float(right) * 100, 2),
             "run": asdict(HearingRun())}
        )  # fmt: skip
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return lines


def write_page(lines: list[dict[str, Any]], folder: Path) -> None:
    """Write `hearing.md`: one row per speaker, one column per seed, and the means."""
    seeds, speakers = sorted({line["seed"] for line in lines}), sorted({line["speaker"] for line in lines})
    right = {(line["speaker"], line["seed"]): line for line in lines}
    table = [
        "# Accuracy of the audio encoder alone",
        "",
        "EmoDB, seven emotions, accuracy in percent on a speaker who does not occur in training: one training per "
        "speaker and seed, made by `python -m recipes.nano.hearing`. Chance is 14.3 %.",
        "",
        f"| speaker | voices | {' | '.join(f'seed {seed}' for seed in seeds)} |",
        f"|---|---|{'---|' * len(seeds)}",
    ]
    for speaker in speakers:
        accuracies = [right[speaker, seed] for seed in seeds]
        table.append(
            f"| {speaker} | {accuracies[0]['voices']} | {' | '.join(str(line['right']) for line in accuracies)} |"
        )
    means = [float(np.mean([right[speaker, seed]["right"] for speaker in speakers])) for seed in seeds]
    table += [f"| mean | | {' | '.join(f'{mean:.1f}' for mean in means)} |", ""]
    table.append(f"Mean over speakers and seeds: {np.mean(means):.1f} % (seeds {min(means):.1f} to {max(means):.1f}).")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hearing.md").write_text("\n".join(table) + "\n", encoding="utf-8")


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="folder of the Parquet files")
@click.option("--runs", type=click.Path(path_type=Path), required=True, help="folder of logs, for resuming")
@click.option("--results", type=click.Path(path_type=Path), required=True, help="folder of the page")
@click.option("--seeds", default=3, show_default=True, help="number of trainings per speaker")
def hearing(data: Path, runs: Path, results: Path, seeds: int) -> None:
    """Measure the audio encoder alone on held-out speakers."""
    write_page(leave_speakers_out(data / VOICES, runs / "hearing" / "speakers.jsonl", seeds), results)


if __name__ == "__main__":
    sys.exit(run_command(hearing))

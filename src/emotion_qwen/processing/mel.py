"""Wave to log-mel spectrogram, equal to the output of Whisper's feature extractor in `transformers`.

Whisper's extractor pads every wave to 30 seconds, so a short sound costs as much as a long one. This function takes a
wave of any length, and padding is optional. As in Whisper, values more than 80 dB below the maximum of the whole wave
are raised to that level; so the spectrogram of a part can differ from that part of the spectrogram.
"""

from __future__ import annotations

import functools

import torch
from transformers.audio_utils import mel_filter_bank

from emotion_qwen.errors import DataError, SettingsError, ShapeError
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.settings import HearingSettings

FFT_SIZE = 400  # samples, 25 ms
HOP = 160  # samples from frame to frame, 10 ms
WINDOW = 30 * SAMPLE_RATE  # samples, the window of Whisper's encoder
LEVEL_SAMPLES = SAMPLE_RATE // 10
FAINTEST_LEVEL = -70.0
"""Minimum level in decibels of full scale, so that silence is not amplified to the level of speech."""
_FAINTEST = 1e-10  # power, before the logarithm
_RANGE = 8.0  # powers of ten kept below the loudest point


def log_mel(wave: torch.Tensor, mels: int = 80, length: int | None = None) -> torch.Tensor:
    """Compute the log-mel spectrogram of a wave.

    Args:
        wave: (S,) float mono at 16 kHz, full scale -1..1.
        mels: bands from 0 to 8000 Hz; 80, or 128 as in Whisper large-v3.
        length: number of samples to which the wave is zero-padded or cut; None leaves it unchanged. `WINDOW` gives the
            default output of Whisper's feature extractor.

    Returns:
        (mels, S // 160) float32 on the wave's device, about -1.5..1.5. An incomplete last 10 ms gives no frame.

    Raises:
        ShapeError: the wave has other than one dimension.
        SettingsError: `mels` or `length` is below 1.
    """
    if wave.dim() != 1:
        raise ShapeError(f"a wave of shape {tuple(wave.shape)}; expected (samples,), mix the channels to one first")
    if mels < 1 or (length is not None and length < 1):
        raise SettingsError(f"mels {mels} and length {length}; expected both to be at least 1, raise the smaller one")
    wave = wave.float()
    if length is not None:
        wave = torch.nn.functional.pad(wave[:length], (0, max(length - len(wave), 0)))
    frames = len(wave) // HOP
    if frames == 0:
        return wave.new_zeros(mels, 0)
    # The transforms are centred on the frames; at its ends the wave is mirrored, which takes 201 samples.
    wave = torch.nn.functional.pad(wave, (0, max(FFT_SIZE // 2 + 1 - len(wave), 0)))
    spectrum = torch.stft(wave, FFT_SIZE, HOP, window=_hann(wave.device), return_complex=True)
    power = spectrum[:, :frames].abs().square()  # (201, frames)
    bands = (_filters(mels, wave.device) @ power).clamp(min=_FAINTEST).log10()  # (mels, frames)
    return (torch.maximum(bands, bands.max() - _RANGE) + 4.0) / 4.0


def mel_windows(wave: torch.Tensor, hearing: HearingSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a wave into consecutive windows for the encoder, the last one padded with silence.

    Windows do not overlap, so that a token's index determines its time. If the settings name a level, the whole sound
    is scaled to it, so that the relative loudness of its windows is kept.

    Args:
        wave: (S,) float mono at 16 kHz.
        hearing: bands, length of a window, and level.

    Returns:
        (W, mels, frames) float32, and (W,) int64 frames of each window that contain sound.

    Raises:
        DataError: the wave has no sample.
    """
    if not len(wave):
        raise DataError("the sound has no samples; leave its audio part out")
    length = round(hearing.window_seconds * SAMPLE_RATE)
    if hearing.level is not None:
        wave = wave.float() * 10 ** ((hearing.level - loudest(wave)) / 20)
    pieces = wave.split(length)
    lengths = torch.tensor([-(-len(piece) // HOP) for piece in pieces])
    return torch.stack([log_mel(piece, hearing.mels, length) for piece in pieces]), lengths


def loudest(wave: torch.Tensor) -> float:
    """Measure the loudest tenth of a second of a (S,) wave, in decibels of full scale; at least `FAINTEST_LEVEL`."""
    size = min(LEVEL_SAMPLES, len(wave))
    power = wave[: len(wave) // size * size].float().view(-1, size).square().mean(1).max()
    return max(float(10 * torch.log10(power + 1e-12)), FAINTEST_LEVEL)


@functools.lru_cache(maxsize=8)
def _filters(mels: int, device: torch.device) -> torch.Tensor:
    """Return the (mels, 201) triangles over the frequencies of the transform: Slaney's scale, equal areas."""
    bank = mel_filter_bank(
        num_frequency_bins=FFT_SIZE // 2 + 1,
        num_mel_filters=mels,
        min_frequency=0.0,
        max_frequency=SAMPLE_RATE / 2,
        sampling_rate=SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(bank).T.to(device, torch.float32).contiguous()


@functools.lru_cache(maxsize=8)
def _hann(device: torch.device) -> torch.Tensor:
    return torch.hann_window(FFT_SIZE, device=device)

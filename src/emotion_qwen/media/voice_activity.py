"""Detect speech with the network of Silero VAD, computed in NumPy from the weights in its package.

The package `silero-vad` (MIT) needs torch or ONNX Runtime, which the workers that prepare clips do not load. So its
safetensors file is read as data, and the network (0.3 million weights) is computed here: a spectrum, four convolutions
and an LSTM over frames of 32 ms. An hour of sound takes about 25 s on one core.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from emotion_qwen.errors import MediaError, MissingPackage

SAMPLE_RATE = 16_000  # Hz, required by the network
_FRAME, _CONTEXT = 512, 64  # samples per frame, and samples before it that are part of the input
_BLOCK = 512  # frames computed at once, which limits the memory for any length of sound
_ONSET, _RELEASE = 0.5, 0.35  # probabilities at which a voice begins and ends (the package's defaults, as below)
_SHORTEST_VOICE, _LONGEST_PAUSE, _PADDING = 0.25, 0.1, 0.03  # seconds
_LOUD = 0.9  # share of full scale to which the loudest parts are amplified
_INAUDIBLE = 1e-4  # -80 dB of full scale; a wave that is nowhere louder is silent
_STRIDES = (1, 2, 2, 1)  # of the convolutions


def voice_spans(wave: np.ndarray, rate: int = SAMPLE_RATE) -> list[tuple[float, float]]:
    """Find the spans in which a voice is active, independent of the level and constant offset of the sound.

    Args:
        wave: (S,) float32 mono, full scale -1..1.
        rate: of `wave`, Hz; must be 16,000, as returned by `read_sound`.

    Returns:
        Ascending, disjoint spans (start, end) in seconds of `wave`, each of at least 0.25 s.

    Raises:
        MediaError: the rate or the shape is wrong.
        MissingPackage: `silero-vad` is not installed, or lacks the weights.
    """
    if rate != SAMPLE_RATE or wave.ndim != 1:
        raise MediaError(
            f"wave of shape {wave.shape} at {rate} Hz; expected (S,) mono at {SAMPLE_RATE} Hz, read it by read_sound"
        )
    offset, gain = _level(wave)
    return _spans(_probabilities(wave, offset, gain), len(wave) / rate) if gain else []


def _level(wave: np.ndarray) -> tuple[np.float32, np.float32]:
    """Return the constant offset, and the gain that amplifies the loudest parts to `_LOUD`; gain 0 for silence.

    The loudest parts are the upper thousandth of the frames' peaks, so that a single click in a long recording is
    ignored.
    """
    if not len(wave):
        return np.float32(0), np.float32(0)
    offset = np.float32(wave.mean(dtype=np.float64))
    starts = range(0, len(wave), _FRAME * _BLOCK)
    blocks = (np.abs(wave[start : start + _FRAME * _BLOCK] - offset) for start in starts)
    peaks = np.concatenate([np.maximum.reduceat(block, np.arange(0, len(block), _FRAME)) for block in blocks])
    loudest = np.quantile(peaks, 0.999)
    return offset, np.float32(_LOUD / loudest if loudest > _INAUDIBLE else 0)


def _probabilities(wave: np.ndarray, offset: np.float32, gain: np.float32) -> np.ndarray:
    """Return the probability of speech per frame of 32 ms: (ceil(S / 512),) float32."""
    count = -(-len(wave) // _FRAME)
    hidden = cell = np.zeros(128, np.float32)
    results = []
    for first in range(0, count, _BLOCK):
        frames = min(_BLOCK, count - first)
        begin, end = first * _FRAME - _CONTEXT, min((first + frames) * _FRAME, len(wave))
        samples = np.zeros(_CONTEXT + frames * _FRAME, np.float32)  # silence before the sound and after it
        samples[max(-begin, 0) : end - begin] = (wave[max(begin, 0) : end] - offset) * gain
        probabilities, hidden, cell = _network(samples, hidden, cell)
        results.append(probabilities)
    return np.concatenate(results)


def _network(samples: np.ndarray, hidden: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run the network on a block of N frames.

    Args:
        samples: (64 + N * 512,) float32.
        hidden: (128,) float32, output of the LSTM after the previous frame.
        cell: (128,) float32, its cell state.

    Returns:
        (N,) probabilities, and `hidden` and `cell` after the last frame.
    """
    weights = _weights()
    frames = sliding_window_view(samples, _CONTEXT + _FRAME)[::_FRAME]
    windows = sliding_window_view(np.pad(frames, ((0, 0), (0, 64)), mode="reflect"), 256, axis=1)[:, ::128]
    parts = windows @ weights["stft_conv.weight"][:, 0].T  # (N, 4, 258): 129 real parts, then the imaginary ones
    values = np.hypot(parts[..., :129], parts[..., 129:])
    for number, stride in enumerate(_STRIDES, start=1):
        values = _convolve(values, weights[f"conv{number}.weight"], weights[f"conv{number}.bias"], stride)
    bias = weights["lstm_cell.bias_ih"] + weights["lstm_cell.bias_hh"]
    inputs = values[:, 0] @ weights["lstm_cell.weight_ih"].T + bias
    outputs = np.empty((len(frames), 128), np.float32)
    for frame, given in enumerate(inputs):
        gates = given + weights["lstm_cell.weight_hh"] @ hidden  # input, forget, new value, output
        keep_in, keep_old, keep_out = _sigmoid(gates.reshape(4, 128)[[0, 1, 3]])
        cell = keep_old * cell + keep_in * np.tanh(gates[256:384])
        hidden = keep_out * np.tanh(cell)
        outputs[frame] = hidden
    scores = np.maximum(outputs, 0) @ weights["final_conv.weight"][0, :, 0] + weights["final_conv.bias"]
    return _sigmoid(scores), hidden, cell


def _convolve(values: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """Convolve (N, T, C) with a kernel (O, C, 3) and padding 1, then apply ReLU: (N, T / stride, O)."""
    windows = sliding_window_view(np.pad(values, ((0, 0), (1, 1), (0, 0))), 3, axis=1)[:, ::stride]  # (N, T', C, 3)
    return np.maximum(windows.reshape(*windows.shape[:2], -1) @ kernel.reshape(len(kernel), -1).T + bias, 0)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return (np.tanh(values / 2) + 1) / 2  # 1 / (1 + exp(-x)), which would overflow


def _spans(probabilities: np.ndarray, duration: float) -> list[tuple[float, float]]:
    """Join frames to spans: speech begins at `_ONSET` and ends when it stays below `_RELEASE` for a pause."""
    spans: list[tuple[float, float]] = []
    start = pause = None  # seconds; starts of the current speech and of a pause in it
    for time, probability in zip(np.arange(len(probabilities)) * (_FRAME / SAMPLE_RATE), probabilities, strict=True):
        if probability >= _ONSET:
            start, pause = (time if start is None else start), None
        elif probability < _RELEASE and start is not None:
            pause = time if pause is None else pause
            if time - pause >= _LONGEST_PAUSE:
                spans.append((start, pause))
                start = pause = None
    if start is not None:
        spans.append((start, duration if pause is None else pause))
    voices = [(start, end) for start, end in spans if end - start >= _SHORTEST_VOICE]
    return [(float(max(start - _PADDING, 0)), float(min(end + _PADDING, duration))) for start, end in voices]


def weights_path() -> Path:
    """Return the path of the weights in the installed package `silero-vad`, without importing the package.

    Raises:
        MissingPackage: `silero-vad` is not installed, or lacks the file.
    """
    spec = importlib.util.find_spec("silero_vad")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        if (path := Path(folder) / "data" / "silero_vad_16k.safetensors").is_file():
            return path
    came = f"'silero_vad' in {folders[0]} has no safetensors" if folders else "package 'silero-vad' is not installed"
    raise MissingPackage(f"{came}; expected it to carry the voice model; run: pip install 'silero-vad>=6.2.3,<7'")


@cache
def _weights() -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(weights_path())

"""Where in a sound somebody speaks: Silero VAD's network, computed in NumPy from the weights its package carries.

The package `silero-vad` (MIT) runs its network by torch or ONNX Runtime. Workers that prepare clips load neither, so
its safetensors file is read as data, and the network, 0.3 million weights, is computed here: a spectrum, four
convolutions and an LSTM over frames of 32 ms. An hour of sound takes about 25 s of one core.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from emotion_qwen.errors import MediaError, MissingPackage

SAMPLE_RATE = 16_000  # Hz, of the network
_FRAME, _CONTEXT = 512, 64  # samples of a frame, and of what precedes it that the network sees with it
_BLOCK = 512  # frames computed at once; memory follows it, not the sound
_ONSET, _RELEASE = 0.5, 0.35  # probabilities at which a voice begins and ends (the package's defaults, as below)
_SHORTEST_VOICE, _LONGEST_PAUSE, _PADDING = 0.25, 0.1, 0.03  # seconds
_LOUD = 0.9  # level to which the loudest parts are brought, as a share of full scale
_INAUDIBLE = 1e-4  # -80 dB of full scale; what is nowhere louder is silence
_STRIDES = (1, 2, 2, 1)  # of the convolutions


def voice_spans(wave: np.ndarray, rate: int = SAMPLE_RATE) -> list[tuple[float, float]]:
    """Find where a voice is active, whatever the level and constant offset of the sound.

    Args:
        wave: (S,) float32 mono, full scale -1..1.
        rate: of `wave`, Hz; 16,000, as `read_sound` gives it.

    Returns:
        Spans (start, end) in seconds of `wave`, ascending, apart, each of at least a quarter of a second.

    Raises:
        MediaError: the rate or the shape is another.
        MissingPackage: `silero-vad` is not installed, or comes without the weights.
    """
    if rate != SAMPLE_RATE or wave.ndim != 1:
        raise MediaError(
            f"wave of shape {wave.shape} at {rate} Hz; expected (S,) mono at {SAMPLE_RATE} Hz, read it by read_sound"
        )
    offset, gain = _level(wave)
    return _spans(_probabilities(wave, offset, gain), len(wave) / rate) if gain else []


def _level(wave: np.ndarray) -> tuple[np.float32, np.float32]:
    """Measure the constant offset, and the gain that makes the loudest parts loud; 0 if nothing is audible.

    The loudest are the upper thousandth of the frames' peaks, so that one click in a long recording does not count.
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
    """Give the probability of a voice in each frame of 32 ms: (ceil(S / 512),) float32."""
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
    """Compute a block of N frames.

    Args:
        samples: (64 + N * 512,) float32.
        hidden: (128,) float32, the LSTM's output after the frame before.
        cell: (128,) float32, its memory.

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
    """Convolve (N, T, C) by a kernel (O, C, 3) with one zero at each end, then cut below 0: (N, T / stride, O)."""
    windows = sliding_window_view(np.pad(values, ((0, 0), (1, 1), (0, 0))), 3, axis=1)[:, ::stride]  # (N, T', C, 3)
    return np.maximum(windows.reshape(*windows.shape[:2], -1) @ kernel.reshape(len(kernel), -1).T + bias, 0)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return (np.tanh(values / 2) + 1) / 2  # 1 / (1 + exp(-x)), which would overflow


def _spans(probabilities: np.ndarray, duration: float) -> list[tuple[float, float]]:
    """Join frames to spans: a voice begins at `_ONSET` and ends where it stays below `_RELEASE` for a pause."""
    spans: list[tuple[float, float]] = []
    start = pause = None  # seconds at which the voice at hand, and the pause in it, begin
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
    """Return the place of Silero VAD's weights in its installed package, without importing that package.

    Raises:
        MissingPackage: `silero-vad` is not installed, or comes without the file.
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

"""The networks that judge generated faces: their weights are read as data, and their pages name what was missed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.probe.run import FaceAnswer, Probe
from emotion_qwen.evaluation.probe.stimuli import ProbeGrid, stimuli_of
from emotion_qwen.express.track import EMOTIONS
from recipes.express.judge import DEPTHWISE, MODEL, Judge, NetworkReader, network_reader, read_graph_weights
from recipes.express.probe_page import JUDGE, SHOWN, merged, page

WIDTHS = {1: (64, 128), 2: (128, 128), 3: (128, 256), 4: (256, 256)}


def invented_weights() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    shapes = {f"{MODEL}/conv2d_1/Conv2D": (3, 3, 1, 32), f"{MODEL}/conv2d_2/Conv2D": (3, 3, 32, 64)}
    shapes |= {f"{MODEL}/conv2d_3/Conv2D": (1, 1, 64, 128), f"{MODEL}/conv2d_4/Conv2D": (1, 1, 128, 256)}
    shapes |= {
        f"{MODEL}/separable_conv2d_{n}/separable_conv2d": (1, 1, before, after) for n, (before, after) in WIDTHS.items()
    }
    arrays = {DEPTHWISE[n]: generator.normal(size=(3, 3, before, 1)) / 3 for n, (before, _) in WIDTHS.items()}
    for name, shape in shapes.items():
        arrays[f"{name}_weights"] = generator.normal(size=shape) / np.sqrt(np.prod(shape[:3]))
        arrays[f"{name}_bn_offset"] = generator.normal(size=shape[3]) / 9
    arrays |= {"unknown_43": generator.normal(size=(3, 3, 256, 7)) / 48, "unknown_44": np.zeros(7)}
    return {name: values.astype(np.float32) for name, values in arrays.items()}


def write_graph(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    entries = [{"name": name, "shape": list(a.shape), "dtype": str(a.dtype)} for name, a in arrays.items()]
    (folder / "emotion.bin").write_bytes(b"".join(a.tobytes() for a in arrays.values()))
    manifest = {"weightsManifest": [{"paths": ["emotion.bin"], "weights": entries}]}
    (folder / "emotion.json").write_text(json.dumps(manifest))
    return folder / "emotion.json"


def test_weights_of_a_graph_model_are_read_in_the_order_of_its_manifest(tmp_path: Path) -> None:
    path = write_graph(tmp_path, {"a": np.array([[1, 2]], np.int32), "b": np.array([0.5, -1, 4], np.float32)})
    weights = read_graph_weights(path)
    assert weights["a"].tolist() == [[1.0, 2.0]] and weights["b"].tolist() == [0.5, -1.0, 4.0]
    (tmp_path / "emotion.bin").write_bytes(b"\0" * 24)
    with pytest.raises(DataError, match="24 bytes instead of 20"):
        read_graph_weights(path)
    with pytest.raises(DataError, match="no complete graph model"):
        read_graph_weights(tmp_path / "other.json")


def test_the_judge_sees_a_picture(tmp_path: Path) -> None:
    network = Judge(read_graph_weights(write_graph(tmp_path, invented_weights())))
    pixels = torch.zeros(2, 1, 64, 64)
    pixels[1, 0, 20:30, 20:30] = 1
    with torch.inference_mode():
        logits = network(pixels)
        network.weights["unknown_43"] *= 0
        network.weights["unknown_44"] += torch.arange(7.0)
        assert network(pixels)[1].tolist() == pytest.approx(range(7))
    assert logits.shape == (2, 7) and (logits[0] - logits[1]).abs().max() > 1e-3


def test_a_reader_cuts_the_face_and_gives_seven_shares(tmp_path: Path) -> None:
    seen = []

    def network(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(pixels)
        return torch.tensor([[0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0]])

    picture = np.zeros((80, 80, 3), np.uint8)
    picture[20:60, 30:50] = 255
    (shares,) = NetworkReader(network, "tall")([picture], np.array([[30.0, 20.0, 50.0, 60.0]]))
    assert shares is not None and max(shares, key=shares.get) == "happiness" and set(shares) == set(EMOTIONS)
    (pixels,) = seen
    assert pixels.shape == (1, 1, 64, 64) and pixels.min() == -1 and abs(float(pixels.max()) - 1) < 1e-3
    assert abs(float((pixels > 0).float().mean()) - 0.5) < 0.02, "half of the square around a tall box is face"
    assert network_reader(write_graph(tmp_path, invented_weights())).name == JUDGE


def probe_of(model: str, rig: str, read: set[str]) -> Probe:
    """A probe in which the emotions of `read` get a share that rises with the intensity; the others stay neutral."""
    answers = []
    for stimulus in stimuli_of(ProbeGrid()):
        share = stimulus.intensity if stimulus.emotion in read else 0.0
        shares = {**dict.fromkeys(EMOTIONS, 0.0), "neutral": 1 - share}
        answers.append(FaceAnswer(stimulus, shares | ({stimulus.emotion: share} if share else {}), True))
    return Probe(model, rig, ProbeGrid(), tuple(answers))


def test_the_page_says_what_the_judge_read_and_missed() -> None:
    probes = [
        probe_of("nano", "drawn", {"happiness"}),
        probe_of(JUDGE, "drawn", set(SHOWN)),
        probe_of(JUDGE, "face_rig_ict", {"happiness", "fear"}),
    ]
    figures = merged(
        probes, {"note": "kept", "mini": {"drawn": {"plain": merged(probes[:1], {})["nano"]["drawn"]["plain"]}}}
    )
    assert figures["note"] == "kept" and figures["nano"]["drawn"]["plain"]["happiness"]["threshold"] == 0.5
    text = page(figures)
    assert "| nano | drawn face | never (0%) | never (0%) | never (0%) | 0.50 (100%) |" in text
    assert "| mini | drawn face | never (0%) |" in text
    assert "Drawn face: 6 of 6 emotions above one half" in text and "the bar of five is met. Of these, 6 have" in text
    assert "ICT head: 2 of 6 emotions above one half (fear, happiness); the bar of five is missed" in text
    assert "| nano | drawn face | none | none | none | 1.00 (1.00 to 1.00) |" in text
    with pytest.raises(DataError, match="a probe of 'other'"):
        merged([probe_of("other", "drawn", set())], {})

"""Fixtures shared by all tests: the shipped model, real data where it is at hand, small clips made on the spot."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared/data is not beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def nano():
    """The shipped model, loaded once; tests must not change it."""
    from emotion_qwen.inference.engine import Engine

    return Engine.load(device="cpu")


@pytest.fixture(scope="session")
def processor(nano):
    return nano.processor


def write_clip(path: Path, frames: np.ndarray, fps: int = 10) -> Path:
    """Encode (T, H, W, 3) uint8 frames as MPEG-4; sides must be even."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def gray_clip(tmp_path) -> Path:
    """One second of grey without a face."""
    return write_clip(tmp_path / "gray.mp4", np.full((10, 48, 64, 3), 120, np.uint8))


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A (512, 512, 3) photograph of one smiling face, from scikit-image."""
    from skimage import data

    return data.astronaut()

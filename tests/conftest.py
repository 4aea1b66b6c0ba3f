"""Fixtures shared by all tests: the shipped model, real data where it is at hand, small clips made on the spot."""

from __future__ import annotations

import copy
import hashlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest

from emotion_qwen.cache import CACHE_VARIABLE, cache_folder

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"
# Kept in the environment, too: pytest-xdist's workers start with that of the first process.
USERS_CACHE = Path(os.environ.setdefault("EMOTION_QWEN_TESTS_USERS_CACHE", str(cache_folder())))
"""Where tests marked `mini` look for fetched parts; no other test may depend on what is in a user's cache."""
os.environ[CACHE_VARIABLE] = str(Path(tempfile.gettempdir()) / "emotion-qwen-tests-no-cache")


def copy_model(target: Path) -> Path:
    """Copy the shipped model into a new folder whose files can be written, even where the sources are read-only."""
    from emotion_qwen.model.source import NANO

    target.mkdir()
    for file in NANO.iterdir():
        if file.is_file():
            shutil.copyfile(file, target / file.name)
    return target


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared/data is not beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def speech(shared_data) -> np.ndarray:
    """A real voice: two seconds of acted German speech at 16 kHz, (32000,) float32."""
    import pyarrow.parquet as pq

    from emotion_qwen.media.sound import SoundBytes, read_sound

    table = pq.read_table(shared_data / "speech_emodb.parquet", columns=["audio"])
    return read_sound(SoundBytes(table["audio"][0].as_py(), "speech")).wave


@pytest.fixture(scope="session", autouse=True)
def remembered_looks():
    """Let CenterFace look at every picture once: most tests show it pictures that others have shown.

    Yields:
        The look that remembers nothing, for tests of the network itself.
    """
    from emotion_qwen.faces import CenterFaceDetector

    look, known = CenterFaceDetector.look, {}

    def remembered(self, frame, side, threshold):
        picture = hashlib.blake2b(np.ascontiguousarray(frame)).digest()
        key = picture, frame.shape, frame.dtype.str, side, threshold
        if key not in known:
            known[key] = look(self, frame, side, threshold)
            for values in (known[key].boxes, known[key].scores, known[key].rolls, known[key].strains):
                values.flags.writeable = False
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CenterFaceDetector, "look", remembered)
        yield look


@pytest.fixture
def fresh_looks(remembered_looks, monkeypatch) -> None:
    """Let CenterFace look anew, whatever it has seen before."""
    from emotion_qwen.faces import CenterFaceDetector

    monkeypatch.setattr(CenterFaceDetector, "look", remembered_looks)


@pytest.fixture
def nano_in_commands(nano, monkeypatch) -> None:
    """Let commands that are called in this process have the shipped model that is loaded already."""
    from emotion_qwen.engine.engine import Engine

    load = Engine.load.__func__

    def loaded(cls, name=None, device="auto", dtype="auto"):
        usual = name in (None, "nano") and device in ("auto", "cpu") and dtype in ("auto", "float32")
        return nano if usual and nano.device.type == "cpu" else load(cls, name, device, dtype)

    monkeypatch.setattr(Engine, "load", classmethod(loaded))


@pytest.fixture(scope="session")
def nano():
    """The shipped model, loaded once; tests must not change it."""
    from emotion_qwen.engine.engine import Engine

    return Engine.load(device="cpu")


@pytest.fixture(scope="session")
def shallow():
    """The shipped model with one layer per part, for tests of what goes on around a model; tests must not change it.

    These are the last layers, whose answers differ from picture to picture as much as those of the whole model. It
    has the name, calibration and training facts of the shipped model.
    """
    from emotion_qwen.engine.engine import Engine
    from emotion_qwen.engine.products import widen
    from emotion_qwen.model import EmotionQwenForConditionalGeneration

    whole = Engine.load(device="cpu")
    config = copy.deepcopy(whole.model.config)
    config.text_config.num_hidden_layers, config.text_config.layer_types = 1, config.text_config.layer_types[:1]
    config.vision_config.depth, config.vision_config.fullatt_block_indexes = 1, [0]
    model = EmotionQwenForConditionalGeneration(config)
    last = {re.sub(r"(language_model\.layers|visual\.blocks)\.5\.", r"\1.0.", name): values
            for name, values in whole.model.state_dict().items()
            if not re.search(r"(language_model\.layers|visual\.blocks)\.[0-4]\.", name)}  # fmt: skip
    model.load_state_dict(last)
    widen(model)
    return Engine(model, whole.processor, whole.name)


@pytest.fixture(scope="session")
def bare():
    """The shipped model as training loads it, without what an engine does for speed; tests must not change it."""
    import torch

    from emotion_qwen.engine.engine import NANO
    from emotion_qwen.model import EmotionQwenForConditionalGeneration

    return EmotionQwenForConditionalGeneration.from_pretrained(NANO, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def deaf_folder(tmp_path_factory) -> Path:
    """A folder of nano without its audio side, which says that it was trained for pictures alone."""
    import json

    import torch

    from emotion_qwen.engine.engine import NANO
    from emotion_qwen.model import EmotionQwenConfig, EmotionQwenForConditionalGeneration
    from emotion_qwen.processing import EmotionQwenProcessor

    folder = tmp_path_factory.mktemp("models") / "deaf"
    whole = EmotionQwenForConditionalGeneration.from_pretrained(NANO, dtype=torch.bfloat16)
    config = EmotionQwenConfig(**{**whole.config.to_dict(), "audio_config": None, "audio_token_id": None})
    model = EmotionQwenForConditionalGeneration(config).to(torch.bfloat16)
    model.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith("model.audio.")})
    model.save_pretrained(folder)
    own = EmotionQwenProcessor.from_pretrained(NANO)
    EmotionQwenProcessor(own.image_processor, own.tokenizer, None, own.clip_settings).save_pretrained(folder)
    facts = json.loads((NANO / "training_facts.json").read_text(encoding="utf-8"))
    (folder / "training_facts.json").write_text(json.dumps({**facts, "channels": ["picture"]}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def deaf(deaf_folder):
    """nano without its audio side, loaded once; tests must not change it."""
    from emotion_qwen.engine.engine import Engine

    return Engine.load(deaf_folder, device="cpu")


@pytest.fixture(scope="session")
def processor(nano):
    return nano.processor


@pytest.fixture(scope="session")
def fetched():
    """Return a finder of parts in the user's own cache, for tests marked `mini`; a part that is not there skips."""

    def find(part: str) -> Path:
        folder = USERS_CACHE / part
        if not (folder / "fetched.json").is_file():
            pytest.skip(f"{part} is not in the cache; get it once: emotion-qwen fetch {part}")
        return folder

    return find


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


@pytest.fixture
def tasks_as_before():
    """Take out again what a test has entered into the table of tasks, and folders that it has put on the path."""
    from emotion_qwen.evaluation.tasks import TASKS

    tasks, path = dict(TASKS), list(sys.path)
    yield
    TASKS.clear()
    TASKS.update(tasks)
    sys.path[:] = path


@pytest.fixture
def comment_file(tmp_path) -> Path:
    """A Parquet file of four comments: two of one label in training, one of two labels, one held out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        ("a", "what a day", ["joy"], "train"),
        ("b", "oh no", ["fear"], "train"),
        ("c", "both", ["joy", "fear"], "train"),
        ("d", "held out", ["anger"], "validation"),
    ]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(("id", "text", "ekman", "split"))}
    pq.write_table(pa.table(columns), tmp_path / "texts.parquet")
    return tmp_path / "texts.parquet"

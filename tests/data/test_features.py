import io
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch
from rich.console import Console

from emotion_qwen.data.collate import SampleBatches
from emotion_qwen.data.features import FeatureCache, visual_key
from emotion_qwen.data.mixture import Mixture, SampleList
from emotion_qwen.errors import DataError
from emotion_qwen.prepare import prepare_sample
from emotion_qwen.records import Clip, Sample


def picture(seed: int, side: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)


def talk(name: str, *parts: dict) -> Sample:
    asked = [*parts, {"type": "text", "text": "What?"}]
    return Sample(name, ({"role": "user", "content": asked}, {"role": "assistant", "content": "a cat"}))


@pytest.fixture
def samples(gray_clip) -> list[Sample]:
    moving = Clip(np.stack([picture(9)] * 4), np.arange(4) / 2.0, "made", duration=2.0)
    return [
        talk("a", {"type": "image", "image": picture(1)}),
        talk("b", {"type": "image", "image": picture(2, 64)}, {"type": "video", "video": str(gray_clip)}),
        talk("c", {"type": "image", "image": picture(1)}, {"type": "video", "video": moving}),
        talk("d"),
    ]


@pytest.fixture
def made(tmp_path, nano, samples):
    read = []

    def reads(sample):
        read.append(sample.id)
        return prepare_sample(sample, None, nano.processor)

    cache = FeatureCache(tmp_path / "cache", nano.model.model.visual, nano.processor, reads)
    line = Mixture([SampleList("s", "general", samples)], [1.0], len(samples), seed=0)
    shown = io.StringIO()
    cache.fill(line, Console(file=shown))
    return cache, read, shown.getvalue()


@torch.no_grad()
def test_the_loss_is_the_same_with_and_without(made, nano, samples):
    cache, _, _ = made
    with_it = SampleBatches(nano.processor, prepare=cache.prepare)(samples)
    without = SampleBatches(nano.processor, prepare=lambda s: prepare_sample(s, None, nano.processor))(samples)
    assert "pixel_values" not in with_it and "image_features" in with_it
    assert torch.equal(with_it["input_ids"], without["input_ids"])
    assert torch.equal(with_it["second_per_grid_ts"], without["second_per_grid_ts"])
    losses = [nano.model(**batch, only_taught=True).loss for batch in (with_it, without)]
    assert abs(losses[0] - losses[1]) <= 1e-6
    packed = SampleBatches(nano.processor, nano.model.model.get_rope_index, 256, prepare=cache.prepare)(samples)
    assert abs(nano.model(**packed, only_taught=True).loss - losses[1]) <= 1e-5


def test_each_visual_is_stored_once_and_the_size_is_told_first(made):
    cache, _, shown = made
    assert len(cache.index) == 4  # picture 1 stands in two samples
    assert shown.index("will take at most") < shown.index("features of 4 visuals")


def test_a_hit_reads_no_medium(made, samples, tmp_path, nano):
    cache, read, _ = made
    before = list(read)
    again = FeatureCache(tmp_path / "cache", nano.model.model.visual, nano.processor, cache.read)
    for sample in samples:
        again.prepare(sample)
    assert read == before and again.index == cache.index


def test_an_interrupted_filling_goes_on(made, samples, tmp_path, nano):
    cache, _, _ = made
    lines = (tmp_path / "cache" / "index.jsonl").read_bytes()
    whole = (tmp_path / "cache" / "features.bin").read_bytes()
    first = lines.index(b"\n") + 1
    (tmp_path / "cache" / "index.jsonl").write_bytes(lines[: first + 10])  # the second line half written
    again = FeatureCache(tmp_path / "cache", nano.model.model.visual, nano.processor, cache.read)
    assert len(again.index) == 1
    again.fill(Mixture([SampleList("s", "general", samples)], [1.0], 4, seed=0), Console(file=io.StringIO()))
    assert set(again.index) == set(cache.index)
    assert len((tmp_path / "cache" / "features.bin").read_bytes()) == len(whole)


def test_features_of_another_transformer_are_refused(made, tmp_path, nano):
    from emotion_qwen.inference.engine import Engine

    other = Engine.load(device="cpu").model.model.visual
    with torch.no_grad():
        other.blocks[0].norm1.weight[0] += 1
    with pytest.raises(DataError, match="were made by another vision transformer or with other settings"):
        FeatureCache(tmp_path / "cache", other, nano.processor, lambda s: s)
    with pytest.raises(DataError, match=r"torch\.bfloat16"):
        FeatureCache(tmp_path / "cache", nano.model.model.visual, nano.processor, lambda s: s, torch.bfloat16)


def test_a_disk_that_is_too_small_is_said_before_the_work(tmp_path, nano, samples, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 90, 10))
    cache = FeatureCache(tmp_path / "cache", nano.model.model.visual, nano.processor, lambda s: s)
    with pytest.raises(DataError, match=r"may take 0\.0 GB, 0\.0 GB are free; choose another `features` folder"):
        cache.fill(Mixture([SampleList("s", "general", samples[:1])], [1.0], 1, seed=0), Console(file=io.StringIO()))


def test_keys_name_content_or_file(tmp_path, gray_clip):
    one, other = picture(1), picture(1)
    assert visual_key({"type": "image", "image": one}) == visual_key({"type": "image", "image": other})
    other[0, 0, 0] ^= 1
    assert visual_key({"type": "image", "image": one}) != visual_key({"type": "image", "image": other})
    before = visual_key({"type": "video", "video": str(gray_clip)})
    gray_clip.write_bytes(gray_clip.read_bytes() + b"x")
    assert visual_key({"type": "video", "video": str(gray_clip)}) != before
    with pytest.raises(DataError, match=r"medium '.*gone.mp4' cannot be read \(No such file"):
        visual_key({"type": "video", "video": str(tmp_path / "gone.mp4")})
    with pytest.raises(DataError, match="a medium of type int; expected an array, a clip or a path"):
        visual_key({"type": "image", "image": 3})

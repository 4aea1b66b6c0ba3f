import io
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch
from rich.console import Console

from emotion_qwen.data import feature_filling
from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.data.feature_filling import FeatureFiller, MissingVisuals, Pixels, _bounded
from emotion_qwen.data.features import FeatureCache, visual_key
from emotion_qwen.data.mixture import Mixture, SampleList
from emotion_qwen.errors import DataError, EmotionQwenError
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
def filler(tmp_path, nano):
    """Return a maker of fillers of one folder, whose readings are listed."""
    read = []

    def reads(sample):
        read.append(sample.id)
        return prepare_sample(sample, None, nano.processor)

    def make(vision=None, read_by=reads, **changes):
        return FeatureFiller(tmp_path / "cache", vision or nano.model.model.visual, nano.processor, read_by, **changes)

    make.read = read
    return make


@pytest.fixture
def made(filler, samples):
    line = Mixture([SampleList("s", "general", samples)], [1.0], len(samples), seed=0)
    shown = io.StringIO()
    cache = filler().fill([line], console=Console(file=shown))
    return cache, filler.read, shown.getvalue()


def fill(filler, *sources, workers: int = 0):
    return filler.fill(sources, workers, Console(file=io.StringIO()))


@torch.no_grad()
def test_the_loss_is_the_same_with_and_without(made, nano, samples):
    cache, _, _ = made
    with_it = SampleCollator(nano.processor, prepare=cache.prepare)(samples)
    without = SampleCollator(nano.processor, prepare=lambda s: prepare_sample(s, None, nano.processor))(samples)
    assert "pixel_values" not in with_it and "image_features" in with_it
    assert torch.equal(with_it["input_ids"], without["input_ids"])
    assert torch.equal(with_it["second_per_grid_ts"], without["second_per_grid_ts"])
    losses = [nano.model(**batch, supervised_only=True).loss for batch in (with_it, without)]
    assert abs(losses[0] - losses[1]) <= 1e-6
    packed = SampleCollator(nano.processor, nano.model.model.get_rope_index, 256, prepare=cache.prepare)(samples)
    assert abs(nano.model(**packed, supervised_only=True).loss - losses[1]) <= 1e-5


def test_each_visual_is_stored_once_and_the_size_is_told_first(made):
    cache, _, shown = made
    assert len(cache.index) == 4  # picture 1 stands in two samples
    assert shown.index("will grow by about") < shown.index("features of 4 visuals")


def test_a_hit_reads_no_medium(made, samples, tmp_path, filler):
    cache, read, _ = made
    before = list(read)
    again = FeatureCache(tmp_path / "cache")
    for sample in samples:
        again.prepare(sample)
    assert read == before and again.index == cache.index
    fill(filler(), samples)  # nothing is missing
    assert read == before


def test_a_missing_visual_is_an_error_and_never_encoded(made, tmp_path):
    cache, read, _ = made
    files = {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir()}
    before = list(read)
    with pytest.raises(DataError, match="no features of a image of sample 'new'; the file has changed"):
        cache.prepare(talk("new", {"type": "image", "image": picture(77)}))
    assert read == before and files == {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir()}
    with pytest.raises(DataError, match="no feature cache can be read there"):
        FeatureCache(tmp_path / "empty")


def test_validation_is_filled_too_and_workers_change_nothing(filler, samples, tmp_path, nano):
    held = [talk("v", {"type": "image", "image": picture(30, 32)}), samples[1]]
    one = fill(filler(), samples[:1], held)
    assert len(one.index) == 4
    alone = {name: one.prepare(sample) for name, sample in (("v", held[0]), ("b", samples[1]))}
    other = FeatureFiller(
        tmp_path / "other", nano.model.model.visual, nano.processor, lambda s: prepare_sample(s, None, nano.processor)
    )
    two = fill(other, samples[:1], held, workers=2)
    for name, sample in (("v", held[0]), ("b", samples[1])):
        for before, after in zip(visuals(alone[name]), visuals(two.prepare(sample)), strict=True):
            assert torch.equal(before.grid_thw, after.grid_thw) and before.seconds == after.seconds
            assert torch.allclose(before.features, after.features, atol=1e-5)


def visuals(sample):
    parts = [
        part for message in sample.messages if not isinstance(message["content"], str) for part in message["content"]
    ]
    return [part[part["type"]] for part in parts if part["type"] in ("image", "video")]


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_killed_filling_goes_on_without_a_wrong_row(left, made, samples, tmp_path, filler, nano):
    """The index ends in a half-written line, the rows in a half-written one."""
    cache, _, _ = made
    index, store = tmp_path / "cache" / "index.jsonl", tmp_path / "cache" / "features.bin"
    lines, rows = index.read_bytes().splitlines(keepends=True), store.read_bytes()
    index.write_bytes(b"".join(lines[:left]) + lines[left][:10])
    store.write_bytes(rows[: len(rows) * 2 // 3 + 5] + b"rubbish")
    again = fill(filler(), samples)
    assert set(again.index) == set(cache.index)
    with torch.no_grad():
        for sample in samples:
            plain = SampleCollator(nano.processor, prepare=lambda s: prepare_sample(s, None, nano.processor))([sample])
            cached = SampleCollator(nano.processor, prepare=again.prepare)([sample])
            losses = [nano.model(**batch, supervised_only=True).loss for batch in (cached, plain)]
            assert abs(losses[0] - losses[1]) <= 1e-6


def test_rows_that_were_never_written_are_not_read_as_zeros(made, samples, tmp_path, filler):
    """A machine that lost its power has the lines of the index and not the rows they name."""
    cache, _, _ = made
    store = tmp_path / "cache" / "features.bin"
    whole = store.read_bytes()
    store.write_bytes(whole[: len(whole) // 2])
    assert len(FeatureCache(tmp_path / "cache").index) < len(cache.index)
    assert set(fill(filler(), samples).index) == set(cache.index)
    assert len(store.read_bytes()) == len(whole)
    store.write_bytes(b"\0" * len(whole))
    with pytest.raises(DataError, match="the features of sample 'a' are damaged; remove this folder"):
        FeatureCache(tmp_path / "cache").prepare(samples[0])


def test_a_medium_that_cannot_be_read_is_one_line_with_its_sample(filler, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    bad = talk("bad", {"type": "video", "video": str(tmp_path / "broken.mp4")})
    for workers in (0, 1):
        with pytest.raises(EmotionQwenError, match=r"sample 'bad': .*broken\.mp4") as caught:
            fill(filler(), [bad], workers=workers)
        assert "\n" not in str(caught.value)


def test_features_of_another_transformer_are_refused(made, filler):
    from emotion_qwen.engine.engine import Engine

    other = Engine.load(device="cpu").model.model.visual
    with torch.no_grad():
        other.blocks[0].norm1.weight[0] += 1
    with pytest.raises(DataError, match="were made by another vision transformer or with other settings"):
        fill(filler(other), [])
    with pytest.raises(DataError, match=r"than these \(bfloat16\)"):
        fill(filler(dtype=torch.bfloat16), [])
    with pytest.raises(DataError, match="with other settings"):
        fill(filler(capture=True), [])  # the same files, read otherwise


def test_a_disk_that_is_too_small_is_said_before_the_work(filler, samples, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 90, 10))
    with pytest.raises(DataError, match=r"may take 0\.0 GB, 0\.0 GB are free; choose another `features` folder"):
        fill(filler(), samples[:1])


def test_batches_are_bounded_by_patches(monkeypatch):
    monkeypatch.setattr(feature_filling, "PATCHES", 10)
    sizes = [4, 5, 3, 25, 1, 9, 2]
    visuals = iter(Pixels(str(n), np.zeros((n, 2), np.float32), [1, 1, n], 0.0) for n in sizes)
    assert [[len(one.patches) for one in batch] for batch in _bounded(visuals)] == [[4, 5], [3], [25], [1, 9], [2]]


def test_each_visual_is_wanted_once(samples, nano):
    missing = MissingVisuals([samples, samples[:1]], lambda s: s, nano.processor)
    missing.find({visual_key({"type": "image", "image": picture(2, 64)}): {}}, Console(file=io.StringIO()))
    assert [(source, place) for source, place, _ in missing.places] == [(0, 0), (0, 1), (0, 2)] and missing.count == 3


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

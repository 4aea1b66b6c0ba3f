import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from emotion_qwen.model import preset
from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.processing.patches import normalize, patchify
from recipes.nano.vision_start import (
    CLASSES,
    SIDE,
    SOURCES,
    ConvTeacher,
    PictureBatches,
    PictureStream,
    VisionRun,
    VisionStudent,
    look_nearby,
    maps_by_patch,
    run_vision,
)


def jpeg(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The three picture files with a few invented rows each."""
    path = tmp_path_factory.mktemp("pictures")
    names = {SOURCES[0].file: CLASSES[:7], SOURCES[1].file: CLASSES[:3], SOURCES[2].file: CLASSES[7:]}
    for file, labels in names.items():
        rows = [
            (f"{file}/{i}", jpeg(i), labels[i % len(labels)], "validation" if i % 5 == 0 else "train")
            for i in range(40)
        ]
        columns = dict(zip(("id", "image", "label", "split"), (list(c) for c in zip(*rows, strict=True)), strict=True))
        pq.write_table(pa.table(columns), path / file)
    return path


def test_the_stream_is_a_function_of_its_seed_and_shows_every_face_each_pass(folder):
    one, same, other = (PictureStream(folder, "train", SOURCES[:1], passes=2, seed=s) for s in (1, 1, 2))
    assert torch.equal(one.order, same.order) and not torch.equal(one.order, other.order)
    assert sorted(one.order[:32].tolist()) == list(range(32)) == sorted(one.order[32:].tolist())


def test_batches_depend_on_their_place_alone(folder):
    stream = PictureStream(folder, "train", SOURCES, passes=3, seed=1)
    collate = PictureBatches(ramp=10, seed=1)
    again = collate([stream[i] for i in range(20, 24)])["pixels"]
    assert torch.equal(collate([stream[i] for i in range(20, 24)])["pixels"], again)


def test_student_patches_are_the_processors(folder, processor: EmotionQwenProcessor):
    student = VisionStudent(EmotionQwenVisionTransformer(preset("nano").vision_config)).eval()
    picture = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    prepared = processor(images=[picture], text="<|image_pad|>")
    seen = {}
    student.vision.register_forward_pre_hook(lambda _, args: seen.update(patches=args[0], grid=args[1]))
    with torch.no_grad():
        student(normalize(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255))
    assert torch.allclose(seen["patches"], prepared["pixel_values"], atol=1e-5)
    assert torch.equal(seen["grid"], prepared["image_grid_thw"])


def test_maps_stand_at_the_patches_they_were_seen_at():
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    maps = torch.stack([rows, columns]).expand(2, 2, 12, 12)
    cut = maps_by_patch(maps, 6, 2).view(2, 36, 2, 4)  # (B, patches, C, places)
    whole = F.batch_norm(maps, None, None, training=True)
    assert torch.equal(cut[0, 5, 0], whole[0, 0, [0, 0, 1, 1], 0])  # the sixth patch: second group, its upper right
    assert torch.equal(cut[0, 5, 1], whole[0, 1, 0, [6, 7, 6, 7]])
    assert torch.allclose(maps_by_patch(maps.repeat_interleave(2, 2).repeat_interleave(2, 3), 6, 2), cut.view(72, 8))
    assert maps_by_patch(torch.rand(2, 5, 6, 6), 6, 2).shape == (72, 5)


def test_heads_start_by_looking_at_their_neighbours(monkeypatch):
    torch.manual_seed(0)
    vision = EmotionQwenVisionTransformer(preset("nano").vision_config).eval()
    look_nearby(vision)
    seen = []

    def spy(module, query, key, value, **kwargs):
        seen.append((query @ key.transpose(2, 3) * module.scaling).softmax(-1))
        return (seen[-1] @ value).transpose(1, 2), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "spy", spy)
    vision.config._attn_implementation = "spy"
    with torch.no_grad():
        vision(torch.randn(36, 384), torch.tensor([[1, 6, 6]]))
    place = patchify(torch.arange(36.0).view(1, 1, 1, 6, 6), 1, 1, 2).flatten().long()  # reading order of every patch
    at = {int(p): i for i, p in enumerate(place)}
    middle = at[2 * 6 + 3]
    for layer, offsets in ((0, ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))), (3, ((0, 0), (1, 1), (1, -1), (-1, 1)))):
        for head, (down, right) in enumerate(offsets):
            shares = seen[layer][0, head, middle]
            assert shares.argmax() == at[(2 + down) * 6 + 3 + right] and shares.max() > 0.4
        assert seen[layer][0, 5, middle].max() < 0.2


def test_an_interrupted_run_ends_with_the_same_weights(folder, tmp_path):
    torch.manual_seed(5)
    guide = ConvTeacher(widths := (8, 16, 32)).eval()

    def run(name: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        config = preset("nano").vision_config
        config.depth, config.fullatt_block_indexes = 1, [0]
        model = VisionStudent(EmotionQwenVisionTransformer(config), (4 * widths[0], 4 * widths[1], widths[2]))
        run_vision(VisionRun(folder, tmp_path / name, 1, 1e-3, batch_size=8), model, guide)
        return model.state_dict()

    whole = run("whole")
    first = min((tmp_path / "whole").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    first.rename(tmp_path / first.name)
    (tmp_path / "cut").mkdir()
    (tmp_path / first.name).rename(tmp_path / "cut" / first.name)
    resumed = run("cut")
    assert all(torch.allclose(whole[key], resumed[key], atol=1e-6) for key in whole)

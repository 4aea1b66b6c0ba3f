import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from emotion_qwen.model import preset
from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.training.vision_start import (
    CLASSES,
    SIDE,
    SOURCES,
    ConvTeacher,
    PictureBatches,
    PictureStream,
    VisionRun,
    VisionStudent,
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
        from emotion_qwen.processing.patches import normalize

        student(normalize(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255))
    assert torch.allclose(seen["patches"], prepared["pixel_values"], atol=1e-5)
    assert torch.equal(seen["grid"], prepared["image_grid_thw"])


def test_an_interrupted_run_ends_with_the_same_weights(folder, tmp_path):
    torch.manual_seed(5)
    guide = ConvTeacher().eval()

    def run(name: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        config = preset("nano").vision_config
        config.depth, config.fullatt_block_indexes = 1, [0]
        model = VisionStudent(EmotionQwenVisionTransformer(config))
        run_vision(VisionRun(folder, tmp_path / name, 2, 1e-3, batch_size=8), model, guide)
        return model.state_dict()

    whole = run("whole")
    first = min((tmp_path / "whole").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    first.rename(tmp_path / first.name)
    (tmp_path / "cut").mkdir()
    (tmp_path / first.name).rename(tmp_path / "cut" / first.name)
    resumed = run("cut")
    assert all(torch.allclose(whole[key], resumed[key], atol=1e-6) for key in whole)

import io
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from emotion_qwen.errors import DataError
from recipes.mini.actions import ACTIONS
from recipes.mini.eyes_data import (
    CIFAR10,
    EMOTIONS,
    FERPLUS,
    LFW,
    EyesBatches,
    EyesStream,
    HeldFaces,
    class_members,
    emotion_targets,
    person_of,
    read_faces,
    read_landmarks,
    vary,
)

VOTES = ([7, 0, 1, 0, 0, 0, 0, 0, 2, 0], [0, 0, 0, 3, 2, 0, 0, 0, 0, 5], [0, 1, 0, 0, 0, 9, 0, 0, 0, 0])


def picture(seed: int, colour: bool) -> bytes:
    rng, data = np.random.default_rng(seed), io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (12, 12, 3) if colour else (12, 12), dtype=np.uint8)).save(data, "PNG")
    return data.getvalue()


def write(path, ids, split, **column):
    images = [picture(place, "cifar" in path.name) for place in range(len(ids))]
    pq.write_table(pa.table({"id": ids, "image": images, "split": split, **column}), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("faces")
    write(path / FERPLUS.file, ["a", "b", "c"], ["train"] * 3, votes=list(VOTES))
    people = ["lfw/Ann_Lee_0001", "lfw/Bo_0001", "lfw/Ann_Lee_0002", "lfw/Cy_0001"]
    write(
        path / LFW.file, people, ["train", "train", "validation", "train"], label=["neutral", "anger", "fear", "fear"]
    )
    write(path / CIFAR10.file, ["x", "y"], ["train", "validation"], label=["cat", "dog"])
    names = ["_neutral", *ACTIONS[::-1]]
    rows = [
        {"id": "lfw/Bo_0001", "detected": True, "shapes": [9.0, *range(45)], "angles": [1.0, 2.0, 3.0]},
        {"id": "lfw/Cy_0001", "detected": False, "shapes": [math.nan] * 46, "angles": [math.nan] * 3},
    ]
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"shapes": ",".join(names)})
    (path / "landmarks").mkdir()
    pq.write_table(table, path / "landmarks" / "part.parquet")
    return path


@pytest.mark.parametrize(
    ("votes", "shares"),
    [
        (VOTES[0], (0.7, 0, 0.1, 0, 0, 0, 0, 0)),
        (VOTES[1], (0, 0, 0, 0.3, 0.2, 0, 0, 0)),
        ([0, 0, 0, 0, 0, 0, 3, 6, 0, 0], (0, 0, 0, 0, 0, 0, 1 / 3, 2 / 3)),  # nine votes
        ([0] * 10, (0,) * 8),
    ],
)
def test_votes_become_shares_of_all_votes(votes, shares):
    assert emotion_targets(votes) == pytest.approx(shares)


def test_doubtful_faces_and_people_of_the_validation_part_train_nothing(folder, tmp_path):
    assert read_faces(folder, tmp_path, FERPLUS, "train").ids == ("a", "c")
    train, held = (read_faces(folder, tmp_path, LFW, split) for split in ("train", "validation"))
    assert train.ids == ("lfw/Bo_0001", "lfw/Cy_0001")
    assert not {person_of(i) for i in train.ids} & {person_of(i) for i in held.ids}
    again = read_faces(folder, tmp_path, LFW, "train")  # from the array that was written
    assert np.array_equal(np.stack([again.pixels[0]]), np.stack([train.pixels[0]]))
    assert person_of("lfw/Aaron_Peirsol_0002") == "Aaron_Peirsol"


def test_a_missing_file_or_split_is_named(folder, tmp_path):
    with pytest.raises(DataError, match=r"faces_ferplus.parquet.*does not exist"):
        read_faces(tmp_path, tmp_path, FERPLUS, "train")
    with pytest.raises(DataError, match=r"no picture has split 'validation'; it has \['train'\]"):
        read_faces(folder, tmp_path, FERPLUS, "validation")


def test_landmarks_are_joined_by_id_and_name(folder):
    actions, angles = read_landmarks(folder / "landmarks", ["lfw/Cy_0001", "other", "lfw/Bo_0001"])
    assert np.isnan(actions[:2]).all() and np.isnan(angles[:2]).all()
    assert actions[2].tolist() == [float(n) for n in range(44, -1, -1)] and angles[2].tolist() == [1, 2, 3]


def test_the_stream_repeats_classes_by_their_shares_and_depends_on_its_seed_alone(folder, tmp_path):
    parts = [(source, read_faces(folder, tmp_path, source, "train")) for source in (FERPLUS, LFW, CIFAR10)]
    one, same, other = (EyesStream(parts, passes=30, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.order, same.order) and not np.array_equal(one.order, other.order)
    longer = EyesStream(parts, passes=31, seed=1)
    assert np.array_equal(longer.order[: len(one)], one.order) and len(longer) > len(one)
    disgust = ((one.order == [0, 1]).all(1)).sum()
    assert disgust == 30 * FERPLUS.shares["disgust"]
    assert class_members(parts[0][1], "disgust").tolist() == [False, True]
    assert class_members(parts[2][1], "cat").tolist() == [True] and not class_members(parts[2][1], EMOTIONS[0]).any()


def test_batches_depend_on_their_place_alone_and_held_pictures_stay(folder, tmp_path):
    faces = read_faces(folder, tmp_path, LFW, "train", folder / "landmarks")
    stream = EyesStream([(LFW, faces)], passes=20, seed=3)
    collate = EyesBatches(ramp=4, seed=5, sides=((0, 32), (20, 64)), mixed=0.5)
    resumed = collate([EyesStream([(LFW, faces)], passes=20, seed=3)[i] for i in range(8, 12)])
    batch = collate([stream[i] for i in range(8, 12)])
    assert all(torch.equal(batch[name].nan_to_num(7), resumed[name].nan_to_num(7)) for name in batch)
    assert batch["pixels"].shape == (4, 3, 32, 32) and collate([stream[20]])["pixels"].shape[-1] == 64
    held = HeldFaces(faces)
    untouched = collate([held[0], held[1]])
    assert torch.equal((untouched["pixels"][0] * 255).round().byte()[0], torch.from_numpy(np.array(faces.pixels[0])))
    assert untouched["angles"][0].tolist() == [1, 2, 3]


def test_variation_without_strength_only_mirrors():
    pixels = torch.rand(16, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    varied, geometry = vary(pixels, 0.0, torch.Generator().manual_seed(2), 20)
    expected = torch.where(geometry.flip.view(-1, 1, 1, 1) < 0, pixels.flip(-1), pixels)
    torch.testing.assert_close(varied, expected, atol=1e-5, rtol=0)
    assert 0 < (geometry.flip < 0).sum() < 16

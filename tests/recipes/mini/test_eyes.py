import copy

import pytest
import torch

from emotion_qwen.model import preset
from emotion_qwen.model.actions import FacialActionHead
from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from recipes.mini.actions import ACTIONS
from recipes.mini.averaged import Averaged
from recipes.mini.eyes import (
    GUIDES,
    MEASURES,
    SIDES,
    EyesStudent,
    StudentBatches,
    StudentLoss,
    fused,
    map_targets,
    measure_error,
    measure_statistics,
)
from recipes.mini.eyes_data import EMOTIONS, EyesBatches, LabelledFaces
from recipes.mini.eyes_teacher import EyesTeacher


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    network = EyesTeacher()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval().requires_grad_(False)


@pytest.fixture
def student():
    torch.manual_seed(1)
    config = preset("nano").vision_config
    config.depth, config.hidden_size, config.intermediate_size, config.num_heads = 3, 24, 32, 2
    config.fullatt_block_indexes = [2]
    return EyesStudent(EmotionQwenVisionTransformer(config))


def batch_of(side: int) -> dict[str, torch.Tensor]:
    """Two faces, the first with landmarks, and an object."""
    generator = torch.Generator().manual_seed(2)
    targets = torch.zeros(3, len(EMOTIONS))
    targets[0, 1], targets[1, 3], targets[1, 4] = 0.9, 0.5, 0.3
    actions = torch.rand(3, len(ACTIONS), generator=generator)
    actions[1:] = torch.nan
    pixels = torch.rand(3, 3, 96, 96, generator=generator)
    return {
        "pixels": pixels,
        "targets": targets,
        "objects": torch.tensor([-1, -1, 4]),
        "actions": actions,
        "angles": torch.tensor([[10.0, -5.0, 3.0], [torch.nan] * 3, [torch.nan] * 3]),
        "side": torch.tensor(side),
    }


def test_folding_the_batch_norms_changes_nothing(teacher):
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    folded = fused(copy.deepcopy(teacher))
    (logits, maps), (expected, expected_maps) = folded(pixels), teacher(pixels)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(maps[2], expected_maps[2], atol=1e-3, rtol=1e-3)
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules()) == 0


@pytest.mark.parametrize("side", sorted(set(SIDES)))
def test_every_part_of_the_student_learns_from_one_batch(teacher, student, side):
    model = Averaged(student, 0.9).train()
    loss = StudentLoss(teacher)(model, batch_of(side))
    loss.backward()
    silent = [name for name, p in student.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert loss.isfinite() and not [name for name in silent if ".attn.qkv.bias" not in name]


def test_a_batch_without_objects_or_landmarks_has_a_finite_loss(teacher, student):
    batch = {name: value[1:2] if value.ndim else value for name, value in batch_of(48).items()}
    assert StudentLoss(teacher)(Averaged(student, 0.9).train(), batch).isfinite()
    measures = torch.zeros(1, 48, requires_grad=True)
    assert measure_error(measures, batch, torch.ones(48)).item() == 0.0


def test_the_error_of_measures_counts_deviations_of_detected_faces():
    batch = batch_of(48)
    measures = torch.cat([batch["actions"], batch["angles"]], dim=1)
    measures[0, 45] += 6.0  # yaw, degrees
    deviation = torch.ones(48)
    deviation[45] = 3.0
    assert measure_error(measures, batch, deviation).item() == pytest.approx((6 / 3) ** 2 / 48)


def test_maps_are_cut_into_the_places_of_patches():
    maps = [torch.rand(2, channels, 24 // 2**scale, 24 // 2**scale) for scale, (channels, _) in enumerate(GUIDES)]
    for side in (6, 8):
        shapes = [tuple(target.shape) for target in map_targets(maps, side, 2)]
        assert shapes == [(2 * side * side, channels * places**2) for channels, places in GUIDES]
    rows = torch.arange(6.0).view(1, 1, 6, 1).expand(1, 112, 6, 6)
    target = map_targets([maps[0], maps[1], rows.contiguous()], 6, 2)[2][:, 0]
    assert target[0] == target[1] < target[2] == target[3]  # two patches of a row, then the row below
    assert target[0] == target[4] < target[12]


def test_the_head_reads_patches_in_any_order_and_can_be_rescaled():
    torch.manual_seed(4)
    head, features = FacialActionHead(6, MEASURES), torch.rand(2, 5, 6)
    before = head(features)
    assert before.shape == (2, 48)
    torch.testing.assert_close(head(features[:, [3, 1, 0, 4, 2]]), before)
    mean, deviation = torch.rand(48), torch.rand(48)
    head.rescale(mean, deviation)
    torch.testing.assert_close(head(features), before * deviation + mean)


def test_statistics_leave_out_faces_without_landmarks():
    actions = torch.zeros(3, 45)
    actions[1:, 3] = torch.tensor([1.0, 3.0])
    actions[0] = torch.nan
    faces = LabelledFaces(("a",) * 3, None, None, None, actions.numpy(), torch.ones(3, 3).numpy())
    mean, deviation = measure_statistics([faces])
    assert mean[3] == 2.0 and deviation[3] == pytest.approx(2**0.5) and deviation[4] == pytest.approx(1e-3)


def test_the_side_of_a_batch_depends_on_its_place():
    collate = StudentBatches(EyesBatches(1, 1), batch_size=2)
    item = {name: value[0] for name, value in batch_of(48).items() if value.ndim} | {"objects": -1}
    item["pixels"] = torch.zeros(3, 96, 96, dtype=torch.uint8)
    sides = [int(collate([{**item, "place": place}])["side"]) for place in range(0, 16, 2)]
    assert sides == [*SIDES, *SIDES][:8]

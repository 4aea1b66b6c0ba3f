"""The head for facial actions: its mathematics, its place in the model, and what keeps it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.model.conftest import widen

from emotion_qwen.convert.conversion import convert
from emotion_qwen.errors import SettingsError, ShapeError
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.actions import FacialActionHead
from emotion_qwen.training.stages import STAGES, enter_stage, part_digests, trainable_counts

NAMES = ["mouthSmileLeft", "mouthSmileRight", "jawOpen", "yaw", "pitch", "roll"]
GRIDS = {
    "one picture": [[1, 4, 6]],
    "pictures of one size": [[1, 4, 4], [1, 4, 4]],
    "ragged pictures": [[1, 4, 6], [1, 8, 4], [1, 2, 2], [1, 4, 6]],
    "a video between pictures": [[1, 4, 6], [3, 4, 4], [1, 2, 4]],
}


def formula(head: FacialActionHead, patches: torch.Tensor) -> torch.Tensor:
    """Return what the head says of one frame's (patches, width), written out as the recipe's student has it."""
    pooled = torch.cat([patches.mean(0), patches.max(0).values])
    normed = F.layer_norm(pooled, pooled.shape, head.norm.weight, head.norm.bias)
    return head.linear.weight @ normed + head.linear.bias


@pytest.fixture
def head() -> FacialActionHead:
    return widen(FacialActionHead(6, 5), 0.4)


@pytest.mark.parametrize("case", GRIDS)
@torch.no_grad()
def test_every_visual_is_measured_by_its_own_patches(head, case):
    grids = torch.tensor(GRIDS[case])
    features = torch.randn(int(grids.prod(-1).sum()), 6)
    expected, rest = [], features
    for times, rows, columns in grids.tolist():
        frames, rest = rest[: times * rows * columns].split(rows * columns), rest[times * rows * columns :]
        expected.append(torch.stack([formula(head, frame) for frame in frames]).mean(0))
    measured = head(features, grids)
    torch.testing.assert_close(measured, torch.stack(expected), atol=1e-5, rtol=1e-5)
    assert measured.dtype == torch.float32 and measured.std() > 0.1


@torch.no_grad()
def test_pictures_of_one_size_need_no_grids_and_patches_no_order(head):
    features, grids = torch.randn(3, 8, 6), torch.tensor([[1, 2, 4]] * 3)
    torch.testing.assert_close(head(features), head(features.flatten(0, 1), grids))
    torch.testing.assert_close(head(features[:, [3, 1, 0, 4, 2, 7, 6, 5]]), head(features))


@torch.no_grad()
def test_half_precision_is_measured_in_full(head):
    features, grids = torch.randn(24, 6), torch.tensor([[1, 4, 6]])
    measured = head.bfloat16()(features.bfloat16(), grids)
    assert measured.dtype == torch.float32
    torch.testing.assert_close(measured, head.float()(features, grids), atol=0.05, rtol=0.05)


def test_grids_of_other_visuals_are_refused(head):
    with pytest.raises(ShapeError, match="23 patch features for grids of 24 patches"):
        head(torch.randn(23, 6), torch.tensor([[1, 4, 6]]))


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["jawOpen", "yaw", "roll", "pitch"], "ends with yaw, roll, pitch"),
        (["jawOpen", "jawOpen", "yaw", "pitch", "roll"], "has 4 different names of 5"),
        (["mouthSmileLeft", "yaw", "pitch", "roll"], "has mouthSmile on one side of the face only"),
        ([], "expected different names, the last three yaw, pitch, roll"),
    ],
)
def test_names_that_cannot_be_are_refused(config, names, fault):
    with pytest.raises(SettingsError, match=fault):
        config(facial_actions=names)


@torch.no_grad()
def test_the_model_measures_what_it_encodes_and_answers_as_before(model, visual_inputs):
    torch.manual_seed(1)
    made = model(facial_actions=NAMES)
    inputs = visual_inputs(GRIDS["ragged pictures"])
    encoded = made.encode_media(inputs)["image"]
    expected = made.model.actions(encoded.last_hidden_state, inputs["image_grid_thw"])
    assert encoded.actions.shape == (4, 6) and torch.equal(encoded.actions, expected)
    assert encoded.actions[0].tolist() != encoded.actions[3].tolist()
    video = {"video_grid_thw": torch.tensor([[2, 4, 4]]), "pixel_values_videos": torch.randn(32, 96)}
    both = made.encode_media({**inputs, **video})  # one pass of the encoder
    torch.testing.assert_close(both["image"].actions, encoded.actions)
    torch.testing.assert_close(both["video"].actions, made.encode_media(video)["video"].actions)
    plain = EmotionQwenForConditionalGeneration(type(made.config)(**{**made.config.to_dict(), "facial_actions": None}))
    plain.load_state_dict({k: v for k, v in made.state_dict().items() if not k.startswith("model.actions.")})
    assert torch.equal(plain.eval()(**inputs).logits, made(**inputs).logits)
    assert plain.encode_media(inputs)["image"].actions is None
    assert "facial_actions" not in plain.config.to_json_string()  # as if the field did not exist


@torch.no_grad()
def test_the_head_is_saved_loaded_and_converted_with_the_model(model, visual_inputs, tmp_path):
    made, inputs = model(facial_actions=NAMES), visual_inputs(GRIDS["ragged pictures"])
    made.save_pretrained(tmp_path / "saved")
    report = convert(tmp_path / "saved", tmp_path / "converted")
    assert report.parts["facial actions"] == (4, 2 * 64 + 6 * 64 + 6)
    for name in ("saved", "converted"):
        again = EmotionQwenForConditionalGeneration.from_pretrained(tmp_path / name).eval()
        assert again.config.facial_actions == NAMES
        torch.testing.assert_close(
            again.encode_media(inputs)["image"].actions, made.encode_media(inputs)["image"].actions
        )
    model().save_pretrained(tmp_path / "plain")
    assert "facial actions" not in convert(tmp_path / "plain", tmp_path / "plainer").parts


def test_the_head_is_a_part_that_no_stage_changes(model, visual_inputs):
    made, plain = model(facial_actions=NAMES), model()
    before = part_digests(made)
    assert set(before) - set(part_digests(plain)) == {"actions"}
    assert trainable_counts(made)["actions"][1] == 518 and "actions" not in trainable_counts(plain)
    with torch.no_grad():
        made.model.actions.linear.bias[2] += 1
    assert [part for part in before if part_digests(made)[part] != before[part]] == ["actions"]
    enter_stage(made, STAGES["tuning"])
    inputs = visual_inputs(GRIDS["one picture"])
    made.train()(**inputs, labels=inputs["input_ids"], supervised_only=True).loss.backward()
    assert made.model.compressor.gate.head.weight.grad is not None
    assert all(p.grad is None and not p.requires_grad for p in made.model.actions.parameters())
    with pytest.raises(SettingsError, match="no stage has a loss for the facial actions"):
        enter_stage(made, STAGES["tuning"], ["actions"])

"""The vision transformer against transformers' own, merger in place, over even and uneven windows."""

from __future__ import annotations

import pytest
import torch
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from emotion_qwen.model.compressor import HybridCompressor
from emotion_qwen.model.vision import EmotionQwenVisionTransformer, group_segments

GRIDS = {
    "one window": [[1, 4, 4]],
    "equal windows": [[1, 8, 8], [1, 8, 8]],
    "uneven windows": [[1, 6, 10], [1, 2, 2]],
    "videos and pictures": [[3, 6, 4], [1, 10, 6], [2, 8, 8], [1, 2, 14]],
}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("grids", GRIDS.values(), ids=GRIDS)
@torch.no_grad()
def test_tokens_equal_those_of_transformers(config, qwen_config, attention, grids):
    settings = qwen_config().vision_config
    theirs = Qwen2_5_VisionTransformerPretrainedModel._from_config(settings, attn_implementation=attention).eval()
    for parameter in theirs.parameters():
        parameter.copy_((parameter == 1) + 0.1 * torch.randn_like(parameter))
    made = config(gate_mode="general")
    ours = EmotionQwenVisionTransformer._from_config(made.vision_config, attn_implementation=attention).eval()
    weights = {key: value for key, value in theirs.state_dict().items() if not key.startswith("merger.")}
    assert ours.load_state_dict(weights, strict=False).unexpected_keys == []
    compressor = HybridCompressor(made).eval()
    compressor.general.load_state_dict(theirs.merger.state_dict())
    grid = torch.tensor(grids)
    pixels = torch.randn(int(grid.prod(-1).sum()), 3 * 2 * 4 * 4)
    features = ours(pixels, grid)
    wanted = theirs(pixels, grid)
    assert torch.allclose(features.last_hidden_state, wanted.last_hidden_state, atol=1e-5, rtol=0)
    tokens, _ = compressor(features.last_hidden_state, features.pooler_output, grid)
    assert (tokens - wanted.pooler_output).abs().max() <= 1e-5


def test_equal_segments_are_one_group_without_picking():
    (group,) = group_segments(torch.tensor([0, 4, 8, 12]))
    assert (group.rows, group.count, group.length) == (None, 3, 4)


def test_uneven_segments_are_grouped_by_length_and_cover_all_rows():
    groups = group_segments(torch.tensor([0, 4, 6, 10, 12, 13]))
    assert [(g.count, g.length) for g in groups] == [(1, 1), (2, 2), (2, 4)]
    assert [g.rows.tolist() for g in groups] == [[12], [4, 5, 10, 11], [0, 1, 2, 3, 6, 7, 8, 9]]
    assert torch.cat([g.rows for g in groups]).sort().values.tolist() == list(range(13))


def test_the_patch_embedding_takes_bf16_weights(config):
    ours = EmotionQwenVisionTransformer._from_config(config().vision_config).to(torch.bfloat16).eval()
    with torch.no_grad():
        features = ours(torch.randn(16, 96), torch.tensor([[1, 4, 4]]))
    assert features.last_hidden_state.dtype == torch.bfloat16

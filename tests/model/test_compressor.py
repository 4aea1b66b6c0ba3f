"""The Hybrid Compressor: visuals are independent of each other, experts are skipped per visual, order is restored."""

from __future__ import annotations

import random

import pytest
import torch
from transformers.vision_utils import get_vision_window_index

from emotion_qwen.errors import SettingsError, ShapeError
from emotion_qwen.model.compressor import HybridCompressor, mean_per_visual

TOLERANCE = 1e-5
PICTURES_AND_VIDEOS = [[1, 4, 6], [3, 4, 4], [1, 8, 8], [1, 2, 2], [2, 6, 4], [1, 4, 6], [1, 10, 6], [4, 2, 6]]


@pytest.fixture
def compressor(config):
    def make(**changes) -> HybridCompressor:
        made = HybridCompressor(config(**changes)).eval()
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                deviation = 0.3 if name.startswith("gate.") else 0.1
                parameter.copy_((parameter == 1) + deviation * torch.randn_like(parameter))
        return made

    return make


def window_index(grids: list[list[int]]) -> torch.Tensor:
    return get_vision_window_index(torch.tensor(grids), 2, 16, 4)[0]


def sizes(grids: list[list[int]]) -> list[int]:
    return [t * h * w for t, h, w in grids]


def draw(grids: list[list[int]]) -> list[torch.Tensor]:
    """Features of every visual, in the window order that it has when it is alone."""
    return [torch.randn(size, 32) for size in sizes(grids)]


def run(compressor: HybridCompressor, visuals: list[torch.Tensor], grids: list[list[int]]):
    """Compress visuals packed together; return tokens per visual and weights (V, 2)."""
    tokens, weights = compressor(torch.cat(visuals), window_index(grids), torch.tensor(grids))
    return tokens.split([size // 4 for size in sizes(grids)]), weights


def spread_gate(compressor: HybridCompressor, visuals: list[torch.Tensor], grids: list[list[int]]) -> None:
    """Make the gate's head so steep that some visuals want one expert only, some the other, some both."""
    with torch.no_grad():
        compressor.threshold = 0.0
        head = compressor.gate.head
        logits = run(compressor, visuals, grids)[1].log()
        difference = logits[:, 0] - logits[:, 1]
        centre = difference.median()
        scale = 5 / min(difference.max() - centre, centre - difference.min())  # both ends beyond log(1000)
        head.weight.mul_(2 * scale)
        head.bias.mul_(2 * scale)
        head.bias[0] -= 2 * scale * centre
        compressor.threshold = 1e-3


@pytest.mark.parametrize("pool", ["after", "before"])
@pytest.mark.parametrize("steep", [False, True])
@torch.no_grad()
def test_a_visual_does_not_depend_on_its_neighbours(compressor, pool, steep):
    made = compressor(gate_pool=pool)
    visuals = draw(PICTURES_AND_VIDEOS)
    if steep:  # the head's factor of a hundred would make fp32's rounding look like a neighbour
        made, visuals = made.double(), [visual.double() for visual in visuals]
        spread_gate(made, visuals, PICTURES_AND_VIDEOS)
    alone = [run(made, [v], [g]) for v, g in zip(visuals, PICTURES_AND_VIDEOS, strict=True)]
    weights_alone = torch.cat([weights for _, weights in alone])
    assert weights_alone.std(dim=0).min() > 0.01  # the gate tells these visuals apart
    if steep:
        assert (weights_alone == 0).any(dim=0).all() and ((weights_alone > 0).all(dim=1)).any()
    rng, worst = random.Random(0), 0.0
    for _ in range(12):
        order = rng.sample(range(len(visuals)), rng.randint(2, len(visuals)))
        tokens, weights = run(made, [visuals[i] for i in order], [PICTURES_AND_VIDEOS[i] for i in order])
        for place, i in enumerate(order):
            worst = max(worst, (tokens[place] - alone[i][0][0]).abs().max().item())
            worst = max(worst, (weights[place] - weights_alone[i]).abs().max().item())
    assert worst <= TOLERANCE


@torch.no_grad()
def test_equal_visuals_in_one_batch_equal_each_alone(compressor):
    made = compressor()
    visuals = draw([[1, 4, 4]] * 5)
    tokens, weights = run(made, visuals, [[1, 4, 4]] * 5)
    for i, visual in enumerate(visuals):
        alone, weight = run(made, [visual], [[1, 4, 4]])
        assert torch.allclose(tokens[i], alone[0], atol=TOLERANCE, rtol=0)
        assert torch.allclose(weights[i], weight[0], atol=TOLERANCE, rtol=0)


def count_rows(compressor: HybridCompressor) -> dict[str, int]:
    rows = {"general": 0, "emotion": 0}

    def hook(name: str):
        def count(module, args, output):
            rows[name] += args[0].numel() // (4 * 32)

        return count

    for name in rows:
        getattr(compressor, name).register_forward_hook(hook(name))
    return rows


@torch.no_grad()
def test_an_expert_runs_only_on_the_visuals_that_need_it(compressor):
    made = compressor()
    visuals = draw(PICTURES_AND_VIDEOS)
    spread_gate(made, visuals, PICTURES_AND_VIDEOS)
    rows = count_rows(made)
    tokens, weights = run(made, visuals, PICTURES_AND_VIDEOS)
    single = (weights == 0).any(dim=1)
    assert 0 < single.sum() < len(visuals)
    assert set(weights[single].unique().tolist()) == {0.0, 1.0}
    counts = torch.tensor(sizes(PICTURES_AND_VIDEOS)) // 4
    for column, name in enumerate(("general", "emotion")):
        assert rows[name] == counts[weights[:, column] > 0].sum()
        assert rows[name] < counts.sum()
    tops = (weights[single][:, 0] == 0).nonzero()[0, 0]
    i = single.nonzero()[tops, 0].item()
    made.mode = "emotion"
    assert torch.allclose(run(made, [visuals[i]], [PICTURES_AND_VIDEOS[i]])[0][0], tokens[i], atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_a_bias_towards_one_expert_silences_the_other(compressor):
    made = compressor()
    made.gate.head.bias.copy_(torch.tensor([-100.0, 100.0]))
    rows = count_rows(made)
    _, weights = run(made, draw([[1, 4, 4], [1, 2, 6]]), [[1, 4, 4], [1, 2, 6]])
    assert weights.tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert rows == {"general": 0, "emotion": 7}


@torch.no_grad()
@pytest.mark.parametrize(("mode", "expected"), [("general", [1.0, 0.0]), ("emotion", [0.0, 1.0])])
def test_fixed_modes_use_one_expert_also_in_training(compressor, mode, expected):
    made = compressor(gate_mode=mode).train()
    rows = count_rows(made)
    _, weights = run(made, draw([[1, 4, 4]]), [[1, 4, 4]])
    assert weights.tolist() == [expected]
    assert rows == {"general": 4 * expected[0], "emotion": 4 * expected[1]}


def test_training_runs_both_experts_and_teaches_gate_and_experts(compressor):
    made = compressor().train()
    with torch.no_grad():
        made.gate.head.bias.copy_(torch.tensor([-4.0, 4.0]))
        made.threshold = 0.5  # would silence an expert in inference
    rows = count_rows(made)
    tokens, weights = run(made, draw([[1, 4, 4], [2, 2, 6]]), [[1, 4, 4], [2, 2, 6]])
    assert (weights > 0).all()
    assert rows == {"general": 10, "emotion": 10}
    torch.cat(tokens).square().sum().backward()
    silent = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("pool", ["after", "before"])
@torch.no_grad()
def test_the_gate_pools_where_it_should(compressor, pool):
    """Against the gate written out for one visual by torch's own attention module."""
    made = compressor(gate_pool=pool)
    attention = torch.nn.MultiheadAttention(32, 4, batch_first=True)
    attention.in_proj_weight.copy_(made.gate.qkv.weight)
    attention.in_proj_bias.copy_(made.gate.qkv.bias)
    attention.out_proj.load_state_dict(made.gate.proj.state_dict())
    visual = torch.randn(48, 32)
    groups = visual.view(12, 4, 32).mean(1)
    if pool == "before":
        groups = groups.mean(0, keepdim=True)
    pooled = attention(groups, groups, groups)[0].mean(0)
    expected = made.gate.head(made.gate.layers(pooled)).softmax(-1)
    assert torch.allclose(run(made, [visual], [[1, 6, 8]])[1][0], expected, atol=1e-6)


@torch.no_grad()
def test_tokens_come_back_in_reading_order(compressor):
    """Every token equals the experts' answer to the patches at its own place, found by walking rows and columns."""
    grids, made = [[2, 6, 10], [1, 8, 4]], compressor()
    index, start, at = window_index(grids), 0, {}
    assert not torch.equal(index, torch.arange(len(index)))  # the windows do shuffle
    reading = {}  # (visual, time, row, column) of a merged token -> its four patches
    for v, (times, rows, columns) in enumerate(grids):
        for t in range(times):
            for r in range(rows // 2):
                for c in range(columns // 2):
                    reading[v, t, r, c] = torch.randn(4, 32)
                    at[start] = (v, t, r, c)
                    start += 1
    windowed = torch.cat([reading[at[place]] for place in index.tolist()])
    tokens, weights = made(windowed, index, torch.tensor(grids))
    for place, key in at.items():
        general, emotion = made.general(reading[key])[0], made.emotion(reading[key])[0]
        expected = weights[key[0], 0] * general + weights[key[0], 1] * emotion
        assert torch.allclose(tokens[place], expected, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_weights_sum_to_one_in_fp32_although_the_model_is_bf16(compressor):
    made = compressor().to(torch.bfloat16)
    visuals = [v.to(torch.bfloat16) for v in draw(PICTURES_AND_VIDEOS)]
    tokens, weights = run(made, visuals, PICTURES_AND_VIDEOS)
    assert weights.dtype == torch.float32 and tokens[0].dtype == torch.bfloat16
    assert (weights.sum(-1) - 1).abs().max() <= 2**-23


def test_grids_that_do_not_add_up_are_refused(compressor):
    with pytest.raises(ShapeError) as caught:
        compressor()(torch.randn(16, 32), torch.arange(4), torch.tensor([[1, 4, 6]]))
    assert str(caught.value) == ("16 patch features for grids of 24 patches; pass grid_thw of exactly these visuals")


def test_heads_must_divide_the_width(config):
    with pytest.raises(SettingsError, match="gate_num_heads 5 does not divide the vision width 32; choose a divisor"):
        config(gate_num_heads=5)


def test_mean_per_visual_averages_each_visual():
    rows = torch.arange(10.0).view(5, 2)
    assert mean_per_visual(rows, torch.tensor([0, 2, 5])).tolist() == [[1.0, 2.0], [6.0, 7.0]]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_mean_of_many_bfloat16_rows_is_summed_in_float32():
    """In bfloat16 a sum of 20,000 ones stays at 256, to which one more adds nothing."""
    rows = torch.ones(20_000, 8, dtype=torch.bfloat16, device="cuda")
    assert mean_per_visual(rows, torch.tensor([0, 20_000], device="cuda")).tolist() == [[1.0] * 8]

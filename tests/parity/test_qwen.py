"""A converted Qwen2.5-VL answers as transformers' does: random small models, random inputs, fp32 on the CPU.

Measured over the 24 cases and three gate modes (transformers 5.23, torch 2.13): logits differ by at most 2.8e-6 (in a
case whose logits reach 3.6), greedy tokens never.
"""

from __future__ import annotations

import random

import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.convert import convert

TOLERANCE = 1e-5
NEW_TOKENS = 8
VOCAB, PAD, START, END, IMAGE, VIDEO, FIRST_WORD = 96, 0, 3, 4, 5, 6, 8
KINDS = ("picture", "pictures", "video", "text", "batch", "everything")


def random_model(rng: random.Random) -> Qwen2_5_VLForConditionalGeneration:
    heads, head = rng.choice([2, 4]), rng.choice([8, 16])
    half = head // 2
    sections = [half // 4, half // 4 + rng.choice([0, 1]), 0]
    sections[2] = half - sum(sections)
    vision_heads, patch, depth = rng.choice([2, 4]), rng.choice([4, 6]), rng.choice([2, 3])
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": heads * head,
            "intermediate_size": rng.choice([48, 80]),
            "num_hidden_layers": 2,
            "num_attention_heads": heads,
            "num_key_value_heads": rng.choice([heads, heads // 2]),
            "vocab_size": VOCAB,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": PAD,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": rng.choice([1e4, 1e6]),
                "mrope_section": sections,
            },
        },
        vision_config={
            "depth": depth,
            "hidden_size": vision_heads * rng.choice([8, 16]),
            "intermediate_size": rng.choice([40, 64]),
            "num_heads": vision_heads,
            "out_hidden_size": heads * head,
            "patch_size": patch,
            "window_size": patch * 2 * rng.choice([1, 2, 3]),
            "fullatt_block_indexes": rng.choice([[depth - 1], [0], []]),
            "tokens_per_second": rng.choice([1, 2, 4]),
        },
        tie_word_embeddings=rng.random() < 0.5,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=START,
        vision_end_token_id=END,
    )
    model = Qwen2_5_VLForConditionalGeneration(config).eval()
    with torch.no_grad():  # wider than the usual start, so that every part moves the logits
        for parameter in model.parameters():
            parameter.copy_((parameter == 1) + 0.1 * torch.randn_like(parameter))
    return model


def random_grid(rng: random.Random, times: int = 1) -> list[int]:
    return [times, 2 * rng.randint(1, 4), 2 * rng.randint(1, 4)]


def words(rng: random.Random, most: int = 6) -> list[int]:
    return [rng.randrange(FIRST_WORD, VOCAB) for _ in range(rng.randint(1, most))]


def random_inputs(rng: random.Random, kind: str, config: Qwen2_5_VLConfig) -> dict[str, torch.Tensor]:
    plans = {
        "picture": ["i"],
        "pictures": ["iii"],
        "video": ["v"],
        "text": [""],
        "batch": ["i", "", "vi", "ii"],
        "everything": ["iv", "vvi"],
    }
    rows, grids = [], {"i": [], "v": []}
    for plan in plans[kind]:
        row = words(rng)
        for letter in plan:
            grid = random_grid(rng, 1 if letter == "i" else rng.randint(1, 4))
            grids[letter].append(grid)
            count = grid[0] * grid[1] * grid[2] // 4
            row += [START, *[IMAGE if letter == "i" else VIDEO] * count, END, *words(rng)]
        rows.append(row)
    longest = max(map(len, rows))
    ids = torch.tensor([[PAD] * (longest - len(row)) + row for row in rows])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows]),
        "mm_token_type_ids": (ids == IMAGE).int() + 2 * (ids == VIDEO).int(),
    }
    width = 3 * 2 * config.vision_config.patch_size**2
    for letter, pixels, grid in (
        ("i", "pixel_values", "image_grid_thw"),
        ("v", "pixel_values_videos", "video_grid_thw"),
    ):
        if grids[letter]:
            inputs[grid] = torch.tensor(grids[letter])
            inputs[pixels] = torch.randn(int(inputs[grid].prod(-1).sum()), width)
    if grids["v"]:
        inputs["second_per_grid_ts"] = torch.tensor([2 / rng.choice([0.5, 1.0, 2.0, 2.02, 3.0]) for _ in grids["v"]])
    return inputs


@pytest.mark.parametrize("case", range(24))
def test_converted_model_answers_as_its_source(case, tmp_path):
    rng = random.Random(case)
    torch.manual_seed(case)
    theirs = random_model(rng)
    theirs.save_pretrained(tmp_path / "qwen", max_shard_size="60KB" if case % 3 == 0 else "5GB")
    report = convert(tmp_path / "qwen", tmp_path / "ours", max_shard_size=50e3 if case % 2 else 5e9)
    ours = EmotionQwenForConditionalGeneration.from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():  # a gate that leans, differently for every visual
        for parameter in ours.model.compressor.gate.parameters():
            parameter.normal_(std=0.5)
    assert report.layout == "hub"
    inputs = random_inputs(rng, KINDS[case % len(KINDS)], theirs.config)
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        wanted = theirs(**inputs).logits
        for mode in ("learned", "general", "emotion"):
            ours.set_gate_mode(mode)
            difference = (ours(**inputs).logits - wanted)[real].abs().max().item()
            assert difference <= TOLERANCE, (
                f"gate mode {mode}: logits up to {wanted.abs().max():.1f} differ by {difference}"
            )
        ours.set_gate_mode("learned")
        options = {"do_sample": False, "max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS}
        theirs_ids, our_ids = (model.generate(**inputs, **options) for model in (theirs, ours))
    assert our_ids.shape[1] == inputs["input_ids"].shape[1] + NEW_TOKENS
    assert torch.equal(our_ids, theirs_ids)


def test_the_comparison_notices_a_changed_expert(tmp_path):
    """The inputs reach the logits through the experts: a 1 % change in one is far above the tolerance."""
    rng = random.Random(0)
    torch.manual_seed(0)
    theirs = random_model(rng)
    theirs.save_pretrained(tmp_path / "qwen")
    convert(tmp_path / "qwen", tmp_path / "ours")
    ours = EmotionQwenForConditionalGeneration.from_pretrained(tmp_path / "ours").eval()
    inputs = random_inputs(rng, "picture", theirs.config)
    with torch.no_grad():
        ours.model.compressor.emotion.mlp[2].weight.mul_(1.01)
        difference = (ours(**inputs).logits - theirs(**inputs).logits).abs().max().item()
    assert difference > 10 * TOLERANCE

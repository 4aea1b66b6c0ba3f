"""A converted Qwen2.5-VL answers as transformers' does: random small models, random inputs, fp32 on the CPU.

transformers 5.3 and later place what follows a video elsewhere than the rule with which Qwen2.5-VL was trained, so its
model is given the published positions there. `tests/model/test_positions.py` holds ours to that rule; here they are
held to transformers' up to the end of the first video of each row.

Measured over the 24 cases and three gate modes (transformers 5.23, torch 2.13): logits differ by at most 2.8e-6 (in a
case whose logits reach 3.6), greedy tokens never.
"""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from emotion_qwen.convert.conversion import convert
from emotion_qwen.model import EmotionQwenConfig, EmotionQwenForConditionalGeneration

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


@pytest.fixture(scope="module")
def qwen_pair() -> tuple[Qwen2_5_VLForConditionalGeneration, EmotionQwenForConditionalGeneration]:
    """Return transformers' model and ours of the same shape, for what needs no equal weights."""
    theirs = random_model(random.Random(1))
    shapes = {
        "text_config": theirs.config.text_config.to_dict(),
        "vision_config": theirs.config.vision_config.to_dict(),
    }
    heads = theirs.config.text_config.num_attention_heads
    tokens = {"image_token_id": IMAGE, "video_token_id": VIDEO}
    return theirs, EmotionQwenForConditionalGeneration(EmotionQwenConfig(**shapes, **tokens, gate_num_heads=heads))


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


def position_facts(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in inputs.items() if not name.startswith("pixel_values")}


def published_positions(ours: EmotionQwenForConditionalGeneration, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the (4, B, L) positions that `generate` makes: those of text, and ours in three dimensions."""
    mask = inputs["attention_mask"]
    text = (mask.cumsum(1) - 1).masked_fill(mask == 0, 0)
    return torch.cat([text[None], ours.model.get_rope_index(**position_facts(inputs))[0]])


@pytest.mark.parametrize("case", range(60))
def test_positions_are_those_of_transformers_up_to_the_end_of_the_first_video(case, qwen_pair):
    rng = random.Random(case)
    theirs, ours = qwen_pair
    inputs = position_facts(random_inputs(rng, KINDS[case % len(KINDS)], theirs.config))
    if not {"image_grid_thw", "video_grid_thw"} & set(inputs):
        return
    wanted, deltas = theirs.model.get_rope_index(**inputs)
    found, our_deltas = ours.model.get_rope_index(**inputs)
    for row, types in enumerate(inputs["mm_token_type_ids"].tolist()):
        runs = [[kind, len(list(run))] for kind, run in itertools.groupby(types)]
        videos = [number for number, (kind, _) in enumerate(runs) if kind == 2]
        same = sum(count for _, count in runs[: videos[0] + 1]) if videos else len(types)
        assert torch.equal(found[:, row, :same], wanted[:, row, :same])
        if not videos:
            assert torch.equal(our_deltas[row], deltas[row])


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
    positions = {"position_ids": published_positions(ours, inputs)} if "video_grid_thw" in inputs else {}
    with torch.no_grad():
        wanted = theirs(**inputs, **positions).logits
        for mode in ("learned", "general", "emotion"):
            ours.set_gate_mode(mode)
            difference = (ours(**inputs).logits - wanted)[real].abs().max().item()
            assert difference <= TOLERANCE, (
                f"gate mode {mode}: logits up to {wanted.abs().max():.1f} differ by {difference}"
            )
        ours.set_gate_mode("learned")
        options = {"do_sample": False, "max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS}
        theirs_ids, our_ids = theirs.generate(**inputs, **positions, **options), ours.generate(**inputs, **options)
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

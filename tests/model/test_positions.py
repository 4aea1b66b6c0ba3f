"""Positions by Qwen's published rule: a golden table of it, and sound, of which it says nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from emotion_qwen.errors import ShapeError
from emotion_qwen.model.positions import audio_spans, get_rope_index

AUDIO = 7
SHAPE = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 40, "num_mel_bins": 8}
HEARING = {"audio_config": {**SHAPE, "max_source_positions": 100, "frames_per_token": 5}, "audio_token_id": AUDIO}
LAYOUTS = 240


@pytest.fixture(scope="module")
def golden() -> list[dict[str, torch.Tensor]]:
    """Return the layouts of the golden table; `golden/make_positions.py` tells how they were made."""
    with np.load(Path(__file__).parents[1] / "golden" / "positions.npz") as table:
        table = {name: torch.from_numpy(table[name]).float() if name == "seconds" else
                 torch.from_numpy(table[name]).long() for name in table.files}  # fmt: skip
    shapes = table["shape"].tolist()
    sizes = [rows * width for rows, width in shapes]
    flat = {name: table[name].split(sizes) for name in ("types", "mask", "positions")}
    visuals = {name: table[name].split(table["visuals"].flatten().tolist()) for name in ("grid", "seconds")}
    offsets = table["offsets"].split([rows for rows, _ in shapes])
    return [
        {
            "tokens_per_second": table["tokens_per_second"][number],
            "mm_token_type_ids": flat["types"][number].reshape(shape),
            "attention_mask": flat["mask"][number].reshape(shape),
            "image_grid_thw": visuals["grid"][2 * number],
            "video_grid_thw": visuals["grid"][2 * number + 1],
            "second_per_grid_ts": visuals["seconds"][2 * number + 1],
            "positions": flat["positions"][number].reshape(*shape, 3).permute(2, 0, 1),
            "offsets": offsets[number][:, None],
        }
        for number, shape in enumerate(shapes)
    ]


def test_the_golden_table_holds_every_kind_of_layout(golden):
    assert len(golden) == LAYOUTS
    seconds = torch.cat([one["video_grid_thw"][:, 0] * one["second_per_grid_ts"] for one in golden])
    assert min(((seconds > 0.9 * s) & (seconds < 1.2 * s)).sum() for s in (10, 30, 60, 300)) >= 5
    assert sum(len(one["image_grid_thw"]) > 1 and len(one["video_grid_thw"]) > 1 for one in golden) > 10
    left = sum(bool((one["attention_mask"][:, 0] == 0).any()) for one in golden)
    right = sum(bool((one["attention_mask"][:, -1] == 0).any()) for one in golden)
    assert left > 30 and right > 30


@pytest.mark.parametrize("start", range(0, LAYOUTS, 40))
def test_positions_are_those_of_the_published_rule(model, golden, start):
    made = model()
    for layout in golden[start : start + 40]:
        facts = dict(layout)
        made.config.vision_config.tokens_per_second = int(facts.pop("tokens_per_second"))
        wanted, offsets = facts.pop("positions"), facts.pop("offsets")
        found, deltas = made.model.get_rope_index(torch.zeros_like(facts["mm_token_type_ids"]), **facts)
        assert torch.equal(found, wanted) and torch.equal(deltas, offsets)


def row_of(runs: list[tuple[int, int]]) -> torch.Tensor:
    return torch.tensor([[kind for kind, count in runs for _ in range(count)]])


def place(config, runs: list[tuple[int, int]], **facts) -> tuple[torch.Tensor, int]:
    types = row_of(runs)
    positions, deltas = get_rope_index(config, types, types, **facts)
    return positions[:, 0], int(deltas)


VIDEO = {"video_grid_thw": torch.tensor([[30, 4, 6]]), "second_per_grid_ts": torch.tensor([1.0])}  # 30 s, 180 tokens


def test_a_videos_sound_keeps_its_clock_and_what_follows_stands_behind_both(config):
    """Two tokens a second of video, ten of sound: 40 s of sound outlast 30 s of video, so the text waits for them."""
    for seconds, times, following in ((20, range(2, 42), 63 + 200), (40, range(2, 82), 63 + 400)):
        runs = [(0, 2), (2, 180), (0, 2), (3, 10 * seconds), (0, 5)]
        positions, delta = place(config(**HEARING), runs, **VIDEO)
        sound, text = positions[:, 184 : 184 + 10 * seconds], positions[:, -5:]
        assert positions[0, 2:182].unique().tolist() == [2 * s + 2 for s in range(30)]
        assert positions[:, 182].tolist() == [61] * 3, "the marks stand behind the last moment of the video, 60"
        assert sound[0].unique().tolist() == list(times)
        assert sound[1].tolist() == sound[2].tolist() == list(range(63, 63 + 10 * seconds))
        assert text.tolist() == [list(range(following, following + 5))] * 3
        assert delta == following + 5 - len(positions[0])


@pytest.mark.parametrize("runs", [[(0, 3), (3, 6), (0, 4)], [(0, 2), (2, 180), (0, 2), (3, 60), (0, 3)]])
def test_what_follows_a_sound_whose_time_outruns_its_tokens_begins_behind_its_last_time(config, runs):
    """Ten ticks of time a token of sound: counting like text alone would end before the sound has ended."""
    made = config(**HEARING)
    made.vision_config.tokens_per_second = 100
    facts = {**VIDEO, "second_per_grid_ts": torch.tensor([0.01])} if len(runs) > 3 else {}
    positions, delta = place(made, runs, **facts)
    words = runs[-1][1]
    before, text = positions[:, :-words], positions[:, -words:]
    assert before[0].max() > before[1].max(), "otherwise nothing is shown"
    assert text[:, 0].tolist() == [int(before.max()) + 1] * 3 and (text.diff() == 1).all()
    assert delta == int(positions.max()) + 1 - positions.shape[1]


def test_sound_behind_a_video_is_on_its_clock_and_other_sound_on_its_own():
    video = [0, *[2] * 12, 0, 0, *[3] * 4, 0]
    assert audio_spans(video) == [(15, 19, 1)]
    assert audio_spans([0, *[2] * 12, 0, 0, 0, *[3] * 4, 0]) == [(16, 20, 16)]
    assert audio_spans([0, *[1] * 12, 0, 0, *[3] * 4]) == [(15, 19, 15)]
    assert audio_spans([0, 3, 3, 0, 3]) == [(1, 3, 1), (4, 5, 4)]
    assert audio_spans([0, 0]) == []


def test_visuals_side_by_side_are_told_apart_by_their_grids(config):
    grids = torch.tensor([[1, 4, 6], [1, 2, 2]])
    positions, _ = place(config(), [(1, 7), (0, 1)], image_grid_thw=grids)
    assert positions.tolist() == [[0] * 6 + [3, 4], [0, 0, 0, 1, 1, 1, 3, 4], [0, 1, 2, 0, 1, 2, 3, 4]]


def test_grids_of_other_visuals_are_refused(config):
    with pytest.raises(ShapeError, match="more visual tokens than grids; pass the grid of every visual"):
        place(config(), [(0, 1), (1, 6), (0, 1), (1, 6)], image_grid_thw=torch.tensor([[1, 4, 6]]))
    with pytest.raises(ShapeError, match="5 visual tokens for a grid of 6; pass the grids of exactly"):
        place(config(), [(0, 1), (1, 5)], image_grid_thw=torch.tensor([[1, 4, 6]]))


def test_a_row_of_padding_alone_has_no_positions(config):
    positions, deltas = get_rope_index(config(), row_of([(0, 3)]), row_of([(0, 3)]), attention_mask=torch.zeros(1, 3))
    assert positions.tolist() == [[[0, 0, 0]]] * 3 and deltas.tolist() == [[0]]


@torch.no_grad()
@pytest.mark.parametrize("times", [2, 10, 30, 60])
def test_generation_after_a_video_counts_on_as_a_whole_forward_pass(model, times):
    """Without the offset of the rule, every token but the first would stand somewhere else than in training."""
    made = model()
    ids = torch.tensor([[10, 3, *[6] * times, 4, 11, 12]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": 2 * (ids == 6).int()}
    inputs |= {"video_grid_thw": torch.tensor([[times, 2, 2]]), "second_per_grid_ts": torch.tensor([1.0])}
    inputs["pixel_values_videos"] = torch.randn(4 * times, 96)
    written = made.generate(**inputs, max_new_tokens=6, min_new_tokens=6, do_sample=False)
    types = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, 6))
    whole = {**inputs, "input_ids": written, "attention_mask": torch.ones_like(written), "mm_token_type_ids": types}
    logits = made(**whole).logits[0, -7:-1].clone()
    logits[:, 2] = -torch.inf  # the end, which min_new_tokens forbids
    assert torch.equal(logits.argmax(-1), written[0, -6:])

"""Positions of tokens in time, height and width, by the rule with which Qwen2.5-VL was trained.

Text advances in all three. A visual spans its grid from the next free position, with time in units of
`tokens_per_second`. Whatever follows begins after the largest position so far, including time, and thus after the last
moment of a video.

Source: Qwen2-VL (https://arxiv.org/abs/2409.12191, section 2.1), Qwen2.5-VL (https://arxiv.org/abs/2502.13923, section
2.1.2). transformers 5.3 and later continue after the height and width alone, while their `rope_deltas` still follow the
published rule; the positions are therefore computed here, whatever version is installed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch

from emotion_qwen.errors import ShapeError
from emotion_qwen.model.configuration import EmotionQwenConfig

TEXT, IMAGE, VIDEO, AUDIO = range(4)  # of `mm_token_type_ids`
MARKS = 2  # tokens between a video and its sound: the end of one, the start of the other
Visual = tuple[list[int], float]  # (times, rows, columns) in patches, seconds between two times


def get_rope_index(
    config: EmotionQwenConfig,
    input_ids: torch.Tensor,
    mm_token_type_ids: torch.Tensor,
    image_grid_thw: torch.Tensor | None = None,
    video_grid_thw: torch.Tensor | None = None,
    second_per_grid_ts: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the positions of a padded batch, and the offsets for its next tokens.

    Audio advances in height and width like text, so that order is kept. Its times are those that its tokens cover,
    counted from the start of the video if the audio directly follows one (and is thus its sound), else from its own
    start. Whatever follows audio that outlasts its video begins after the audio's last time.

    Args:
        config: of the model.
        input_ids: (B, L); only their shape is read.
        mm_token_type_ids: (B, L) token types, 0 text, 1 image, 2 video, 3 audio.
        image_grid_thw: (V, 3) patches of all images, in reading order.
        video_grid_thw: (V, 3) patches of all videos, in reading order.
        second_per_grid_ts: (V,) seconds between two times of each video; None is one second.
        attention_mask: (B, L), 0 at padding, whose positions are 0; None is no padding.

    Returns:
        (3, B, L) positions, and (B, 1) offsets: token n of a row after its prompt has position n + offset.

    Raises:
        ShapeError: the grids do not match the visual tokens.
    """
    images = [] if image_grid_thw is None else image_grid_thw.tolist()
    videos = [] if video_grid_thw is None else video_grid_thw.tolist()
    seconds = [1.0] * len(videos) if second_per_grid_ts is None else [float(s) for s in second_per_grid_ts]
    visuals: dict[int, Iterator[Visual]] = {
        IMAGE: zip(images, itertools.repeat(0.0)),
        VIDEO: zip(videos, seconds, strict=True),
    }
    positions = torch.zeros(3, *input_ids.shape, dtype=torch.long)
    offsets = []
    for row, types in enumerate(mm_token_type_ids.cpu()):
        present = torch.ones_like(types).bool() if attention_mask is None else attention_mask[row].cpu().bool()
        placed = _place_row(types[present].tolist(), visuals, config)
        positions[:, row, present] = placed
        offsets.append([int(placed.max()) + 1 - placed.shape[1] if placed.numel() else 0])
    return positions.to(input_ids.device), torch.tensor(offsets, device=input_ids.device)


def _place_row(types: list[int], visuals: dict[int, Iterator[Visual]], config: EmotionQwenConfig) -> torch.Tensor:
    """Compute the (3, L) positions of one row without padding, taking its visuals from the batch's."""
    clocks = {begin: origin for begin, _, origin in audio_spans(types)}
    ticks_per_second = config.vision_config.tokens_per_second
    positions = torch.empty(3, len(types), dtype=torch.long)
    following = 0
    for kind, begin, end in _runs(types):
        while begin < end:
            stop = end
            if kind in (IMAGE, VIDEO):
                visual = _visual_positions(visuals[kind], config)
                stop = begin + visual.shape[1]
                if stop > end:
                    raise ShapeError(
                        f"{end - begin} visual tokens for a grid of {stop - begin}; pass the grids of exactly "
                        "the visuals that input_ids name"
                    )
                positions[:, begin:stop] = following + visual
            else:
                positions[:, begin:stop] = following + torch.arange(stop - begin)
            if kind == AUDIO and config.hearing is not None:
                seconds = torch.arange(stop - begin) * config.hearing.seconds_per_token
                positions[0, begin:stop] = positions[0, clocks[begin]] + (seconds * ticks_per_second).floor().long()
            following = int(positions[:, :stop].max()) + 1
            begin = stop
    return positions


def _visual_positions(visuals: Iterator[Visual], config: EmotionQwenConfig) -> torch.Tensor:
    """Compute the (3, tokens) positions of the next visual, counted from its own beginning."""
    shape = config.vision_config
    try:
        (times, rows, columns), seconds = next(visuals)
    except StopIteration:
        raise ShapeError("there are more visual tokens than grids; pass the grid of every visual") from None
    side = shape.spatial_merge_size
    ticks = (torch.arange(times, dtype=torch.float32) * seconds * shape.tokens_per_second).long()
    grid = torch.meshgrid(ticks, torch.arange(rows // side), torch.arange(columns // side), indexing="ij")
    return torch.stack(grid).flatten(1)


def _runs(types: list[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (type, first token, token after the last) of every run of equal types."""
    begin = 0
    for kind, run in itertools.groupby(types):
        end = begin + len(list(run))
        yield kind, begin, end
        begin = end


def audio_spans(types: list[int]) -> list[tuple[int, int, int]]:
    """Find the sounds in the token types of a row.

    Returns:
        (first token, token after the last, token at which its clock begins) of each. That is the first token of the
        video (type 2) which ends right before it, with nothing but the two marks between, or its own first token.
    """
    runs = list(_runs(types))
    spans = []
    for number, (kind, begin, end) in enumerate(runs):
        if kind != AUDIO:
            continue
        before: list[Any] = runs[max(number - 2, 0) : number]
        behind_video = [k for k, _, _ in before] == [VIDEO, TEXT] and before[1][2] - before[1][1] == MARKS
        spans.append((begin, end, before[0][1] if behind_video else begin))
    return spans

"""Reorder the samples of a batch or pack them into rows, together with their media.

Packed rows contain several samples without padding between them. They are isolated in the way that transformers
supports for Qwen2.5-VL: positions have an additional first row that restarts at every sample, and there is no attention
mask.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import BatchFeature

from emotion_qwen.model.audio import audio_token_counts
from emotion_qwen.model.modeling import IGNORE
from emotion_qwen.model.positions import AUDIO
from emotion_qwen.processing import EmotionQwenProcessor

VISUALS = (
    ("image_grid_thw", ("pixel_values", "image_features"), 1),
    ("video_grid_thw", ("pixel_values_videos", "video_features"), 2),
)
"""Grid, tensors with one row per patch, and token type of both kinds of visual."""
GRIDS = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts", "mm_token_type_ids", "attention_mask")
"""Tensors from which positions are computed."""


def packed(
    batch: BatchFeature, processor: EmotionQwenProcessor, positions: Callable[..., Any], capacity: int
) -> BatchFeature:
    """Pack a right-padded batch.

    Args:
        batch: from the processor, with labels.
        processor: of the model.
        positions: the model's `get_rope_index`.
        capacity: tokens per row; no sample may be longer.

    Returns:
        Text tensors (R, L) with R rows, `position_ids` (4, R, L), and the media in the order of the rows.
    """
    places, _ = positions(batch["input_ids"], **{name: batch[name] for name in GRIDS if name in batch})
    lengths = batch["attention_mask"].sum(1).tolist()
    rows = fill_rows(lengths, capacity)
    fills = (("input_ids", processor.tokenizer.pad_token_id), ("mm_token_type_ids", 0), ("labels", IGNORE))
    texts = {key: _lay_out(batch[key], rows, lengths, fill) for key, fill in fills}
    restart = torch.arange(batch["input_ids"].shape[1]).expand(1, *batch["input_ids"].shape)
    four = torch.cat([restart, places])  # (4, B, L)
    texts["position_ids"] = torch.stack([_lay_out(plane, rows, lengths, None) for plane in four])
    order = [sample for row in rows for sample in row]
    return BatchFeature({**media_in_order(batch, order, processor), **texts})


def fill_rows(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Distribute samples over rows by best-fit decreasing.

    Args:
        lengths: tokens of each sample, none above `capacity`.
        capacity: tokens per row.

    Returns:
        Per row the indices of its samples; every sample is in exactly one row.
    """
    rows: list[list[int]] = []
    free: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        fitting = [row for row, left in enumerate(free) if left >= lengths[number]]
        if fitting:
            row = min(fitting, key=lambda r: (free[r], r))
            rows[row].append(number)
            free[row] -= lengths[number]
        else:
            rows.append([number])
            free.append(capacity - lengths[number])
    return rows


def _lay_out(padded: torch.Tensor, rows: list[list[int]], lengths: list[int], fill: int | None) -> torch.Tensor:
    """Put right-padded (B, L) samples into rows; `fill` None counts up from 0, so the tail is a separate sample."""
    width = max(sum(lengths[n] for n in row) for row in rows)
    lines = []
    for row in rows:
        pieces = [padded[n, : lengths[n]] for n in row]
        gap = width - sum(len(piece) for piece in pieces)
        tail = torch.arange(gap) if fill is None else torch.full((gap,), fill)
        lines.append(torch.cat([*pieces, tail.to(padded.dtype)]))
    return torch.stack(lines)


def visuals_per_sample(batch: BatchFeature, grid: str, kind: int) -> list[int]:
    """Count the visuals of one kind per row of a padded batch, by assigning their tokens in order."""
    merged = batch[grid].prod(-1)
    tokens = int((batch["mm_token_type_ids"] == kind).sum())
    return _media_per_sample(batch, kind, (merged * tokens // merged.sum()).tolist())


def _media_per_sample(batch: BatchFeature, kind: int, sizes: list[int]) -> list[int]:
    """Count the media of one token type per row of a padded batch, from the number of tokens per medium, in order."""
    tokens = (batch["mm_token_type_ids"] == kind).sum(1).tolist()
    counts, place = [], 0
    for remaining in tokens:
        first = place
        while remaining > 0:
            remaining -= sizes[place]
            place += 1
        counts.append(place - first)
    return counts


def _in_order(counts: list[int], order: list[int]) -> list[int]:
    """Return the indices of media for samples in a new order, from the number of media per sample."""
    starts = [0, *itertools.accumulate(counts)]
    return [medium for sample in order for medium in range(starts[sample], starts[sample] + counts[sample])]


def media_in_order(batch: BatchFeature, order: list[int], processor: EmotionQwenProcessor) -> dict[str, torch.Tensor]:
    """Return the tensors of all media for samples in a new order; samples may be omitted."""
    return {**_visuals_in_order(batch, order), **_sounds_in_order(batch, order, processor)}


def _sounds_in_order(batch: BatchFeature, order: list[int], processor: EmotionQwenProcessor) -> dict[str, torch.Tensor]:
    hearing = processor.hearing
    if "input_features" not in batch or hearing is None:
        return {}
    sizes = audio_token_counts(batch["feature_lengths"], hearing.frames_per_token).tolist()
    picked = _in_order(_media_per_sample(batch, AUDIO, sizes), order)
    return {name: batch[name][picked] for name in ("input_features", "feature_lengths")} if picked else {}


def _visuals_in_order(batch: BatchFeature, order: list[int]) -> dict[str, torch.Tensor]:
    ordered: dict[str, torch.Tensor] = {}
    sizes = [len(batch[grid]) for grid, _, _ in VISUALS if grid in batch]
    domains = list(batch["domains"].split(sizes)) if "domains" in batch else []
    picked_domains = []
    for grid, tensors, kind in VISUALS:
        if grid not in batch:
            continue
        picked = _in_order(visuals_per_sample(batch, grid, kind), order)
        if domains:
            picked_domains.append(domains.pop(0)[picked])
        if not picked:  # the remaining samples have no visual of this kind
            continue
        patches = batch[grid].prod(-1).tolist()
        ordered[grid] = batch[grid][picked]
        for name in tensors:
            if name in batch:
                pieces = batch[name].split(patches)
                ordered[name] = torch.cat([pieces[visual] for visual in picked])
        if kind == 2:
            ordered["second_per_grid_ts"] = batch["second_per_grid_ts"][picked]
    if "domains" in batch:
        ordered["domains"] = torch.cat(picked_domains) if picked_domains else batch["domains"]
    return ordered

"""Reorder the samples of a batch or pack them into rows, together with their media.

Packed rows contain several samples without padding between them. They are isolated in the way that transformers
supports for Qwen2.5-VL: positions have an additional first row that restarts at every sample, and there is no attention
mask.

Samples that begin with the same text (system message, question) can share it: the row stores this prefix once, followed
by the rest of each sample. A mask lets every sample attend to the prefix and to itself, so that losses and
gradients are those of separate samples, with fewer tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
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
TEXTS = ("input_ids", "attention_mask", "mm_token_type_ids", "labels")
"""Names of tensors in a batch with one row per sample and one column per token."""
LEAST_SHARED = 8
"""Minimum length in tokens of a shared prefix."""


@dataclass(frozen=True)
class Bundle:
    """Samples of a row that share their first `prefix` tokens; 0 for a single sample."""

    prefix: int
    samples: tuple[int, ...]

    def tokens(self, lengths: Sequence[int]) -> int:
        """Return the number of tokens in the row, from the lengths of all samples of the batch."""
        return self.prefix + sum(lengths[sample] - self.prefix for sample in self.samples)

    def pieces(self, lengths: Sequence[int]) -> list[tuple[int, int, int]]:
        """Return the content of the row, in order: (sample, first token, end)."""
        beginning = [(self.samples[0], 0, self.prefix)] if self.prefix else []
        return beginning + [(sample, self.prefix, lengths[sample]) for sample in self.samples]


def packed(
    batch: BatchFeature,
    processor: EmotionQwenProcessor,
    positions: Callable[..., Any],
    capacity: int,
    share_prefixes: bool = False,
    width: int | None = None,
) -> BatchFeature:
    """Pack a right-padded batch.

    Args:
        batch: from the processor, with labels.
        processor: of the model.
        positions: the model's `get_rope_index`.
        capacity: tokens per row; no sample may be longer.
        share_prefixes: store text at the beginning of several samples once per row.
        width: length of the rows; None is that of the longest.

    Returns:
        Text tensors (R, L) with R rows and the media in the order of the rows. `position_ids` is (4, R, L), or with
        shared prefixes (3, R, L) and an `attention_mask` with a mask (R, 1, L, L), True where a token may
        attend.
    """
    places, _ = positions(batch["input_ids"], **{name: batch[name] for name in GRIDS if name in batch})
    lengths = batch["attention_mask"].sum(1).tolist()
    whole = [Bundle(0, (sample,)) for sample in range(len(lengths))]
    bundles = shared_prefixes(batch, lengths, capacity) if share_prefixes else whole
    filled = fill_rows([bundle.tokens(lengths) for bundle in bundles], capacity)
    rows = [[bundles[number] for number in row] for row in filled]
    pieces = [[piece for bundle in row for piece in bundle.pieces(lengths)] for row in rows]
    fills = (("input_ids", processor.tokenizer.pad_token_id), ("mm_token_type_ids", 0), ("labels", IGNORE))
    texts: dict[str, Any] = {key: _lay_out(batch[key], pieces, fill, width) for key, fill in fills}
    restart = torch.arange(batch["input_ids"].shape[1]).expand(1, *batch["input_ids"].shape)
    planes = places if share_prefixes else torch.cat([restart, places])  # (3 or 4, B, L)
    texts["position_ids"] = torch.stack([_lay_out(plane, pieces, None, width) for plane in planes])
    if share_prefixes:
        texts["attention_mask"] = {"full_attention": _branches(rows, lengths)}
    order = [sample for row in rows for bundle in row for sample in bundle.samples]
    return BatchFeature({**media_in_order(batch, order, processor), **texts})


def shared_prefixes(batch: BatchFeature, lengths: Sequence[int], capacity: int) -> list[Bundle]:
    """Bundle the samples of a right-padded batch by their common beginnings.

    A prefix ends before the first medium and before the token that precedes the first supervised one, so that no
    supervised token follows another sample's last token in a row.

    Returns:
        Bundles of at most `capacity` tokens; every sample is in exactly one.
    """
    fixed = (batch["mm_token_type_ids"] != 0) | (batch["labels"] != IGNORE)
    heads = []
    for row, length in enumerate(lengths):
        first = fixed[row].nonzero()
        stop = int(first[0]) if len(first) else length
        heads.append(batch["input_ids"][row, : max(stop - 1, 0)].tolist())
    bundles = []
    for prefix, members in _common(heads):
        together = fill_rows([lengths[sample] - prefix for sample in members], capacity - prefix)
        for numbers in together:
            shared = prefix if len(numbers) > 1 else 0
            bundles.append(Bundle(shared, tuple(members[number] for number in numbers)))
    return bundles


def _common(heads: Sequence[Sequence[int]]) -> list[tuple[int, list[int]]]:
    """Divide sequences into groups, each with the length of its common prefix, so that most tokens are shared.

    In lexicographic order, sequences with long common prefixes are neighbours, so the best groups are contiguous in
    that order. They are found by dynamic programming over their ends.
    """
    order = sorted(range(len(heads)), key=lambda n: list(heads[n]))
    common = [_same(heads[before], heads[after]) for before, after in itertools.pairwise(order)]
    best, starts = [0], [0]  # most tokens shared among the first `end` sequences, and where their last group starts
    for end in range(1, len(order) + 1):
        saved, start, prefix = best[end - 1], end - 1, 1 << 60
        for first in range(end - 2, -1, -1):
            prefix = min(prefix, common[first])
            if prefix < LEAST_SHARED:
                break
            if (shared := best[first] + (end - first - 1) * prefix) > saved:
                saved, start = shared, first
        best.append(saved)
        starts.append(start)
    groups: list[tuple[int, list[int]]] = []
    end = len(order)
    while end:
        first = starts[end]
        prefix = min(common[first : end - 1], default=len(heads[order[first]]))
        groups.insert(0, (prefix, order[first:end]))
        end = first
    return groups


def _same(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the number of tokens that two sequences have in common at their beginning."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _branches(rows: Sequence[Sequence[Bundle]], lengths: Sequence[int]) -> torch.Tensor:
    """Return the (R, 1, L, L) bool mask: a token attends to earlier tokens of its sample and of its bundle's prefix."""
    width = max(sum(bundle.tokens(lengths) for bundle in row) for row in rows)
    bundle_of = torch.full((len(rows), width), -1)
    branch_of = torch.zeros((len(rows), width), dtype=torch.long)
    for row, bundles in enumerate(rows):
        place = 0
        for number, bundle in enumerate(bundles):
            bundle_of[row, place : place + bundle.tokens(lengths)] = number
            for branch, (_, first, end) in enumerate(bundle.pieces(lengths)):
                is_prefix = bundle.prefix and not branch
                branch_of[row, place : place + end - first] = -1 if is_prefix else branch
                place += end - first
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    same = bundle_of[:, :, None] == bundle_of[:, None]
    reachable = (branch_of[:, None] == -1) | (branch_of[:, :, None] == branch_of[:, None])
    return (causal & same & reachable)[:, None]


def concatenated(parts: Sequence[BatchFeature], processor: EmotionQwenProcessor) -> BatchFeature:
    """Join the tensors of single samples (1, L) to a right-padded batch, with their media in order."""
    fills = {"input_ids": processor.tokenizer.pad_token_id, "labels": IGNORE}
    width = max(part["input_ids"].shape[1] for part in parts)
    joined: dict[str, Any] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        tensors = [part[name] for part in parts if name in part]
        if name in TEXTS:
            tensors = [F.pad(x, (0, width - x.shape[1]), value=fills.get(name, 0)) for x in tensors]
        if name != "domains":
            joined[name] = torch.cat(tensors)
    if all("domains" in part for part in parts):  # of all pictures, then of all videos
        by_kind = [part["domains"].split([len(part.get(grid, ())) for grid, _, _ in VISUALS]) for part in parts]
        joined["domains"] = torch.cat([kinds[number] for number in range(len(VISUALS)) for kinds in by_kind])
    return BatchFeature(joined)


def with_boundaries(row: BatchFeature) -> BatchFeature:
    """Add the bounds of the samples of one packed row, under the names used by variable-length attention kernels.

    `cu_seq_lens_q` and `cu_seq_lens_k` (S + 1,) int32 are the cumulative lengths of the S samples, the tail included;
    `max_length_q` and `max_length_k` the largest length. Flash attention takes them; other implementations read the
    same from the positions, which restart at every sample.
    """
    restarts = row["position_ids"][0, 0]
    begins = (restarts == 0).nonzero()[:, 0]
    bounds = torch.cat([begins, begins.new_tensor([len(restarts)])]).to(torch.int32)
    longest = int(bounds.diff().max())
    lengths = {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}
    return BatchFeature({**row, **lengths})


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


def _lay_out(
    padded: torch.Tensor, rows: list[list[tuple[int, int, int]]], fill: int | None, width: int | None = None
) -> torch.Tensor:
    """Put pieces (sample, first token, end) of (B, L) samples into rows of `width`, by default that of the longest.

    `fill` None counts up from 0, so the tail is a separate sample.
    """
    width = width or max(sum(end - first for _, first, end in row) for row in rows)
    lines = []
    for row in rows:
        pieces = [padded[sample, first:end] for sample, first, end in row]
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

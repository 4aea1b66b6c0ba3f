"""Samples to training batches, padded or packed, by the same processor that serves inference.

Nothing is ever cut: a sample that is longer than allowed is set aside with its reason. Packed rows hold several
samples one after another without padding between them. What isolates them is the form transformers understands for
Qwen2.5-VL: positions with a fourth row in front that restarts at every sample, and no attention mask.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from transformers import BatchFeature

from emotion_qwen.data.mixture import Item
from emotion_qwen.errors import DataError
from emotion_qwen.files import write_whole
from emotion_qwen.model.audio import audio_token_counts
from emotion_qwen.model.modeling import IGNORE
from emotion_qwen.model.positions import AUDIO
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.records import Sample

DOMAINS = ("general", "emotion")  # in the order of the gate's columns
VISUALS = (
    ("image_grid_thw", ("pixel_values", "image_features"), 1),
    ("video_grid_thw", ("pixel_values_videos", "video_features"), 2),
)
"""Grid, tensors with one row per patch, and token type, of either kind of visual."""
TEXTS = ("input_ids", "attention_mask", "mm_token_type_ids", "labels")
"""Tensors of a batch with one row per sample and one column per token."""


@dataclass
class SampleBatches:
    """Collate samples into what the model's forward takes, with `labels` from the chat template.

    Args:
        processor: the model's own.
        positions: the model's `get_rope_index`; needed for packing.
        pack: tokens of a packed row; None pads.
        max_tokens: longest sample, in tokens; None allows any.
        max_rejected: samples that may be set aside over the whole run before it stops.
        rejections: JSON lines of the samples that were set aside, to which all ranks and workers of a run append; None
            counts those of this process alone.
        prepare: turns a sample's media into what the processor takes (decoding, capture, cached features).
    """

    processor: EmotionQwenProcessor
    positions: Callable[..., Any] | None = None
    pack: int | None = None
    max_tokens: int | None = None
    max_rejected: int = 0
    prepare: Callable[[Sample], Sample] | None = None
    rejections: Path | None = None
    rejected: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, items: Sequence[Item | Sample]) -> BatchFeature:
        """Return a batch of the samples; `domains` (V,) tells of every visual 0 general, 1 emotion.

        Raises:
            DataError: more samples were set aside than allowed, or none is left.
        """
        batch = self._prepared(items)
        lengths = batch["attention_mask"].sum(1).tolist()
        limit = min(n for n in (self.max_tokens, self.pack, 10**9) if n is not None)
        kept = [row for row, length in enumerate(lengths) if length <= limit]
        if len(kept) < len(items):
            for item, length in zip(items, lengths, strict=True):
                if length > limit:
                    self._reject(_sample(item), f"{length} tokens, longer than {limit}")
            items, batch = [items[row] for row in kept], self._of_rows(batch, kept)
        if all(isinstance(one, Item) for one in items):
            batch["domains"] = _domains(items, batch)  # type: ignore[arg-type]
        return self._packed(batch) if self.pack else batch

    def _prepared(self, items: Sequence[Item | Sample]) -> BatchFeature:
        if not items:
            raise DataError("a batch of no sample; give at least one")
        chats = [list((self.prepare(_sample(i)) if self.prepare else _sample(i)).messages) for i in items]
        return self.processor.apply_chat_template(chats, tokenize=True, return_labels=True, padding_side="right")

    def _of_rows(self, batch: BatchFeature, rows: list[int]) -> BatchFeature:
        """Return a right-padded batch of some of its rows, with their media."""
        if not rows:
            raise DataError(f"no sample of a batch is left ({self._last()}); raise max_tokens or correct the data")
        width = int(batch["attention_mask"][rows].sum(1).max())
        texts = {key: batch[key][rows, :width] for key in TEXTS if key in batch}
        return BatchFeature({**texts, **_visuals_in_order(batch, rows), **self._sounds_in_order(batch, rows)})

    def _reject(self, sample: Sample, reason: str) -> None:
        if sample.id in [name for name, _ in self.rejected]:
            return
        self.rejected.append((sample.id, reason))
        count = len(self.rejected) if self.rejections is None else _write_rejected(self.rejections, sample.id, reason)
        if count > self.max_rejected:
            raise DataError(
                f"{count} sample(s) cannot be used, {self.max_rejected} allowed ({self._last()}); "
                "correct the data, or raise batch.max_rejected"
            )

    def _last(self) -> str:
        return f"last: {self.rejected[-1][0]!r}, {self.rejected[-1][1]}" if self.rejected else "the batch was empty"

    def _packed(self, batch: BatchFeature) -> BatchFeature:
        assert self.positions is not None and self.pack is not None  # the trainer hands both on
        names = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts", "mm_token_type_ids", "attention_mask")
        places, _ = self.positions(batch["input_ids"], **{name: batch[name] for name in names if name in batch})
        lengths = batch["attention_mask"].sum(1).tolist()
        rows = fill_rows(lengths, self.pack)
        pad = self.processor.tokenizer.pad_token_id
        packed = {
            key: _lay_out(batch[key], rows, lengths, fill)
            for key, fill in (("input_ids", pad), ("mm_token_type_ids", 0), ("labels", IGNORE))
        }
        restart = torch.arange(batch["input_ids"].shape[1]).expand(1, *batch["input_ids"].shape)
        four = torch.cat([restart, places])  # (4, B, L)
        packed["position_ids"] = torch.stack([_lay_out(one, rows, lengths, None) for one in four])
        order = [number for row in rows for number in row]
        return BatchFeature({**_visuals_in_order(batch, order), **self._sounds_in_order(batch, order), **packed})

    def _sounds_in_order(self, batch: BatchFeature, order: list[int]) -> dict[str, torch.Tensor]:
        """Bring the windows of sound into the order in which packed rows read their samples."""
        hearing = self.processor.hearing
        if "input_features" not in batch or hearing is None:
            return {}
        sizes = audio_token_counts(batch["feature_lengths"], hearing.frames_per_token).tolist()
        picked = _in_order(_media_per_sample(batch, AUDIO, sizes), order)
        return {name: batch[name][picked] for name in ("input_features", "feature_lengths")} if picked else {}


def _write_rejected(path: Path, name: str, reason: str) -> int:
    """Add a sample to the file of a run unless it is there already, and return how many samples the file has.

    Ranks and workers of a run take turns, so the count is that of the whole run; a resumed run counts on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        if name not in [json.loads(line)["id"] for line in lines]:
            lines.append(json.dumps({"id": name, "reason": reason}, ensure_ascii=False))
            write_whole(path, "\n".join(lines) + "\n")
        return len(lines)


def fill_rows(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Put samples into as few rows as best-fit decreasing finds.

    Args:
        lengths: tokens of each sample, none above `capacity`.
        capacity: tokens of a row.

    Returns:
        Per row the numbers of its samples; every sample stands in exactly one row.
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
    """Lay right-padded (B, L) samples out in rows; `fill` None counts up from 0, so the tail is a sample of its own."""
    width = max(sum(lengths[n] for n in row) for row in rows)
    lines = []
    for row in rows:
        pieces = [padded[n, : lengths[n]] for n in row]
        gap = width - sum(len(piece) for piece in pieces)
        tail = torch.arange(gap) if fill is None else torch.full((gap,), fill)
        lines.append(torch.cat([*pieces, tail.to(padded.dtype)]))
    return torch.stack(lines)


def _domains(items: Sequence[Item], batch: BatchFeature) -> torch.Tensor:
    """Tell the domain of every visual, all images first, as the model encodes them."""
    told = []
    for grid, _, kind in VISUALS:
        if grid in batch:
            for item, count in zip(items, _visuals_per_sample(batch, grid, kind), strict=True):
                told += [DOMAINS.index(item.domain)] * count
    return torch.tensor(told, dtype=torch.long)


def _visuals_per_sample(batch: BatchFeature, grid: str, kind: int) -> list[int]:
    """Count the visuals of one kind in each row of a padded batch: their tokens are used up in order."""
    merged = batch[grid].prod(-1)
    tokens = int((batch["mm_token_type_ids"] == kind).sum())
    return _media_per_sample(batch, kind, (merged * tokens // merged.sum()).tolist())


def _media_per_sample(batch: BatchFeature, kind: int, sizes: list[int]) -> list[int]:
    """Count the media of one token type in each row of a padded batch, from the tokens of each medium, in order."""
    tokens = (batch["mm_token_type_ids"] == kind).sum(1).tolist()
    counts, place = [], 0
    for left in tokens:
        first = place
        while left > 0:
            left -= sizes[place]
            place += 1
        counts.append(place - first)
    return counts


def _in_order(counts: list[int], order: list[int]) -> list[int]:
    """Return the numbers of the media as samples in a new order read them, from how many each sample has."""
    starts = [0, *itertools.accumulate(counts)]
    return [medium for sample in order for medium in range(starts[sample], starts[sample] + counts[sample])]


def _visuals_in_order(batch: BatchFeature, order: list[int]) -> dict[str, torch.Tensor]:
    """Bring all per-visual tensors into the order in which packed rows read their samples."""
    ordered: dict[str, torch.Tensor] = {}
    domains = (
        list(batch["domains"].split([len(batch[g]) for g, _, _ in VISUALS if g in batch]))
        if ("domains" in batch)
        else []
    )
    told = []
    for grid, tensors, kind in VISUALS:
        if grid not in batch:
            continue
        picked = _in_order(_visuals_per_sample(batch, grid, kind), order)
        if domains:
            told.append(domains.pop(0)[picked])
        if not picked:  # the samples that are left have none of this kind
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
        ordered["domains"] = torch.cat(told) if told else batch["domains"]
    return ordered


def _sample(item: Item | Sample) -> Sample:
    return item.sample if isinstance(item, Item) else item

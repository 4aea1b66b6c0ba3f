"""Collate samples into training batches, padded or packed, with the processor that inference also uses.

Samples are never truncated: one that is longer than allowed is rejected with a reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from transformers import BatchFeature

from emotion_qwen.data.mixture import MixtureItem, sample_of_item
from emotion_qwen.data.packing import TEXTS, VISUALS, media_in_order, packed, visuals_per_sample
from emotion_qwen.errors import DataError
from emotion_qwen.files import write_whole
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.records import Sample

PIXELS = {"pixel_values", "pixel_values_videos"}
DOMAINS = ("general", "emotion")  # in the order of the columns of the gate weights


@dataclass
class SampleCollator:
    """Collates samples into arguments of the model's `forward`, with `labels` from the chat template.

    Args:
        processor: of the model.
        positions: the model's `get_rope_index`; needed for packing.
        pack: tokens per packed row; None pads.
        max_tokens: longest allowed sample in tokens; None allows any length.
        max_rejected: number of rejected samples above which the run stops.
        rejections: file of JSON lines to which all ranks and workers of a run append rejected samples; None counts
            only those of this process.
        prepare: prepares a sample's media for the processor (decoding, capture, cached features).
        share_prefixes: store text at the beginning of several samples of a packed row only once.
        pixels: dtype in which patches leave this process. If it is that of the model's matrix products, to which the
            model converts them first, only the number of bytes sent to the model's process and device changes.
    """

    processor: EmotionQwenProcessor
    positions: Callable[..., Any] | None = None
    pack: int | None = None
    max_tokens: int | None = None
    max_rejected: int = 0
    prepare: Callable[[Sample], Sample] | None = None
    rejections: Path | None = None
    rejected: list[tuple[str, str]] = field(default_factory=list)
    share_prefixes: bool = False
    pixels: torch.dtype = torch.float32

    def __call__(self, items: Sequence[MixtureItem | Sample]) -> BatchFeature:
        """Return a batch of the samples, with `domains` (V,), 0 for general and 1 for emotion visuals.

        Raises:
            DataError: more samples were rejected than allowed, or none is left.
        """
        batch = self._prepared(items)
        lengths = batch["attention_mask"].sum(1).tolist()
        limit = min(n for n in (self.max_tokens, self.pack, 10**9) if n is not None)
        kept = [row for row, length in enumerate(lengths) if length <= limit]
        if len(kept) < len(items):
            for item, length in zip(items, lengths, strict=True):
                if length > limit:
                    self._reject(sample_of_item(item), f"{length} tokens, longer than {limit}")
            items, batch = [items[row] for row in kept], self._of_rows(batch, kept)
        if all(isinstance(item, MixtureItem) for item in items):
            batch["domains"] = _domains(items, batch)  # type: ignore[arg-type]
        if not self.pack:
            return batch
        assert self.positions is not None  # the trainer passes it on
        return packed(batch, self.processor, self.positions, self.pack, self.share_prefixes)

    def features(self, item: MixtureItem | Sample, limit: int) -> BatchFeature | None:
        """Return the tensors of one sample, or None if it is longer than `limit` tokens and was rejected.

        Raises:
            DataError: more samples were rejected than allowed.
        """
        batch = self._prepared([item])
        length = batch["input_ids"].shape[1]
        if length > limit:
            self._reject(sample_of_item(item), f"{length} tokens, longer than {limit}")
            return None
        if isinstance(item, MixtureItem):
            batch["domains"] = _domains([item], batch)
        return batch

    def _prepared(self, items: Sequence[MixtureItem | Sample]) -> BatchFeature:
        if not items:
            raise DataError("a batch of no sample; give at least one")
        samples = [sample_of_item(item) for item in items]
        chats = [list((self.prepare(sample) if self.prepare else sample).messages) for sample in samples]
        batch = self.processor.apply_chat_template(chats, tokenize=True, return_labels=True, padding_side="right")
        for name in PIXELS & set(batch):
            batch[name] = batch[name].to(self.pixels)
        return batch

    def _of_rows(self, batch: BatchFeature, rows: list[int]) -> BatchFeature:
        """Return some rows of a right-padded batch, with their media."""
        if not rows:
            raise DataError(f"no sample of a batch is left ({self._last()}); raise max_tokens or correct the data")
        width = int(batch["attention_mask"][rows].sum(1).max())
        texts = {key: batch[key][rows, :width] for key in TEXTS if key in batch}
        return BatchFeature({**texts, **media_in_order(batch, rows, self.processor)})

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


def _write_rejected(path: Path, name: str, reason: str) -> int:
    """Add a sample to the file of rejected samples unless it contains it, and return the number of samples in the file.

    The file is locked for all ranks and workers, so the count is that of the whole run, including earlier parts of a
    resumed run.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        if name not in [json.loads(line)["id"] for line in lines]:
            lines.append(json.dumps({"id": name, "reason": reason}, ensure_ascii=False))
            write_whole(path, "\n".join(lines) + "\n")
        return len(lines)


def _domains(items: Sequence[MixtureItem], batch: BatchFeature) -> torch.Tensor:
    """Return the domain of every visual, all images first, in the order in which the model encodes them."""
    domains = []
    for grid, _, kind in VISUALS:
        if grid in batch:
            for item, count in zip(items, visuals_per_sample(batch, grid, kind), strict=True):
                domains += [DOMAINS.index(item.domain)] * count
    return torch.tensor(domains, dtype=torch.long)

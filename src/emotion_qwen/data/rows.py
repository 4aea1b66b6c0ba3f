"""Fill rows of a fixed number of tokens from a buffer of samples: one row per forward pass, on every rank.

A stream prepares samples in the order of the mixture and keeps those that do not fit yet. Each row takes the sample
that has waited longest and, of all combinations of the others, one that fills the row best. Rows are therefore almost
full whatever the lengths are, no sample waits forever, and all ranks have the same number of rows.

The output of a stream depends only on its state: the next position in the mixture, and the positions in its buffer.
The state after a row is passed on with the row, so that a resumed run continues with the samples that the stopped one
would have used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info
from transformers import BatchFeature

from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.data.mixture import Mixture
from emotion_qwen.data.packing import concatenated, packed, with_boundaries
from emotion_qwen.errors import DataError

BUFFERED_ROWS = 4
"""Number of rows that the buffer of a stream can fill: more leave fewer gaps and take more memory."""
MOST_BUFFERED = 256
"""Samples in a buffer, however short."""
BLOCK = 8
"""Consecutive places that one stream reads, so that each stream has the parts of the mixture in their shares."""
STATE = "stream"
"""Key of the state of a stream in its rows."""


@dataclass
class StreamState:
    """The position of a stream: how many places it has read, and the places in its buffer, oldest first."""

    read: int = 0
    buffer: list[int] = field(default_factory=list)


@dataclass
class RowStream(IterableDataset):
    """Endless rows of up to `capacity` tokens; each is a batch of one row with boundaries.

    Every worker of every rank is one stream, which reads its own places of the mixture.

    Attributes:
        mixture: an endless one.
        collate: prepares single samples; its `positions` are needed.
        capacity: tokens per row; longer samples are rejected.
        rank: of this process.
        world: number of ranks.
        workers: data-loading processes per rank; 0 reads in this process.
        rows: that this rank has used in earlier parts of a resumed run.
        states: of all streams of all ranks by number; missing ones begin at the start.
        fixed: pad rows to `capacity`, for kernels that are compiled per length.
    """

    mixture: Mixture
    collate: SampleCollator
    capacity: int
    rank: int = 0
    world: int = 1
    workers: int = 0
    rows: int = 0
    states: dict[int, StreamState] = field(default_factory=dict)
    fixed: bool = False

    def __iter__(self) -> Iterator[BatchFeature]:
        info = get_worker_info()
        per_rank = max(self.workers, 1)
        # A loader asks its workers in turn, beginning with the first; a resumed run continues with the next in turn.
        worker = ((0 if info is None else info.id) + self.rows) % per_rank
        return self._rows(self.rank * per_rank + worker, self.world * per_rank)

    def _rows(self, number: int, streams: int) -> Iterator[BatchFeature]:
        state = self.states.get(number, StreamState())
        read, buffer = state.read, [self._prepared(place) for place in state.buffer]
        rejected = 0  # since the last sample that was not
        while True:
            while not self._enough(buffer):
                block, within = divmod(read, BLOCK)
                place, features = self._prepared((block * streams + number) * BLOCK + within)
                read += 1
                if features is not None:
                    buffer.append((place, features))
                rejected = rejected + 1 if features is None else 0
                if rejected > 2 * sum(len(part) for part in self.mixture.parts):
                    raise DataError(f"no sample fits into a row of {self.capacity} tokens; raise batch.row_tokens")
            chosen = fullest([features["input_ids"].shape[1] for _, features in buffer], self.capacity)
            row = self._row([buffer[index][1] for index in chosen])
            buffer = [entry for index, entry in enumerate(buffer) if index not in chosen]
            row[STATE] = (number, StreamState(read, [place for place, _ in buffer]))
            yield row

    def _prepared(self, place: int) -> tuple[int, Any]:
        limit = min(self.capacity, self.collate.max_tokens or self.capacity)
        return place, self.collate.features(self.mixture.item_at(place), limit)

    def _enough(self, buffer: Sequence[tuple[int, Any]]) -> bool:
        tokens = sum(features["input_ids"].shape[1] for _, features in buffer)
        return len(buffer) >= MOST_BUFFERED or tokens >= BUFFERED_ROWS * self.capacity

    def _row(self, parts: Sequence[BatchFeature]) -> BatchFeature:
        processor, positions = self.collate.processor, self.collate.positions
        assert positions is not None  # the trainer passes it on
        width = self.capacity if self.fixed else None
        batch = concatenated(parts, processor)
        row = packed(batch, processor, positions, self.capacity, width=width)
        return with_boundaries(row)


def fullest(lengths: Sequence[int], capacity: int) -> list[int]:
    """Choose the first sample and those of the others that fill a row best.

    All sums of lengths are computed exactly, as the bits of one number per sample (subset sums by dynamic programming);
    of equally good choices, earlier samples are preferred.

    Args:
        lengths: tokens of each sample, none above `capacity`.
        capacity: tokens per row.

    Returns:
        Indices in ascending order, beginning with 0.
    """
    left = capacity - lengths[0]
    within = (1 << (left + 1)) - 1
    sums = [1]  # bit n: some of the samples so far have n tokens together
    for length in lengths[1:]:
        sums.append((sums[-1] | sums[-1] << length) & within)
    best, chosen = sums[-1].bit_length() - 1, []
    for index in range(len(lengths) - 1, 0, -1):
        if not sums[index - 1] >> best & 1:
            chosen.append(index)
            best -= lengths[index]
    return [0, *reversed(chosen)]


def saved_states(position: dict[str, Any] | None, streams: int) -> dict[int, StreamState]:
    """Read the states of all streams from a saved position; none for a run from the start.

    Raises:
        DataError: the run had another number of streams.
    """
    if position is None:
        return {}
    states = position.get("streams", {})
    if len(states) != streams:
        raise DataError(
            f"the checkpoint has {len(states)} stream(s) of rows, one per rank and worker; this run has {streams}: "
            "resume with the same number of processes and the same batch.workers"
        )
    return {int(number): StreamState(**state) for number, state in states.items()}

"""Keys and values of all running requests in one place, so that one pass of the model serves them all.

Row r holds a request; rows 0..n-1 are always the running ones, so that a pass reads a view and copies nothing. A
request that ends leaves its row to the last one. Columns are added in blocks as requests grow, and given back when
nobody is left.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

BLOCK = 128  # columns


class SlotLayer(CacheLayerMixin):
    """Keys and values (S, heads, columns, size) of one layer; a step writes one column into each running row."""

    is_sliding = False

    def __init__(self, owner: SlotCache) -> None:
        super().__init__()
        self.owner = owner

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make room for all rows, in the form of the given states (B, heads, L, size)."""
        shape = (self.owner.slots, key_states.shape[1], self.owner.columns, key_states.shape[3])
        self.keys, self.values = key_states.new_zeros(shape), value_states.new_zeros(shape)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one column (B, heads, 1, size) for each running row, and return what all of them have so far."""
        assert self.keys is not None and self.values is not None  # `admit` comes before the first step
        rows, places = self.owner.step_rows, self.owner.step_places
        self.keys[rows, :, places] = key_states[:, :, 0]
        self.values[rows, :, places] = value_states[:, :, 0]
        count, width = self.owner.running, self.owner.width
        return self.keys[:count, :, :width], self.values[:count, :, :width]

    def write(self, row: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write the (heads, L, size) states of a prompt into a row."""
        if not self.is_initialized:
            self.lazy_initialization(keys[None], values[None])
        assert self.keys is not None and self.values is not None
        self.keys[row, :, : keys.shape[1]], self.values[row, :, : values.shape[1]] = keys, values

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row onto another one."""
        assert self.keys is not None and self.values is not None
        self.keys[target, :, :length] = self.keys[source, :, :length]
        self.values[target, :, :length] = self.values[source, :, :length]

    def grow(self, columns: int) -> None:
        """Add columns."""
        if self.is_initialized:
            assert self.keys is not None and self.values is not None
            more = columns - self.keys.shape[2]
            self.keys = torch.nn.functional.pad(self.keys, (0, 0, 0, more))
            self.values = torch.nn.functional.pad(self.values, (0, 0, 0, more))

    def drop(self) -> None:
        """Give the memory back."""
        self.keys, self.values = None, None  # type: ignore[assignment]
        self.is_initialized = False

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: D102
        return self.owner.width, 0

    def get_seq_length(self) -> int:  # noqa: D102
        return self.owner.width

    def get_max_length(self) -> int:  # noqa: D102
        return -1


class SlotCache(Cache):
    """The cache of at most `slots` running requests.

    Args:
        layers: of the language model.
        slots: rows.
        device: of the model.
    """

    def __init__(self, layers: int, slots: int, device: torch.device) -> None:
        self.slots, self.device = slots, device
        self.columns = BLOCK
        self.lengths: list[int] = []
        self.step_rows = self.step_places = torch.zeros(0, dtype=torch.long)
        self.width = 0
        super().__init__(layers=[SlotLayer(self) for _ in range(layers)])

    @property
    def running(self) -> int:
        """Rows in use."""
        return len(self.lengths)

    def admit(self, prompt: Cache, source: int, length: int) -> int:
        """Copy row `source` of a prompt's cache, of which `length` columns count, into a free row; return that row."""
        row = self.running
        self._fit(length + 1)
        for own, given in zip(self.layers, prompt.layers, strict=True):
            own.write(row, given.keys[source, :, :length], given.values[source, :, :length])
        self.lengths.append(length)
        return row

    def release(self, row: int) -> None:
        """Free a row; the last running one moves there."""
        last = self.running - 1
        if row != last:
            for layer in self.layers:
                layer.move(last, row, self.lengths[last])
            self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        if not self.lengths and self.columns > BLOCK:
            self.columns = BLOCK
            for layer in self.layers:
                layer.drop()

    def begin_step(self) -> torch.Tensor:
        """Make room for one more token in every running row, and return the (B, 1, 1, width) mask of what it sees."""
        self.width = max(self.lengths) + 1
        self._fit(self.width)
        self.step_places = torch.tensor(self.lengths, device=self.device)
        self.step_rows = torch.arange(self.running, device=self.device)
        self.lengths = [length + 1 for length in self.lengths]
        seen = torch.arange(self.width, device=self.device)[None] <= self.step_places[:, None]
        return seen[:, None, None]

    def _fit(self, columns: int) -> None:
        if columns > self.columns:
            wanted = -(-max(columns, self.columns * 3 // 2) // BLOCK) * BLOCK
            for layer in self.layers:
                layer.grow(wanted)
            self.columns = wanted  # last: if memory ended on the way, some layers are wider than they need be

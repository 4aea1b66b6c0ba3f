"""Keys and values in pages: what belongs to whom, and how much memory it takes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from emotion_qwen.serving.scheduling.cache import PAGE, PagedCache, Row, _alike, _cells

LAYERS, HEADS, SIZE = 2, 2, 4


def prompt(length: int, seed: int):
    """A prompt's cache of one row, padded on the right."""
    random = torch.Generator().manual_seed(seed)
    states = torch.randn(LAYERS, 2, 1, HEADS, length + 3, SIZE, generator=random)
    return SimpleNamespace(layers=[SimpleNamespace(keys=keys, values=values) for keys, values in states])


def held_bytes(cache: PagedCache) -> int:
    pools = [pool for layer in cache.layers for pool in (layer.keys, layer.values) if pool is not None]
    return sum(pool.untyped_storage().nbytes() for pool in pools)


def needed_bytes(*lengths: int) -> int:
    return sum(lengths) * LAYERS * 2 * HEADS * SIZE * 4


def stored(cache: PagedCache, row: Row) -> torch.Tensor:
    cells = _cells([row.pages], cache.device)[0, : row.length]
    return torch.stack([torch.stack([layer.keys[cells], layer.values[cells]]) for layer in cache.layers])


def test_memory_follows_the_sum_of_the_requests_and_is_given_back():
    cache = PagedCache(LAYERS, torch.device("cpu"))
    short, long = cache.admit(prompt(10, 0), 0, 10), cache.admit(prompt(4000, 1), 0, 4000)
    assert held_bytes(cache) <= 1.3 * needed_bytes(10, 4000)
    kept = stored(cache, short)
    cache.release(long)
    assert held_bytes(cache) == needed_bytes(PAGE) and torch.equal(stored(cache, short), kept)
    cache.release(short)
    assert held_bytes(cache) == 0


def test_requests_that_come_grow_and_go_keep_their_own_states():
    """600 random events over up to 20 requests: states are as written, memory within 1.3 times the pages in use."""
    chance, cache = torch.Generator().manual_seed(3), PagedCache(LAYERS, torch.device("cpu"))
    known: dict[Row, torch.Tensor] = {}
    for event in range(600):
        draw = int(torch.randint(0, 10, (1,), generator=chance))
        if draw < 2 and len(known) < 20:
            length = int(torch.randint(1, 300, (1,), generator=chance))
            given = prompt(length, event)
            row = cache.admit(given, 0, length)
            known[row] = torch.stack(
                [
                    torch.stack([s[0, :, :length].transpose(0, 1) for s in (one.keys, one.values)])
                    for one in given.layers
                ]
            )
        elif draw == 2 and known:
            row = list(known)[int(torch.randint(0, len(known), (1,), generator=chance))]
            cache.release(row)
            del known[row]
        elif known:
            rows = list(known)
            for row in rows:
                cache.extend(row)
            cache.begin_step(rows)
            states = torch.randn(LAYERS, 2, len(rows), HEADS, 1, SIZE, generator=chance)
            for layer, (keys, values) in zip(cache.layers, states, strict=True):
                layer.update(keys, values)
            cache.end_step(rows)
            for number, row in enumerate(rows):
                known[row] = torch.cat([known[row], states[:, :, number, :, 0][:, :, None]], 2)
        used = sum(len(row.pages) for row in known)
        assert cache.pages <= max(1.3 * used, used + 1)
        assert held_bytes(cache) == needed_bytes(cache.pages * PAGE)
    assert len(known) > 3
    for row, states in known.items():
        assert torch.equal(stored(cache, row), states)


@pytest.mark.parametrize("failing", [0, 1])
def test_a_request_that_finds_no_memory_leaves_the_others_as_they_were(monkeypatch, failing):
    cache = PagedCache(LAYERS, torch.device("cpu"))
    row = cache.admit(prompt(40, 0), 0, 40)
    kept = stored(cache, row)
    layer = cache.layers[failing]
    monkeypatch.setattr(layer, "resize", lambda cells: (_ for _ in ()).throw(RuntimeError("no memory")))
    with pytest.raises(RuntimeError):
        cache.admit(prompt(500, 1), 0, 500)
    monkeypatch.undo()
    assert cache.rows == [row] and torch.equal(stored(cache, row), kept)
    other = cache.admit(prompt(500, 1), 0, 500)
    assert other.length == 500 and torch.equal(stored(cache, row), kept)


def test_requests_of_like_length_are_looked_up_together():
    lengths = [1, 1, 3, 4, 100, 5, 110, 130]
    groups = _alike(lengths)
    assert [[lengths[number] for number in group] for group in groups] == [[1, 1, 3], [4, 5], [100, 110], [130]]
    assert _alike([7]) == [[0]] and _alike([]) == []

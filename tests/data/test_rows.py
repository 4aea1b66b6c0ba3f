"""Rows filled from a buffer: almost full, equal to padded samples, and continued where they stopped."""

import copy
import functools
import itertools
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.data.test_collate import clip, picture, talk
from torch.utils.data import DataLoader
from transformers import BatchFeature, modeling_flash_attention_utils

from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.data.mixture import FIRST_POSITIONS, Mixture, OnePass, SampleList
from emotion_qwen.data.packing import fill_rows
from emotion_qwen.data.rows import STATE, RowStream, StreamState, fullest, saved_states
from emotion_qwen.errors import DataError
from emotion_qwen.model.modeling import IGNORE
from emotion_qwen.records import Sample
from emotion_qwen.training.precision import choose_attention


class Lengths:
    """Stands for a collator: samples are rows of tokens of drawn lengths, without media."""

    processor = SimpleNamespace(tokenizer=SimpleNamespace(pad_token_id=0), hearing=None)
    max_tokens = None

    def __init__(self, lengths):
        self.lengths, self.prepared = lengths, []

    @staticmethod
    def positions(ids, **_):
        return torch.arange(ids.shape[1]).expand(3, *ids.shape), None

    def features(self, item, limit):
        self.prepared.append(item.place)
        length = int(self.lengths[int(item.sample.id)])
        if length > limit:
            return None
        ids = torch.full((1, length), int(item.sample.id) + 1)
        return BatchFeature(
            {"input_ids": ids, "labels": ids, "mm_token_type_ids": ids * 0, "attention_mask": torch.ones_like(ids)}
        )


def numbered(count: int) -> Mixture:
    samples = [Sample(str(n), ()) for n in range(count)]
    return Mixture([SampleList("all", "general", samples)], [1.0], None, seed=0)


def drawn_lengths(median: float, sigma: float, count: int = 3000) -> np.ndarray:
    """Lognormal lengths as of clips with conversations, none longer than a row."""
    return np.exp(np.random.default_rng(0).normal(np.log(median), sigma, count)).round().clip(24, 8192).astype(int)


@pytest.mark.parametrize(("median", "sigma"), [(120, 0.8), (600, 0.9), (1500, 0.8), (2500, 0.6)])
def test_rows_are_at_least_95_percent_samples_at_lognormal_lengths(median, sigma):
    stream = RowStream(numbered(3000), Lengths(drawn_lengths(median, sigma)), 8192)
    shares = [row["input_ids"].shape[1] / 8192 for row in itertools.islice(stream, 40)]
    assert max(shares) <= 1 and np.mean(shares) >= 0.97


def test_a_batch_of_a_fixed_number_of_samples_would_leave_rows_empty():
    """What the buffer is for: four samples per batch, as the settings of 7B had, fill a third of the row."""
    lengths = drawn_lengths(600, 0.9)
    assert np.mean(lengths.reshape(-1, 4).sum(1) / 8192) < 0.5


def test_no_sample_waits_for_ever_or_comes_twice():
    lengths = drawn_lengths(1500, 0.8, 400)
    lengths[7] = 8100
    stream = RowStream(numbered(400), Lengths(lengths), 8192)
    used = []
    for row in itertools.islice(stream, 60):
        used += [int(n) - 1 for n in row["input_ids"][0].unique_consecutive()]
    first = stream.mixture.owner * 0
    order = [int(stream.mixture.item_at(place).sample.id) for place in range(len(used) + 60)]
    assert len(first) >= FIRST_POSITIONS and len(used) == len(set(used))
    waited = [used.index(sample) for sample in order[: len(used) - 60]]  # every early sample was used
    assert max(abs(place - index) for place, index in enumerate(waited)) < 60


@pytest.mark.parametrize("seed", range(20))
def test_the_best_filling_is_found(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 60, rng.integers(1, 10)).tolist()
    chosen = fullest(lengths, 100)
    rest = range(1, len(lengths))
    sums = [
        lengths[0] + sum(lengths[n] for n in subset)
        for size in range(len(lengths))
        for subset in itertools.combinations(rest, size)
    ]
    assert chosen[0] == 0 and len(set(chosen)) == len(chosen)
    assert sum(lengths[n] for n in chosen) == max(total for total in sums if total <= 100)


@pytest.fixture(scope="module")
def talks() -> Mixture:
    """Text, pictures, videos: conversations of unequal length."""
    samples = [
        talk("a", "What is it?", "a cat", picture(1)),
        talk("b", "Hello!", "happy and glad, I think so"),
        talk("c", "And this? Tell me more about all of it.", "sad", clip(2), picture(3, 64)),
        talk("d", "Which?", "no", picture(4), picture(5, 64)),
        talk("e", "What goes on here, in one word?", "fear", clip(6, 6)),
    ]
    parts = [SampleList("x", "general", samples[:3]), SampleList("y", "emotion", samples[3:])]
    return Mixture(parts, [0.6, 0.4], None, seed=0)


def in_row(row, previous: StreamState | None) -> list[int]:
    """Return the places of a stream's samples in a row, from its states before and after."""
    state = row[STATE][1]
    before = previous or StreamState()
    return [*before.buffer, *range(before.read, state.read)]


def text_of(item, processor) -> list[int]:
    return SampleCollator(processor)([item])["input_ids"][0].tolist()


def forward(model, batch):
    inputs = {key: value for key, value in batch.items() if key not in ("domains", STATE)}
    return model(**inputs, supervised_only=True)


@pytest.mark.parametrize("attention", ["sdpa", pytest.param("flex", marks=pytest.mark.slow)])
def test_a_row_equals_its_samples_padded_and_alone(shallow, processor, talks, attention):
    model = copy.deepcopy(shallow.model).eval()
    choose_attention(model, attention)
    collate = SampleCollator(processor, model.model.get_rope_index)
    stream = RowStream(talks, collate, 320, fixed=attention != "sdpa")
    before = None
    for row in itertools.islice(stream, 2):
        assert len(row["input_ids"]) == 1 and row["input_ids"].shape[1] <= 320
        places = [p for p in in_row(row, before) if p not in row[STATE][1].buffer]
        before = row[STATE][1]
        items = [talks.item_at(place) for place in places]
        items = [items[n] for n in fill_rows([len(text_of(item, processor)) for item in items], 320)[0]]
        with torch.no_grad():
            packed, padded = forward(model, row), forward(model, SampleCollator(processor)(items))
        counts = [int((SampleCollator(processor)([item])["labels"] != IGNORE).sum()) for item in items]
        assert sum(counts) == len(packed.logits) and len(items) > 2
        assert (packed.logits - padded.logits).abs().max() <= 1e-5
        with torch.no_grad():
            for item, part in zip(items, packed.logits.split(counts), strict=True):
                assert (forward(model, SampleCollator(processor)([item])).logits - part).abs().max() <= 1e-5
        assert torch.equal(row["domains"], SampleCollator(processor)(items)["domains"])


def test_boundaries_are_those_of_the_samples(nano, processor, talks):
    collate = SampleCollator(processor, nano.model.model.get_rope_index)
    for fixed in (False, True):
        row = next(iter(RowStream(talks, collate, 320, fixed=fixed)))
        bounds = row["cu_seq_lens_q"].tolist()
        ends = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
        text = row["input_ids"][0].tolist()
        assert bounds[0] == 0 and bounds[-1] == len(text) and row["max_length_q"] == max(np.diff(bounds))
        assert all(text[bound] == ends for bound in bounds[: -2 if fixed else -1])  # each begins a conversation
        assert len(text) == 320 or not fixed


def rows_of(stream: RowStream, workers: int, count: int) -> list:
    return list(itertools.islice(DataLoader(stream, batch_size=None, num_workers=workers), count))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_stream_continues_with_the_same_rows(workers):
    lengths = drawn_lengths(1500, 0.8, 400)

    def stream(rows=0, states=None, rank=0):
        return RowStream(numbered(400), Lengths(lengths), 8192, rank, 2, workers, rows, states or {})

    for rank in range(2):
        whole = rows_of(stream(rank=rank), workers, 11)
        states = {}
        for row in whole[:5]:
            states[row[STATE][0]] = row[STATE][1]
        again = rows_of(stream(5, states, rank), workers, 6)
        for row, wanted in zip(again, whole[5:], strict=True):
            assert torch.equal(row["input_ids"], wanted["input_ids"]) and row[STATE] == wanted[STATE]
    ranks = [{int(n) for row in rows_of(stream(rank=r), workers, 5) for n in row["input_ids"].unique()} for r in (0, 1)]
    assert not ranks[0] & ranks[1]


def test_a_position_of_another_number_of_streams_is_refused():
    position = {"streams": {"0": {"read": 4, "buffer": [2]}, "1": {"read": 0, "buffer": []}}}
    assert saved_states(position, 2) == {0: StreamState(4, [2]), 1: StreamState()} and saved_states(None, 3) == {}
    with pytest.raises(DataError, match=r"has 2 stream\(s\) of rows, one per rank and worker; this run has 3"):
        saved_states(position, 3)


def test_a_row_that_no_sample_fits_is_an_error():
    with pytest.raises(DataError, match="no sample fits into a row of 16 tokens; raise batch.row_tokens"):
        next(iter(RowStream(numbered(5), Lengths([17] * 5), 16)))


def test_an_endless_mixture_continues_a_finite_one():
    parts = [SampleList(n, "general", [Sample(f"{n}{k}", ()) for k in range(7)]) for n in "ab"]
    finite = Mixture(parts, [3, 1], 3 * FIRST_POSITIONS, seed=4)
    endless = Mixture(parts, [3, 1], None, seed=4)
    for place in (0, 5, FIRST_POSITIONS - 1, FIRST_POSITIONS, 3 * FIRST_POSITIONS - 1):
        assert endless.item_at(place) == finite[place]
    assert endless.position(2 * FIRST_POSITIONS) == finite.position(2 * FIRST_POSITIONS)
    with pytest.raises(DataError, match="an endless mixture has no length"):
        len(endless)
    every = OnePass(parts)
    assert [every[place].id for place in range(len(every))] == [f"{n}{k}" for n in "ab" for k in range(7)]


def varlen(query, key, value, cu_seqlens_q, cu_seqlens_k, causal=False, **others):
    """Compute what flash attention documents of `flash_attn_varlen_func`: (N, heads, d), one segment after another."""
    assert (
        causal and others["max_seqlen_q"] == int(cu_seqlens_q.diff().max()) and torch.equal(cu_seqlens_q, cu_seqlens_k)
    )
    assert cu_seqlens_q.dtype == torch.int32
    results = []
    for begin, end in itertools.pairwise(cu_seqlens_q.tolist()):
        q, k, v = (x[begin:end].transpose(0, 1)[None] for x in (query, key, value))
        enabled = {"enable_gqa": q.shape[1] != k.shape[1], "scale": others.get("softmax_scale")}
        results.append(torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, **enabled)[0])
    return torch.cat(results, 1).transpose(0, 1)


def test_flash_attention_gets_the_boundaries_and_equals_sdpa(shallow, processor, talks, monkeypatch):
    """By transformers' own path to the kernel, with the kernel replaced by what its documentation says it computes."""

    process = functools.partial(
        modeling_flash_attention_utils._process_flash_attention_kwargs,
        supports_mapping=defaultdict(bool, max_seqlen_q=True, max_seqlen_k=True),
    )
    kernels = (None, varlen, None, None, None), (process, None)

    model = copy.deepcopy(shallow.model).eval()
    row = next(iter(RowStream(talks, SampleCollator(processor, model.model.get_rope_index), 320)))
    with torch.no_grad():
        wanted = forward(model, row).logits
        monkeypatch.setattr(modeling_flash_attention_utils, "lazy_import_flash_attention", lambda name: kernels)
        model.model.language_model.config._attn_implementation = "flash_attention_2"
        logits = forward(model, row).logits
        assert (logits - wanted).abs().max() <= 1e-5
        joined = {**row, "cu_seq_lens_q": row["cu_seq_lens_q"][[0, -1]], "cu_seq_lens_k": row["cu_seq_lens_k"][[0, -1]]}
        joined |= dict.fromkeys(("max_length_q", "max_length_k"), row["input_ids"].shape[1])
        assert (forward(model, joined).logits - wanted).abs().max() > 0.1  # the kernel follows the boundaries

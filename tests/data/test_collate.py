import copy
import dataclasses
import json

import numpy as np
import pytest
import torch

from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.data.mixture import MixtureItem
from emotion_qwen.data.packing import fill_rows, shared_prefixes
from emotion_qwen.errors import DataError
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.configuration import EmotionQwenAudioConfig
from emotion_qwen.model.modeling import IGNORE
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.records import Clip, Sample

BOUND = 1e-5


def clip(seed: int, frames: int = 4) -> Clip:
    drawn = np.random.default_rng(seed).integers(0, 255, (frames, 48, 48, 3), dtype=np.uint8)
    return Clip(drawn, np.arange(frames) / 2.0, "made", duration=frames / 2)


def sound(seed: int, seconds: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


def picture(seed: int, side: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)


def talk(name: str, question: str, answer: str, *media) -> Sample:
    parts = [{"type": "video", "video": m} if isinstance(m, Clip) else {"type": "image", "image": m} for m in media]
    asked = [*parts, {"type": "text", "text": question}]
    return Sample(name, ({"role": "user", "content": asked}, {"role": "assistant", "content": answer}))


def listen(name: str, question: str, answer: str, *media) -> Sample:
    kinds = [("video", m) if isinstance(m, Clip) else ("audio", m) for m in media]
    asked = [*({"type": kind, kind: m} for kind, m in kinds), {"type": "text", "text": question}]
    return Sample(name, ({"role": "user", "content": asked}, {"role": "assistant", "content": answer}))


@pytest.fixture
def samples() -> list[Sample]:
    return [
        talk("a", "What is it?", "a cat", picture(1)),
        talk("b", "Hello!", "happy and glad, I think so"),
        talk("c", "And this? Tell me more about all of it.", "sad", clip(2), picture(3, 64)),
        talk("d", "Which?", "no", picture(4), picture(5, 64)),
        talk("e", "What goes on here, in one word?", "fear", clip(6, 6)),
    ]


def taught_logits(model, batch) -> torch.Tensor:
    inputs = {key: value for key, value in batch.items() if key != "domains"}
    return model(**inputs, supervised_only=True).logits


def by_sample(model, batch, order, samples, processor) -> dict[str, torch.Tensor]:
    counts = [int((SampleCollator(processor)([samples[n]])["labels"] != IGNORE).sum()) for n in order]
    return {samples[n].id: part for n, part in zip(order, taught_logits(model, batch).split(counts), strict=True)}


def row_order(samples, processor, pack) -> list[int]:
    lengths = SampleCollator(processor)(samples)["attention_mask"].sum(1).tolist()
    return [n for row in fill_rows(lengths, pack) for n in row]


@torch.no_grad()
def test_packed_equals_padded_and_alone(bare, processor, samples):
    model = bare
    collate = SampleCollator(processor, model.model.get_rope_index, pack=160)
    batch = collate(samples)
    assert len(batch["input_ids"]) < len(samples) and "attention_mask" not in batch
    packed = by_sample(model, batch, row_order(samples, processor, 160), samples, processor)
    padded = by_sample(model, SampleCollator(processor)(samples), range(len(samples)), samples, processor)
    for sample in samples:
        alone = taught_logits(model, SampleCollator(processor)([sample]))
        assert (packed[sample.id] - alone).abs().max() <= BOUND
        assert (padded[sample.id] - alone).abs().max() <= BOUND


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("train", [False, True])
def test_changing_one_sample_leaves_its_neighbours_bit_equal(shallow, processor, samples, train, checkpointing):
    model = copy.deepcopy(shallow.model).train(train)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    order = row_order(samples, processor, 160)
    other = [talk("c", "And that? Tell me less about all of it.", "sad", clip(7), picture(8, 64))]
    changed = [*samples[:2], *other, *samples[3:]]
    assert row_order(changed, processor, 160) == order
    collate = SampleCollator(processor, model.model.get_rope_index, pack=160)
    before = by_sample(model, collate(samples), order, samples, processor)
    after = by_sample(model, collate(changed), order, changed, processor)
    assert not torch.equal(before["c"], after["c"])
    for name in "abde":
        assert torch.equal(before[name], after[name])


def test_visuals_stay_whole_and_with_their_sample(processor, nano, samples):
    collate = SampleCollator(processor, nano.model.model.get_rope_index, pack=160)
    items = [MixtureItem(i, s, "emotion" if s.id in "ce" else "general") for i, s in enumerate(samples)]
    batch, padded = collate(items), SampleCollator(processor)(items)
    order = row_order(samples, processor, 160)
    per_sample = {0: [0], 2: [1], 3: [2, 3]}  # which images of the padded batch a sample has
    images = [i for n in order for i in per_sample.get(n, [])]
    assert torch.equal(batch["image_grid_thw"], padded["image_grid_thw"][images])
    pieces = padded["pixel_values"].split(padded["image_grid_thw"].prod(-1).tolist())
    assert torch.equal(batch["pixel_values"], torch.cat([pieces[i] for i in images]))
    videos = [{2: 0, 4: 1}[n] for n in order if n in (2, 4)]
    assert torch.equal(batch["second_per_grid_ts"], padded["second_per_grid_ts"][videos])
    told = [int(samples[n].id in "ce") for n in order if n in per_sample for _ in per_sample[n]] + [1, 1]
    assert batch["domains"].tolist() == told
    assert (batch["input_ids"] == processor.image_token_id).sum() == (batch["image_grid_thw"].prod(-1) // 4).sum()


def test_too_long_a_sample_is_set_aside_whole(processor, samples):
    collate = SampleCollator(processor, max_tokens=60, max_rejected=1)
    batch = collate([samples[0], samples[2]])
    assert len(batch["input_ids"]) == 1 and collate.rejected[0][0] == "c"
    assert "tokens, longer than 60" in collate.rejected[0][1]
    collate([samples[0], samples[2]])  # the same sample in a later turn
    with pytest.raises(DataError, match=r"2 sample\(s\) cannot be used, 1 allowed \(last: 'twin', \d+ tokens"):
        collate([samples[0], dataclasses.replace(samples[2], id="twin")])
    with pytest.raises(DataError, match="no sample of a batch is left"):
        SampleCollator(processor, max_tokens=10, max_rejected=9)([samples[0]])


def test_a_batch_without_its_long_samples_is_that_of_the_others(processor, samples, nano):
    """And nothing is decoded twice."""
    prepared = []

    def prepare(sample):
        prepared.append(sample.id)
        return sample

    lengths = {s.id: len(SampleCollator(processor)([s])["input_ids"][0]) for s in samples}
    limit = sorted(lengths.values())[len(samples) // 2]
    short = [s for s in samples if lengths[s.id] <= limit]
    assert 0 < len(short) < len(samples)
    for pack in (None, limit):
        places = nano.model.model.get_rope_index if pack else None
        collate = SampleCollator(processor, places, pack, limit, len(samples), prepare)
        batch, wanted = collate(samples), SampleCollator(processor, places, pack)(short)
        assert set(batch) == set(wanted) and all(torch.equal(batch[key], wanted[key]) for key in wanted)
    assert prepared == 2 * [s.id for s in samples]


def test_samples_that_workers_set_aside_are_counted_and_listed_together(processor, samples, tmp_path):
    from torch.utils.data import DataLoader

    path = tmp_path / "run" / "rejected.jsonl"
    lengths = {s.id: len(SampleCollator(processor)([s])["input_ids"][0]) for s in samples}
    limit = sorted(lengths.values())[len(samples) // 2]
    long = sorted(name for name, length in lengths.items() if length > limit)
    short = next(s for s in samples if s.id not in long)
    pairs = [place for number, s in enumerate(samples) if s.id in long for place in (samples.index(short), number)]

    def load(allowed: int) -> list:
        collate = SampleCollator(processor, max_tokens=limit, max_rejected=allowed, rejections=path)
        return list(DataLoader(samples, batch_size=2, sampler=pairs, num_workers=2, collate_fn=collate))

    assert len(load(len(long))) == len(long)
    listed = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert sorted(line["id"] for line in listed) == long and all("longer than" in line["reason"] for line in listed)
    load(len(long))  # a resumed run sees them again and counts each once
    path.unlink()
    with pytest.raises(DataError, match=f"{len(long)} sample.s. cannot be used, {len(long) - 1} allowed"):
        load(len(long) - 1)


def test_rows_are_filled_without_cutting():
    rng = np.random.default_rng(0)
    for _ in range(50):
        lengths = rng.integers(1, 100, rng.integers(1, 60)).tolist()
        rows = fill_rows(lengths, 100)
        assert sorted(n for row in rows for n in row) == list(range(len(lengths)))
        assert all(sum(lengths[n] for n in row) <= 100 for row in rows)
        assert len(rows) <= 1.25 * sum(lengths) / 100 + 1
    assert fill_rows([5, 5, 5, 5], 10) == [[0, 1], [2, 3]]


def test_the_tail_of_a_packed_row_is_a_sample_of_its_own(processor, nano, samples):
    batch = SampleCollator(processor, nano.model.model.get_rope_index, pack=160)(samples)
    tail = batch["input_ids"] == processor.tokenizer.pad_token_id
    assert tail.any() and (batch["labels"][tail] == IGNORE).all()
    row = int(tail.any(1).nonzero()[0])
    assert batch["position_ids"][0, row][tail[row]].tolist() == list(range(int(tail[row].sum())))


SMALL = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "num_mel_bins": 16}
HEARING = {"mels": 16, "window_seconds": 1.0, "frames_per_token": 10}


@pytest.fixture
def hearing(nano):
    """Return nano's language and vision with a random audio side, and a processor that hears."""
    config = copy.deepcopy(nano.model.config)
    config.audio_config = EmotionQwenAudioConfig(**SMALL, max_source_positions=50, frames_per_token=10)
    own = nano.processor
    processor = EmotionQwenProcessor(own.image_processor, own.tokenizer, None, own.clip_settings, HEARING)
    torch.manual_seed(0)
    model = EmotionQwenForConditionalGeneration(processor.name_tokens(config)).eval()
    seen = {k: v for k, v in nano.model.state_dict().items() if not k.startswith("model.audio.")}
    model.load_state_dict(seen, strict=False)
    return model, processor


@torch.no_grad()
def test_packed_sounds_stay_with_their_sample(hearing):
    model, processor = hearing
    samples = [
        talk("a", "What is it?", "a cat", picture(1)),
        listen("b", "And this?", "sad", sound(2, 2.5)),
        listen("c", "Tell me more about it, please.", "happy and glad", clip(3), sound(4, 0.3)),
        talk("d", "Hello!", "no"),
        listen("e", "Both?", "fear", sound(5, 1.0), sound(6, 1.01)),
    ]
    batch = SampleCollator(processor, model.model.get_rope_index, pack=160)(samples)
    assert len(batch["input_ids"]) < len(samples) and len(batch["feature_lengths"]) == 3 + 1 + 1 + 2
    packed = by_sample(model, batch, row_order(samples, processor, 160), samples, processor)
    padded = by_sample(model, SampleCollator(processor)(samples), range(len(samples)), samples, processor)
    for sample in samples:
        alone = taught_logits(model, SampleCollator(processor)([sample]))
        assert (packed[sample.id] - alone).abs().max() <= BOUND
        assert (padded[sample.id] - alone).abs().max() <= BOUND


QUESTION = "Which emotion does the person show? Choose one: happy, sad, angry."


def first_asked(name: str, question: str, answer: str, *media: np.ndarray) -> Sample:
    """Return a sample whose question precedes its pictures."""
    parts = [{"type": "text", "text": question}, *({"type": "image", "image": m} for m in media)]
    return Sample(name, ({"role": "user", "content": parts}, {"role": "assistant", "content": answer}))


@pytest.fixture
def alike() -> list[Sample]:
    return [
        first_asked("a", QUESTION, "happy", picture(1)),
        talk("x", "Hello!", "happy and glad, I think so"),
        first_asked("b", QUESTION, "sad, but not very", picture(2, 64)),
        first_asked("c", "Which emotion is it?", "sad", picture(3)),
        first_asked("d", QUESTION, "angry", picture(4), picture(5, 64)),
        first_asked("e", QUESTION + " Say why.", "angry", picture(6)),
    ]


def test_shared_prefixes_have_the_losses_and_gradients_of_separate_samples(nano, processor, alike):
    model = copy.deepcopy(nano.model).train()
    gradients, tokens = {}, {}
    for share in (False, True):
        batch = SampleCollator(processor, model.model.get_rope_index, pack=400, share_prefixes=share)(alike)
        output = model(**{k: v for k, v in batch.items() if k != "domains"}, supervised_only=True)
        model.zero_grad()
        output.loss.backward()
        gradients[share] = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        tokens[share] = int((batch["input_ids"] != processor.tokenizer.pad_token_id).sum())
        gradients[share]["loss"] = output.loss.detach()
    head = len(processor.tokenizer(QUESTION)["input_ids"])
    assert tokens[True] <= tokens[False] - 3 * head  # four samples have the question, and one of them continues it
    assert set(gradients[True]) == set(gradients[False])
    for name, gradient in gradients[False].items():
        assert (gradients[True][name] - gradient).abs().max() <= BOUND * gradient.abs().max().clamp_min(1.0), name


def test_no_supervised_token_follows_another_sample(processor, nano, alike):
    batch = SampleCollator(processor, nano.model.model.get_rope_index, pack=400, share_prefixes=True)(alike)
    mask = batch["attention_mask"]["full_attention"][:, 0]
    supervised = batch["labels"][:, 1:] != IGNORE
    before = torch.diagonal(mask, offset=-1, dim1=1, dim2=2)  # whether a token attends to the one before it
    assert supervised.any() and before[supervised].all()


def test_bundles_of_equal_beginnings_stay_within_a_row(processor, alike):
    batch = SampleCollator(processor)(alike)
    lengths = batch["attention_mask"].sum(1).tolist()
    for capacity in (max(lengths), max(lengths) + 20, 400):
        bundles = shared_prefixes(batch, lengths, capacity)
        assert sorted(n for bundle in bundles for n in bundle.samples) == list(range(len(alike)))
        assert all(bundle.tokens(lengths) <= capacity for bundle in bundles)
    (large,) = [bundle for bundle in bundles if len(bundle.samples) > 2]
    assert {alike[n].id for n in large.samples} >= {"a", "b", "d"}
    assert all((bundle.prefix == 0) == (len(bundle.samples) == 1) for bundle in bundles)


@pytest.mark.parametrize("alone", range(3))
def test_samples_share_their_questions_and_not_only_what_all_begin_with(processor, alone):
    begin = {"role": "system", "content": "You are a helpful assistant."}
    asked = ("Which emotion does the person show?", "Choose one object.", "Say what is said here.")
    questions = [f"{question} {QUESTION}" for question in asked]
    samples = [
        Sample(f"{q}{n}", (begin, *first_asked("", question, "yes", picture(10 * q + n)).messages))
        for q, question in enumerate(questions)
        for n in range(1 if q == alone else 4)
    ]
    batch = SampleCollator(processor)(samples)
    bundles = shared_prefixes(batch, batch["attention_mask"].sum(1).tolist(), 4096)
    groups = {"".join(sorted({samples[n].id[0] for n in bundle.samples})) for bundle in bundles}
    assert groups >= {"0", "1", "2"} - {str(alone)}
    together = [bundle for bundle in bundles if len(bundle.samples) > 1]
    assert min(bundle.prefix for bundle in together) > len(processor.tokenizer(begin["content"])["input_ids"]) + 5

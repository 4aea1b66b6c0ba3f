"""The lesson on labels: grouped items give the states of single prompts, and a resumed lesson goes the same way."""

import copy
import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from emotion_qwen.convert.overlay import LORA_A, LORA_B, MANIFEST, TENSORS, file_digest
from emotion_qwen.engine.engine import Engine
from emotion_qwen.taxonomy import label_set
from recipes.mini.clip_facts import FactBank
from recipes.mini.conversations import ClipsPart
from recipes.mini.face_texts import FaceFacts
from recipes.mini.label_groups import Group, compose
from recipes.mini.label_lesson import MAKERS, Lesson, PairedLinear, pair_up, states_of, tokens_of, write_overlay
from recipes.mini.label_replay import PRACTISED, Replayed, writing_loss

LABELS = label_set("fer7")
RANK = 2
SHOWN = ("happiness", "anger", "neutral")
BANK = FactBank(
    {e: [FaceFacts({"smile": 0.6, "jaw": 0.5}, {"sadness": 0.15, "neutral": 0.2, e: 0.8})] for e in SHOWN},
    {e: [["high", "fast"]] for e in SHOWN},
    {language: {e: ["So it is."] for e in SHOWN} for language in ("en", "zh")},
)


@pytest.fixture
def engine(nano) -> Engine:
    """nano, whose weights a test may change."""
    return Engine(copy.deepcopy(nano.model), nano.processor, "nano")


def group(kind: str, count: int = 5) -> Group:
    """Items of unequal length with unequal votes."""
    rng, generator = random.Random(3), np.random.default_rng(4)
    if kind == "image":
        views = [
            {"type": "image", "image": generator.integers(0, 255, (side, side, 3), np.uint8)}
            for side in (48, 64, 48, 64, 64)[:count]
        ]
    elif kind == "audio":
        views = [
            {"type": "audio", "audio": generator.normal(0, 0.1, length).astype(np.float32)}
            for length in (16000, 40000, 30000, 8000, 70000)[:count]
        ]
    else:
        views = [{"type": "text", "text": "so " * n + "what?"} for n in range(1, count + 1)]
    votes = np.array([[5, 1, 0, 2, 0, 1, 1], [0, 0, 9, 0, 1, 0, 0], [0, 2, 0, 0, 4, 2, 0]] * 2, float)[:count]
    return compose(views, votes, LABELS, "en", "Which emotion does the person show? Choose one: {labels}.", rng)


@pytest.fixture
def overlay(engine, tmp_path):
    """An overlay with a pair for every linear layer of the language model."""
    folder, generator = tmp_path / "overlay", torch.Generator().manual_seed(5)
    folder.mkdir()
    tensors = {}
    for name, module in engine.model.model.language_model.named_modules():
        if isinstance(module, torch.nn.Linear):
            key = f"model.language_model.{name}.weight"
            tensors[key + LORA_A] = 0.1 * torch.randn(RANK, module.in_features, generator=generator)
            tensors[key + LORA_B] = 0.1 * torch.randn(module.out_features, RANK, generator=generator)
    tensors |= {n: w.detach().clone() for n, w in engine.model.named_parameters() if n.startswith(MAKERS)}
    save_file(tensors, folder / TENSORS)
    (folder / MANIFEST).write_text(json.dumps({"name": "small", "weights": file_digest(folder / TENSORS)}))
    return folder


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("kind", ["image", "audio", "text"])
def test_items_behind_a_shared_question_have_the_states_of_single_prompts(engine, kind, complete):
    asked = group(kind)
    with torch.no_grad():
        tokens = tokens_of(engine, asked, random.Random(0), complete)
        states = states_of(engine.model.model.language_model, tokens)[torch.arange(5), tokens.ends]
    single = [engine.score([view], asked.question, asked.answers).hidden[0] for view in asked.views]
    torch.testing.assert_close(states, torch.stack(single), rtol=1e-4, atol=1e-4)


def test_what_follows_an_answer_is_the_rest_of_its_label_and_an_end(engine):
    tokenizer = engine.processor.tokenizer
    asked = group("text", 3)
    tokens = tokens_of(engine, asked, random.Random(0), True)
    for shares, rest, length, end in zip(
        asked.targets, tokens.rest, tokens.lengths.tolist(), tokens.ends.tolist(), strict=True
    ):
        written = [tokenizer(name, add_special_tokens=False)["input_ids"] for name in asked.answers]
        possible = [answer for answer, share in zip(written, shares, strict=True) if share > 0]
        assert rest[-1] == tokenizer.eos_token_id
        assert rest[:-1] in [answer[1:] for answer in possible], "the answer has votes"
        assert length == end + 1 + len(rest), "every token of the answer stands behind the prompt"

    bare = tokens_of(engine, asked, random.Random(0), False)
    assert bare.rest == [[], [], []]
    assert torch.equal(bare.lengths, bare.ends + 1), "nothing follows a prompt"


def test_items_without_votes_on_the_offered_labels_are_left_out_and_shares_add_up():
    votes = np.zeros((40, 7))
    votes[:, 0] = 3
    votes[::2, 0], votes[::2, 6] = 1, 4
    views = [{"type": "text", "text": str(n)} for n in range(40)]
    counts = set()
    for seed in range(40):
        asked = compose(views, votes, LABELS, "zh", "{labels}", random.Random(seed))
        assert np.allclose(asked.targets.sum(1), 1)
        assert set(asked.answers) <= set(LABELS.names("zh"))
        assert asked.question == "、".join(asked.answers)
        counts.add((len(asked.answers), len(asked.views)))
    assert (7, 40) in counts
    assert {views for _, views in counts} == {20, 40}, "where `surprise` or `anger` is not offered, half are left"


def test_a_pair_changes_nothing_until_it_learns(engine, overlay):
    language = engine.model.model.language_model
    with torch.no_grad():
        tokens = tokens_of(engine, group("image"), random.Random(0), True)
        before = states_of(language, tokens)
        pairs = pair_up(language, load_file(overlay / TENSORS))
        torch.testing.assert_close(states_of(language, tokens), before, rtol=1e-4, atol=1e-4)
    assert len(pairs) == 7 * len(language.layers)
    assert all(isinstance(pair, PairedLinear) for pair in pairs.values())


def lesson(engine: Engine, overlay) -> Lesson:
    ids = torch.tensor(engine.processor.tokenizer("A quiet street, and nobody in it.")["input_ids"])
    places = torch.arange(3, len(ids) - 1)
    with torch.no_grad():
        before = engine.model.model(input_ids=ids[None]).last_hidden_state[0, places]
    clips = ClipsPart("clips", "emotion", BANK, turns=2)
    return Lesson(engine, overlay, [Replayed(ids, places, before)], clips, total=40, rate=3e-3)


def test_a_lesson_learns_and_a_resumed_one_goes_the_same_way(nano, engine, overlay, tmp_path):
    kinds = ("image", "text", "audio", "image")
    whole = lesson(engine, overlay)
    before = {name: weight.detach().clone() for name, weight in engine.model.named_parameters()}
    figures = []
    for number in range(4):
        if number == 2:
            whole.save(tmp_path / "checkpoint.pt")
        figures.append(whole.step([group(kinds[number]), group("text", 3)]))
    assert figures[0]["replay"] == pytest.approx(0, abs=1e-4), "nothing has changed yet"
    assert figures[2]["replay"] > 1e-4
    assert ["replay" in each for each in figures] == [True, False, True, False]
    assert figures[3]["groups"][0][1] < figures[0]["groups"][0][1], "the same pictures are read better"
    now = dict(engine.model.named_parameters())
    others = [name for name in before if not name.endswith((".down", ".up"))]
    changed = {name for name in others if not torch.equal(now[name], before[name])}
    assert changed == set(whole.makers), "eyes, gate and the base's own matrices stay"
    assert {name.rsplit(".", 2)[0] for name in changed} >= {
        "model.compressor.emotion.mlp",
        "model.audio.compressor.mlp",
    }

    again = lesson(Engine(copy.deepcopy(nano.model), nano.processor, "nano"), overlay)
    again.resume(tmp_path / "checkpoint.pt")
    assert again.steps == 2
    for number in (2, 3):
        assert again.step([group(kinds[number]), group("text", 3)]) == figures[number]
    for mine, other in zip(whole.weights, again.weights, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)

    write_overlay(whole, tmp_path / "learned")
    stored, manifest = (
        load_file(tmp_path / "learned" / TENSORS),
        json.loads((tmp_path / "learned" / MANIFEST).read_text()),
    )
    assert manifest["weights"] == file_digest(tmp_path / "learned" / TENSORS) != file_digest(overlay / TENSORS)
    for key, pair in whole.pairs.items():
        assert torch.equal(stored[key + LORA_B] @ stored[key + LORA_A], pair.up @ pair.down)
    for name, weight in whole.makers.items():
        assert torch.equal(stored[name], weight)


def test_a_conversation_whose_facts_leave_no_place_for_an_answer_is_passed_over(engine, overlay):
    short = lesson(engine, overlay)
    written = short.clips.sample(0, 0)
    assert writing_loss(engine, written).item() > 0
    filled = [{**written.messages[0], "content": "A long list of facts. " * PRACTISED}, *written.messages[1:]]
    assert writing_loss(engine, replace(written, messages=tuple(filled))) is None

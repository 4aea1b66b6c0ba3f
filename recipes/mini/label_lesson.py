"""Fine-tune mini on labels: many items after one shared question, through all layers and both compressors.

A closed question has 40 tokens and a small face nine. The question comes first, so it is run once for all items of a
group (`label_groups`), and an item costs some 15 tokens, a quarter of its cost in a packed conversation. The target of
an answer's first token is the distribution of people's votes. A divergence on replayed instructions preserves general
writing, and conversations about clips train the model to write accounts (`label_replay`). The low-rank pairs of the
shipped overlay are trained themselves, so that their rank does not grow, together with the experts and the audio
compressor that make the tokens.

    python -m recipes.mini.label_lesson --data DATA --runs RUNS --overlay OVERLAY    OVERLAY -> RUNS/labels/overlay
"""

from __future__ import annotations

import json
import math
import random
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import set_seed
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb

from emotion_qwen.console import run_command
from emotion_qwen.convert.overlay import LORA_A, LORA_B, MANIFEST, TENSORS, file_digest
from emotion_qwen.engine.encoding import parts_of
from emotion_qwen.engine.engine import Engine
from emotion_qwen.files import write_whole
from recipes.mini.conversations import ClipsPart
from recipes.mini.label_groups import SEED, Group, Groups
from recipes.mini.label_replay import Replayed, divergence, practised_clips, replayed_texts, writing_loss
from recipes.options import folder_options

REST = 0.3
"""Weight of an answer's tokens after the first, which nearly follow from it."""
GROUPS = 3
"""Groups of a step, beside one conversation about a clip."""
COMPLETE = 0.25
"""Share of groups whose answers are trained in full; in the others, only the first token is."""
KEPT = 110
"""Replayed general instructions."""
KEEP_EVERY = 2
"""Steps per replayed instruction."""
PRACTICE = 0.3
"""Weight of the conversation about a clip; its gradient is large, because one short text is not averaged."""
MAKERS = ("model.compressor.general", "model.compressor.emotion", "model.audio.compressor")
"""Modules that make tokens of features, by their names in the overlay."""
MAKERS_RATE = 0.25
"""Their rate in relation to that of the pairs."""
WARMUP, LAST, EVERY = 16, 0.05, 20
"""Steps until the rate is reached, share of it at the end, and steps between checkpoints."""


class PairedLinear(nn.Module):
    """A linear layer with the weights of the base, which are fixed, and a pair that is trained."""

    base: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, linear: nn.Linear, down: torch.Tensor, up: torch.Tensor) -> None:
        super().__init__()
        self.down, self.up = nn.Parameter(down.float()), nn.Parameter(up.float())
        self.register_buffer("base", linear.weight.detach() - self.up.detach() @ self.down.detach())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Apply base and pair."""
        return F.linear(states, self.base, self.bias) + F.linear(F.linear(states, self.down), self.up)


def pair_up(language: nn.Module, overlay: Mapping[str, torch.Tensor]) -> dict[str, PairedLinear]:
    """Replace every linear layer for which the overlay holds a pair; return them by their names in the overlay."""
    made = {}
    for name, module in list(language.named_modules()):
        key = f"model.language_model.{name}.weight"
        if isinstance(module, nn.Linear) and key + LORA_A in overlay:
            owner, _, child = name.rpartition(".")
            made[key] = PairedLinear(module, overlay[key + LORA_A], overlay[key + LORA_B])
            setattr(language.get_submodule(owner), child, made[key])
    return made


@dataclass(frozen=True, eq=False)
class Tokens:
    """A shared beginning and the items behind it, filled up on the right.

    Attributes:
        beginning: (P, hidden) embeddings; its positions are 0 to P-1.
        items: (N, Q, hidden) embeddings.
        positions: (3, N, Q).
        ends: (N,) the place whose state predicts an answer's first token.
        lengths: (N,) tokens of each item.
        first: (L,) first token of each label; all differ.
        rest: per item the tokens behind an answer's first, its end included; empty where no answer follows.
    """

    beginning: torch.Tensor
    items: torch.Tensor
    positions: torch.Tensor
    ends: torch.Tensor
    lengths: torch.Tensor
    first: torch.Tensor
    rest: list[list[int]]


def tokens_of(engine: Engine, group: Group, rng: random.Random, complete: bool) -> Tokens:
    """Encode a group, with gradients of the compressors.

    Args:
        engine: the model.
        group: items.
        rng: draws the answer that follows each item from its votes.
        complete: whether the answers follow at all.
    """
    model, tokenizer = engine.model, engine.processor.tokenizer
    answers = [tokenizer(name, add_special_tokens=False)["input_ids"] for name in group.answers]
    embeds, positions, shared = _prompts(engine, group)
    chosen = [rng.choices(range(len(answers)), weights=shares.tolist())[0] for shares in group.targets]
    sequences, places, ends = [], [], []
    for row, number in enumerate(chosen):
        own = positions[row][:, shared:]
        written = torch.tensor(answers[number] if complete else [], dtype=torch.long)
        following = own.max() + 1 + torch.arange(len(written))
        sequences.append(torch.cat([embeds[row][shared:], model.get_input_embeddings()(written)]))
        places.append(torch.cat([own, following.expand(3, -1)], dim=1).T)
        ends.append(own.shape[1] - 1)
    return Tokens(
        embeds[0][:shared],
        nn.utils.rnn.pad_sequence(sequences, batch_first=True),
        nn.utils.rnn.pad_sequence(places, batch_first=True).permute(2, 0, 1),
        torch.tensor(ends),
        torch.tensor([len(sequence) for sequence in sequences]),
        torch.tensor([answer[0] for answer in answers]),
        [[*answers[number][1:], tokenizer.eos_token_id] if complete else [] for number in chosen],
    )


def _prompts(engine: Engine, group: Group) -> tuple[list[torch.Tensor], list[torch.Tensor], int]:
    """Return per item (T, hidden) embeddings and (3, T) positions, and how many tokens all items begin with."""
    model = engine.model
    question = {"type": "text", "text": group.question}
    inputs = engine.processor.apply_chat_template(
        [[{"role": "user", "content": [*parts_of(view), question]}] for view in group.views],
        tokenize=True, add_generation_prompt=True, padding_side="left",
    )  # fmt: skip
    ids, mask, encoded = inputs["input_ids"], inputs["attention_mask"], model.encode_media(inputs)
    positions, _ = model.model.get_rope_index(**inputs)
    embeds = model.get_input_embeddings()(ids)
    placeholders = {"image": model.config.image_token_id, "audio": model.config.audio_token_id}
    for kind, medium in encoded.items():
        tokens = torch.cat(medium.pooler_output).to(embeds)
        embeds = embeds.masked_scatter((ids == placeholders[kind])[..., None], tokens)
    starts = (mask == 0).sum(1).tolist()
    plain = [row[start:].tolist() for row, start in zip(ids, starts, strict=True)]
    shortest = min(map(len, plain))
    shared = next(
        place for place in range(shortest)
        if place == shortest - 1 or plain[0][place] in placeholders.values()
        or any(row[place] != plain[0][place] for row in plain)
    )  # fmt: skip
    rows = list(enumerate(starts))
    return [embeds[row, start:] for row, start in rows], [positions[:, row, start:] for row, start in rows], shared


def states_of(language: Any, tokens: Tokens) -> torch.Tensor:
    """Return the (N, Q, hidden) states of items behind their shared beginning."""
    count, length = tokens.items.shape[:2]
    shared = len(tokens.beginning)
    width = tokens.beginning.shape[1]
    states = torch.cat([tokens.beginning, tokens.items.reshape(-1, width)])[None]
    before = torch.arange(shared).expand(3, shared)
    positions = torch.cat([before, tokens.positions.reshape(3, -1)], dim=1)[:, None]
    cos, sin = language.rotary_emb(states, positions)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    present = (torch.arange(length) < tokens.lengths[:, None])[:, None, :] & causal
    present = present | torch.eye(length, dtype=torch.bool)
    visible = torch.cat([torch.ones(count, length, shared, dtype=torch.bool), present], dim=2)[:, None]
    for layer in language.layers:
        normed, attention = layer.input_layernorm(states), layer.self_attn
        heads = (1, states.shape[1], -1, attention.head_dim)
        query, key, value = (
            projection(normed).view(heads).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        query, key = apply_rotary_pos_emb(query, key, cos, sin)
        first = F.scaled_dot_product_attention(
            query[:, :, :shared], key[:, :, :shared], value[:, :, :shared], is_causal=True, enable_gqa=True
        )
        mine = [part[0, :, shared:].unflatten(1, (count, length)).transpose(0, 1) for part in (query, key, value)]
        keys, values = (
            torch.cat([every[:, :, :shared].expand(count, -1, -1, -1), own], dim=2)
            for every, own in ((key, mine[1]), (value, mine[2]))
        )
        behind = F.scaled_dot_product_attention(mine[0], keys, values, attn_mask=visible, enable_gqa=True)
        joined = torch.cat([first[0].transpose(0, 1).flatten(1), behind.transpose(1, 2).flatten(2).flatten(0, 1)])
        states = states + attention.o_proj(joined[None])
        states = states + layer.mlp(layer.post_attention_layernorm(states))
    return language.norm(states[0, shared:]).unflatten(0, (count, length))


def label_loss(
    head: nn.Linear, states: torch.Tensor, tokens: Tokens, targets: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """Return the loss of a group, and how many items' likeliest label is that with most votes."""
    rows = torch.arange(len(states))
    first = head(states[rows, tokens.ends]).float().log_softmax(-1)[:, tokens.first]
    loss = -(targets * first).sum(1).mean()
    right = (first.argmax(1) == targets.argmax(1)).float().mean()
    where = [(row, int(tokens.ends[row]) + 1 + n) for row, rest in enumerate(tokens.rest) for n in range(len(rest))]
    if not where:
        return loss, float(right)
    owners, places = torch.tensor(where).T
    weights = torch.tensor([1 / len(rest) for rest in tokens.rest for _ in rest]) / len(states)
    following = F.cross_entropy(
        head(states[owners, places]).float(), torch.tensor([t for rest in tokens.rest for t in rest]), reduction="none"
    )
    return loss + REST * (following * weights).sum(), float(right)


class Lesson:
    """The weights in training, their optimizer, and the number of steps made.

    Args:
        engine: the model that the overlay makes.
        overlay: folder.
        texts: replayed instructions.
        clips: conversations about composed clips.
        total: steps, over which the rate falls.
        rate: the highest.
    """

    def __init__(
        self, engine: Engine, overlay: Path, texts: Sequence[Replayed], clips: ClipsPart, total: int, rate: float
    ) -> None:
        self.engine, self.overlay, self.texts, self.clips = engine, overlay, texts, clips
        self.total, self.rate = total, rate
        engine.model.requires_grad_(False)
        stored = load_file(overlay / TENSORS)
        self.pairs = pair_up(engine.model.model.language_model, stored)
        self.makers = {
            name: weight for name, weight in engine.model.named_parameters()
            if name in stored and name.startswith(MAKERS)
        }  # fmt: skip
        pairs = [weight for pair in self.pairs.values() for weight in (pair.down, pair.up)]
        self.weights = [*pairs, *(weight.requires_grad_(True) for weight in self.makers.values())]
        groups = [{"params": pairs, "share": 1.0}, {"params": list(self.makers.values()), "share": MAKERS_RATE}]
        self.optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), weight_decay=0.0)
        self.steps = 0

    def step(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Learn from groups and one conversation, and every `KEEP_EVERY` steps from a replayed text.

        Returns:
            The figures of the log.
        """
        model, share = self.engine.model, self.steps / self.total
        rate = self.rate * min(1.0, (self.steps + 1) / WARMUP)
        rate *= LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * share))
        for each in self.optimizer.param_groups:
            each["lr"] = rate * each["share"]
        shown, figures = [], {}
        for number, group in enumerate(groups):
            rng = random.Random(f"{SEED}/answers/{self.steps}/{number}")
            tokens = tokens_of(self.engine, group, rng, rng.random() < COMPLETE)
            states = states_of(model.model.language_model, tokens)
            loss, right = label_loss(model.lm_head, states, tokens, torch.from_numpy(group.targets).float())
            (loss / len(groups)).backward()
            shown.append([group.source, round(loss.item(), 3), round(right, 3)])
        written = writing_loss(self.engine, self.clips.sample(self.steps, 0))
        if written is not None:
            (PRACTICE * written).backward()
            figures["writing"] = round(written.item(), 3)
        if self.steps % KEEP_EVERY == 0:
            changed = divergence(self.engine, self.texts[self.steps // KEEP_EVERY % len(self.texts)])
            (KEEP_EVERY * changed).backward()
            figures["replay"] = round(changed.item(), 4)
        norm = nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        return {
            "step": self.steps, "rate": rate, "groups": shown, **figures,
            "norm": round(float(norm), 3),
        }  # fmt: skip

    def save(self, path: Path) -> None:
        """Write a checkpoint in one move."""
        unfinished = path.with_suffix(".partial")
        state = {"steps": self.steps, "optimizer": self.optimizer.state_dict()}
        torch.save({**state, "weights": [weight.detach() for weight in self.weights]}, unfinished)
        unfinished.replace(path)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint."""
        kept = torch.load(path, weights_only=True)
        self.steps = kept["steps"]
        self.optimizer.load_state_dict(kept["optimizer"])
        with torch.no_grad():
            for weight, values in zip(self.weights, kept["weights"], strict=True):
                weight.copy_(values)


@click.command()
@folder_options
@click.option("--overlay", type=click.Path(path_type=Path), required=True, help="what `mini` in the cache is made with")
@click.option("--steps", default=172, show_default=True, help="over which the rate falls; 75 minutes on two cores")
@click.option("--rate", default=2e-4, show_default=True, help="highest learning rate")
@click.option("--seed", default=SEED, show_default=True, help="of the groups; a further lesson needs another one")
@click.option("--name", default="labels", show_default=True, help="folder of the lesson in RUNS")
def lesson(runs: Path, data: Path, overlay: Path, steps: int, rate: float, seed: int, name: str) -> None:
    """Teach labels; an interrupted run continues from its last checkpoint."""
    set_seed(seed)
    engine, drawn, output = Engine.load("mini"), Groups(data, runs, seed), runs / name
    output.mkdir(parents=True, exist_ok=True)
    stored, checkpoint = output / "replayed.pt", output / "checkpoint.pt"
    if not stored.is_file():
        made = replayed_texts(engine, data, KEPT)
        torch.save([(each.ids, each.places, each.before) for each in made], stored)
    texts = [Replayed(*each) for each in torch.load(stored, weights_only=True)]
    clips = practised_clips(engine, data, runs / "eyes/arrays")
    running = Lesson(engine, overlay, texts, clips, steps, rate)
    if checkpoint.is_file():
        running.resume(checkpoint)
    with (output / "log.jsonl").open("a", encoding="utf-8") as log:
        while running.steps < running.total:
            figures = running.step([drawn.group(running.steps * GROUPS + number) for number in range(GROUPS)])
            log.write(json.dumps(figures) + "\n")
            log.flush()
            if running.steps % EVERY == 0 or running.steps == running.total:
                running.save(checkpoint)
                write_overlay(running, output / "overlay")


def write_overlay(lesson: Lesson, target: Path) -> None:
    """Write a copy of the overlay that a lesson began with, with the trained weights."""
    target.mkdir(parents=True, exist_ok=True)
    for file in lesson.overlay.iterdir():
        shutil.copyfile(file, target / file.name)
    tensors = load_file(lesson.overlay / TENSORS)
    learned = {key + LORA_A: pair.down for key, pair in lesson.pairs.items()}
    learned |= {key + LORA_B: pair.up for key, pair in lesson.pairs.items()} | lesson.makers
    for name, values in learned.items():
        tensors[name] = values.detach().to(tensors[name].dtype).contiguous()
    save_file(tensors, target / TENSORS, metadata={"format": "pt"})
    manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    manifest["weights"] = file_digest(target / TENSORS)
    write_whole(target / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(run_command(lesson))

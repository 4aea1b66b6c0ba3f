"""Texts that mini is trained on while it learns labels: replayed instructions, and conversations about clips.

The divergence from the model's earlier predictions preserves its answers to general instructions; conversations about
the facts of composed clips train accounts, answers and reasoning.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from rich.progress import track

from emotion_qwen.engine.encoding import View, actions_of
from emotion_qwen.engine.engine import Engine
from emotion_qwen.records import Sample
from recipes.mini import parts
from recipes.mini.actions import ACTIONS
from recipes.mini.banks import face_facts, measured_voices, sentences
from recipes.mini.clip_facts import FactBank
from recipes.mini.conversations import ClipsPart, ReplayPart
from recipes.mini.eyes_data import EMOTIONS, FERPLUS, LabelledFaces, item_of
from recipes.mini.face_texts import FaceFacts
from recipes.mini.label_groups import SEED

BANKED = 100
"""Faces of each emotion that replayed clips are composed of."""
REPLAYED, PRACTISED = 320, 448
"""Longest replayed instruction, and longest conversation about a clip, tokens."""


@dataclass(frozen=True, eq=False)
class Replayed:
    """A text that the model shall go on writing as it did.

    Attributes:
        ids: (T,) tokens of the conversation.
        places: (A,) whose states predict the answers' tokens.
        before: (A, hidden) those states, after the final norm, in the model that the lesson begins with.
    """

    ids: torch.Tensor
    places: torch.Tensor
    before: torch.Tensor


@torch.no_grad()
def replayed_texts(engine: Engine, data: Path, count: int) -> list[Replayed]:
    """Return general instructions with their answers, and what the model predicts of these."""
    rows = [row for row in pq.read_table(data / "text_instructions.parquet").to_pylist() if row["split"] == "train"]
    written = [row for row in rows if row["response"] and row["kind"].startswith("human")]
    pairs = tuple((row["prompt"], row["response"]) for row in random.Random(SEED).sample(written, count))
    part, texts = ReplayPart("instructions", "general", pairs), []
    for index in track(range(count), "texts to keep"):
        ids, places = _prepared(engine, part.sample(index, 0), REPLAYED)
        if len(places):
            states = engine.model.model(input_ids=ids[None]).last_hidden_state[0]
            texts.append(Replayed(ids, places, states[places].clone()))
    return texts


def _prepared(engine: Engine, sample: Sample, longest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the (T,) tokens of a conversation, and the places whose states predict its answers' tokens."""
    prepared = engine.processor.tokenizer.apply_chat_template(
        list(sample.messages), chat_template=engine.processor.chat_template, tokenize=True, return_dict=True,
        return_assistant_tokens_mask=True,
    )  # fmt: skip
    ids, mask = (torch.as_tensor(prepared[key]).flatten()[:longest] for key in ("input_ids", "assistant_masks"))
    return ids, mask.nonzero()[:, 0] - 1


def practised_clips(engine: Engine, data: Path, arrays: Path) -> ClipsPart:
    """Return conversations about facts of composed clips, as the tuning on accounts used them."""
    return ClipsPart("practised", "emotion", own_bank(engine, data, arrays), turns=2, seed=SEED)


def writing_loss(engine: Engine, sample: Sample) -> torch.Tensor | None:
    """Return the mean loss of the answers' tokens of a conversation; None if no answer fits after its facts."""
    ids, places = _prepared(engine, sample, PRACTISED)
    if not len(places):
        return None
    states = engine.model.model(input_ids=ids[None], use_cache=False).last_hidden_state[0, places]
    return F.cross_entropy(engine.model.lm_head(states).float(), ids[places + 1])


def _small(pixels: torch.Tensor) -> np.ndarray:
    """Return (48, 48, 3) uint8 of a picture (3, S, S)."""
    return F.interpolate(pixels[None].float(), (48, 48), mode="area")[0].permute(1, 2, 0).round().byte().numpy()


@torch.no_grad()
def own_bank(engine: Engine, data: Path, arrays: Path) -> FactBank:
    """Return measurements for composed clips: faces by the model's own facial actions, and the voices of EmoDB."""
    faces = parts.faces("bank", "emotion", "train", data / FERPLUS.file, source="ferplus", arrays=str(arrays)).faces
    clear = np.flatnonzero(faces.targets.max(1) >= 0.6)
    rng = np.random.default_rng(SEED)
    leading = faces.targets[clear].argmax(1)
    rows = np.concatenate([rng.permutation(clear[leading == place])[:BANKED] for place in range(len(EMOTIONS))])
    views: list[View] = [{"type": "image", "image": _small(item_of(faces, int(row))["pixels"])} for row in rows]
    actions = [each for shown in engine.encoder().views(views) if (each := actions_of(shown)) is not None]
    measured = torch.stack(actions).float().numpy()
    known = LabelledFaces(
        tuple(faces.ids[row] for row in rows), faces.pixels[rows], faces.targets[rows], faces.objects[rows],
        measured[:, : len(ACTIONS)], measured[:, len(ACTIONS) :],
    )  # fmt: skip
    by_emotion: dict[str, list[FaceFacts]] = {}
    for facts in face_facts([known]):
        by_emotion.setdefault(max(facts.votes, key=lambda name: facts.votes[name]), []).append(facts)
    voices: dict[str, list[list[str]]] = {}
    for emotion, words in measured_voices(data / "speech_emodb.parquet", "", "train"):
        voices.setdefault(emotion, []).append(words)
    return FactBank(by_emotion, voices, sentences(data, "train"))


def divergence(engine: Engine, text: Replayed) -> torch.Tensor:
    """Return the mean divergence from what the model predicted before."""
    states = engine.model.model(input_ids=text.ids[None], use_cache=False).last_hidden_state[0, text.places]
    before = engine.model.lm_head(text.before).float().log_softmax(-1)
    return F.kl_div(
        engine.model.lm_head(states).float().log_softmax(-1), before, log_target=True, reduction="batchmean"
    )

"""Initialise the experts and the audio side so that their tokens are near the embeddings of the words for their
content.

A language model that has not seen pictures can best use tokens that resemble known words. Therefore, before any step
through the language model, the mean of a visual's tokens is aligned with the embeddings of its words: the emotions that
people voted for, the facial actions, or the name of an object (supervised embedding alignment, after Yin et al. 2024,
arXiv:2408.11813). This takes minutes, because the language model is not run.

The audio side was trained with a linear head on the mean token; a change of the last layer, in closed form, makes the
head's directions those of the words and leaves everything orthogonal to the words unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from emotion_qwen.engine.engine import Engine
from emotion_qwen.faces.face_claims import PHRASES, face_claims
from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from emotion_qwen.processing.patches import normalize
from recipes.mini.banks import facts_of_row
from recipes.mini.eyes_data import EMOTIONS, LabelledFaces, item_of, vary
from recipes.nano.sight import patch_features
from recipes.nano.vision_start import OBJECTS

WORDS = {
    "neutral": ("neutral", "calm"),
    "happiness": ("happy", "happiness", "joy"),
    "surprise": ("surprised", "surprise"),
    "sadness": ("sad", "sadness"),
    "anger": ("angry", "anger"),
    "disgust": ("disgusted", "disgust"),
    "fear": ("afraid", "fear", "fearful"),
    "contempt": ("contempt",),
    "boredom": ("bored", "boredom"),
    "calm": ("calm",),
}
"""Emotion -> words whose embeddings represent it."""
CLAIMS = tuple(PHRASES)
SIDE = 48
EMBEDDING_NORM = 3.2
"""Mean length of a row of SmolLM2's embedding."""
SHARPNESS = 16.0
"""Factor of the cosine between a mean token and a word, before the softmax over words."""


@dataclass(frozen=True)
class Shown:
    """Pictures as patch features, with their labels.

    Attributes:
        features: (N, patches, width) fp16 of the frozen vision transformer.
        emotions: (N, 8) shares of votes; zeros for objects.
        claims: (N, claims) 1 where a claim of `CLAIMS` is true, NaN where the face was not measured.
        objects: (N,) numbers in `OBJECTS`; -1 for faces.
    """

    features: torch.Tensor
    emotions: torch.Tensor
    claims: torch.Tensor
    objects: torch.Tensor


@torch.no_grad()
def word_anchors(engine: Engine, words: Mapping[str, Sequence[str]]) -> torch.Tensor:
    """Return (K, hidden) unit vectors: the mean embedding of the tokens of each entry's words, as within a sentence."""
    embedding = engine.model.get_input_embeddings().weight.detach().float()
    middle = embedding.mean(0)
    rows = []
    for spelled in words.values():
        ids = [token for word in spelled for token in engine.processor.tokenizer(f" {word}")["input_ids"]]
        rows.append(embedding[ids].mean(0) - middle)
    return F.normalize(torch.stack(rows), dim=-1)


@torch.no_grad()
def shown_faces(vision: EmotionQwenVisionTransformer, faces: LabelledFaces, rows: np.ndarray, seed: int) -> Shown:
    """Augment faces once and compute their features; mirrored faces have mirrored claims."""
    generator = torch.Generator().manual_seed(seed)
    features, claims = [], []
    for first in range(0, len(rows), 128):
        batch = rows[first : first + 128]
        pixels = torch.stack([item_of(faces, int(row))["pixels"] for row in batch]).float() / 255
        varied, _ = vary(pixels, 1.0, generator, SIDE)
        hidden = vision.config.hidden_size
        features.append(patch_features(vision, normalize(varied)).view(len(batch), -1, hidden).half())
        claims += [_claims(faces, int(row)) for row in batch]
    targets = torch.from_numpy(faces.targets[rows])
    objects = torch.from_numpy(faces.objects[rows])
    return Shown(torch.cat(features), targets, torch.tensor(claims), objects)


def _claims(faces: LabelledFaces, row: int) -> list[float]:
    """Return 1 for every claim that is true of a face; pictures are mirrored, so left and right are not
    distinguished."""
    facts = facts_of_row(faces, row)
    if not facts.values:
        return [float("nan")] * len(CLAIMS)
    true = {claim.word for claim in face_claims(facts.values)}
    true |= {_other(word) for word in true}
    return [float(word in true) for word in CLAIMS]


def _other(word: str) -> str:
    for side, other in (("left", "right"), ("right", "left")):
        if word.endswith(side):
            return word.removesuffix(side) + other
    return word


def train_expert(
    expert: nn.Module,
    shown: Shown,
    anchors: Mapping[str, torch.Tensor],
    *,
    passes: int,
    merge: int,
    watch: Callable[[int, float], None] = lambda step, loss: None,
    seed: int = 0,
) -> None:
    """Train an expert's weights in place.

    Args:
        expert: from patch features of merge groups to tokens.
        shown: pictures.
        anchors: "emotions" (8, hidden), "claims" (claims, hidden), "objects" (10, hidden) unit vectors.
        passes: over the pictures.
        merge: patches per token.
        watch: called with (step, loss).
        seed: of the order.
    """
    _set_length(expert, shown.features[:256].float().view(-1, merge, shown.features.shape[-1]))
    batch, generator = 256, torch.Generator().manual_seed(seed)
    steps = passes * (len(shown.features) // batch)
    optimizer = torch.optim.AdamW(expert.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.05)
    expert.train()
    for step in range(steps):
        rows = torch.randint(len(shown.features), (batch,), generator=generator)
        patches = shown.features[rows].float()
        groups = patches.view(batch, -1, merge, patches.shape[-1])
        tokens = expert(groups.flatten(0, 1)).view(batch, groups.shape[1], -1)
        loss = word_loss(tokens, shown, rows, anchors)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        watch(step, loss.item())
    expert.eval()


@torch.no_grad()
def _set_length(expert: nn.Module, groups: torch.Tensor) -> None:
    """Scale an expert's last layer so that its tokens are as long as words before it learns."""
    last = [module for module in expert.modules() if isinstance(module, nn.Linear)][-1]
    factor = EMBEDDING_NORM / expert(groups).norm(dim=-1).mean()
    last.weight.mul_(factor)
    last.bias.mul_(factor)


def word_loss(
    tokens: torch.Tensor, shown: Shown, rows: torch.Tensor, anchors: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """Return the distance of (B, T, hidden) tokens of pictures `rows` from the words for their content."""
    mean = F.normalize(tokens.mean(1), dim=-1)
    loss = (tokens.norm(dim=-1) / EMBEDDING_NORM - 1).square().mean()
    faces = shown.emotions[rows].sum(1) > 0
    if faces.any():
        shares = shown.emotions[rows][faces]
        logits = SHARPNESS * mean[faces] @ anchors["emotions"].T
        loss = loss + F.cross_entropy(logits, shares / shares.sum(1, keepdim=True))
        true = shown.claims[rows][faces]
        known = true.isfinite().all(1) & (true.nan_to_num().sum(1) > 0)
        if known.any():
            share = true[known] / true[known].sum(1, keepdim=True)
            loss = loss + 0.5 * F.cross_entropy(SHARPNESS * mean[faces][known] @ anchors["claims"].T, share)
    things = shown.objects[rows] >= 0
    if things.any():
        logits = SHARPNESS * mean[things] @ anchors["objects"].T
        loss = loss + F.cross_entropy(logits, shown.objects[rows][things])
    return loss


def all_anchors(engine: Engine) -> dict[str, torch.Tensor]:
    """Return the unit vectors of emotions, claims and objects."""
    return {
        "emotions": word_anchors(engine, {name: WORDS[name] for name in EMOTIONS}),
        "claims": word_anchors(engine, {word: PHRASES[word][0] for word in CLAIMS}),
        "objects": word_anchors(engine, {name: (name,) for name in OBJECTS}),
    }


@torch.no_grad()
def point_to_words(layer: nn.Linear, reader: torch.Tensor, anchors: torch.Tensor) -> None:
    """Change a last layer in place so that words take the place of a linear head.

    With tokens t and the reader's directions R, the new tokens have the inner products s R t with the anchors A, where
    s keeps their scale: t + pinv(A) (s R t - A t).

    Args:
        layer: makes the tokens.
        reader: (K, hidden) directions.
        anchors: (K, hidden) unit vectors.
    """
    centred = reader - reader.mean(0)
    inverse = torch.linalg.pinv(anchors)
    spread = (anchors @ layer.weight).norm() / (centred @ layer.weight).norm()
    change = torch.eye(layer.out_features) + inverse @ (6.0 * spread * centred - anchors)
    before = layer.weight.norm()
    layer.weight.copy_(change @ layer.weight)
    layer.bias.copy_(change @ layer.bias)
    factor = before / layer.weight.norm()
    layer.weight.mul_(factor)
    layer.bias.mul_(factor)


def joined(parts: Sequence[Shown]) -> Shown:
    """Put the pictures of several sources together."""
    fields = ("features", "emotions", "claims", "objects")
    return Shown(*(torch.cat([getattr(part, name) for part in parts]) for name in fields))


@torch.no_grad()
def nearest_words(
    vision: EmotionQwenVisionTransformer,
    expert: nn.Module,
    held_out: LabelledFaces,
    anchors: Mapping[str, torch.Tensor],
    merge: int,
) -> float:
    """Return the percentage of pictures whose mean token is nearest to the right word.

    Only faces on whose emotion more than half of the votes agree count.
    """
    is_object = held_out.objects >= 0
    rows = np.flatnonzero(is_object | (held_out.targets.max(1) > 0.5))
    kind = "objects" if is_object.any() else "emotions"
    truth = torch.from_numpy(held_out.objects if kind == "objects" else held_out.targets.argmax(1))[rows]
    right = 0
    for first in range(0, len(rows), 128):
        batch = rows[first : first + 128]
        pixels = torch.stack([item_of(held_out, int(row))["pixels"] for row in batch]).float() / 255
        small = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        groups = patch_features(vision, normalize(small)).view(-1, merge, vision.config.hidden_size)
        tokens = expert(groups).view(len(batch), -1, anchors[kind].shape[1])
        nearest = (F.normalize(tokens.mean(1), dim=-1) @ anchors[kind].T).argmax(-1)
        right += int((nearest == truth[first : first + 128]).sum())
    return round(100 * right / len(rows), 1)

"""Encode the media of views: every distinct picture, video and sound is turned into language-model tokens once.

A view is the input of a question: one message part (a picture, a video, a sound, a text) or several, of which at most
one is a visual. The same medium is often part of several views (with and without words); it is encoded once,
in a batch with other media of its kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BatchFeature

from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.audio import AudioFeatures
from emotion_qwen.model.modeling import VisualFeatures
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.processing.chat import AUDIO_PAD, IMAGE_PAD, VIDEO_PAD
from emotion_qwen.processing.encoded import MediumTokens

BATCH = 32
PIXELS = BATCH * 1280 * 28 * 28
"""Maximum total area of media encoded together, by their budgets: 32 pictures of the published budget."""
VISUALS = ("image", "video")
ENCODED = "mm_encoder_outputs"
# kind -> the processor's argument, its placeholder, its token type
KINDS = {"image": ("images", IMAGE_PAD, 1), "video": ("videos", VIDEO_PAD, 2), "audio": ("audio", AUDIO_PAD, 3)}
Part = dict[str, Any]
View = Part | Sequence[Part]


def parts_of(view: View) -> list[Part]:
    """Return the parts of a view."""
    return [view] if isinstance(view, dict) else list(view)


def medium_of(part: Part) -> Any:
    """Return the medium of a part (an array, a clip or a path); None for a text."""
    return next((part[key] for key in (part["type"], "path", "url") if part["type"] in KINDS and key in part), None)


class Encoder:
    """Encodes media as tokens and caches them by kind and identity for its lifetime.

    Args:
        model: in evaluation mode.
        processor: the model's own.
    """

    together = BATCH
    """Maximum number of media per batch of the encoders."""

    def __init__(self, model: EmotionQwenForConditionalGeneration, processor: EmotionQwenProcessor) -> None:
        self.model, self.processor = model, processor
        self._known: dict[
            tuple[str, int], tuple[Any, MediumTokens]
        ] = {}  # keeps the medium alive, because its id could otherwise be reused

    def forget(self) -> None:
        """Clear the cache."""
        self._known.clear()

    @torch.inference_mode()
    def views(self, views: Sequence[View]) -> list[list[Part]]:
        """Return the views with `MediumTokens` in place of media."""
        listed = [parts_of(view) for view in views]
        new: dict[str, dict[int, Any]] = {}
        for part in (part for parts in listed for part in parts):
            medium = medium_of(part)
            if (
                medium is not None
                and not isinstance(medium, MediumTokens)
                and (part["type"], id(medium)) not in self._known
            ):
                new.setdefault(part["type"], {})[id(medium)] = medium
        for kind, media in new.items():
            step = self._together(kind)
            waiting = list(media.values())
            for start in range(0, len(waiting), step):
                self._encode(kind, waiting[start : start + step])
        return [[self._with_tokens(part) for part in parts] for parts in listed]

    def _together(self, kind: str) -> int:
        settings = self.processor.settings
        area = {"image": settings.image_max_pixels, "video": settings.video_total_pixels}.get(kind, 1)
        return max(1, min(self.together, PIXELS * self.together // BATCH // area))

    def _with_tokens(self, part: Part) -> Part:
        medium = medium_of(part)
        if medium is None or isinstance(medium, MediumTokens):
            return part
        return {"type": part["type"], part["type"]: self._known[part["type"], id(medium)][1]}

    def _pass(self, inputs: BatchFeature) -> dict[str, Any]:
        return self.model.encode_media(inputs)

    def _encode(self, kind: str, media: list[Any]) -> None:
        argument, pad, number = KINDS[kind]
        arguments: dict[str, Any] = {"text": [pad] * len(media), argument: media, "padding": True}
        inputs = self.processor(**arguments, device=self.model.device).to(self.model.device)
        encoded = self._pass(inputs)[kind]
        counts = (inputs["mm_token_type_ids"] == number).sum(1).tolist()
        tokens = torch.cat(encoded.pooler_output).split(counts)
        grids, gates, actions, seconds = *([[None] * len(media)] * 3), [0.0] * len(media)
        if kind in VISUALS:
            grids, gates = inputs[f"{kind}_grid_thw"].cpu().unbind(), encoded.gate_weights.float().cpu().unbind()
            actions = actions if encoded.actions is None else encoded.actions.cpu().unbind()
        if kind == "video":
            seconds = inputs["second_per_grid_ts"].tolist()
        for medium, *parts in zip(media, tokens, grids, seconds, gates, actions, strict=True):
            self._known[kind, id(medium)] = medium, MediumTokens(*parts)


def encoder_outputs(views: Sequence[Sequence[Part]]) -> dict[str, VisualFeatures | AudioFeatures]:
    """Collect the tokens of encoded views as the `mm_encoder_outputs` of one forward pass."""
    outputs: dict[str, VisualFeatures | AudioFeatures] = {}
    for kind in KINDS:
        tokens = tuple(medium_of(part).tokens for parts in views for part in parts if part["type"] == kind)
        if tokens:
            outputs[kind] = (VisualFeatures if kind in VISUALS else AudioFeatures)(pooler_output=tokens)  # type: ignore[arg-type]
    return outputs


def join_encoded(all_encoded: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Concatenate the `mm_encoder_outputs` of several batches for a single forward pass."""
    joined: dict[str, Any] = {}
    for kind in dict.fromkeys(kind for encoded in all_encoded for kind in encoded):
        tokens = [tokens for encoded in all_encoded if kind in encoded for tokens in encoded[kind].pooler_output]
        joined[kind] = (VisualFeatures if kind in VISUALS else AudioFeatures)(pooler_output=tuple(tokens))
    return joined


def gate_of(parts: Sequence[Part]) -> torch.Tensor:
    """Return the (2,) fusion weights of an encoded view's visual; zeros if it has none."""
    gates = [medium_of(part).gate for part in parts if part["type"] in VISUALS]
    return gates[0] if gates else torch.zeros(2)


def actions_of(parts: Sequence[Part]) -> torch.Tensor | None:
    """Return the (A,) facial actions of an encoded view's visual; None if it has none or they are not measured."""
    return next((medium_of(part).actions for part in parts if part["type"] in VISUALS), None)


def mean_tokens(parts: Sequence[Part], kinds: Sequence[str]) -> torch.Tensor | None:
    """Return the (hidden,) fp32 mean of the tokens of an encoded view's media of given kinds; None if it has none."""
    tokens = [medium_of(part).tokens for part in parts if part["type"] in kinds]
    return torch.cat(tokens).float().mean(0).cpu() if tokens else None


def size_of(parts: Sequence[Part]) -> int:
    """Estimate the length of an encoded view in tokens, for batches of similar length."""
    return sum(len(part["text"]) if part["type"] == "text" else len(medium_of(part).tokens) for part in parts)

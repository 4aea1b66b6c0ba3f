"""`EmotionQwenProcessor`: converts chats and media to the input tensors of the model.

It is saved and loaded with the model, and contains the model's `clip_settings` (frames, budgets, capture and crops)
and, if the model has audio input, its `hearing_settings`. Pictures are processed by transformers' own
`Qwen2VLImageProcessorPil`; videos by `patches.py`, because transformers' video processor needs torchvision.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature
from transformers.processing_utils import ProcessorMixin
from transformers.utils.chat_template_utils import render_jinja_template

from emotion_qwen.errors import DataError, ShapeError
from emotion_qwen.media.clip import Sources, read_clip
from emotion_qwen.model import EmotionQwenConfig
from emotion_qwen.model.audio import audio_token_counts
from emotion_qwen.model.modeling import IGNORE
from emotion_qwen.processing.chat import (
    AUDIO_PAD,
    CHAT_TEMPLATE,
    IMAGE_PAD,
    PADS,
    VIDEO_PAD,
    expand,
    harmless,
    inside,
    moved,
)
from emotion_qwen.processing.encoded import EncodedVisual, MediumTokens
from emotion_qwen.processing.mel import mel_windows
from emotion_qwen.processing.patches import picture_patches, video_patches
from emotion_qwen.records import Clip
from emotion_qwen.settings import ClipSettings, HearingSettings

SOUND = Sources(sound=True)
REMOTE = re.compile(r"(https?|ftp|s3|gs|hf|data):", re.IGNORECASE)


class EmotionQwenProcessor(ProcessorMixin):
    """Prepare text, pictures, videos and audio for Emotion-Qwen.

    Args:
        image_processor: a `Qwen2VLImageProcessorPil`.
        tokenizer: a fast tokenizer that contains `SPECIAL_TOKENS`.
        chat_template: Jinja template; None uses this package's template.
        clip_settings: values of `ClipSettings` that differ from its defaults.
        hearing_settings: values of `HearingSettings` that differ from its defaults; None without audio input.
    """

    image_token, video_token, audio_token = PADS

    def __init__(
        self, image_processor, tokenizer, chat_template=None, clip_settings=None, hearing_settings=None
    ) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)
        self.clip_settings = dict(clip_settings or {})
        self.hearing_settings = None if hearing_settings is None else dict(hearing_settings)
        self.settings, self.hearing  # noqa: B018  invalid settings fail here, not at the first clip

    @property
    def settings(self) -> ClipSettings:
        """The validated clip settings."""
        return ClipSettings.of(self.clip_settings, "clip_settings")

    @property
    def factor(self) -> int:
        """Pixels per side of the square that becomes one token of a picture."""
        return self.image_processor.patch_size * self.image_processor.merge_size

    @property
    def hearing(self) -> HearingSettings | None:
        """The validated hearing settings; None if the model has no audio input."""
        if self.hearing_settings is None:
            return None
        return HearingSettings.of(self.hearing_settings, "hearing_settings")

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        videos: Any = None,
        audio: Any = None,
        *,
        spans: Sequence[Sequence[tuple[int, int]]] | None = None,
        padding: bool | str | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        device: str | torch.device = "cpu",
        **ignored: Any,
    ) -> BatchFeature:
        """Tokenize rendered chats and prepare their media, given in reading order.

        Args:
            images: pictures of all texts in order: paths, PIL images, (H, W, 3) uint8 arrays or still `Clip`s.
            text: one rendered chat or several, with one pad token per visual or sound; None prepares the media alone.
            videos: paths or `Clip`s.
            audio: paths, `Clip`s with sound, or (S,) float32 waves at 16 kHz.
            spans: for each text, the character spans of the assistant's turns; if given, `labels` are returned.
            padding: True pads texts to the longest one; False returns text tensors as lists, one per text, without
                padding. None pads if a side, tensors or spans are given; otherwise texts of unequal length are
                returned as lists, as in transformers, because padding that a caller does not expect counts as text.
            padding_side: "left" or "right"; None uses the tokenizer's.
            return_tensors: type of the returned tensors, as in transformers; None is "pt".
            device: on which pictures and videos become patches, of which only whole grey levels are copied there. All
                other tensors stay on the CPU.

        Returns:
            input_ids, attention_mask, mm_token_type_ids (0 text, 1 image, 2 video, 3 audio), each (B, L); pixel_values
            (N, D) and image_grid_thw (V, 3); pixel_values_videos, video_grid_thw and second_per_grid_ts (V,), the
            seconds per temporal patch (image_features or video_features instead of pixels for `EncodedVisual`s);
            input_features (W, mels, frames) and feature_lengths (W,) of the windows of audio; labels (B, L) with -100
            outside the spans.

        Raises:
            DataError: placeholders and media do not match, or audio was given for a model without audio input.
        """
        texts = [text] if isinstance(text, str) else list(text or [])
        sounds, audio_tokens = self._sounds(_flat(audio))
        place = torch.device(device)
        data = {**self._pictures(_flat(images), place), **self._videos(_flat(videos), place), **sounds}
        merged = self.image_processor.merge_size**2
        counts = {
            pad: (data[key].prod(-1) // merged).tolist() if key in data else []
            for pad, key in ((IMAGE_PAD, "image_grid_thw"), (VIDEO_PAD, "video_grid_thw"))
        }
        rows = self._rows(texts, spans, {**counts, AUDIO_PAD: audio_tokens})
        if padding is None:
            equal = len({len(row["input_ids"]) for row in rows}) < 2
            padding = equal or not (padding_side is None and return_tensors is None and spans is None)
        if not padding:
            return BatchFeature({**_listed(rows), **BatchFeature(data, tensor_type=return_tensors or "pt")})
        return BatchFeature({**self._pad(rows, padding_side), **data}, tensor_type=return_tensors or "pt")

    def _rows(self, texts: list[str], spans: Any, remaining: dict[str, list[int]]) -> list[dict[str, list[int]]]:
        kinds = {self.tokenizer.convert_tokens_to_ids(pad): kind for kind, pad in enumerate(PADS, start=1)}
        rows, tokenized = [], {}
        for number, text in enumerate(texts):
            last = number == len(texts) - 1
            counts = {}
            for pad in PADS:
                take = len(remaining[pad]) if last else text.count(pad)
                counts[pad], remaining[pad] = remaining[pad][:take], remaining[pad][take:]
            expanded, added = expand(text, counts)
            if expanded not in tokenized:  # many pictures of one size with one question give the same text
                tokenized[expanded] = self.tokenizer(
                    expanded, add_special_tokens=False, return_offsets_mapping=spans is not None
                )
            tokens = tokenized[expanded]
            ids = tokens["input_ids"]
            row = {"input_ids": ids, "mm_token_type_ids": [kinds.get(token, 0) for token in ids]}
            if spans is not None:
                expanded_spans = [(moved(start, added), moved(stop, added)) for start, stop in spans[number]]
                supervised = inside(tokens["offset_mapping"], expanded_spans)
                row["labels"] = [token if learned else IGNORE for token, learned in zip(ids, supervised, strict=True)]
            rows.append(row)
        return rows

    def _pad(self, rows: list[dict[str, list[int]]], side: str | None) -> dict[str, torch.Tensor]:
        fill = {"input_ids": self.tokenizer.pad_token_id, "mm_token_type_ids": 0, "labels": IGNORE}
        length = max((len(row["input_ids"]) for row in rows), default=0)
        on_the_left = (side or self.tokenizer.padding_side) == "left"
        padded: dict[str, list[list[int]]] = {}
        for row in rows:
            gap = length - len(row["input_ids"])
            full = _with_mask(row)
            for key, values in full.items():
                padding = [fill.get(key, 0)] * gap
                padded.setdefault(key, []).append(padding + values if on_the_left else values + padding)
        return {key: torch.tensor(values) for key, values in padded.items()}

    @property
    def _shape(self) -> tuple[int, int, int]:
        """Sides of patches: pixels, frames, and patches per token."""
        shape = self.image_processor
        return shape.patch_size, shape.temporal_patch_size, shape.merge_size

    def _pictures(self, images: list[Any], device: torch.device) -> dict[str, torch.Tensor]:
        if not images:
            return {}
        if encoded := _encoded(images):
            return _features("image", encoded)
        settings = self.settings
        patches, grids = zip(
            *(picture_patches(_picture(image, settings), settings, *self._shape, device) for image in images),
            strict=True,
        )
        return {"pixel_values": torch.cat(patches), "image_grid_thw": torch.cat(grids)}

    def _videos(self, videos: list[Any], device: torch.device) -> dict[str, torch.Tensor]:
        if not videos:
            return {}
        if encoded := _encoded(videos):
            each = torch.tensor([item.seconds for item in encoded], dtype=torch.float32)
            return {**_features("video", encoded), "second_per_grid_ts": each}
        settings = self.settings
        patches, grids, seconds = [], [], []
        for video in videos:
            clip = video if isinstance(video, Clip) else read_clip(video, settings)
            pixels, grid = video_patches(clip.frames, settings, *self._shape, device)
            patches.append(pixels)
            grids.append(grid)
            seconds.append(self.seconds_per_grid(clip))
        return {
            "pixel_values_videos": torch.cat(patches),
            "video_grid_thw": torch.cat(grids),
            "second_per_grid_ts": torch.tensor(seconds, dtype=torch.float32),
        }

    def seconds_per_grid(self, clip: Clip) -> float:
        """Return the number of seconds that one temporal patch of a clip covers."""
        return self.image_processor.temporal_patch_size / (clip.fps or self.settings.fps)

    def _sounds(self, sounds: list[Any]) -> tuple[dict[str, torch.Tensor], list[int]]:
        """Return log-mel windows with their lengths, and the number of tokens of each sound."""
        if not sounds:
            return {}, []
        hearing = self.hearing
        if encoded := _encoded(sounds):
            return {}, [len(medium.tokens) for medium in encoded]
        if hearing is None:
            raise DataError(f"{len(sounds)} sound(s) for a model without audio input; leave the audio parts out")
        windows, lengths, counts = [], [], []
        for sound in sounds:
            mel, frames = mel_windows(self._wave(sound), hearing)
            windows.append(mel)
            lengths.append(frames)
            counts.append(int(audio_token_counts(frames, hearing.frames_per_token).sum()))
        return {"input_features": torch.cat(windows), "feature_lengths": torch.cat(lengths)}, counts

    def _wave(self, sound: Any) -> torch.Tensor:
        if isinstance(sound, np.ndarray | torch.Tensor):
            return torch.as_tensor(sound, dtype=torch.float32)
        clip = sound if isinstance(sound, Clip) else read_clip(Path(sound), self.settings, sources=SOUND)
        if clip.wave is None:
            why = f" ({'; '.join(clip.warnings)})" if clip.warnings else ""
            raise DataError(f"{clip.source!r} has no readable sound{why}; leave its audio part out")
        return torch.from_numpy(clip.wave)

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        chat_template: str | None = None,
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = False,
        return_dict: bool = True,
        return_labels: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Render one conversation or several, and prepare their media if `tokenize` is set.

        Args:
            conversation: messages with `role` and `content`; a content is a text or a list of parts
                `{"type": "text", "text": ...}`, `{"type": "image", "image": ...}`, `{"type": "video", "video": ...}`,
                `{"type": "audio", "audio": ...}`; a video's own sound directly follows the video. Special tokens inside
                texts are neutralised.
            chat_template: Jinja template; None uses the processor's.
            add_generation_prompt: end with the beginning of an assistant's turn.
            continue_final_message: leave the last turn open, so that the model continues it.
            tokenize: also tokenize the text and prepare the media.
            return_dict: with `tokenize`, return everything that `__call__` returns instead of input_ids alone.
            return_labels: add `labels`: -100 everywhere except in the assistant's turns, including `<|im_end|>`.
            kwargs: passed to `__call__`.

        Returns:
            The rendered text (or a list of texts), or with `tokenize` the output of `__call__` (without `return_dict`,
            only its input_ids).

        Raises:
            DataError: labels are requested and the template has no generation block, or there is no assistant turn.
        """
        single = bool(conversation) and isinstance(conversation[0], dict)
        chats = [_harmless(chat) for chat in ([conversation] if single else conversation)]
        template = chat_template or self.chat_template
        if return_labels and "generation" not in template:
            raise DataError("labels were requested, but the chat template has no {% generation %} block; use ours")
        texts, spans = render_jinja_template(
            conversations=chats,
            chat_template=template,
            return_assistant_tokens_mask=return_labels,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
        )
        if not tokenize:
            return texts[0] if single else texts
        if return_labels and not all(spans):
            raise DataError("labels were requested for a conversation without an assistant turn; add one")
        media: dict[str, list[Any]] = {"image": [], "video": [], "audio": []}
        for chat in chats:
            for message in chat:
                for part in message["content"] if isinstance(message["content"], list) else ():
                    if part["type"] in media:
                        media[part["type"]].append(_source(part))
        supervised = spans if return_labels else None
        prepared = self(media["image"], texts, media["video"], media["audio"], spans=supervised, **kwargs)
        return prepared if return_dict else prepared["input_ids"]

    @property
    def image_token_id(self) -> int:
        """Id of the image placeholder."""
        return self.tokenizer.convert_tokens_to_ids(IMAGE_PAD)

    @property
    def video_token_id(self) -> int:
        """Id of the video placeholder."""
        return self.tokenizer.convert_tokens_to_ids(VIDEO_PAD)

    @property
    def audio_token_id(self) -> int:
        """Id of the audio placeholder."""
        return self.tokenizer.convert_tokens_to_ids(AUDIO_PAD)

    def name_tokens(self, config: EmotionQwenConfig) -> EmotionQwenConfig:
        """Set the ids of this tokenizer's special tokens in a configuration, and return it.

        Raises:
            ShapeError: the tokenizer has more tokens than the model has embedding rows.
        """
        tokenizer, text = self.tokenizer, config.text_config
        if len(tokenizer) > text.vocab_size:
            raise ShapeError(
                f"a tokenizer of {len(tokenizer)} tokens for a model of {text.vocab_size}; give the model's own "
                "processor"
            )
        config.image_token_id, config.video_token_id = self.image_token_id, self.video_token_id
        if config.hearing is not None:
            config.audio_token_id = self.audio_token_id
        config.vision_start_token_id, config.vision_end_token_id = tokenizer.convert_tokens_to_ids(
            ["<|vision_start|>", "<|vision_end|>"]
        )
        for part in (config, text):
            part.bos_token_id, part.eos_token_id = None, tokenizer.eos_token_id
            part.pad_token_id = tokenizer.pad_token_id
        return config

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors that the model's forward accepts."""
        return [
            "input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw",
            "pixel_values_videos", "video_grid_thw", "second_per_grid_ts", "input_features", "feature_lengths",
        ]  # fmt: skip

    def post_process_image_text_to_text(
        self, generated_outputs: torch.Tensor, skip_special_tokens: bool = True, **kwargs: Any
    ) -> list[str]:
        """Decode generated tokens (B, L) to texts; `kwargs` are passed to the tokenizer's `batch_decode`."""
        return self.tokenizer.batch_decode(generated_outputs, skip_special_tokens=skip_special_tokens, **kwargs)


def _harmless(chat: Sequence[dict]) -> list[dict]:
    cleaned = []
    for message in chat:
        content = message["content"]
        if isinstance(content, str):
            content = harmless(content)
        else:
            content = [{**p, "text": harmless(p["text"])} if p["type"] == "text" else p for p in content]
        cleaned.append({**message, "content": content})
    return cleaned


def _source(part: dict) -> Any:
    for key in (part["type"], "path", "url"):
        medium = part.get(key)
        if isinstance(medium, str) and REMOTE.match(medium):
            raise DataError(f"{medium[:80]!r} is a URL; files are not downloaded here, give a local path")
        if medium is not None:
            return medium.removeprefix("file://") if isinstance(medium, str) else medium
    raise DataError(f"a part of type {part['type']!r} has no {part['type']!r}, 'path' or 'url'; it has {sorted(part)}")


def _encoded(media: list[Any]) -> list[Any]:
    """Return the media if all are encoded in one form (`EncodedVisual` or `MediumTokens`), an empty list if none is."""
    forms = {type(medium) for medium in media} & {EncodedVisual, MediumTokens}
    encoded = [medium for medium in media if type(medium) in forms]
    if encoded and (len(encoded) < len(media) or len(forms) > 1):
        raise DataError(
            f"{len(encoded)} of {len(media)} visuals of one kind are features; give all of a batch as features or none"
        )
    return encoded


def _features(kind: str, encoded: Sequence[Any]) -> dict[str, torch.Tensor]:
    grid = {f"{kind}_grid_thw": torch.stack([visual.grid_thw for visual in encoded])}
    if isinstance(encoded[0], MediumTokens):
        return grid
    return {f"{kind}_features": torch.cat([visual.features for visual in encoded]), **grid}


def _with_mask(row: dict[str, list[int]]) -> dict[str, list[int]]:
    return {**row, "attention_mask": [1] * len(row["input_ids"])}


def _listed(rows: list[dict[str, list[int]]]) -> dict[str, list[list[int]]]:
    full = [_with_mask(row) for row in rows]
    return {key: [row[key] for row in full] for key in (full[0] if full else ())}


def _flat(media: Any) -> list[Any]:
    """Return media that are given as one, as a list, or as a list per text, which may be empty or None."""
    if media is None:
        return []
    if not isinstance(media, list | tuple):
        return [media]
    groups = [group for group in media if group is not None]
    return [medium for group in groups for medium in (group if isinstance(group, list | tuple) else [group])]


def _picture(image: Any, settings: ClipSettings) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if isinstance(image, np.ndarray):
        return Image.fromarray(image)
    clip = image if isinstance(image, Clip) else read_clip(Path(image), settings)
    return Image.fromarray(clip.frames[0])

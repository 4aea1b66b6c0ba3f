"""Multimodal preprocessing for vLLM, done by our own processor.

A video is passed as the bytes of its file to the step that knows the model's budgets, and is decoded there by the
reader used in training; so frames, sizes and times equal those of `emotion-qwen serve`. Written for vLLM 0.33, and
imported only by it.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import av.error
import numpy as np
import torch
from transformers import BatchFeature
from vllm import envs
from vllm.model_executor.models.qwen2_5_vl import (
    Qwen2_5_VLDummyInputsBuilder,
    Qwen2_5_VLMultiModalProcessor,
    Qwen2_5_VLProcessingInfo,
)
from vllm.model_executor.models.qwen2_vl import Qwen2VLMultiModalDataParser
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.processing import PromptReplacement

from emotion_qwen.errors import EmotionQwenError
from emotion_qwen.media.clip import read_clip
from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.model.audio import audio_token_counts
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.processing.patches import video_frame_budget
from emotion_qwen.records import Clip
from emotion_qwen.serving.intake.decoder import check_limits
from emotion_qwen.settings import ClipSettings

LOUDEST = 16.0
"""Limit of the absolute sample value: decoded sound is within -1..1 (lossy codecs exceed it slightly), unscaled 16-bit
sound is far outside."""


def clip_of(video: Any, facts: Mapping[str, Any], settings: ClipSettings) -> Clip:
    """Convert a video as passed by vLLM to a clip.

    Args:
        video: the bytes of a file as a flat uint8 array (`vllm.video`), or (T, H, W, 3) decoded frames.
        facts: vLLM's metadata of decoded frames: `fps` of the file and `frames_indices`, the frames' numbers in it.
        settings: the model's own.

    Raises:
        ValueError: the file is refused or cannot be read; vLLM answers 400.
    """
    frames = np.asarray(video)
    if frames.ndim == 1:
        return _decoded(frames.tobytes(), settings)
    fps = float(facts.get("fps") or settings.fps)
    places = facts.get("frames_indices")
    times = (np.arange(len(frames)) if places is None else np.asarray(places)) / fps
    return Clip(frames=frames, times=times.astype(np.float64), source="video")


def _decoded(data: bytes, settings: ClipSettings) -> Clip:
    with tempfile.TemporaryDirectory(prefix="emotion-qwen-") as folder:
        path = Path(folder) / "video"
        path.write_bytes(data)
        try:
            check_limits(path, envs.VLLM_MAX_IMAGE_PIXELS, envs.VLLM_MAX_AUDIO_DECODE_DURATION_S)
            return read_clip(path, settings)
        except EmotionQwenError as error:
            raise ValueError(str(error).replace(str(path), "the video")) from error
        except (av.error.FFmpegError, OverflowError, SyntaxError) as error:  # as in the decoders of our own server
            raise ValueError(f"the video is damaged ({type(error).__name__}); save it again") from error


def checked_wave(wave: Any) -> np.ndarray:
    """Return a sound passed by vLLM as (S,) float32, mono at 16 kHz.

    Raises:
        ValueError: there is no sample, or the samples are unscaled integers, as vLLM's PyAV reader returns them.
    """
    wave = np.asarray(wave, dtype=np.float32)
    if not wave.size:
        raise ValueError("the sound holds no sample; leave its part out")
    if float(np.abs(wave).max()) > LOUDEST:
        raise ValueError(
            "the sound is unscaled; vLLM reads sound correctly only with 'soundfile' or 'torchcodec' installed"
        )
    return wave


class EmotionQwenProcessingInfo(Qwen2_5_VLProcessingInfo):
    """Supported media, and the maximum number of tokens per medium."""

    def get_hf_processor(self, **kwargs: object) -> EmotionQwenProcessor:
        """Load our processor. Requests cannot change its budgets: the model must see media as in training."""
        return self.ctx.get_hf_processor(EmotionQwenProcessor)

    def get_image_processor(self, **kwargs: object) -> Any:
        """Return the image processor with the budget that our processor passes to it on every call."""
        processor = self.get_hf_processor()
        shape = copy.copy(processor.image_processor)
        shape.size = {
            "shortest_edge": processor.settings.image_min_pixels,
            "longest_edge": processor.settings.image_max_pixels,
        }
        return shape

    def get_supported_mm_processor_kwargs(self) -> dict[str, set[str]]:
        """Return the options that a request may set: none."""
        return {}

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Return the maximum number of media per kind; None is no limit."""
        kinds = ("image", "video", "audio") if self.get_hf_processor().hearing else ("image", "video")
        return dict.fromkeys(kinds)

    def get_data_parser(self) -> Qwen2VLMultiModalDataParser:
        """Return the parser, which converts sound to mono at 16 kHz."""
        return Qwen2VLMultiModalDataParser(
            self.get_hf_config().vision_config.spatial_merge_size,
            video_needs_metadata=True,
            target_sr=SAMPLE_RATE,
            target_channels=1,
            audio_resample_method="pyav",
            expected_hidden_size=self._get_expected_hidden_size(),
            allow_missing_mm_embeddings=self.allow_missing_mm_embeddings,
        )

    @cached_property
    def token_area(self) -> int:
        """Pixels per visual token."""
        shape = self.get_hf_processor().image_processor
        return (shape.patch_size * shape.merge_size) ** 2

    def largest_video(self, most_tokens: int) -> tuple[int, int]:
        """Return (frames, tokens) of the largest video of at most `most_tokens` tokens."""
        settings, step = self.get_hf_processor().settings, self.get_hf_processor().image_processor.temporal_patch_size
        largest = (step, video_frame_budget(step, settings) // self.token_area)
        for frames in range(step, settings.max_frames + 1, step):
            tokens = frames // step * (video_frame_budget(frames, settings) // self.token_area)
            if largest[1] < tokens <= most_tokens:
                largest = frames, tokens
        return largest

    def longest_sound(self, most_tokens: int) -> tuple[int, int]:
        """Return (samples, tokens) of the longest sound within `most_tokens` tokens: whole windows, at least one."""
        hearing, shape = self.get_hf_processor().hearing, self.get_hf_config().hearing
        assert hearing is not None and shape is not None  # called only for models with audio
        per_window = shape.max_source_positions // shape.frames_per_token
        longest = int(envs.VLLM_MAX_AUDIO_DECODE_DURATION_S / hearing.window_seconds)
        windows = max(1, min(longest, most_tokens // per_window))
        return round(windows * hearing.window_seconds * SAMPLE_RATE), windows * per_window

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """Return the maximum number of tokens of a picture, a video and a sound."""
        most = {
            "image": self.get_max_image_tokens(),
            "video": self.largest_video(_share(seq_len, mm_counts, "video"))[1],
        }
        if "audio" in self.supported_mm_limits:
            most["audio"] = self.longest_sound(_share(seq_len, mm_counts, "audio"))[1]
        return most


def _share(seq_len: int, counts: Mapping[str, int], kind: str) -> int:
    return seq_len // max(1, counts.get(kind, 0))


class EmotionQwenDummyInputs(Qwen2_5_VLDummyInputsBuilder):
    """Media of maximum size, with which vLLM measures the memory it needs."""

    info: EmotionQwenProcessingInfo

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """Return a text with a placeholder for every medium."""
        processor = self.info.get_hf_processor()
        return super().get_dummy_text(mm_counts) + processor.audio_token * mm_counts.get("audio", 0)

    def get_dummy_mm_data(self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, Any]) -> Any:
        """Return media of maximum size."""
        picture = self.info.get_image_size_with_most_features()
        frames, tokens = self.info.largest_video(_share(seq_len, mm_counts, "video"))
        step = self.info.get_hf_processor().image_processor.temporal_patch_size
        frame = self.info.get_image_size_with_most_features(tokens // (frames // step) * self.info.token_area)
        media = {
            "image": self._get_dummy_images(
                width=picture.width, height=picture.height, num_images=mm_counts.get("image", 0),
                overrides=mm_options.get("image"),
            ),
            "video": self._get_dummy_videos(
                width=frame.width, height=frame.height, num_frames=frames, num_videos=mm_counts.get("video", 0),
                overrides=mm_options.get("video"),
            ),
        }  # fmt: skip
        if sounds := mm_counts.get("audio", 0):
            length, _ = self.info.longest_sound(_share(seq_len, mm_counts, "audio"))
            media["audio"] = self._get_dummy_audios(length=length, num_audios=sounds, overrides=mm_options.get("audio"))
        return media


class EmotionQwenMultiModalProcessor(Qwen2_5_VLMultiModalProcessor):
    """Converts media to tensors with our processor, and expands placeholders to the number of their tokens."""

    info: EmotionQwenProcessingInfo

    def _get_hf_mm_inputs(self, mm_items: Any, hf_kwargs: Mapping[str, object]) -> Any:
        # The parent would split videos into frames and the metadata that the video processor of transformers expects.
        inputs = super(Qwen2_5_VLMultiModalProcessor, self)._get_hf_mm_inputs(mm_items, hf_kwargs)
        if videos := inputs.hf_data.get("videos"):
            settings = self.info.get_hf_processor().settings
            inputs.hf_data["videos"] = [clip_of(video, facts or {}, settings) for video, facts in videos]
        if waves := inputs.hf_data.get("audio"):
            inputs.hf_data["audio"] = [checked_wave(wave) for wave in waves]
        return inputs

    def _call_hf_processor(self, hf_data: Mapping[str, Any], hf_kwargs: Mapping[str, object]) -> BatchFeature:
        processor, outputs = self.info.get_hf_processor(), super()._call_hf_processor(hf_data, hf_kwargs)
        if clips := hf_data.get("videos"):  # vLLM has rounded them to the model's dtype, which would change positions
            outputs["second_per_grid_ts"] = torch.tensor([processor.seconds_per_grid(clip) for clip in clips])
        if processor.hearing is not None and (waves := hf_data.get("audio")):
            length = round(processor.hearing.window_seconds * SAMPLE_RATE)
            outputs["sound_windows"] = torch.tensor([-(-len(wave) // length) for wave in waves])
        return outputs

    def _get_mm_fields_config(self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]) -> Any:
        windows = hf_inputs.get("sound_windows", torch.empty(0, dtype=torch.long))
        return {
            **super()._get_mm_fields_config(hf_inputs, hf_processor_mm_kwargs),
            "input_features": MultiModalFieldConfig.flat_from_sizes("audio", windows),
            "feature_lengths": MultiModalFieldConfig.flat_from_sizes("audio", windows, keep_on_cpu=True),
            "sound_windows": MultiModalFieldConfig.batched("audio", keep_on_cpu=True),
        }

    def _get_prompt_updates(self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, Any], out_mm_kwargs: Any) -> Any:
        updates: Sequence[Any] = super()._get_prompt_updates(mm_items, hf_processor_mm_kwargs, out_mm_kwargs)
        processor = self.info.get_hf_processor()
        if processor.hearing is None:
            return updates
        place, group = processor.audio_token_id, processor.hearing.frames_per_token

        def tokens(number: int) -> list[int]:
            lengths = out_mm_kwargs["audio"][number]["feature_lengths"].data
            return [place] * int(audio_token_counts(lengths, group).sum())

        return [*updates, PromptReplacement(modality="audio", target=[place], replacement=tokens)]

"""vLLM's Qwen2.5-VL with the Hybrid Compressor in place of its merger. Written for vLLM 0.33; imported only by it.

The vision transformer, the language model and their kernels are vLLM's. Ours are the compressor, which needs the bounds
of every visual (its gate decides per visual), the audio encoder, the position rule, and the names of the weights.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
from vllm.model_executor.models.utils import WeightsMapper
from vllm.multimodal import MULTIMODAL_REGISTRY

from emotion_qwen.errors import SettingsError, ShapeError
from emotion_qwen.model.audio import EmotionQwenAudioTower
from emotion_qwen.model.compressor import HybridCompressor
from emotion_qwen.model.positions import AUDIO, IMAGE, TEXT, VIDEO, get_rope_index
from emotion_qwen.processing.chat import AUDIO_PAD
from emotion_qwen.serving.vllm.processing import (
    EmotionQwenDummyInputs,
    EmotionQwenMultiModalProcessor,
    EmotionQwenProcessingInfo,
)

OURS = {"model.compressor.": "visual.merger.", "model.audio.": "audio.", "model.actions.": None}
"""Prefixes to match before vLLM's own, which contain "model."; None drops what no answer depends on."""
KINDS = {"image": IMAGE, "video": VIDEO, "audio": AUDIO}
FACTS = {"image": ("image_grid_thw",), "video": ("video_grid_thw", "second_per_grid_ts")}
"""Inputs of the position rule per visual."""


class VisualCompressor(HybridCompressor):
    """The compressor with the interface of vLLM's merger: features and tokens are in window order."""

    bounds: torch.Tensor | None = None

    def expect(self, grid_thw: Any) -> None:
        """Set the (V, 3) grids of the visuals of the next call."""
        sizes = torch.as_tensor(grid_thw, dtype=torch.long).reshape(-1, 3).prod(-1) // self.merge_unit
        self.bounds = F.pad(sizes.cumsum(0), (1, 0))

    def forward(self, features: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Fuse (N, 1, width) or (N, width) features to (N / merge^2, out) tokens.

        Raises:
            ShapeError: the number of features does not match the grids.
        """
        features = features.reshape(-1, features.shape[-1])
        bounds, self.bounds = self.bounds, None  # valid for one call
        expected = 0 if bounds is None else int(bounds[-1]) * self.merge_unit
        if bounds is None or expected != len(features):
            raise ShapeError(f"{len(features)} patch features for visuals of {expected}; pass their grids first")
        bounds = bounds.to(features.device)
        return self._fuse(features, self.fusion_weights(features, bounds), bounds)


def pass_grids(visual: Any, args: tuple, kwargs: Mapping[str, Any]) -> None:
    """Pass the grids of a call of the vision transformer to the compressor; a forward pre-hook.

    Raises:
        ShapeError: the call has no grids, as with vLLM's CUDA graphs of the encoder.
    """
    grids = kwargs.get("grid_thw", args[1] if len(args) > 1 else None)
    if grids is None:
        raise ShapeError("the gate needs the grids of the visuals; leave CUDA graphs of the encoder off")
    visual.merger.expect(grids)


@MULTIMODAL_REGISTRY.register_processor(
    EmotionQwenMultiModalProcessor, info=EmotionQwenProcessingInfo, dummy_inputs=EmotionQwenDummyInputs
)
class EmotionQwenForVllm(Qwen2_5_VLForConditionalGeneration):
    """Emotion-Qwen on vLLM.

    Raises:
        SettingsError: pruning of video tokens is enabled.
    """

    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={**OURS, **Qwen2_5_VLForConditionalGeneration.hf_to_vllm_mapper.orig_to_new_prefix}
    )
    supports_mm_device_do_normalize = False  # our processor normalises already
    supports_multimodal_pruning = False  # the positions of a sound follow the tokens of its video
    supports_tower_connector_lora = False  # the compressor is made of plain layers

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        if self.is_multimodal_pruning_enabled:
            raise SettingsError("--video-pruning-rate: this model was not trained with pruned videos; leave it out")
        config = vllm_config.model_config.hf_config
        self.visual.merger = VisualCompressor(config).eval()
        self.visual.register_forward_pre_hook(pass_grids, with_kwargs=True)
        self.positions = functools.partial(get_rope_index, config)
        if config.hearing is not None:
            with self._mark_tower_model(vllm_config, {"audio"}):
                self.audio = EmotionQwenAudioTower(config.hearing, config.text_config.hidden_size).eval()

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """Return the placeholder text of a medium that the chat template does not place."""
        if modality.startswith("audio"):
            return f"<|audio_start|>{AUDIO_PAD}<|audio_end|>"
        return super().get_placeholder_str(modality, i)

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """Return one (tokens, hidden) tensor per medium; vLLM passes media of one kind per call."""
        if kwargs.get("input_features") is None:
            return super().embed_multimodal(**kwargs)
        windows = self.audio(kwargs["input_features"], kwargs["feature_lengths"]).pooler_output
        counts = torch.as_tensor(kwargs["sound_windows"]).flatten().tolist()
        ends = torch.tensor(counts).cumsum(0).tolist()
        return [torch.cat(windows[end - count : end]) for count, end in zip(counts, ends, strict=True)]

    def get_mrope_input_positions(
        self, input_tokens: list[int], mm_features: Sequence[Any]
    ) -> tuple[torch.Tensor, int]:
        """Return (3, L) positions and their offset from the number of tokens, by our model's own rule.

        The rule equals vLLM's and also covers audio tokens.
        """
        kinds = torch.full((1, len(input_tokens)), TEXT)
        collected: dict[str, list[torch.Tensor]] = {}
        for feature in sorted(mm_features, key=lambda feature: feature.mm_position.offset):
            place = feature.mm_position
            kinds[0, place.offset : place.offset + place.length] = KINDS[feature.modality]
            for name in FACTS.get(feature.modality, ()):
                collected.setdefault(name, []).append(feature.data[name].data)
        facts = {name: torch.stack(values) for name, values in collected.items()}
        positions, delta = self.positions(torch.tensor([input_tokens]), kinds, **facts)
        return positions[:, 0], int(delta)

    def get_encoder_cudagraph_config(self) -> Any:
        """Return a configuration without media: CUDA graphs replay without grids, which the gate needs."""
        return dataclasses.replace(super().get_encoder_cudagraph_config(), modalities=[])

    def get_mm_mapping(self) -> MultiModelKeys:
        """Return the module prefixes per role."""
        return MultiModelKeys.from_string_field(
            language_model="language_model",
            connector=["visual.merger.", "audio.compressor."],
            tower_model=["visual.", "audio.encoder."],
        )

"""vLLM's Qwen2.5-VL with the Hybrid Compressor in place of its merger. Written against vLLM 0.33; imported only by it.

The vision transformer, the language model, their kernels and the positions are vLLM's. Ours are the compressor, which
must know where one visual ends and the next begins (its gate decides per visual), the names of its weights, and the
processor's budgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor
from vllm.model_executor.models.qwen2_5_vl import (
    Qwen2_5_VLDummyInputsBuilder,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLMultiModalProcessor,
    Qwen2_5_VLProcessingInfo,
)
from vllm.model_executor.models.utils import WeightsMapper
from vllm.multimodal import MULTIMODAL_REGISTRY

from emotion_qwen.errors import SettingsError, ShapeError
from emotion_qwen.model.compressor import HybridCompressor
from emotion_qwen.processing import EmotionQwenProcessor

COMPRESSOR = {"model.compressor.": "visual.merger."}  # before vLLM's own prefixes, of which "model." is one


class VisualCompressor(HybridCompressor):
    """The compressor as vLLM's vision transformer calls its merger: features in window order, tokens in that order."""

    bounds: torch.Tensor | None = None

    def expect(self, grid_thw: Any) -> None:
        """Remember the (V, 3) grids of the visuals whose features come next."""
        sizes = torch.as_tensor(grid_thw, dtype=torch.long).reshape(-1, 3).prod(-1) // self.merge_unit
        self.bounds = F.pad(sizes.cumsum(0), (1, 0))

    def forward(self, features: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Fuse (N, 1, width) or (N, width) features to (N / merge^2, out) tokens.

        Raises:
            ShapeError: the features are not those of the visuals that were told.
        """
        features = features.reshape(-1, features.shape[-1])
        bounds = self.bounds
        if bounds is None or int(bounds[-1]) * self.merge_unit != len(features):
            told = 0 if bounds is None else int(bounds[-1]) * self.merge_unit
            raise ShapeError(f"{len(features)} patch features came for visuals of {told}; tell their grids first")
        bounds = bounds.to(features.device)
        return self._fuse(features, self.fusion_weights(features, bounds), bounds)


def tell_grids(visual: Any, args: tuple, kwargs: Mapping[str, Any]) -> None:
    """Tell the compressor the grids of a call of the vision transformer; a hook before its forward.

    Raises:
        ShapeError: a call without grids, as vLLM's CUDA graphs of the encoder make it.
    """
    grids = kwargs.get("grid_thw", args[1] if len(args) > 1 else None)
    if grids is None:
        raise ShapeError("the gate needs the grids of the visuals; leave CUDA graphs of the encoder off")
    visual.merger.expect(grids)


class EmotionQwenProcessingInfo(Qwen2_5_VLProcessingInfo):
    """The model's own processor in the form that vLLM drives: transformers' classes with our budgets and template."""

    def get_hf_processor(self, **kwargs: object) -> Qwen2_5_VLProcessor:
        """Make transformers' processor from ours."""
        own = EmotionQwenProcessor.from_pretrained(self.ctx.model_config.model)
        settings, shape = own.settings, own.image_processor
        shared = {
            "patch_size": shape.patch_size,
            "temporal_patch_size": shape.temporal_patch_size,
            "merge_size": shape.merge_size,
        }
        image = {"shortest_edge": settings.image_min_pixels, "longest_edge": settings.image_max_pixels}
        video = {"shortest_edge": settings.video_min_pixels, "longest_edge": settings.video_total_pixels}
        return Qwen2_5_VLProcessor(
            image_processor=Qwen2VLImageProcessor(**shared, size=image),
            tokenizer=own.tokenizer,
            video_processor=Qwen2VLVideoProcessor(**shared, size=video, fps=settings.fps),
            chat_template=own.chat_template,
        )


@MULTIMODAL_REGISTRY.register_processor(
    Qwen2_5_VLMultiModalProcessor, info=EmotionQwenProcessingInfo, dummy_inputs=Qwen2_5_VLDummyInputsBuilder
)
class EmotionQwenForVllm(Qwen2_5_VLForConditionalGeneration):
    """Emotion-Qwen on vLLM. Sound is not carried: a model that hears is refused."""

    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={**COMPRESSOR, **Qwen2_5_VLForConditionalGeneration.hf_to_vllm_mapper.orig_to_new_prefix}
    )

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        config = vllm_config.model_config.hf_config
        if config.hearing is not None:
            raise SettingsError("the vLLM plug-in does not carry sound; serve this model with --engine own")
        self.visual.merger = VisualCompressor(config).eval()
        self.visual.register_forward_pre_hook(tell_grids, with_kwargs=True)

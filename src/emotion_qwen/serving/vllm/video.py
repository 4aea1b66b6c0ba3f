"""How vLLM gets a video of a request: as the bytes of its file. `vllm_processing` decodes them. Imported only by vLLM.

vLLM's own loaders decode before it is known which model asks, so they could not keep to the model's frame budget.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES
from vllm.multimodal.video import VIDEO_LOADER_REGISTRY, VideoLoader

LOADER = "emotion_qwen"


class EncodedVideoLoader(VideoLoader):
    """Leaves the file as it is."""

    @classmethod
    def load_bytes(cls, data: bytes, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the file as a flat uint8 array; the options of other loaders do not apply."""
        return np.frombuffer(data, dtype=np.uint8), {"video_backend": LOADER}


def register_video_loader(model_type: str) -> None:
    """Make it the loader of our models, and of no others.

    vLLM finds a model's loader by the name of its video processor, which it looks up in this table of transformers.
    Our processor has none, for transformers' needs torchvision; the name stands for the loader alone.
    """
    VIDEO_LOADER_REGISTRY.register(LOADER, video_processor=EncodedVideoLoader.__name__)(EncodedVideoLoader)
    VIDEO_PROCESSOR_MAPPING_NAMES[model_type] = EncodedVideoLoader.__name__

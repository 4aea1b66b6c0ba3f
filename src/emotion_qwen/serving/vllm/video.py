"""The video loader for vLLM: it passes on the bytes of the file, which `processing` decodes. Imported only by vLLM.

vLLM's own loaders decode before the model is known, so they cannot apply the model's frame budget.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES
from vllm.multimodal.video import VIDEO_LOADER_REGISTRY, VideoLoader

LOADER = "emotion_qwen"


class EncodedVideoLoader(VideoLoader):
    """Returns the file undecoded."""

    @classmethod
    def load_bytes(cls, data: bytes, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the file as a flat uint8 array; the options of other loaders do not apply."""
        return np.frombuffer(data, dtype=np.uint8), {"video_backend": LOADER}


def register_video_loader(model_type: str) -> None:
    """Register the loader for models of this type only.

    vLLM finds a model's loader by the name of its video processor, which it looks up in a table of transformers. Our
    processor has no video processor, because that of transformers needs torchvision; the name only selects the loader.
    """
    VIDEO_LOADER_REGISTRY.register(LOADER, video_processor=EncodedVideoLoader.__name__)(EncodedVideoLoader)
    VIDEO_PROCESSOR_MAPPING_NAMES[model_type] = EncodedVideoLoader.__name__

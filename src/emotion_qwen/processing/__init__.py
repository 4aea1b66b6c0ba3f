"""Clip and messages to tensors. Importing this package registers the processor with `AutoProcessor`."""

from transformers import AutoProcessor

from emotion_qwen.model import EmotionQwenConfig
from emotion_qwen.processing.processor import EmotionQwenProcessor

AutoProcessor.register(EmotionQwenConfig, EmotionQwenProcessor)

__all__ = ["EmotionQwenProcessor"]

"""The model. Importing this package registers it, and its processor, with transformers' Auto classes.

`AutoConfig`, `AutoModel`, `AutoModelForImageTextToText` and `AutoProcessor` recognise Emotion-Qwen only after this
import (or after using a public name of `emotion_qwen`); nothing is ever loaded as remote code.
"""

from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

from emotion_qwen.model.configuration import EmotionQwenConfig, EmotionQwenTextConfig, EmotionQwenVisionConfig
from emotion_qwen.model.modeling import EmotionQwenForConditionalGeneration, EmotionQwenModel, VisualFeatures
from emotion_qwen.model.presets import PRESETS, preset

AutoConfig.register(EmotionQwenConfig.model_type, EmotionQwenConfig)
AutoModel.register(EmotionQwenConfig, EmotionQwenModel)
AutoModelForImageTextToText.register(EmotionQwenConfig, EmotionQwenForConditionalGeneration)

__all__ = [
    "PRESETS",
    "EmotionQwenConfig",
    "EmotionQwenForConditionalGeneration",
    "EmotionQwenModel",
    "EmotionQwenTextConfig",
    "EmotionQwenVisionConfig",
    "VisualFeatures",
    "preset",
]

# Without our processor, `AutoProcessor` would return the tokenizer alone and silently drop pictures.
import emotion_qwen.processing  # noqa: E402, F401

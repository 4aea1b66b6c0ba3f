"""The model. Importing this package registers it with transformers' Auto classes.

`AutoConfig`, `AutoModel` and `AutoModelForImageTextToText` know Emotion-Qwen only after this import (or after touching
a public model name of `emotion_qwen`); nothing is ever loaded as remote code.
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

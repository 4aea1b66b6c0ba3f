"""Learned motion of faces; importing this package registers its model with transformers' Auto classes."""

from transformers import AutoConfig, AutoModel

from emotion_qwen.express.motion_model.configuration import MOTION_SIZES, MotionConfig, motion_config
from emotion_qwen.express.motion_model.modeling import MotionModel

AutoConfig.register(MotionConfig.model_type, MotionConfig)
AutoModel.register(MotionConfig, MotionModel)

__all__ = ["MOTION_SIZES", "MotionConfig", "MotionModel", "motion_config"]

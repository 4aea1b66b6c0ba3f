"""The learned generator of facial expressions; importing this package registers it with transformers' Auto classes."""

from transformers import AutoConfig, AutoModel

from emotion_qwen.express.generator.configuration import SIZES, ExpressionConfig, expression_config
from emotion_qwen.express.generator.modeling import ExpressionGenerator, GeneratedParts

AutoConfig.register(ExpressionConfig.model_type, ExpressionConfig)
AutoModel.register(ExpressionConfig, ExpressionGenerator)

__all__ = ["SIZES", "ExpressionConfig", "ExpressionGenerator", "GeneratedParts", "expression_config"]

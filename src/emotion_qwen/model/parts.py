"""The parts of the model, by the names of their parameters."""

VISION, LANGUAGE, HEAD = "model.visual.", "model.language_model.", "lm_head."
GENERAL, EMOTION, GATE = "model.compressor.general.", "model.compressor.emotion.", "model.compressor.gate."
AUDIO = "model.audio."
AUDIO_ENCODER, AUDIO_COMPRESSOR = f"{AUDIO}encoder.", f"{AUDIO}compressor."
ACTIONS = "model.actions."
PARTS: dict[str, tuple[str, ...]] = {
    "vision": (VISION,),
    "general": (GENERAL,),
    "emotion": (EMOTION,),
    "gate": (GATE,),
    "audio": (AUDIO,),
    "language": (LANGUAGE, HEAD),
    "actions": (ACTIONS,),
}
"""Part -> prefixes of its parameters' names. A model without audio input has no part `audio`, and one without facial
actions has no part `actions`.
"""
TRAINED = tuple(part for part in PARTS if part != "actions")
"""Parts that a stage can train. The head for facial actions is fitted to the vision transformer by a recipe."""

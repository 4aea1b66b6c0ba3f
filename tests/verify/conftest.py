"""A small verifier, trained in a moment on sentences whose emotion is plain."""

import pytest

from emotion_qwen.verify.fitting import fit_table
from emotion_qwen.verify.sentences import labelled_as
from emotion_qwen.verify.verifier import Verifier

LINES = {
    "en": {
        "happiness": ("so happy and glad", "she smiles, a joyful day", "what a wonderful gift, I love it"),
        "sadness": ("sad and lonely", "he cries, tears run down", "a gloomy and mournful face"),
        "anger": ("angry and furious", "he shouts with clenched fists", "this makes me mad"),
        "fear": ("afraid and scared", "she trembles in terror", "I am frightened of it"),
        "neutral": ("a man in a room", "the train leaves at noon", "there is a table"),
    },
    "zh": {"happiness": ("很高兴很开心", "快乐地笑"), "sadness": ("非常悲伤", "伤心地哭"), "neutral": ("桌子在那里",)},
}
ENDS = {"en": ("", ".", "!", " now", " today", " then"), "zh": ("", "。", "！", "吧", "呢", "了")}


@pytest.fixture(scope="session")
def small_verifier() -> Verifier:
    tables = {}
    for language, lines in LINES.items():
        pairs = [(f"{line}{end}", label) for label in lines for line in lines[label] for end in ENDS[language]]
        tables[language] = fit_table(labelled_as(*zip(*pairs, strict=True)), language)
    return Verifier(tables)

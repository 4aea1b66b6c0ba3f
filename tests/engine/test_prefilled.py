"""A report at the geometry of 7B passes hardly more tokens than its clip has, though it asks about it many times."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Qwen2VLImageProcessorPil

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.request import Request
from emotion_qwen.engine.engine import Engine
from emotion_qwen.faces import Detections
from emotion_qwen.model import EmotionQwenForConditionalGeneration, preset
from emotion_qwen.prepare import prepare_clip
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.questions import label_question
from emotion_qwen.records import Clip, Utterance

WORDS = ("I did not think that this would happen to me.", "Well, now we have to see what we can do.")
CONTEXT = "She has just heard the news from her brother."


class OneFace:
    """Sees one face in every frame."""

    def __call__(self, frame):
        height, width = frame.shape[:2]
        return Detections(np.array([[0.4 * width, 0.2 * height, 0.6 * width, 0.6 * height]], np.float32), np.ones(1))


@pytest.fixture(scope="module")
def analyzer(nano):
    """The tokens of 7B, with nano's tokenizer, through layers that are narrow and few."""
    shape = Qwen2VLImageProcessorPil(patch_size=14, temporal_patch_size=2, merge_size=2)
    processor = EmotionQwenProcessor(shape, nano.processor.tokenizer)
    config = preset("7b")
    text, vision = config.text_config, config.vision_config
    text.hidden_size = text.intermediate_size = vision.out_hidden_size = 128
    text.num_hidden_layers, text.layer_types = 1, ["full_attention"]
    text.num_attention_heads, text.num_key_value_heads, text.vocab_size = 4, 2, 4300
    text.rope_parameters = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]}
    vision.depth, vision.hidden_size, vision.intermediate_size, vision.num_heads = 1, 64, 64, 2
    vision.fullatt_block_indexes = [0]
    config.gate_num_heads, config.gate_hidden_size = 2, 32
    torch.manual_seed(0)
    model = EmotionQwenForConditionalGeneration(processor.name_tokens(config)).eval()
    return Analyzer(Engine(model, processor, "thin", Path("nowhere")), OneFace())


@pytest.fixture(scope="module")
def prepared(analyzer):
    """19 seconds of a 720p film in the size at which it is read, with a person, and with words at two places."""
    noise = np.random.default_rng(0).integers(0, 255, (1, 360, 640, 3), dtype=np.uint8)
    spoken = [Utterance(start, start + 4.0, text) for start, text in zip((1.0, 8.0), WORDS, strict=True)]
    frames = noise.repeat(38, 0)
    clip = Clip(frames, np.arange(38) / 2, "made", duration=19.0, size=(1280, 720), utterances=tuple(spoken))
    return prepare_clip(clip, analyzer.detector, analyzer.engine.processor)


def own_tokens(analyzer, prepared) -> int:
    """The tokens of a single question about everything: the clip, the crops, the words and the context."""
    question = label_question(Request().label_set, "en")
    crops = [{"type": "image", "image": crop} for person in prepared.people for crop in person.crops]
    texts = [{"type": "text", "text": text} for text in (*WORDS, CONTEXT, question)]
    talk = [{"role": "user", "content": [prepared.part, *crops, *texts]}]
    processor = analyzer.engine.processor
    return processor.apply_chat_template(talk, tokenize=True, add_generation_prompt=True)["input_ids"].shape[1]


def test_a_report_prefills_at_most_1_3_of_the_clips_own_tokens(analyzer, prepared, monkeypatch):
    passed, language = [], analyzer.engine.model.model.language_model
    forward = language.forward

    def count(input_ids=None, inputs_embeds=None, **inputs):
        rows, tokens = (inputs_embeds if input_ids is None else input_ids).shape[:2]
        passed.append(rows * tokens if tokens > 1 else 0)  # written tokens are not prefilled
        return forward(input_ids=input_ids, inputs_embeds=inputs_embeds, **inputs)

    request = Request(context=CONTEXT)
    reader = analyzer.reader(request)
    analyzer.read(reader, [prepared], request)  # asks about blank pictures, which is done once per run
    monkeypatch.setattr(language, "forward", count)
    (result,) = analyzer.read(reader, [replace(prepared)], request)
    assert set(result.report.channels[0].__dict__) and len(result.report.provenance["channels"]) == 3
    own = own_tokens(analyzer, prepared)
    assert 6000 < own < 6600
    assert sum(passed) <= 1.3 * own, (sum(passed), own)

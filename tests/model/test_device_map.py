"""A model over several devices, as far as a CPU shows it: where 72B would lie on four cards, and equal results."""

import pytest
import torch
from accelerate import infer_auto_device_map
from tests.training.training_runs import chat, noise_clip

from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.model import EmotionQwenForConditionalGeneration, preset
from emotion_qwen.model.source import NANO

GIB = 2**30


@pytest.mark.parametrize(("size", "cards"), [("72b", 4), ("32b", 2)])
def test_a_large_model_lies_on_cards_of_48_gigabytes_without_a_split_layer(size, cards):
    with torch.device("meta"):
        model = EmotionQwenForConditionalGeneration(preset(size)).to(torch.bfloat16)
    places = infer_auto_device_map(
        model, {number: 40 * GIB for number in range(cards)}, no_split_module_classes=model._no_split_modules
    )
    assert set(places.values()) == set(range(cards))  # all cards are used, and nothing is left for CPU or disk
    for name, module in model.named_modules():
        if type(module).__name__ in model._no_split_modules:
            assert not [inner for inner in places if inner.startswith(f"{name}.")], f"{name} is split"


@torch.no_grad()
def test_a_model_in_pieces_answers_like_the_whole(tmp_path, nano, processor):
    """Some layers and the compressor are on another device, here the disk, and move when they are called."""
    places = {"model.visual": "cpu", "model.compressor": "disk", "model.audio": "cpu", "lm_head": "cpu"}
    language = nano.model.model.language_model
    places |= {f"model.language_model.{name}": "cpu" for name, _ in language.named_children() if name != "layers"}
    places |= {f"model.language_model.layers.{n}": ("cpu", "disk")[n % 2] for n in range(len(language.layers))}
    places |= {"model.actions": "cpu"} if hasattr(nano.model.model, "actions") else {}
    pieces = EmotionQwenForConditionalGeneration.from_pretrained(
        NANO, dtype=torch.float32, device_map=places, offload_folder=str(tmp_path)
    ).eval()
    asked = [{"type": "video", "video": noise_clip(1)}, {"type": "text", "text": "What happens?"}]
    talk = ({"role": "user", "content": asked}, {"role": "assistant", "content": "happy"})
    batch = SampleCollator(processor)([type(chat("", "", ""))("v", talk)])
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "domains")}
    assert (pieces(**inputs).logits - nano.model(**inputs).logits).abs().max() <= 1e-5
    assert any(parameter.device.type == "meta" for parameter in pieces.parameters())  # those on the disk

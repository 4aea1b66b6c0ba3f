"""A model over several devices, as far as a CPU shows it: where 72B would lie on four cards, and equal results."""

import pytest
import torch
from accelerate import infer_auto_device_map
from tests.training.training_runs import chat, noise_clip

from emotion_qwen.convert.loading import load_model
from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.engine.devices import is_divided
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import SettingsError
from emotion_qwen.model import EmotionQwenForConditionalGeneration, preset
from emotion_qwen.model.source import find_model

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


@pytest.fixture(scope="module")
def pieces(nano, tmp_path_factory):
    """nano with some layers and the compressor on another device, here the disk, from which they move when called."""
    places = {"model.visual": "cpu", "model.compressor": "disk", "model.audio": "cpu", "lm_head": "cpu"}
    language = nano.model.model.language_model
    places |= {f"model.language_model.{name}": "cpu" for name, _ in language.named_children() if name != "layers"}
    places |= {f"model.language_model.layers.{n}": ("cpu", "disk")[n % 2] for n in range(len(language.layers))}
    places |= {"model.actions": "cpu"} if hasattr(nano.model.model, "actions") else {}
    folder = str(tmp_path_factory.mktemp("pieces"))
    model = load_model(find_model("nano"), dtype=torch.float32, device_map=places, offload_folder=folder).eval()
    assert any(parameter.device.type == "meta" for parameter in model.parameters())  # those on the disk
    return model


@torch.no_grad()
def test_a_model_in_pieces_answers_like_the_whole(pieces, nano, processor):
    asked = [{"type": "video", "video": noise_clip(1)}, {"type": "text", "text": "What happens?"}]
    talk = ({"role": "user", "content": asked}, {"role": "assistant", "content": "happy"})
    batch = SampleCollator(processor)([type(chat("", "", ""))("v", talk)])
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "domains")}
    assert (pieces(**inputs).logits - nano.model(**inputs).logits).abs().max() <= 1e-5


def test_an_engine_in_pieces_scores_and_writes_like_the_whole(pieces, nano, processor, monkeypatch):
    monkeypatch.setattr("emotion_qwen.engine.batches.LONG", 2)  # also with what several views share
    film = {"type": "video", "video": noise_clip(2)}
    views = [[film], [film, {"type": "text", "text": "They won. "}], [{"type": "text", "text": "Oh no. "}]]
    divided = Engine(pieces, processor, "nano")
    ours, whole = (each.score(views, "How do they feel?", ["happy", "very sad"]) for each in (divided, nano))
    assert (ours.log_likelihood - whole.log_likelihood).abs().max() <= 1e-4
    assert divided.write([film], "What happens?", 5) == nano.write([film], "What happens?", 5)


@pytest.mark.parametrize(
    ("device", "gpus", "free", "divided"),
    [
        ("auto", 2, 2, True),
        ("auto", 2, 8, False),
        ("auto", 1, 2, False),
        ("cuda:1", 2, 2, False),
        ("balanced", 2, 8, True),
    ],
)
def test_a_model_too_large_for_a_gpu_is_divided(device, gpus, free, divided, tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(bytes(4 << 20))
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda place: (free << 20, 48 << 20))
    assert is_divided(device, tmp_path, torch.bfloat16) == divided
    if device == "auto" and gpus == 2:
        assert is_divided(device, tmp_path, torch.float32) == (free < 10)


def test_the_engine_hands_the_division_on(nano, monkeypatch):
    asked = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr(
        "emotion_qwen.engine.engine.load_model", lambda source, **options: asked.append(options) or nano.model
    )
    Engine.load("nano", device="balanced")
    assert asked == [{"dtype": torch.float32, "device_map": "balanced"}]


def test_one_gpu_cannot_be_divided(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(SettingsError, match="'balanced' divides a model among GPUs, of which 1 are here; try auto"):
        Engine.load("nano", device="balanced")

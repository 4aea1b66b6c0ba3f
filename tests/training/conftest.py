from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState

from emotion_qwen.data.manifest import write_manifest
from emotion_qwen.model import EmotionQwenForConditionalGeneration, preset
from emotion_qwen.model.presets import NANO_HEARING

from .training_runs import chat


@pytest.fixture(autouse=True)
def no_leftover_precision():
    """Forget the accelerator of an earlier test: its mixed precision is shared by the whole process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def tiny_config(processor, **changes):
    """A nano of two narrow layers, with the shipped tokenizer's ids."""
    config = preset("nano", **changes)
    text, vision = config.text_config, config.vision_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers, text.layer_types = 64, 96, 2, text.layer_types[:2]
    text.num_attention_heads = text.num_key_value_heads = 1
    vision.hidden_size, vision.num_heads, vision.depth, vision.intermediate_size = 48, 2, 2, 64
    vision.out_hidden_size, vision.fullatt_block_indexes = 64, [1]
    config.gate_num_heads, config.gate_hidden_size = 2, 16
    return processor.name_tokens(config)


@pytest.fixture(scope="session")
def tiny_start(tmp_path_factory, processor) -> Path:
    """A folder with a random tiny model; tests must not change it."""
    folder = tmp_path_factory.mktemp("tiny") / "start"
    torch.manual_seed(3)
    EmotionQwenForConditionalGeneration(tiny_config(processor)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def hearing_start(tmp_path_factory, processor) -> Path:
    """A folder with a random tiny model that hears; tests must not change it."""
    folder = tmp_path_factory.mktemp("hearing") / "start"
    sound = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24}
    torch.manual_seed(5)
    config = tiny_config(processor, audio_config={**NANO_HEARING, **sound})
    EmotionQwenForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny(tiny_start):
    """The tiny model, a fresh copy for every test."""
    return EmotionQwenForConditionalGeneration.from_pretrained(tiny_start)


@pytest.fixture(scope="session")
def chats(tmp_path_factory) -> Path:
    """A folder with two manifests of 24 text and picture samples, answers of unequal length."""
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("chats"), np.random.default_rng(0)
    for domain in ("general", "emotion"):
        samples = []
        for number in range(24):
            path = folder / f"{domain}{number}.png"
            Image.fromarray(rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)).save(path)
            answer = " ".join(["happy", "cat", "red"][: 1 + number % 3])
            samples.append(chat(f"{domain}/{number}", f"What is {number}?", answer, str(path)))
        write_manifest(samples, folder / f"{domain}.jsonl")
    return folder


@pytest.fixture
def config_file(tmp_path, tiny_start, chats):
    """Write a run's YAML; values given replace the defaults."""

    def write(**changes) -> Path:
        values = {
            "stage": "hybrid",
            "start": str(tiny_start),
            "output": str(tmp_path / "run"),
            "folder": str(chats),
            "capture": False,
            "data": [
                {"name": "talk", "domain": "general", "path": "general.jsonl"},
                {"name": "faces", "domain": "emotion", "path": "emotion.jsonl"},
            ],
            "batch": {"samples": 4},
            "optim": {"steps": 6, "learning_rate": 1e-3},
            "precision": "float32",
            "save_every": 2,
            "log_every": 1,
            **changes,
        }
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return path

    return write

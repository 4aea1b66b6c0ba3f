"""TRL trains the model on pictures and text (GRPO, DPO, SFT), and is stopped where it would not see the media."""

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.training.training_runs import noise_clip, tone
from transformers import AutoModelForImageTextToText

from emotion_qwen.errors import ShapeError
from emotion_qwen.model import EmotionQwenForConditionalGeneration

needs_trl = pytest.mark.skipif(
    importlib.util.find_spec("trl") is None, reason="TRL is not installed: pip install trl"
)  # an optional package of others
WANTED = "happiness"


def picture(seed: int, side: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8))


def asked(kinds: list[str], words: str = "Which emotion?") -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*({"type": kind} for kind in kinds), {"type": "text", "text": words}]}]


def rows(count: int = 4) -> list[dict[str, Any]]:
    """Prompts of unequal length with one, two and no pictures."""
    listed = []
    for number in range(count):
        images = [picture(10 * number + place, 48 + 24 * place) for place in range((1, 2, 0, 1)[number % 4])]
        prompt = asked(["image"] * len(images), "Which emotion? " + "Look again. " * number)
        listed.append({"prompt": prompt, "images": images})
    return listed


def reward(completions, **_):
    return [float(len(set(str(completion)))) for completion in completions]


def options(tmp_path, **more) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path / "run"), "max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-3,
        "report_to": [], "save_strategy": "no", "use_cpu": True, "bf16": False, "logging_steps": 1, **more,
    }  # fmt: skip


def moved(model, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}


def weights(model) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize("trusted", [False, True])
def test_the_class_is_found_through_the_auto_class_and_never_as_remote_code(bare, tiny_start, trusted):
    assert list(bare.config.auto_map) == ["AutoModelForImageTextToText"]
    assert "auto_map" not in bare.config.to_dict() and "auto_map" not in (tiny_start / "config.json").read_text()
    model = AutoModelForImageTextToText.from_pretrained(tiny_start, trust_remote_code=trusted)
    assert type(model) is EmotionQwenForConditionalGeneration


@needs_trl
def test_a_path_becomes_our_model(tiny_start):
    from trl.trainer.utils import create_model_from_path

    model = create_model_from_path(str(tiny_start), device_map=None)
    assert type(model) is EmotionQwenForConditionalGeneration


@needs_trl
def test_grpo_on_pictures_with_a_start_and_its_likelihoods(tiny, tiny_start, processor, tmp_path, monkeypatch):
    """With beta, TRL loads the start by its path; what it scores is what our own pass gives, without padding."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    config = GRPOConfig(**options(tmp_path, num_generations=2, max_completion_length=4, beta=0.04))
    tiny.config._name_or_path = str(tiny_start)
    trainer = GRPOTrainer(tiny, reward, config, train_dataset=Dataset.from_list(rows()), processing_class=processor)
    scored: list[dict[str, Any]] = []
    score = trainer._get_per_token_logps_and_entropies

    def noted(model, input_ids, attention_mask, *args, **kwargs):
        scored.append({"mask": attention_mask, "ids": input_ids, "pad": processor.tokenizer.pad_token_id})
        return score(model, input_ids, attention_mask, *args, **kwargs)

    monkeypatch.setattr(trainer, "_get_per_token_logps_and_entropies", noted)
    before = weights(trainer.model)
    trainer.train()
    assert any("compressor" in name for name in moved(trainer.model, before)), "the pictures are not seen"
    prompts = [(each["ids"], each["mask"]) for each in scored]
    attended = sum(int(((ids[:, :-4] == scored[0]["pad"]) & mask[:, :-4].bool()).sum()) for ids, mask in prompts)
    assert prompts and attended == 0, "padding is attended to as if it were text"


@needs_trl
def test_dpo_on_pictures(tiny, tiny_start, processor, tmp_path):
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    answers = ("happiness", "neutral and some more words")
    pairs = [
        {**row, **{name: [{"role": "assistant", "content": [{"type": "text", "text": text}]}]
                   for name, text in zip(("chosen", "rejected"), answers, strict=True)}}
        for row in rows() if row["images"]
    ]  # fmt: skip
    tiny.config._name_or_path = str(tiny_start)
    config = DPOConfig(**options(tmp_path, per_device_train_batch_size=3, max_steps=3))
    trainer = DPOTrainer(tiny, args=config, train_dataset=Dataset.from_list(pairs), processing_class=processor)
    before = weights(trainer.model)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[0] == pytest.approx(0.693, abs=1e-2) and losses[-1] < losses[0]
    assert any("compressor" in name for name in moved(trainer.model, before))


@needs_trl
def test_sft_on_pictures(tiny, processor, tmp_path):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    answer = [{"role": "assistant", "content": [{"type": "text", "text": WANTED}]}]
    data = [{"messages": row["prompt"] + answer, "images": row["images"]} for row in rows() if row["images"]]
    config = SFTConfig(**options(tmp_path, per_device_train_batch_size=3, max_length=None))
    trainer = SFTTrainer(tiny, args=config, train_dataset=Dataset.from_list(data), processing_class=processor)
    before = weights(trainer.model)
    trainer.train()
    assert any("compressor" in name for name in moved(trainer.model, before))


@needs_trl
@pytest.mark.parametrize("kind", ["video", "audio"])
def test_videos_and_sounds_are_refused_in_one_line(kind, hearing_start, processor, tmp_path):
    """TRL generates with the medium and scores without it; the model refuses the blind pass."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model = EmotionQwenForConditionalGeneration.from_pretrained(hearing_start)
    medium = noise_clip(0) if kind == "video" else tone(200.0)
    content = [{"type": kind, kind: medium}, {"type": "text", "text": "Which emotion?"}]

    data = Dataset.from_dict({"number": [0] * 4})
    # Media are put in when a row is read: a column cannot hold them.
    data.set_transform(lambda batch: {"prompt": [[{"role": "user", "content": content}]] * len(batch["number"])})
    config = GRPOConfig(**options(tmp_path, num_generations=2, max_completion_length=4))
    trainer = GRPOTrainer(model, reward, config, train_dataset=data, processing_class=processor)
    with pytest.raises(ShapeError, match=rf"\d+ {kind} placeholder\(s\) without .* use `emotion-qwen train`") as raised:
        trainer.train()
    assert "\n" not in str(raised.value)

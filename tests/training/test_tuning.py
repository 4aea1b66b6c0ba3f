import numpy as np
import torch
from accelerate import Accelerator

from emotion_qwen.data.questions import Exchange
from emotion_qwen.model import EmotionQwenForConditionalGeneration, preset
from emotion_qwen.training.tuning import QuestionBatches, TuningTrainer, as_sample


def item(place: int, label: str = "fear") -> dict:
    pixels = torch.from_numpy(np.random.default_rng(place).integers(0, 255, (3, 48, 48), dtype=np.uint8))
    return {"place": place, "pixels": pixels, "exchange": Exchange("How?", "afraid", "en", "describe"), "label": label}


def test_a_batch_trains_everything_but_the_vision_transformer(nano, processor):
    torch.manual_seed(0)
    config = preset("nano")
    config.image_token_id = processor.image_token_id
    model = EmotionQwenForConditionalGeneration(config).train()
    model.model.visual.requires_grad_(False)
    batch = QuestionBatches(processor, 0.5, 1)([item(i) for i in range(4)])
    model(**batch).loss.backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and not p.grad.abs().sum() > 0]
    assert without == [] and all(p.grad is None for p in model.model.visual.parameters())


def test_blank_pictures_are_never_augmented(processor):
    collate = QuestionBatches(processor, 1.0, 1)
    blank = {**item(3, "blank"), "pixels": torch.full((3, 48, 48), 120, dtype=torch.uint8)}
    pixels = collate([blank])["pixel_values"]
    assert all(len(channel.unique()) == 1 for channel in pixels.view(36, 3, -1).transpose(0, 1))


def test_samples_say_what_they_are_labelled_for():
    exchange = Exchange("?", "!", "en", "object")
    assert as_sample("a", np.zeros((2, 2, 3)), exchange, "fear").labels == {"emotion": "fear"}
    assert as_sample("a", np.zeros((2, 2, 3)), exchange, "cat").labels == {"object": "cat"}


def test_the_loss_is_the_models_own(processor):
    torch.manual_seed(1)
    config = preset("nano")
    config.image_token_id = processor.image_token_id
    model = EmotionQwenForConditionalGeneration(config).train()
    batch = QuestionBatches(processor, 0.5, 1)([item(i) for i in range(3)])
    trainer = TuningTrainer.__new__(TuningTrainer)
    trainer.accelerator = Accelerator(cpu=True)
    with torch.no_grad():
        assert torch.allclose(trainer.compute_loss(model, batch), model(**batch).loss, atol=1e-5)

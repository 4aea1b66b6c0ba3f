"""The steps that make nano from raw data; `recipes/train_nano.sh` runs them in order, each separately resumable.

python -m recipes.nano.steps teacher|vision|sight|words|start|hearing|ears|pack --data DATA --runs RUNS
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import click
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, load_model, save_file
from transformers import set_seed
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from emotion_qwen.console import run_command
from emotion_qwen.data.voices import read_voices
from emotion_qwen.errors import DataError
from emotion_qwen.model import EmotionQwenConfig, EmotionQwenForConditionalGeneration, preset
from emotion_qwen.model.presets import NANO_HEARING
from emotion_qwen.model.vision import EmotionQwenVisionTransformer
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.processing.chat import CHAT_TEMPLATE, SYSTEM_TEXT
from emotion_qwen.records import CHANNELS
from emotion_qwen.taxonomy import LABEL_SETS
from recipes.nano.hearing import VOICES, HearingRun, hearing_settings, share_right, train_hearing
from recipes.nano.language_start import look_back
from recipes.nano.questions import FEELINGS, OBJECTS, TRAINED_SETS, VOICE_SET, ask_blank, ask_face, ask_object
from recipes.nano.shape_captions import DESCRIBE, describe
from recipes.nano.shape_interviews import KINDS_TRAINED, interview
from recipes.nano.shape_questions import WORDS, shapes_item
from recipes.nano.sight import SightRun, patch_accuracy, run_sight
from recipes.nano.tokenizer import train_tokenizer
from recipes.nano.vision_start import (
    SOURCES,
    ConvTeacher,
    PictureStream,
    VisionRun,
    VisionStudent,
    look_nearby,
    run_vision,
)
from recipes.options import folder_options

SEED = 7
ATTENTION = "eager"  # on a CPU the fused kernel's backward is many times slower in bf16
CLIP_SETTINGS = {
    "max_frames": 64,
    "video_min_pixels": 48 * 48,
    "video_max_pixels": 64 * 64,
    "video_total_pixels": 64 * 48 * 48,
    "image_min_pixels": 48 * 48,
    "image_max_pixels": 64 * 64,
    "person_margin": -0.05,
    "person_frames": 64,
    "person_pixels": 48 * 48,
    "person_gray": True,
    "person_mirrored": True,
    "person_weight": 1.0,
}
"""Visual input of nano: 36 to 64 patches per picture, at most 64 frames (two per second for half a minute), grey face
crops framed like its training pictures.

The margin was chosen on LFW validation photographs with the detector's own boxes: of 320 happy and neutral faces, 89.4
% are classified correctly among seven emotions at margin -0.05 and 88.1 % at 0; an earlier nano had 86, 83, 68 and 63 %
at -0.05, 0, 0.04 and 0.08.
"""


@click.group()
def nano() -> None:
    """Make nano, step by step."""
    set_seed(SEED)


@nano.command()
@folder_options
@click.option("--passes", default=20, show_default=True)
def teacher(data: Path, runs: Path, passes: int) -> None:
    """Train the convolutional network that serves as teacher of the vision transformer."""
    run_vision(VisionRun(data, runs / "teacher", passes, learning_rate=2e-3), ConvTeacher())


@nano.command()
@folder_options
@click.option("--passes", default=10, show_default=True)
def vision(data: Path, runs: Path, passes: int) -> None:
    """Train the vision transformer on labels and on the teacher's predictions."""
    weights = runs / "teacher" / "model.safetensors"
    if not weights.is_file():
        raise DataError(f"{weights} does not exist; run the step `teacher` first")
    guide = ConvTeacher()
    load_model(guide, str(weights))
    config = preset("nano").vision_config
    config._attn_implementation = ATTENTION
    student = VisionStudent(EmotionQwenVisionTransformer(config))
    look_nearby(student.vision)
    run = VisionRun(data, runs / "vision", passes, learning_rate=4e-3)
    run_vision(run, student, guide.eval().requires_grad_(False))


@nano.command()
@folder_options
def words(data: Path, runs: Path) -> None:
    """Train the tokenizer and save the processor."""
    rng = random.Random(SEED)
    texts = [f"{SYSTEM_TEXT} system\nuser\nassistant\n"] * 200
    for _ in range(8000):
        closed = rng.random() < 0.5
        feeling, thing = rng.choice(list(FEELINGS)), rng.choice(list(OBJECTS))
        exchanges = ask_face(feeling, rng, closed), ask_object(thing, rng, closed), ask_blank(rng)
        texts += [text for exchange in exchanges for text in (exchange.question, exchange.answer)]
    for place in range(6000):
        item = shapes_item(place, "train")
        texts += [text for q in item.questions.values() for text in (q.text, q.answer)]
        for language in DESCRIBE:
            asked_too = interview(item.scene, language, 4, rng, KINDS_TRAINED)
            texts += [describe(item.scene, language), *(text for exchange in asked_too for text in exchange)]
    texts += [text for wordings in DESCRIBE.values() for text in wordings] * 100
    table = pq.read_table(data / "text_goemotions.parquet", columns=["text", "split"]).to_pydict()
    texts += [text for text, split in zip(table["text"], table["split"], strict=True) if split == "train"][:20000]
    whole = {word for labels in LABEL_SETS.values() for word in labels.chinese}
    whole |= (
        set(OBJECTS.values())
        | {word for word in WORDS["zh"] if len(word) > 1}
        | {word for both in FEELINGS.values() for word in both[1]}
    )
    tokenizer = train_tokenizer(texts, whole, preset("nano").text_config.vocab_size)
    shape = preset("nano").vision_config
    pictures = Qwen2VLImageProcessorPil(patch_size=shape.patch_size, merge_size=shape.spatial_merge_size)
    EmotionQwenProcessor(pictures, tokenizer, clip_settings=CLIP_SETTINGS).save_pretrained(runs / "processor")


@nano.command()
@folder_options
@click.option("--steps", default=700, show_default=True)
def sight(data: Path, runs: Path, steps: int) -> None:
    """Train the vision transformer on drawn scenes, patch by patch; its features of pictures are preserved."""
    vision = _seen(runs / "vision")
    vision.config._attn_implementation = ATTENTION
    student = run_sight(
        SightRun(data, runs / "sight", steps), vision, PictureStream(data, "train", SOURCES, passes=1, seed=SEED)
    )
    accuracies = ", ".join(f"{name} {value:.3g}" for name, value in patch_accuracy(student).items())
    click.echo(f"validation scenes: {accuracies}")
    save_file({f"vision.{k}": v for k, v in vision.state_dict().items()}, runs / "sight" / "model.safetensors")


def _seen(folder: Path) -> EmotionQwenVisionTransformer:
    """Load the vision transformer from the folder of a step."""
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise DataError(f"{weights} does not exist; run the step `{folder.name}` first")
    vision = EmotionQwenVisionTransformer(preset("nano").vision_config)
    kept = {k.removeprefix("vision."): v for k, v in load_file(weights).items() if k.startswith("vision.")}
    vision.load_state_dict(kept)
    return vision


@nano.command()
@folder_options
def start(data: Path, runs: Path) -> None:
    """Write a model folder with vision transformer and processor; the rest is random, except heads initialised to
    attend to previous tokens."""
    if not (runs / "processor").is_dir():
        raise DataError(f"{runs}: no processor; run the step `words` first")
    processor = EmotionQwenProcessor.from_pretrained(runs / "processor")
    model = EmotionQwenForConditionalGeneration(processor.name_tokens(preset("nano")))
    model.model.visual.load_state_dict(_seen(runs / "sight").state_dict())
    look_back(model.model.language_model)
    model.save_pretrained(runs / "start")
    processor.save_pretrained(runs / "start")


@nano.command()
@folder_options
def hearing(data: Path, runs: Path) -> None:
    """Train the audio tower alone, with a temporary head, on the voices of the training speakers."""
    (runs / "hearing").mkdir(parents=True, exist_ok=True)
    trained = train_hearing(read_voices(data / VOICES, "train"), HearingRun(seed=SEED))
    validation = read_voices(data / VOICES, "validation")
    click.echo(f"validation speakers: {share_right(trained, validation):.1%} of {len(validation)} voices")
    save_file(trained.tower.state_dict(), runs / "hearing" / "model.safetensors")


@nano.command()
@folder_options
@click.option("--model", type=click.Path(path_type=Path), required=True, help="folder of the model without audio input")
def ears(data: Path, runs: Path, model: Path) -> None:
    """Add the audio tower from the step `hearing` to a model."""
    weights = runs / "hearing" / "model.safetensors"
    if not weights.is_file():
        raise DataError(f"{weights} does not exist; run the step `hearing` first")
    source = EmotionQwenForConditionalGeneration.from_pretrained(model)
    processor = EmotionQwenProcessor.from_pretrained(model)
    processor.hearing_settings = hearing_settings(NANO_HEARING).model_dump()
    processor.chat_template = CHAT_TEMPLATE  # the folder's own may predate audio input
    config = processor.name_tokens(EmotionQwenConfig(**{**source.config.to_dict(), "audio_config": dict(NANO_HEARING)}))
    whole = EmotionQwenForConditionalGeneration(config)
    left = whole.load_state_dict(source.state_dict(), strict=False)
    assert not left.unexpected_keys and all(key.startswith("model.audio.") for key in left.missing_keys)
    whole.model.audio.load_state_dict(load_file(weights))
    whole.save_pretrained(runs / "ears")
    processor.save_pretrained(runs / "ears")


@nano.command()
@folder_options
@click.option("--model", type=click.Path(path_type=Path), required=True, help="folder of the trained model")
@click.option("--target", type=click.Path(path_type=Path), required=True, help="package folder of the shipped model")
def pack(data: Path, runs: Path, model: Path, target: Path) -> None:
    """Save the trained model in bf16 with its processor and training facts."""
    EmotionQwenForConditionalGeneration.from_pretrained(model, dtype=torch.bfloat16).save_pretrained(target)
    processor = EmotionQwenProcessor.from_pretrained(model)
    processor.clip_settings = dict(CLIP_SETTINGS)
    processor.save_pretrained(target)
    facts = {
        "label_sets": [*TRAINED_SETS, VOICE_SET],
        "channels": list(CHANNELS),
        "data": sorted(path.name for path in data.glob("*.parquet")),
    }
    (target / "training_facts.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_command(nano))

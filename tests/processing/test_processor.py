import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from emotion_qwen.engine.engine import NANO
from emotion_qwen.errors import CheckpointError, DataError, SettingsError
from emotion_qwen.media.clip import read_clip
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.processing.folder import load_processor
from emotion_qwen.records import Clip


def picture(seed: int, height: int = 48, width: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def image(array) -> dict:
    return {"type": "image", "image": array}


def words(text: str) -> dict:
    return {"type": "text", "text": text}


def clip(frames: int, fps: float) -> Clip:
    return Clip(np.stack([picture(i, 48, 64) for i in range(frames)]), np.arange(frames) / fps, "made")


def test_rendered_chat_is_qwens(processor):
    chat = [
        {"role": "user", "content": [image(None), words("What?")]},
        {"role": "assistant", "content": "sad"},
        {"role": "user", "content": "Why?"},
    ]
    assert processor.apply_chat_template(chat, add_generation_prompt=True) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What?<|im_end|>\n"
        "<|im_start|>assistant\nsad<|im_end|>\n"
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_own_system_text_replaces_the_default(processor):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好"}]
    assert processor.apply_chat_template(chat).startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user")


def test_labels_are_every_assistant_turn_and_its_end(processor):
    chat = [
        {"role": "user", "content": [image(picture(0)), words("Which?")]},
        {"role": "assistant", "content": "happy"},
        {"role": "user", "content": "现在呢？"},
        {"role": "assistant", "content": "悲伤"},
    ]
    batch = processor.apply_chat_template([chat, chat[:2]], tokenize=True, return_labels=True, padding_side="right")
    taught = [processor.tokenizer.decode(row[row != -100]) for row in batch["labels"]]
    assert taught == ["happy<|im_end|>悲伤<|im_end|>", "happy<|im_end|>"]
    kept = batch["labels"] != -100
    assert torch.equal(batch["labels"][kept], batch["input_ids"][kept])


def test_padding_is_masked_by_length_not_by_token(processor):
    chats = [[{"role": "user", "content": text}] for text in ("a", "a much longer text <|endoftext|>")]
    left = processor.apply_chat_template(chats, tokenize=True, padding_side="left")
    right = processor.apply_chat_template(chats, tokenize=True, padding_side="right")
    gap = int((left["attention_mask"][0] == 0).sum())
    assert gap > 0 and left["attention_mask"][0, :gap].sum() == 0 and right["attention_mask"][0, -gap:].sum() == 0
    assert torch.equal(left["input_ids"][0, gap:], right["input_ids"][0, :-gap])
    assert left["attention_mask"][1].all()


def test_types_count_the_tokens_of_every_visual(processor):
    chat = [
        {
            "role": "user",
            "content": [image(picture(0)), image(picture(1, 96, 48)), {"type": "video", "video": clip(4, 2)}],
        }
    ]
    batch = processor.apply_chat_template(chat, tokenize=True)
    merged = processor.image_processor.merge_size**2
    assert (batch["mm_token_type_ids"] == 1).sum() == batch["image_grid_thw"].prod(-1).sum() // merged
    assert (batch["mm_token_type_ids"] == 2).sum() == batch["video_grid_thw"].prod(-1).sum() // merged
    assert len(batch["pixel_values"]) == batch["image_grid_thw"].prod(-1).sum()


@pytest.mark.parametrize(("fps", "seconds"), [(1.0, 2.0), (2.0, 1.0), (3.0, 2 / 3)])
def test_measured_fps_reaches_the_positions(processor, fps, seconds):
    batch = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "video", "video": clip(6, fps)}]}], tokenize=True
    )
    assert batch["second_per_grid_ts"].tolist() == pytest.approx([seconds])


def test_pictures_are_bit_equal_to_transformers(processor):
    settings = processor.settings
    size = {"shortest_edge": settings.image_min_pixels, "longest_edge": settings.image_max_pixels}
    plain = Qwen2VLImageProcessorPil(patch_size=8, size=size)
    for number, shape in enumerate([(48, 48), (33, 70), (480, 640), (5, 9)]):
        shown = picture(number, *shape)
        ours = processor(images=[shown], text="<|image_pad|>")
        theirs = plain(images=[Image.fromarray(shown)], return_tensors="pt")
        assert torch.equal(ours["pixel_values"], theirs["pixel_values"])
        assert torch.equal(ours["image_grid_thw"], theirs["image_grid_thw"])


def test_it_saves_and_loads_with_its_settings(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    chat = [{"role": "user", "content": [image(picture(3)), words("情绪？")]}, {"role": "assistant", "content": "ok"}]
    wanted = processor.apply_chat_template(chat, tokenize=True, return_labels=True)
    for again in (EmotionQwenProcessor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
        assert type(again) is EmotionQwenProcessor and again.settings == processor.settings
        got = again.apply_chat_template(chat, tokenize=True, return_labels=True)
        assert all(torch.equal(wanted[key], got[key]) for key in wanted)


def test_unknown_clip_setting_is_named_with_its_neighbour(processor):
    with pytest.raises(SettingsError, match=r"clip_settings: unknown key 'video_max_pixles'.*'video_max_pixels'"):
        EmotionQwenProcessor(processor.image_processor, processor.tokenizer, clip_settings={"video_max_pixles": 1})


def test_text_cannot_bring_a_visual(processor):
    chat = [{"role": "user", "content": [image(picture(0)), words("<|image_pad|> and <|im_end|>")]}]
    batch = processor.apply_chat_template(chat, tokenize=True)
    assert (batch["mm_token_type_ids"] == 1).sum() == 9


def test_labels_need_an_assistant(processor):
    with pytest.raises(DataError, match="without an assistant turn"):
        processor.apply_chat_template([{"role": "user", "content": "x"}], tokenize=True, return_labels=True)


def test_texts_are_padded_only_for_callers_who_expect_it(processor):
    """Others, such as TRL, take every token that they get as real."""
    chats = [[{"role": "user", "content": [words("Hi" * number)]}] for number in (1, 9)]
    for options in ({"padding": True}, {"padding_side": "right"}, {"return_tensors": "pt"}):
        padded = processor.apply_chat_template(chats, tokenize=True, **options)
        assert padded["input_ids"].shape[0] == 2 and not padded["attention_mask"].all()
    for options in ({}, {"padding": False}, {"padding": False, "return_tensors": "pt"}):
        rows = processor.apply_chat_template(chats, tokenize=True, **options)
        for row, chat in enumerate(chats):
            alone = processor.apply_chat_template(chat, tokenize=True)
            for key in ("input_ids", "attention_mask", "mm_token_type_ids"):
                assert rows[key][row] == alone[key][0].tolist()
    same = processor.apply_chat_template([chats[0], chats[0]], tokenize=True)
    assert torch.is_tensor(same["input_ids"]) and same["input_ids"].shape[0] == 2


def test_a_text_without_pictures_may_stand_among_others(processor):
    shown, pad = picture(5), "<|vision_start|><|image_pad|><|vision_end|>"
    texts = [f"{pad}What?", "How are you?", f"{pad}{pad}Which?"]
    wanted = processor(images=[shown, shown, shown], text=texts, padding=True)
    for nothing in (None, []):
        given = processor(images=[[shown], nothing, [shown, shown]], text=texts, padding=True)
        assert all(torch.equal(given[key], wanted[key]) for key in wanted)


def test_part_without_medium_is_named(processor):
    with pytest.raises(DataError, match=r"a part of type 'image' has no 'image', 'path' or 'url'; it has \['type'\]"):
        processor.apply_chat_template([{"role": "user", "content": [{"type": "image"}]}], tokenize=True)


def wave(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


def test_sound_becomes_windows_and_as_many_tokens_as_it_lasts(processor, tmp_path):
    hearing = {"mels": 16, "window_seconds": 1.0, "frames_per_token": 10}
    ours = EmotionQwenProcessor(processor.image_processor, processor.tokenizer, None, processor.clip_settings, hearing)
    parts = [{"type": "video", "video": clip(4, 2.0)}, {"type": "audio", "audio": wave(2.5)}, words("What?")]
    batch = ours.apply_chat_template([{"role": "user", "content": parts}], tokenize=True)
    assert batch["input_features"].shape == (3, 16, 100) and batch["feature_lengths"].tolist() == [100, 100, 50]
    assert int((batch["mm_token_type_ids"] == 3).sum()) == 5 + 5 + 3
    text = ours.apply_chat_template([{"role": "user", "content": parts}])
    assert "<|video_pad|><|vision_end|><|audio_start|><|audio_pad|><|audio_end|>What?" in text
    ours.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert again.hearing == ours.hearing and again.hearing.mels == 16
    same = again.apply_chat_template([{"role": "user", "content": parts}], tokenize=True)
    assert all(torch.equal(batch[key], same[key]) for key in batch)


def test_a_deaf_models_processor_refuses_sound(processor):
    chat = [{"role": "user", "content": [{"type": "audio", "audio": wave(1.0)}]}]
    deaf = EmotionQwenProcessor(processor.image_processor, processor.tokenizer, None, processor.clip_settings)
    with pytest.raises(DataError, match=r"1 sound\(s\) for a model without audio input; leave the audio parts out"):
        deaf.apply_chat_template(chat, tokenize=True)
    ours = EmotionQwenProcessor(processor.image_processor, processor.tokenizer, None, processor.clip_settings, {})
    silent = [{"role": "user", "content": [{"type": "audio", "audio": clip(2, 1.0)}]}]
    with pytest.raises(DataError, match="'made' has no readable sound; leave its audio part out"):
        ours.apply_chat_template(silent, tokenize=True)
    with pytest.raises(SettingsError, match="hearing_settings: unknown key 'mel'.*Did you mean 'mels'"):
        EmotionQwenProcessor(processor.image_processor, processor.tokenizer, None, {}, {"mel": 80})


def write_wave(path, samples: np.ndarray, rate: int = 16000):
    import wave as waves

    with waves.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


@pytest.mark.parametrize("form", ["str", "Path", "path", "url", "file url"])
def test_media_parts_take_paths_of_every_kind(processor, tmp_path, gray_clip, form):
    Image.fromarray(picture(5)).save(tmp_path / "一 张.png")
    files = {"image": tmp_path / "一 张.png", "video": gray_clip, "audio": write_wave(tmp_path / "a.wav", wave(0.7))}

    def part(kind: str) -> dict:
        path = files[kind]
        key = form if form in ("path", "url") else "url" if form == "file url" else kind
        return {"type": kind, key: path if form == "Path" else f"file://{path}" if form == "file url" else str(path)}

    def prepared(parts: list[dict]):
        return processor.apply_chat_template([{"role": "user", "content": [*parts, words("What?")]}], tokenize=True)

    given = prepared([part(kind) for kind in files])
    read = {"image": picture(5), "video": read_clip(gray_clip, processor.settings)}
    wanted = prepared([{"type": kind, kind: medium} for kind, medium in read.items()] + [part("audio")])
    assert all(torch.equal(given[key], wanted[key]) for key in wanted)
    plain = prepared([{"type": "audio", "audio": (wave(0.7) * 32767).astype("<i2").astype(np.float32) / 32768}])
    assert torch.equal(given["feature_lengths"], plain["feature_lengths"])
    assert (given["input_features"] - plain["input_features"]).abs().max() < 1e-3


@pytest.mark.parametrize(
    "url", ["https://example.invalid/a.png", "HTTP://x/y.wav", "data:image/png;base64,AAAA", "s3://b/c"]
)
def test_an_address_is_refused_and_not_fetched(processor, url):
    for part in ({"type": "image", "url": url}, {"type": "video", "video": url}, {"type": "audio", "path": url}):
        with pytest.raises(DataError, match="is a URL; files are not downloaded here, give a local path"):
            processor.apply_chat_template([{"role": "user", "content": [part]}], tokenize=True)


def test_a_file_without_sound_is_named(processor, tmp_path, gray_clip):
    for path in (gray_clip, tmp_path / "picture.png"):
        Image.fromarray(picture(5)).save(tmp_path / "picture.png")
        part = {"type": "audio", "audio": str(path)}
        with pytest.raises(DataError, match=rf"{path.name}' has no readable sound.*; leave its audio part out"):
            processor.apply_chat_template([{"role": "user", "content": [part]}], tokenize=True)


def test_the_last_message_can_be_continued(processor):
    chat = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "It is"}]
    assert processor.apply_chat_template(chat, continue_final_message=True).endswith("<|im_start|>assistant\nIt is")


def test_transformers_pipeline_answers_as_generate_does(bare, processor):
    from transformers import pipeline

    chat = [{"role": "user", "content": [image(Image.fromarray(picture(3, 64, 64))), words("What is this?")]}]
    batch = processor.apply_chat_template([chat], tokenize=True, add_generation_prompt=True)
    wanted = processor.tokenizer.batch_decode(
        bare.generate(**batch, max_new_tokens=6, do_sample=False)[:, batch["input_ids"].shape[1] :],
        skip_special_tokens=True,
    )
    ask = pipeline("image-text-to-text", model=bare, processor=processor)
    (answer,) = ask(text=chat, max_new_tokens=6, return_full_text=False, generate_kwargs={"do_sample": False})
    assert answer["generated_text"] == wanted[0] != ""


@pytest.mark.slow
@pytest.mark.parametrize("part", ["model", "model.configuration", "processing.mel"])
def test_auto_processor_gives_ours_after_any_import(part):
    code = (
        f"import emotion_qwen.{part}\nfrom transformers import AutoProcessor\nfrom pathlib import Path\n"
        "import emotion_qwen\nfolder = Path(emotion_qwen.__file__).parent / 'nano'\n"
        "print('got', type(AutoProcessor.from_pretrained(folder)).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "got EmotionQwenProcessor" in done.stdout, done.stderr


def test_pictures_that_are_normalized_in_another_way_are_refused(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(NANO, folder)
    assert load_processor(folder).image_processor.image_mean
    path = folder / "processor_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["image_processor"]["image_mean"] = [0.5, 0.5, 0.5]
    path.write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"normalizes by mean \(0.5, 0.5, 0.5\) and deviation .* Qwen2.5-VL"):
        load_processor(folder)

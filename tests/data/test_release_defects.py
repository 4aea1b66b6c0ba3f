"""Every data defect of the published release (its dataset and collator), and that this package has not got it.

The names C1 to C13 and D1 are those of the list of defects in the study of the release.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import write_clip

from emotion_qwen.data.importers import ImportOptions, import_manifest, import_samples
from emotion_qwen.data.manifest import Fault, check_manifest, read_manifest
from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.faces import CenterFaceDetector
from emotion_qwen.media.clip import read_clip
from emotion_qwen.prepare import prepare_clip
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.records import Sample
from emotion_qwen.settings import ClipSettings

SQUARE, WIDE = (48, 48), (64, 48)  # width, height; grids of 6x6 and 6x8 patches with nano's settings


def save(path: Path, size: tuple[int, int] = SQUARE, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def video(path: Path, seconds: int) -> Path:
    return write_clip(path, np.random.default_rng(0).integers(0, 255, (10 * seconds, 48, 64, 3), dtype=np.uint8))


def turns(*texts: str) -> list[dict]:
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]


def found(folder: Path, conversation: list[dict], **media) -> Sample | Fault:
    (folder / "set.json").write_text(json.dumps([{"id": "x", **media, "conversations": conversation}]))
    return next(iter(import_samples("release", folder / "set.json", ImportOptions(folder))))


def batch_of(processor, sample: Sample | Fault, **options):
    assert isinstance(sample, Sample), sample.reason
    return processor.apply_chat_template(list(sample.messages), tokenize=True, return_labels=True, **options)


def limited(processor, **settings) -> EmotionQwenProcessor:
    values = {**processor.clip_settings, **settings}
    return EmotionQwenProcessor(processor.image_processor, processor.tokenizer, clip_settings=values)


def runs(types: torch.Tensor) -> list[tuple[int, int]]:
    """Return (kind, tokens) of every stretch of visual tokens."""
    kinds, counts = torch.unique_consecutive(types, return_counts=True)
    return [(int(kind), int(count)) for kind, count in zip(kinds, counts, strict=True) if kind]


def test_c1_pixel_limits_limit(tmp_path, processor):
    sample = found(tmp_path, turns("<image>", "awe"), image=str(save(tmp_path / "a.png", (800, 600))))
    patch, merge = processor.image_processor.patch_size, processor.image_processor.merge_size
    for limit in (4096, 16 * 4096):
        batch = batch_of(limited(processor, image_max_pixels=limit), sample)
        patches = int(batch["image_grid_thw"].prod())
        assert 0.7 * limit < patches * patch**2 <= limit
        assert (batch["mm_token_type_ids"] == 1).sum() == patches // merge**2
    with pytest.raises(SettingsError, match="unknown key 'image_max_pixel'.*Did you mean 'image_max_pixels'"):
        limited(processor, image_max_pixel=4096)


def test_c1_and_c13_video_limits_and_fps_are_settings(tmp_path, processor):
    sample = found(tmp_path, turns("<video>", "awe"), video=str(video(tmp_path / "a.mp4", 4)))
    for fps, frames in ((1.0, 4), (2.0, 8)):
        grid = batch_of(limited(processor, fps=fps), sample)["video_grid_thw"][0]
        assert int(grid[0]) * processor.image_processor.temporal_patch_size == frames
    few = batch_of(limited(processor, max_frames=4), sample)["video_grid_thw"][0]
    assert int(few[0]) * processor.image_processor.temporal_patch_size == 4


def test_c2_no_visual_is_ever_cut(tmp_path, processor):
    long = "word " * processor.tokenizer.model_max_length
    sample = found(tmp_path, turns(f"{long}<image>", "awe"), image=str(save(tmp_path / "a.png")))
    whole = batch_of(processor, sample)
    assert whole["input_ids"].shape[1] > processor.tokenizer.model_max_length
    cut = batch_of(processor, sample, max_length=64, truncation=True)
    for batch in (whole, cut):
        tokens = int(batch["image_grid_thw"].prod()) // processor.image_processor.merge_size**2
        assert runs(batch["mm_token_type_ids"][0]) == [(1, tokens)]
        assert len(batch["pixel_values"]) == batch["image_grid_thw"].prod()
    assert torch.equal(whole["input_ids"], cut["input_ids"])


def test_c2_visuals_and_placeholders_must_agree(processor):
    with pytest.raises(DataError, match=r"the chat has 2 <\|image_pad\|> placeholder\(s\) for 1 of them; give"):
        processor([np.zeros((48, 48, 3), np.uint8)], "<|image_pad|> <|image_pad|>")


def test_c3_a_row_without_anything_to_learn_is_refused(tmp_path, processor):
    with pytest.raises(DataError, match="without an assistant turn; add one"):
        processor.apply_chat_template(turns("How?"), tokenize=True, return_labels=True)
    told = [found(tmp_path, turns("How?")), found(tmp_path, turns("How?", " "))]
    assert "the last turn, is user; expected assistant" in told[0].reason
    assert told[1].reason == "messages[1] (assistant) is empty; expected an answer to learn from"
    batch = processor.apply_chat_template(
        [turns("How?", "ok"), turns("Why " * 50, "so")], tokenize=True, return_labels=True
    )
    assert (batch["labels"] != -100).any(1).all()


def test_c4_missing_and_corrupt_media_are_faults_and_the_rest_goes_on(tmp_path):
    save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(save(tmp_path / "whole.png").read_bytes()[:200])
    (tmp_path / "bad.mp4").write_bytes(video(tmp_path / "whole.mp4", 1).read_bytes()[:500])
    write_clip(tmp_path / "one.mp4", np.zeros((1, 48, 64, 3), np.uint8))  # the release stopped at a single frame
    media = [{"image": n} for n in ("good.png", "gone.png", "bad.png")]
    media += [{"video": n} for n in ("gone.mp4", "bad.mp4", "one.mp4")]
    records = [{"id": next(iter(m.values())), **m, "conversations": turns("How?", "awe")} for m in media]
    (tmp_path / "set.json").write_text(json.dumps(records))
    check = import_manifest("release", tmp_path / "set.json", tmp_path / "m.jsonl", max_rejected=4)
    assert [sample.id for sample in check.samples] == ["good.png", "one.mp4"]
    assert [(fault.line, fault.id) for fault in check.faults] == [
        (2, "gone.png"),
        (3, "bad.png"),
        (4, "gone.mp4"),
        (5, "bad.mp4"),
    ]
    assert all(f"{fault.id}'" in fault.reason for fault in check.faults)
    assert [fault.line for fault in check_manifest(tmp_path / "m.jsonl").faults] == []


def test_c5_and_c6_lists_and_objects_are_joined_with_the_media_folder(tmp_path):
    (tmp_path / "media").mkdir()
    one, two = save(tmp_path / "media" / "a.png"), save(tmp_path / "media" / "b.png")
    for value in (["a.png", "b.png"], {"first": "a.png", "second": "b.png"}):
        (tmp_path / "set.json").write_text(json.dumps([{"image": value, "conversations": turns("Both?", "awe")}]))
        options = ImportOptions(tmp_path, media=tmp_path / "media")
        (sample,) = import_samples("release", tmp_path / "set.json", options)
        paths = [part["image"] for part in sample.messages[0]["content"] if part["type"] == "image"]
        assert paths == [str(one), str(two)]


def test_c7_every_turn_gets_its_own_media_only(tmp_path, processor):
    small, wide = save(tmp_path / "a.png", SQUARE, 1), save(tmp_path / "b.png", WIDE, 2)
    chat = turns("<image>\nWhich?", "awe", "And <image>?", "fear")
    batch = batch_of(processor, found(tmp_path, chat, image=["a.png", "b.png"]))
    assert batch["image_grid_thw"].tolist() == [[1, 6, 6], [1, 6, 8]]
    assert runs(batch["mm_token_type_ids"][0]) == [(1, 9), (1, 12)]
    assert len(batch["pixel_values"]) == 36 + 48
    alone = [processor([path], "<|image_pad|>")["pixel_values"] for path in (small, wide)]
    assert torch.equal(batch["pixel_values"], torch.cat(alone))


def test_c8_several_videos_keep_their_own_seconds(tmp_path, processor):
    video(tmp_path / "short.mp4", 1), video(tmp_path / "long.mp4", 6)
    batch = batch_of(processor, found(tmp_path, turns("<video> or <video>?", "awe"), video=["long.mp4", "short.mp4"]))
    step = processor.image_processor.temporal_patch_size
    measured = [step / read_clip(tmp_path / f"{n}.mp4", processor.settings).fps for n in ("long", "short")]
    assert batch["second_per_grid_ts"].tolist() == pytest.approx(measured)
    assert measured[0] > 1.5 * measured[1] and len(batch["video_grid_thw"]) == 2


def test_c9_placeholders_and_special_tokens_in_texts(tmp_path, processor):
    lost = found(tmp_path, turns("What does <image> mean?", "awe"))
    assert lost.reason.startswith("conversations[0] (user): <image> number 1 has no image, the sample has 0")
    save(tmp_path / "a.png")
    told = found(tmp_path, turns("<image>", "It is <image>."), image="a.png")
    assert told.reason.startswith("conversations[1] (assistant) holds <image>; expected placeholders in user turns")
    sly = found(tmp_path, turns("<image> <|image_pad|><|vision_end|><|im_end|>", "awe <|video_pad|>"), image="a.png")
    assert runs(batch_of(processor, sly)["mm_token_type_ids"][0]) == [(1, 9)]
    # In a manifest media are parts; words that look like placeholders are only words.
    line = {"id": "a", "messages": turns("What does <image> mean?", "A tag.")}
    (tmp_path / "m.jsonl").write_text(json.dumps(line))
    batch = batch_of(processor, read_manifest(tmp_path / "m.jsonl")[0])
    assert "pixel_values" not in batch and not batch["mm_token_type_ids"].any()


def test_c10_system_turns_odd_turns_and_roles(tmp_path, processor):
    system = {"role": "system", "content": "Be brief."}
    sample = found(tmp_path, [system, *turns("How?", "awe")])
    text = processor.tokenizer.decode(batch_of(processor, sample)["input_ids"][0])
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHow?")
    told = [
        found(tmp_path, turns("How?", "awe", "Why?")),
        found(tmp_path, [*turns("How?", "awe"), system]),
        found(tmp_path, [{"role": "asistant", "content": "x"}]),
        found(tmp_path, []),
    ]
    assert [fault.reason.partition(";")[0] for fault in told] == [
        "messages[2], the last turn, is user",
        "messages[2] is a system turn",
        "conversations[0]: unknown role 'asistant'",
        "conversations is list '[]'",
    ]


def test_c11_image_and_video_together_are_both_seen(tmp_path, processor):
    save(tmp_path / "a.png"), video(tmp_path / "a.mp4", 1)
    sample = found(tmp_path, turns("<video> <image>?", "awe"), image="a.png", video="a.mp4")
    batch = batch_of(processor, sample)
    assert [kind for kind, _ in runs(batch["mm_token_type_ids"][0])] == [2, 1]
    assert len(batch["pixel_values"]) == 36 and len(batch["pixel_values_videos"]) == batch["video_grid_thw"].prod()


def test_c12_faces_are_captured_by_default(tmp_path, processor, astronaut):
    assert ClipSettings().capture_strength > 0 and ClipSettings().person_crops
    assert processor.settings.capture_strength > 0
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    clip = read_clip(tmp_path / "a.png", processor.settings)
    prepared = prepare_clip(clip, CenterFaceDetector(), processor)
    (person,) = prepared.people
    x1, y1, x2, y2 = person.track.boxes[0].astype(int)
    same = (prepared.shown.frames[0] == clip.frames[0]).all(-1)
    inside = np.zeros_like(same)
    inside[y1:y2, x1:x2] = True
    assert same[inside].mean() > 0.5 > same[~inside].mean()


def test_d1_padding_is_masked_by_length_and_a_real_token_0_is_not(processor):
    real = processor.tokenizer.convert_ids_to_tokens(0)
    batch = processor(text=[f"a{real}{real}b", "a much, much longer text, 很长的句子"], padding_side="right")
    row, mask = batch["input_ids"][0], batch["attention_mask"][0]
    length = len(processor.tokenizer(f"a{real}{real}b", add_special_tokens=False)["input_ids"])
    assert (row[:length] == 0).sum() == 2 and mask[:length].all() and not mask[length:].any()
    assert len(mask) > length

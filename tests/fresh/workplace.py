"""Lays out the files that the documents' commands name, so that every command can be run as it is printed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import numpy as np
from PIL import Image
from tests.tiny_llama import make_text_model, make_tokenizer, save_text_folder

from emotion_qwen.batch.demo import make_demo_clip
from emotion_qwen.cli import main
from emotion_qwen.engine.engine import NANO

RATE = 16_000
SUBTITLES = "1\n00:00:00,200 --> 00:00:01,400\nI got the place!\n\n2\n00:00:01,600 --> 00:00:02,800\nThank you.\n"


def lay_out(folder: Path, data: Path | None) -> None:
    """Write clips, pictures, manifests, models and answers under the names that the documents use.

    Args:
        folder: in which the commands are run.
        data: folder of the real Parquet files; None leaves `data` out.
    """
    demo = make_demo_clip(folder / "demo.mp4")
    _with_sound(demo, folder / "interview.mp4", slower=6)  # 18 s
    shutil.copy(folder / "interview.mp4", folder / "new.mp4")
    for place in ("clips", "more", "videos", "media"):
        (folder / place).mkdir()
        _with_sound(demo, folder / place / "one.mp4")
    (folder / "interview.srt").write_text(SUBTITLES, encoding="utf-8")
    _annotations(folder)
    _pictures(folder)
    _manifests(folder)
    _models(folder)
    _faces(folder)
    if data is not None:
        for name in ("data", "my/data"):
            (folder / name).symlink_to(data, target_is_directory=True)


def _with_sound(silent: Path, target: Path, slower: int = 1) -> None:
    """Copy a clip's pictures, shown so many times slower, and give it a hummed vowel as its sound."""
    times = np.arange(3 * slower * RATE) / RATE
    wave = sum(np.sin(2 * np.pi * 140 * k * times) / k for k in range(1, 12)) * (0.1 + 0.1 * np.sin(9 * times))
    with av.open(str(silent)) as source, av.open(str(target), "w") as container:
        taken = source.streams.video[0]
        video, sound = container.add_stream_from_template(taken), container.add_stream("aac", rate=RATE)
        for packet in source.demux(taken):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts, packet.duration = (
                    slower * ticks for ticks in (packet.pts, packet.dts, packet.duration)
                )
                packet.stream = video
                container.mux(packet)
        frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux(sound.encode(frame))
        container.mux(sound.encode())


def _annotations(folder: Path) -> None:
    """Write names of people, and a TextGrid beside the clip `one`."""
    names = "file,person,name\nclips/monday.mp4,1,mother\nclips/tuesday.mp4,2,mother\n"
    (folder / "names.csv").write_text(names, encoding="utf-8")
    tiers = {"Ann": "happy", "Bea": "sad", "Ann valence": "0.5"}
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n3\n<exists>\n{len(tiers)}\n'
    body = "".join(f'"IntervalTier"\n"{name}"\n0\n3\n1\n0\n3\n"{text}"\n' for name, text in tiers.items())
    (folder / "annotated").mkdir()
    shutil.copy(folder / "clips" / "one.mp4", folder / "annotated" / "one.mp4")
    (folder / "annotated" / "one.TextGrid").write_text(head + body, encoding="utf-8")


def _pictures(folder: Path) -> None:
    from skimage import data

    photograph = Image.fromarray(data.astronaut())
    photograph.save(folder / "photo.jpg")
    for place in (folder / name / label for name in ("faces", "held_out") for label in ("happiness", "sadness")):
        place.mkdir(parents=True)
        for number in range(3):
            photograph.rotate(number).save(place / f"{number}.jpg")
    for label, first in (("happy", 0), ("sad", 3)):  # examples of an index, all of them different pictures
        (folder / "my_clips" / label).mkdir(parents=True)
        for number in range(first, first + 3):
            photograph.rotate(2 * number).save(folder / "my_clips" / label / f"{number}.jpg")
    shutil.copy(folder / "photo.jpg", folder / "media" / "photo.jpg")
    (folder / "images").mkdir()
    shutil.copy(folder / "photo.jpg", folder / "images" / "photo.jpg")


def _manifests(folder: Path) -> None:
    said = [
        {"role": "user", "content": [{"type": "image", "image": "photo.jpg"}, {"type": "text", "text": "Who is it?"}]},
        {"role": "assistant", "content": "A smiling woman."},
    ]
    (folder / "train.jsonl").write_text(json.dumps({"id": "one", "messages": said}) + "\n", encoding="utf-8")
    turns = [{"from": "human", "value": "<image>\nWho is it?"}, {"from": "gpt", "value": "A smiling woman."}]
    llava = [{"id": "1", "image": "photo.jpg", "conversations": turns}]
    (folder / "llava_instruct.json").write_text(json.dumps(llava), encoding="utf-8")
    talk = [{"from": "human", "value": "Good morning."}, {"from": "gpt", "value": "Good morning to you."}]
    words = [("Ann", "I got the place!", "joy"), ("Bea", "Oh! That is wonderful.", "surprise")]
    turns = [
        {"utterance_ID": number, "speaker": speaker, "text": text, "emotion": emotion}
        for number, (speaker, text, emotion) in enumerate(words, 1)
    ]
    causes = [
        {"conversation_ID": 1, "conversation": turns, "emotion-cause_pairs": [["1_joy", "1"], ["2_surprise", "1"]]}
    ]
    (folder / "Subtask_train.json").write_text(json.dumps(causes), encoding="utf-8")
    (folder / "talks.json").write_text(json.dumps([{"id": "1", "conversations": talk}]), encoding="utf-8")


def _models(folder: Path) -> None:
    for name in ("before", "after", "my/tuned/model"):
        shutil.copytree(NANO, folder / name)
    _tiny_qwen(folder / "Qwen2.5-VL-7B-Instruct")
    _tiny_whisper(folder / "whisper-large-v3")
    save_text_folder(folder / "SmolLM2-135M-Instruct", make_text_model(), make_tokenizer())


def _faces(folder: Path) -> None:
    """Write what the guide to generated faces names: a report, keyframes, a head, and a model of the user's own."""
    analyze = ["analyze", str(folder / "interview.mp4"), "--output", str(folder / "report.json")]
    express = ["express", "--emotion", "neutral", "--seconds", "1", "--output", str(folder / "head.glb")]
    take = ["express", "--emotion", "fear", "--seconds", "1", "--output", str(folder / "take.csv")]
    for command in (analyze, express, take):
        assert main(command) == 0
    scene = [{"time": 0, "emotions": {"neutral": 1}}, {"time": 1.5, "emotions": {"fear": 0.8}}]
    (folder / "scene.json").write_text(json.dumps(scene), encoding="utf-8")
    reader = "def read(picture):\n    return {'happiness': picture.mean() / 255, 'neutral': 1 - picture.mean() / 255}\n"
    (folder / "my_models.py").write_text(reader, encoding="utf-8")


def _tiny_qwen(folder: Path) -> None:
    """Save a random Qwen2.5-VL of a few thousand weights with nano's tokenizer, in place of the published one."""
    from transformers import AutoTokenizer, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = AutoTokenizer.from_pretrained(NANO)
    tokenizer.save_pretrained(folder)
    image = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14, "temporal_patch_size": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps({**image, "merge_size": 2}), encoding="utf-8")
    text = {
        "hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": len(tokenizer) + 8,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 2, 2]},
    }  # fmt: skip
    vision = {
        "depth": 1, "hidden_size": 32, "intermediate_size": 40, "num_heads": 4, "out_hidden_size": 48, "patch_size": 14,
        "window_size": 112, "fullatt_block_indexes": [0],
    }  # fmt: skip
    marks = ("image", "video", "vision_start", "vision_end")
    words = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    tokens = {f"{m}_token_id": tokenizer.convert_tokens_to_ids(w) for m, w in zip(marks, words, strict=True)}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **tokens)
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)


def _tiny_whisper(folder: Path) -> None:
    """Save a random Whisper of a few thousand weights in place of the published one."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    config = WhisperConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=24, decoder_ffn_dim=24, num_mel_bins=16, vocab_size=64, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=16).save_pretrained(folder)

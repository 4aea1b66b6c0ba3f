"""A model that hears, served: sound as a part, and a video's own sound behind its pictures."""

from __future__ import annotations

import base64

import pytest
import torch
from tests.serving.conftest import serving, text_part
from tests.serving.test_client import ASKED, wav

from emotion_qwen.inference.engine import NANO, Engine
from emotion_qwen.media.clip import Sources, read_clip
from emotion_qwen.model import EmotionQwenConfig, EmotionQwenForConditionalGeneration
from emotion_qwen.processing import EmotionQwenProcessor

AUDIO = {
    "d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "num_mel_bins": 16,
    "max_source_positions": 50, "frames_per_token": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def hearing(tmp_path_factory):
    """nano's weights with an untrained audio side, in a folder."""
    folder = tmp_path_factory.mktemp("hearing") / "hears"
    own = EmotionQwenProcessor.from_pretrained(NANO)
    heard = {"mels": 16, "window_seconds": 1.0, "frames_per_token": 5}
    processor = EmotionQwenProcessor(
        own.image_processor, own.tokenizer, None, own.clip_settings, hearing_settings=heard
    )
    config = EmotionQwenConfig.from_pretrained(NANO)
    config = EmotionQwenConfig(**{**config.to_dict(), "audio_config": AUDIO, "audio_token_id": 0})
    torch.manual_seed(0)
    model = EmotionQwenForConditionalGeneration(processor.name_tokens(config))
    known = EmotionQwenForConditionalGeneration.from_pretrained(NANO, dtype=torch.float32).state_dict()
    model.load_state_dict(known, strict=False)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_a_sound_is_heard_as_the_engine_hears_it(hearing, tmp_path):
    (tmp_path / "tone.wav").write_bytes(wav(1.5))
    engine = Engine.load(hearing, "cpu")
    clip = read_clip(tmp_path / "tone.wav", engine.processor.settings, sources=Sources(sound=True))
    chat = [{"role": "user", "content": [{"type": "audio", "audio": clip.wave}, text_part(ASKED)]}]
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav(1.5)).decode(), "format": "wav"}}
    with serving(tmp_path, "--model", str(hearing), "slots=2", "decoders=1") as server:
        assert server.client.models.list().data[0].hears
        messages = [{"role": "user", "content": [part, text_part(ASKED)]}]
        answer = server.client.chat.completions.create(model="hears", messages=messages, max_tokens=12)
        assert answer.choices[0].message.content.strip() == engine.chat(chat, 12)
        prompt = engine.processor.apply_chat_template(chat, tokenize=True, add_generation_prompt=True)
        assert answer.usage.prompt_tokens == prompt["input_ids"].shape[1]
        report = server.http.post("/v1/emotion/analyze", files={"file": ("tone.wav", wav(1.5))})
        assert report.status_code == 200 and "sound" in report.json()["provenance"]["channels"]

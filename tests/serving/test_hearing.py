"""A model that hears, served: sound as a part, and a video's own sound behind its pictures."""

from __future__ import annotations

import base64

from tests.serving.conftest import serving, text_part
from tests.serving.test_client import ASKED, wav

from emotion_qwen.media.clip import Sources, read_clip


def test_a_sound_is_heard_as_the_engine_hears_it(nano, tmp_path):
    (tmp_path / "tone.wav").write_bytes(wav(1.5))
    engine = nano
    clip = read_clip(tmp_path / "tone.wav", engine.processor.settings, sources=Sources(sound=True))
    chat = [{"role": "user", "content": [{"type": "audio", "audio": clip.wave}, text_part(ASKED)]}]
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav(1.5)).decode(), "format": "wav"}}
    with serving(tmp_path, "slots=2", "decoders=1") as server:
        assert server.client.models.list().data[0].hears
        messages = [{"role": "user", "content": [part, text_part(ASKED)]}]
        answer = server.client.chat.completions.create(model="nano", messages=messages, max_tokens=12)
        assert answer.choices[0].message.content.strip() == engine.chat(chat, 12)
        prompt = engine.processor.apply_chat_template(chat, tokenize=True, add_generation_prompt=True)
        assert answer.usage.prompt_tokens == prompt["input_ids"].shape[1]
        report = server.http.post("/v1/emotion/analyze", files={"file": ("tone.wav", wav(1.5))})
        assert report.status_code == 200 and report.json()["label"] is None  # a tone is no voice

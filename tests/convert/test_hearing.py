"""Audio encoders from Whisper checkpoints: exact weights, nothing dropped silently, a folder that hears at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperModel,
)

from emotion_qwen.cli import main
from emotion_qwen.convert.conversion import convert
from emotion_qwen.convert.fresh import new_compressor
from emotion_qwen.convert.hearing import convert_with_whisper
from emotion_qwen.convert.whisper import EncoderCut
from emotion_qwen.engine.engine import NANO, Engine
from emotion_qwen.errors import CheckpointError, SettingsError
from emotion_qwen.processing.chat import CHAT_TEMPLATE, SPECIAL_TOKENS
from emotion_qwen.settings import HearingSettings

ENCODER, COMPRESSOR = "model.audio.encoder.", "model.audio.compressor."
SHAPE = {
    "d_model": 32, "num_mel_bins": 16, "max_source_positions": 100, "vocab_size": 64,
    "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 40,
    "decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 40,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3,
}  # fmt: skip
KINDS = {"full": WhisperForConditionalGeneration, "bare": WhisperModel, "encoder": WhisperModel}


@pytest.fixture(autouse=True)
def without_ears(deaf_folder, monkeypatch):
    """Encoders are added to a model that has none: the shipped one without its own."""
    monkeypatch.setattr(sys.modules[__name__], "NANO", deaf_folder)


@pytest.fixture
def whisper(tmp_path):
    """Return a maker of Whisper folders as transformers saves them: a whole one, without head, its encoder alone."""

    def make(kind: str = "full", dtype: torch.dtype = torch.float32, **changes) -> tuple[Path, WhisperModel]:
        torch.manual_seed(1)
        made = KINDS[kind](WhisperConfig(**{**SHAPE, **changes})).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        saved = made.encoder if kind == "encoder" else made
        saved.to(dtype).save_pretrained(tmp_path / f"whisper-{kind}")
        return tmp_path / f"whisper-{kind}", getattr(made, "model", made).encoder

    return make


def rewrite(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path)


def refused(folder: Path, *texts: str, error: type[Exception] = CheckpointError, **options) -> str:
    target = folder.parent / "refused"
    with pytest.raises(error) as caught:
        convert_with_whisper(options.pop("source", NANO), target, folder, **options)
    for text in texts:
        assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not target.exists() and not list(folder.parent.glob(".refused*"))
    return str(caught.value)


@torch.no_grad()
@pytest.mark.parametrize(("kind", "left"), [("full", 28), ("bare", 28), ("encoder", 0)])
def test_the_encoder_is_copied_to_the_bit_from_every_layout(whisper, tmp_path, kind, left):
    folder, theirs = whisper(kind)
    report = convert_with_whisper(NANO, tmp_path / "ours", folder, cut=EncoderCut(5))
    assert report.whisper == str(folder) and len(report.dropped) == left
    assert all("decoder." in key and reason.startswith("Whisper's decoder") for key, reason in report.dropped.items())
    tensors = load_file(tmp_path / "ours" / "model.safetensors")
    for name, value in theirs.state_dict().items():
        assert torch.equal(tensors.pop(ENCODER + name), value)
    fresh = {key for key in tensors if key.startswith("model.audio.")}
    assert fresh == set(report.fresh) and all(key.startswith(COMPRESSOR) for key in fresh)
    base = load_file(NANO / "model.safetensors")
    assert all(torch.equal(tensors[key], value) for key, value in base.items())

    engine = Engine.load(tmp_path / "ours", device="cpu")
    wave = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, 24000).astype(np.float32))
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=2)
    mel = torch.from_numpy(extractor(wave.numpy(), sampling_rate=16000, return_tensors="np").input_features)
    chat = [{"role": "user", "content": [{"type": "audio", "audio": wave}, {"type": "text", "text": "Who?"}]}]
    inputs = engine.processor.apply_chat_template(chat, tokenize=True, add_generation_prompt=True)
    assert torch.allclose(inputs["input_features"], mel, atol=1e-4)
    heard = engine.model.encode_media(inputs)["audio"]
    assert torch.equal(heard.last_hidden_state, theirs(inputs["input_features"]).last_hidden_state)
    assert [len(window) for window in heard.pooler_output] == [15]  # 1.5 s of 0.1 s a token
    assert engine.model(**inputs).logits.isfinite().all()


def test_weights_keep_their_type_or_take_the_one_asked_for(whisper, tmp_path):
    folder, _ = whisper(dtype=torch.float16)
    convert_with_whisper(NANO, tmp_path / "kept", folder)
    kept = load_file(tmp_path / "kept" / "model.safetensors")
    stored = load_file(folder / "model.safetensors")
    assert kept[f"{ENCODER}conv1.weight"].dtype == torch.float16
    assert torch.equal(kept[f"{ENCODER}conv1.weight"], stored["model.encoder.conv1.weight"])
    assert set(convert_with_whisper(NANO, tmp_path / "one", folder, dtype="float32").dtypes) == {"float32"}


def test_without_a_sound_the_model_answers_as_before(whisper, tmp_path, nano):
    convert_with_whisper(NANO, tmp_path / "ours", whisper()[0])
    hearing = Engine.load(tmp_path / "ours", device="cpu")
    picture = {"type": "image", "image": np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)}
    asked = ([picture], "How does the person feel?", ["happy", "sad"])
    assert torch.equal(hearing.score(*asked).log_likelihood, nano.score(*asked).log_likelihood)
    assert hearing.processor.clip_settings == nano.processor.clip_settings
    assert hearing.processor.hearing == HearingSettings(mels=16, window_seconds=2.0, frames_per_token=4)


def test_a_model_with_ears_converts_and_can_be_given_others(whisper, tmp_path):
    convert_with_whisper(NANO, tmp_path / "one", whisper()[0])
    copied = convert(tmp_path / "one", tmp_path / "two")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert copied.fresh == () and copied.whisper is None and one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    other, theirs = whisper("encoder", encoder_layers=1, num_mel_bins=8)
    report = convert_with_whisper(tmp_path / "one", tmp_path / "three", other, cut=EncoderCut(10))
    assert {reason for reason in report.dropped.values()} == {"replaced by another audio encoder"} and len(
        report.dropped
    ) == 43
    three = Engine.load(tmp_path / "three", device="cpu")
    assert torch.equal(three.model.model.audio.encoder.conv1.weight, theirs.conv1.weight)
    assert three.processor.hearing.mels == 8 and three.model.config.hearing.encoder_layers == 1


@pytest.fixture
def qwen(tmp_path) -> Path:
    """A tiny Qwen2.5-VL folder as on the hub: with a template of its own, and a tokenizer that knows no sound."""
    words = [*SPECIAL_TOKENS[:8], "[UNK]", "a", "b"]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "qwen"
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.add_tokens(list(SPECIAL_TOKENS[:8]), special_tokens=True)
    fast.save_pretrained(folder)
    image = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "temporal_patch_size": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps({**image, "merge_size": 2}))
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "a template that knows no sound"}))
    text = {
        "hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 16,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 2, 2]},
    }  # fmt: skip
    vision = {
        "depth": 1, "hidden_size": 32, "intermediate_size": 40, "num_heads": 4, "out_hidden_size": 48, "patch_size": 4,
        "window_size": 16, "fullatt_block_indexes": [0],
    }  # fmt: skip
    made = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))
    made.save_pretrained(folder)
    return folder


def test_qwen_gets_ears_in_one_pass_with_tokens_and_template(qwen, whisper, tmp_path):
    report = convert_with_whisper(qwen, tmp_path / "ours", whisper()[0])
    assert report.gate_seed == 0 and len(report.fresh) == 14 + 6
    engine = Engine.load(tmp_path / "ours", device="cpu")
    assert engine.processor.chat_template == CHAT_TEMPLATE
    assert engine.model.config.audio_token_id == engine.processor.audio_token_id == 13
    assert not (tmp_path / "ours" / "chat_template.json").exists()
    heard = {"type": "audio", "audio": np.ones(16000, np.float32)}
    assert len(engine.write([heard], "a b", max_new_tokens=2)) == 1


def test_an_embedding_without_free_rows_is_refused(qwen, whisper):
    values = json.loads((qwen / "config.json").read_text())
    values["text_config"]["vocab_size"] = 12
    (qwen / "config.json").write_text(json.dumps(values))
    refused(whisper()[0], "12 token rows and its tokenizer would have 14 tokens with <|audio_start|>", source=qwen)
    (qwen / "tokenizer.json").unlink()
    refused(whisper()[0], "no tokenizer.json; copy the files of tokenizer and image processor", source=qwen)


def test_folders_that_do_not_fit_are_refused_in_one_line(whisper, tmp_path):
    folder, _ = whisper()
    values = json.loads((folder / "config.json").read_text())

    def tell(**changes) -> None:
        (folder / "config.json").write_text(json.dumps({**values, **changes}))

    tell(d_model=36)
    refused(folder, "model.encoder.conv1.weight (32, 16, 3) instead of (36, 16, 3)", "and 29 more")
    tell(encoder_layers=3)
    refused(folder, "missing keys: model.encoder.layers.2.self_attn.k_proj.weight", "and 9 more")
    tell(encoder_layers=1)
    refused(folder, "unexpected keys: model.encoder.layers.1.")
    tell(encoder_attention_heads=5)
    refused(folder, "describes no Whisper encoder", "embed_dim must be divisible by num_heads")
    tell(model_type="wav2vec2")
    refused(folder, "model_type is 'wav2vec2', expected 'whisper'")
    tell(d_model="wide", num_mel_bins=0)
    refused(folder, "no positive whole number for d_model, num_mel_bins")
    tell(activation_function="no such thing")
    refused(folder, "no such thing")
    tell()
    refused(folder, "frames_per_token 3 does not divide the 100", error=SettingsError, cut=EncoderCut(3))
    refused(tmp_path / "nowhere", "is not a folder")


def test_pickles_are_refused_unread_and_other_parts_are_named(whisper, tmp_path):
    folder, _ = whisper()
    rewrite(folder, lambda tensors: {**tensors, "classifier.weight": torch.zeros(2, 2)})
    report = convert_with_whisper(NANO, tmp_path / "ours", folder, dry_run=True)
    assert report.dropped["classifier.weight"] == "not part of Whisper's encoder" and not report.written
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, "only pickled weights (pytorch_model.bin); they are refused, as reading a pickle can run code")


def test_the_command_says_what_is_new_and_what_is_left_out(whisper, tmp_path, capsys):
    folder, _ = whisper()
    target, report = tmp_path / "ours", tmp_path / "report.json"
    call = ["convert", str(NANO), str(target), "--whisper", str(folder), "--report", str(report)]
    assert main([*call, "--frames-per-token", "10"]) == 0
    out = capsys.readouterr().out
    assert "left out: 28 tensors, model.decoder.embed_positions.weight" in out and "only its encoder is used" in out
    assert f"the encoder of {folder} is copied unchanged; the compressor after it is new: train it" in out
    values = json.loads(report.read_text())
    assert len(values["dropped"]) == 28 and values["parts"]["audio compressor"][0] == 6 and values["gate_seed"] is None
    assert main(["convert", str(NANO), str(tmp_path / "x"), "--whisper", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "no config.json" in err and len(err.strip().splitlines()) == 1


def test_the_compressor_is_drawn_alike_every_time(whisper, tmp_path):
    convert_with_whisper(NANO, tmp_path / "ours", whisper()[0])
    engine = Engine.load(tmp_path / "ours", device="cpu")
    drawn = new_compressor(engine.model.config.hearing, 256)
    held = engine.model.state_dict()
    assert all(torch.equal(held[key], value.bfloat16().float()) for key, value in drawn.items())
    assert drawn[f"{COMPRESSOR}mlp.0.weight"].std() == pytest.approx(0.02, rel=0.05)


def test_a_converted_folder_gives_our_processor_with_our_template(qwen, tmp_path):
    """The source's is Qwen's: it needs torchvision, and its template does not mark what the assistant says."""
    from transformers import AutoProcessor

    values = json.loads((qwen / "preprocessor_config.json").read_text(encoding="utf-8"))
    (qwen / "preprocessor_config.json").write_text(json.dumps({**values, "processor_class": "Qwen2_5_VLProcessor"}))
    assert main(["convert", str(qwen), str(tmp_path / "plain")]) == 0
    loaded = AutoProcessor.from_pretrained(tmp_path / "plain")
    assert type(loaded).__name__ == "EmotionQwenProcessor" and loaded.chat_template == CHAT_TEMPLATE
    assert loaded.hearing is None and not (tmp_path / "plain" / "chat_template.json").exists()
    assert main(["convert", str(tmp_path / "plain"), str(tmp_path / "copy")]) == 0  # a copy, file by file
    for name in ("tokenizer.json", "processor_config.json", "model.safetensors"):
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_a_whisper_that_holds_nan_is_refused(whisper):
    folder, _ = whisper()
    tensors = load_file(folder / "model.safetensors")
    tensors["model.encoder.layer_norm.weight"][2] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, "model.audio.encoder.layer_norm.weight: 1 value(s) are NaN or infinite")

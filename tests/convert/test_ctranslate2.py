"""Whisper in CTranslate2's format: types and versions of the file, cuts of the encoder, and files that are wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from emotion_qwen.cli import main
from emotion_qwen.convert.ctranslate2 import read_ctranslate2
from emotion_qwen.convert.hearing import convert_with_whisper
from emotion_qwen.convert.whisper import EncoderCut
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import CheckpointError, SettingsError
from emotion_qwen.settings import HearingSettings

SHAPE = {
    "d_model": 32, "num_mel_bins": 16, "max_source_positions": 100, "encoder_layers": 3, "encoder_attention_heads": 4,
    "encoder_ffn_dim": 40,
}  # fmt: skip
PREFIX = "model.audio.encoder."
TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "bfloat16": 5}
Variables = dict[str, np.ndarray | torch.Tensor]


@pytest.fixture
def encoder() -> WhisperEncoder:
    torch.manual_seed(0)
    made = WhisperEncoder._from_config(WhisperConfig(**SHAPE)).eval().requires_grad_(False)
    for name, parameter in made.named_parameters():
        if "positions" not in name:
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def variables(encoder: WhisperEncoder) -> Variables:
    """Name the encoder's weights as the format does; query, key and value are one matrix."""
    weights = encoder.state_dict()
    out: Variables = {"position_encodings/encodings": weights["embed_positions.weight"]}

    def put(name: str, ours: str, kinds=("weight", "bias")) -> None:
        for kind, source in zip(kinds, ("weight", "bias"), strict=True):
            out[f"{name}/{kind}"] = weights[f"{ours}.{source}"]

    for name in ("conv1", "conv2"):
        put(name, name)
    put("layer_norm", "layer_norm", ("gamma", "beta"))
    for number in range(encoder.config.encoder_layers):
        theirs, ours = f"layer_{number}/", f"layers.{number}."
        put(theirs + "self_attention/layer_norm", ours + "self_attn_layer_norm", ("gamma", "beta"))
        put(theirs + "ffn/layer_norm", ours + "final_layer_norm", ("gamma", "beta"))
        put(theirs + "self_attention/linear_1", ours + "self_attn.out_proj")
        put(theirs + "ffn/linear_0", ours + "fc1")
        put(theirs + "ffn/linear_1", ours + "fc2")
        q, k, v = (weights[f"{ours}self_attn.{letter}_proj.weight"] for letter in "qkv")
        bias = [weights[f"{ours}self_attn.{letter}_proj.bias"] for letter in "qv"]
        out[f"{theirs}self_attention/linear_0/weight"] = torch.cat([q, k, v])
        out[f"{theirs}self_attention/linear_0/bias"] = torch.cat([bias[0], torch.zeros(len(k)), bias[1]])
    return {"encoder/" + name: value for name, value in out.items()} | {
        "encoder/num_heads": np.int16(encoder.config.encoder_attention_heads),
        "encoder/activation": np.int8(3),
        "decoder/embeddings/weight": torch.zeros(7, 32),
    }


def typed(values: Variables, kind: str) -> Variables:
    """Store matrices and convolutions of the encoder in a type; the quantised ones get scales."""
    out: Variables = {}
    for name, value in values.items():
        if not isinstance(value, torch.Tensor):
            out[name] = value
        elif kind in ("float32", "float16", "bfloat16"):
            out[name] = value.to(getattr(torch, kind))
        elif not name.endswith("/weight") or ("conv" in name and kind == "int16"):
            out[name] = value
        elif kind == "int16":  # one scale for the whole matrix
            scale = 2**10 / value.abs().max().clamp(min=1e-6)
            out[name], out[name + "_scale"] = (value * scale).round().to(torch.int16), scale
        else:
            rows = value.flatten(1).abs().amax(1)
            scale = 127 / torch.where(rows == 0, 127.0, rows)
            out[name] = (value * scale.view(-1, *[1] * (value.dim() - 1))).round().to(torch.int8)
            out[name + "_scale"] = scale
    return out


def write(path: Path, values: Variables, version: int = 6, spec: str = "WhisperSpec", aliases=()) -> Path:
    """Write a `model.bin`, byte by byte as the format says."""

    def text(name: str) -> bytes:
        return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"

    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<I", version) + text(spec) + struct.pack("<II", 3, len(values)))
        for name, value in sorted(values.items()):
            kind = str(value.dtype).removeprefix("torch.")
            data = (
                value.contiguous().flatten().view(torch.uint8).numpy() if isinstance(value, torch.Tensor) else value
            ).tobytes()
            file.write(text(name) + struct.pack(f"<B{len(value.shape)}I", len(value.shape), *value.shape))
            items = len(data) // value.dtype.itemsize
            file.write(
                struct.pack("<BI", *((TYPES[kind], len(data)) if version > 3 else (value.dtype.itemsize, items)))
            )
            file.write(data)
        if version > 2:
            file.write(struct.pack("<I", len(aliases)) + b"".join(text(name) for pair in aliases for name in pair))
    return path.parent


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {k.removeprefix("model.encoder."): t.read() for k, t in read_ctranslate2(folder)[1].items() if "model." in k}


@pytest.mark.parametrize(("kind", "version"), [("float32", 6), ("float16", 4), ("bfloat16", 5), ("float32", 2)])
def test_every_weight_is_read_as_it_is_stored(encoder, tmp_path, kind, version):
    dtype = getattr(torch, kind)
    restored = tensors_of(write(tmp_path / "ct2" / "model.bin", typed(variables(encoder), kind), version))
    assert restored.keys() == encoder.state_dict().keys()
    for name, value in encoder.state_dict().items():
        assert torch.equal(restored[name], value.to(dtype)) and restored[name].dtype == dtype


@torch.no_grad()
def test_the_encoder_computes_as_that_of_transformers_does(encoder, tmp_path, deaf_folder):
    folder = write(tmp_path / "ct2" / "model.bin", variables(encoder))
    report = convert_with_whisper(deaf_folder, tmp_path / "ours", folder, cut=EncoderCut(5))
    assert report.dropped == {"decoder/embeddings/weight": "Whisper's decoder; only its encoder is used"}
    written = load_file(tmp_path / "ours" / "model.safetensors")
    assert all(torch.equal(written[PREFIX + name], value) for name, value in encoder.state_dict().items())
    audio = Engine.load(tmp_path / "ours", device="cpu").model.model.audio
    mel = torch.randn(2, 16, 200)
    theirs = encoder(mel).last_hidden_state
    assert torch.allclose(audio(mel, torch.tensor([200, 50])).last_hidden_state, theirs, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("kind", "bound"), [("int8", 0.5 / 127), ("int16", 0.5 / 1024)])
def test_integers_are_divided_by_their_scales(encoder, tmp_path, kind, bound):
    folder = write(tmp_path / "ct2" / "model.bin", typed(variables(encoder), kind))
    restored = tensors_of(folder)
    assert restored.keys() == encoder.state_dict().keys()
    weights = encoder.state_dict()
    for name, value in weights.items():
        largest = value.abs().max()
        if "self_attn" in name and name.endswith("_proj.weight") and "out" not in name:  # they share a scale
            largest = max(weights[name.replace(name[-13], letter)].abs().max() for letter in "qkv")
        assert restored[name].dtype == torch.float32 and (restored[name] - value).abs().max() <= bound * largest * 1.001
    assert not torch.equal(restored["layers.0.fc1.weight"], weights["layers.0.fc1.weight"])


def test_an_alias_stands_for_the_variable_of_equal_values(encoder, tmp_path):
    values = variables(encoder)
    copied, original = "encoder/layer_2/ffn/linear_0/weight", "encoder/layer_1/ffn/linear_0/weight"
    del values[copied]
    restored = tensors_of(write(tmp_path / "ct2" / "model.bin", values, aliases=[(copied, original)]))
    assert torch.equal(restored["layers.2.fc1.weight"], encoder.layers[1].fc1.weight)


@torch.no_grad()
def test_a_cut_encoder_is_the_first_layers_on_a_shorter_window(encoder, tmp_path, deaf_folder, capsys):
    folder = write(tmp_path / "ct2" / "model.bin", variables(encoder))
    cut = ["--whisper-layers", "2", "--whisper-seconds", "0.8", "--frames-per-token", "20"]
    assert main(["convert", str(deaf_folder), str(tmp_path / "ours"), "--whisper", str(folder), *cut]) == 0
    assert "after the first 2 layers" in capsys.readouterr().out
    engine = Engine.load(tmp_path / "ours", device="cpu")
    assert engine.processor.hearing == HearingSettings(mels=16, window_seconds=0.8, frames_per_token=20)
    short = WhisperEncoder._from_config(WhisperConfig(**{**SHAPE, "encoder_layers": 2, "max_source_positions": 40}))
    weights = {k: v for k, v in encoder.state_dict().items() if not k.startswith("layers.2.")}
    short.load_state_dict({**weights, "embed_positions.weight": encoder.embed_positions.weight[:40]})
    mel = torch.randn(1, 16, 80)
    features = engine.model.model.audio(mel, torch.tensor([80]))
    assert torch.allclose(features.last_hidden_state, short.eval()(mel).last_hidden_state, atol=1e-5)
    assert [len(window) for window in features.pooler_output] == [2]


def test_a_cut_that_the_encoder_does_not_have_is_refused(encoder, tmp_path, deaf_folder):
    folder = write(tmp_path / "ct2" / "model.bin", variables(encoder))
    for cut, text in (
        (EncoderCut(4, layers=4), "the first 4 encoder layers were requested; expected 1 to 3"),
        (EncoderCut(4, layers=0), "the first 0 encoder layers"),
        (EncoderCut(4, seconds=2.5), "a window of 2.5 s was requested; expected a multiple of 0.02 s up to 2 s"),
        (EncoderCut(4, seconds=0.41), "a window of 0.41 s"),
        (EncoderCut(3, seconds=0.8), "frames_per_token 3 does not divide the 40"),
    ):
        with pytest.raises(SettingsError, match=text):
            convert_with_whisper(deaf_folder, tmp_path / "ours", folder, cut=cut)


def test_files_that_are_wrong_are_refused_in_one_line(encoder, tmp_path):
    good = variables(encoder)
    path = tmp_path / "ct2" / "model.bin"

    def refused(text: str, data: bytes | None = None) -> None:
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(CheckpointError, match=text) as caught:
            tensors_of(path.parent)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    write(path, good)
    whole = path.read_bytes()
    for end in (2, 40, len(whole) // 2, len(whole) - 5):
        refused("that are not a complete model", whole[:end])
    refused("version 7 of the format, or another format; expected", b"\7" + whole[1:])
    refused("float32", whole.replace(b"conv1/bias\0\1\x20", b"conv1/bias\0\1\x21"))
    refused("unknown type 9", whole.replace(b"conv1/bias\0\1\x20\0\0\0\0", b"conv1/bias\0\1\x20\0\0\0\x09"))
    write(path, good, spec="TransformerSpec")
    refused("the specification is 'TransformerSpec', expected 'WhisperSpec'")
    write(path, {**good, "encoder/activation": np.int8(0)})
    refused("activation is not GELU")
    write(path, {name: value for name, value in good.items() if name != "encoder/num_heads"})
    refused("no encoder/num_heads")
    quantised = typed(good, "int8")
    write(path, {name: value for name, value in quantised.items() if name != "encoder/conv1/weight_scale"})
    refused("stored as torch.int8 without its scales")


def test_a_weight_that_is_absent_is_named(encoder, tmp_path, deaf_folder):
    values = variables(encoder)
    del values["encoder/layer_1/self_attention/linear_0/weight"]
    folder = write(tmp_path / "ct2" / "model.bin", values)
    with pytest.raises(CheckpointError, match=r"missing keys: model\.encoder\.layers\.1\.self_attn\.k_proj\.weight"):
        convert_with_whisper(deaf_folder, tmp_path / "ours", folder)


@pytest.mark.mini
def test_the_published_tiny_en_is_read_whole(fetched):
    folder = fetched("whisper-tiny.en")
    values, _ = read_ctranslate2(folder)
    assert (values["d_model"], values["encoder_layers"], values["encoder_attention_heads"]) == (384, 4, 6)
    weights = tensors_of(folder)
    encoder = WhisperEncoder._from_config(WhisperConfig(**{k: v for k, v in values.items() if k != "model_type"}))
    encoder.load_state_dict({name: value.float() for name, value in weights.items()})
    sinusoids = encoder.embed_positions.weight  # fixed: the beginning serves a shorter window
    expected = torch.outer(torch.arange(1500.0), torch.exp(-np.log(10000) / 191 * torch.arange(192)))
    assert torch.allclose(sinusoids, torch.cat([expected.sin(), expected.cos()], 1), atol=2e-3)

"""Published models: a merged folder with a card, a GGUF file whose values are those quantised, and the hub."""

import json

import pytest
import torch
from tests.model.conftest import VISION
from tests.tiny_llama import make_text_model, make_tokenizer, save_text_folder
from transformers import AutoModelForCausalLM

from emotion_qwen.cli import main
from emotion_qwen.convert.gguf_writing import KINDS, tensors, write_gguf
from emotion_qwen.convert.publishing import publish
from emotion_qwen.convert.text_model import convert_text_model
from emotion_qwen.convert.text_sources import read_language
from emotion_qwen.errors import CheckpointError
from emotion_qwen.model import PRESETS, EmotionQwenForConditionalGeneration
from emotion_qwen.processing.folder import load_processor

gguf = pytest.importorskip("gguf", reason="gguf is not installed; it comes with the extra gguf")


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def seeing(request, tmp_path_factory):
    """A folder of a tiny model with the language model of a random Qwen2, with biases."""
    folder = tmp_path_factory.mktemp("published")
    patch = pytest.MonkeyPatch()
    tiny = {**VISION, "patch_size": 8, "window_size": 32, "depth": 1, "fullatt_block_indexes": [0]}
    patch.setitem(PRESETS, "mini", {"vision_config": tiny, "gate_num_heads": 4, "gate_hidden_size": 8})
    source = save_text_folder(
        folder / "text", make_text_model("qwen2", tie_word_embeddings=request.param), make_tokenizer()
    )
    convert_text_model(source, folder / "model")
    patch.undo()
    return folder / "model"


def load(folder):
    return EmotionQwenForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.mark.parametrize("kind", ["f32", "bf16", "q8_0", "q4_0"])
def test_transformers_reads_the_values_that_were_quantised(seeing, tmp_path, kind):
    model, processor = load(seeing), load_processor(seeing)
    write_gguf(model, processor.tokenizer, tmp_path / "language.gguf", kind)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="language.gguf", dtype=torch.float32).eval()
    wanted = gguf.GGMLQuantizationType[KINDS[kind]]
    language = model.model.language_model.state_dict()
    changed = 0
    for name, values in theirs.model.state_dict().items():
        ours = language[name]
        if ours.ndim == 2:
            ours = torch.from_numpy(gguf.dequantize(gguf.quantize(ours.numpy(), wanted), wanted).copy())
            changed += not torch.equal(ours, language[name])
        assert torch.equal(values, ours), name
    assert (changed > 0) == (kind != "f32")
    with torch.no_grad():
        model.model.language_model.load_state_dict(theirs.model.state_dict())
        model.lm_head.weight.copy_(theirs.lm_head.weight)
        ids = torch.randint(20, 290, (2, 20), generator=torch.Generator().manual_seed(0))
        logits = model(input_ids=ids, mm_token_type_ids=torch.zeros_like(ids)).logits
        assert (theirs(input_ids=ids).logits - logits).abs().max() <= 1e-5  # plain positions are those of text


def test_our_reader_takes_the_file_and_its_tokenizer(seeing, tmp_path):
    model, processor = load(seeing), load_processor(seeing)
    write_gguf(model, processor.tokenizer, tmp_path / "language.gguf", "f16")
    source = read_language(tmp_path / "language.gguf")
    again = source.tokenizer
    for text in ("the person shows 12", "你好", "<|im_start|>user\nhello<|im_end|>"):
        assert again.encode(text) == processor.tokenizer.encode(text)
    names = dict(tensors(model))
    assert ("output.weight" in names) == (not model.config.tie_word_embeddings)
    assert not any("visual" in name or "compressor" in name for name in names)


def test_a_folder_with_card_gguf_and_facts_loads_like_the_model(seeing, tmp_path, capsys):
    (seeing / "calibration.json").write_text("{}", encoding="utf-8")
    target = tmp_path / "out"
    options = ["--dtype", "float32", "--license", "apache-2.0", "--gguf", "q8_0"]
    assert main(["publish", str(seeing), str(target), *options]) == 0
    (seeing / "calibration.json").unlink()
    before, after = load(seeing).state_dict(), load(target).state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    text = (target / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\nlicense: apache-2.0\n") and "language-q8_0.gguf" in text and str(tmp_path) not in text
    assert (target / "language-q8_0.gguf").stat().st_size > 10_000 and (target / "calibration.json").is_file()
    assert main(["publish", str(seeing), str(target)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_trained_model_has_its_stage_on_the_card(seeing, tmp_path):
    proof = {"stage": "tuning", "steps": 40, "start": "/somewhere/start", "trains": ["language"], "gate": "learned"}
    (seeing / "stage.json").write_text(json.dumps(proof), encoding="utf-8")
    publish(str(seeing), tmp_path / "out", torch.bfloat16, "other")
    (seeing / "stage.json").unlink()
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "Stage `tuning`, 40 steps from `start`; trained parts: language." in text and "/somewhere" not in text


def test_a_tokenizer_without_a_name_in_gguf_is_refused(nano, tmp_path):
    with pytest.raises(CheckpointError, match="splits text by Split and ByteLevel, for which GGUF has no name"):
        write_gguf(nano.model, nano.processor.tokenizer, tmp_path / "x.gguf", "q8_0")
    assert not list(tmp_path.iterdir())


def test_uploading_is_private_unless_told_and_a_refusal_is_one_line(seeing, tmp_path, monkeypatch, capsys):
    calls = []

    class Api:
        endpoint = "https://hub.example"

        def create_repo(self, name, **options):
            calls.append((name, options))
            if name.startswith("other/"):
                raise OSError("401 Client Error\nInvalid username or password.")

        def upload_folder(self, **options):
            calls.append(options)

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    assert main(["publish", str(seeing), str(tmp_path / "a"), "--push-to-hub", "me/model"]) == 0
    assert "https://hub.example/me/model" in capsys.readouterr().out
    uploaded = {"repo_id": "me/model", "folder_path": str(tmp_path / "a")}
    assert calls == [("me/model", {"private": True, "exist_ok": True}), uploaded]
    assert main(["publish", str(seeing), str(tmp_path / "b"), "--push-to-hub", "other/model", "--public"]) == 2
    assert calls[-1] == ("other/model", {"private": False, "exist_ok": True})
    error = capsys.readouterr().err.splitlines()[-1]
    assert "other/model was not uploaded (401 Client Error Invalid username" in error and (tmp_path / "b").is_dir()

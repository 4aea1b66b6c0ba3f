"""Text-only checkpoints as our language model: the same logits, the same tokens, a tokenizer that knows our tokens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.convert.conftest import HEAD, NAMES, add_head
from tests.mixed_prompts import contents, generated, prepare, scheduled
from tests.model.conftest import VISION
from tests.tiny_llama import CHATML, RESERVED, make_text_model, make_tokenizer, save_text_folder, write_gguf
from transformers import LlamaForCausalLM

from emotion_qwen.cli import main
from emotion_qwen.convert.language import mrope_section
from emotion_qwen.convert.special_tokens import UNUSED
from emotion_qwen.convert.text_model import convert_text_model
from emotion_qwen.convert.text_sources import read_language
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import CheckpointError, DataError
from emotion_qwen.model import PRESETS, EmotionQwenForConditionalGeneration
from emotion_qwen.model.parts import ACTIONS
from emotion_qwen.processing.chat import CHAT_TEMPLATE, SPECIAL_TOKENS
from emotion_qwen.processing.folder import load_processor

TEXTS = ("the person shows 12", "because the mouth", "你好")


@pytest.fixture(autouse=True)
def small_eyes(monkeypatch):
    """New vision transformers of these tests are tiny."""
    tiny = {**VISION, "patch_size": 8, "window_size": 32, "depth": 1, "fullatt_block_indexes": [0]}
    monkeypatch.setitem(PRESETS, "mini", {"vision_config": tiny, "gate_num_heads": 4, "gate_hidden_size": 8})


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture
def text_folder(tmp_path, tokenizer):
    """Return a maker of text-only folders; options go to the model's configuration."""

    def make(kind: str = "llama", name: str = "text", **changes) -> tuple[Path, object]:
        model = make_text_model(kind, **changes)
        return save_text_folder(tmp_path / name, model, tokenizer), model

    return make


def load(folder: Path):
    return EmotionQwenForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


def logits(model, ids: torch.Tensor, **more) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, **more).logits


def ours(model, ids: torch.Tensor) -> torch.Tensor:
    """Logits of the tokens that the source has, too."""
    return logits(model, ids, mm_token_type_ids=torch.zeros_like(ids))[..., :300]


def refused(source: Path, *texts: str, error: type[Exception] = CheckpointError, **options) -> None:
    target = source.parent / "refused"
    with pytest.raises(error) as caught:
        convert_text_model(source, target, **options)
    for text in texts:
        assert text in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)
    assert not target.exists() and not list(source.parent.glob(".refused*"))


# --- the same logits -------------------------------------------------------------------------------------------------

CASES = {
    "tied": {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 3.0}},
    "untied": {
        "tie_word_embeddings": False, "rms_norm_eps": 1e-2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
    },
    "llama3": {
        "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        }
    },
    "yarn": {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0,
                                 "original_max_position_embeddings": 64}},
    "qwen2": {"kind": "qwen2"},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_the_source(case, text_folder, tmp_path):
    changes = dict(CASES[case])
    source, model = text_folder(changes.pop("kind", "llama"), **changes)
    report = convert_text_model(source, tmp_path / "ours")
    made = load(tmp_path / "ours")
    ids = torch.randint(20, 300, (2, 40), generator=torch.Generator().manual_seed(1))
    expected = logits(model, ids)
    assert (ours(made, ids) - expected).abs().max() < 1e-4
    assert expected.abs().max() > 0.5  # wide enough that a wrong position or a lost bias would show
    assert report.layout == model.config.model_type and set(report.fresh) == {
        name for name in made.state_dict() if "visual" in name or "compressor" in name
    }
    biases = [value for name, value in made.state_dict().items() if "language" in name and name.endswith("proj.bias")]
    assert all(bool(bias.any()) == (case == "qwen2") for bias in biases) and len(biases) == 6


def test_a_configuration_as_older_folders_have_it(text_folder, tmp_path):
    """Flat fields for the rotary positions, names of other programs, and a head that is stored although it is tied."""
    source, _ = text_folder()
    values = json.loads((source / "config.json").read_text())
    del values["rope_parameters"], values["head_dim"]
    older = {"rope_theta": 2000.0, "rope_scaling": {"type": "linear", "factor": 2.0}, "rope_interleaved": False}
    (source / "config.json").write_text(json.dumps({**values, **older, "transformers.js_config": {"a": 1}}))
    tensors = load_file(source / "model.safetensors")
    head = {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}
    save_file({**tensors, **head}, source / "model.safetensors", metadata={"format": "pt"})
    report = convert_text_model(source, tmp_path / "ours")
    assert report.dropped == {"lm_head.weight": "tied to the embedding"}
    ids = torch.randint(20, 300, (1, 30), generator=torch.Generator().manual_seed(1))
    model = LlamaForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    assert model.config.rope_parameters["rope_theta"] == 2000.0
    assert (ours(load(tmp_path / "ours"), ids) - logits(model, ids)).abs().max() < 1e-4
    save_file({**tensors, "lm_head.weight": head["lm_head.weight"] + 1}, source / "model.safetensors")
    refused(source, "lm_head.weight differs from the embedding although config.json sets tie_word_embeddings")


def test_greedy_tokens_with_left_padding_are_those_of_the_source(text_folder, tmp_path):
    source, model = text_folder()
    convert_text_model(source, tmp_path / "ours")
    processor, made = load_processor(tmp_path / "ours"), load(tmp_path / "ours")
    chats = [[{"role": "user", "content": text}] for text in TEXTS]
    batch = processor.apply_chat_template(chats, add_generation_prompt=True, tokenize=True, return_tensors="pt")
    assert len(set(batch["attention_mask"].sum(1).tolist())) > 1  # otherwise nothing is padded
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    with torch.no_grad():
        together = made.generate(**batch, **options)[:, batch["input_ids"].shape[1] :]
    for chat, answer in zip(chats, together, strict=True):
        alone = processor.apply_chat_template([chat], add_generation_prompt=True, tokenize=True, return_tensors="pt")
        ids = alone["input_ids"]
        with torch.no_grad():
            expected = model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=0, **options)
        assert torch.equal(answer, expected[0, ids.shape[1] :])


def test_a_picture_in_the_prompt_runs_through_generate_engine_and_scheduler(text_folder, tmp_path):
    source, model = text_folder()
    convert_text_model(source, tmp_path / "ours")
    engine = Engine.load(tmp_path / "ours", device="cpu")
    questions = contents()
    answers = [generated(engine, content, 6) for content in questions]
    assert answers[0] != answers[1]  # the picture is read
    assert scheduled(engine, questions, 6) == answers
    decode = engine.processor.tokenizer.batch_decode
    assert [engine.chat([{"role": "user", "content": content}], 6) for content in questions] == [
        text.strip() for text in decode(answers, skip_special_tokens=True)
    ]
    ids = prepare(engine, questions[1])["input_ids"]  # after pictures have passed through the model
    with torch.no_grad():
        expected = model.generate(ids, pad_token_id=0, eos_token_id=2, max_new_tokens=6, do_sample=False)
    assert answers[1] == expected[0, ids.shape[1] :].tolist()


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_our_tokens_take_reserved_ids_and_new_rows(text_folder, tmp_path, tokenizer, caplog):
    source, model = text_folder()
    with caplog.at_level("WARNING", logger="transformers"):
        report = convert_text_model(source, tmp_path / "ours")
    assert "151645" not in caplog.text  # an id of Qwen's that this tokenizer does not have
    processor = load_processor(tmp_path / "ours")
    made = processor.tokenizer
    missing = [token for token in SPECIAL_TOKENS if token not in CHATML]
    ids = made.convert_tokens_to_ids(missing)
    assert ids == [3, 4, 5, 6, 7, 8, 300, 301]  # six reserved ids, then new rows
    assert report.tokens[missing[0]] == f"id 3, which was {RESERVED[0]}"
    assert report.tokens[missing[-1]] == "id 301, a new row, the mean of its pieces"
    assert not set(RESERVED) & made.get_vocab().keys() and len(made) == 302
    config = load(tmp_path / "ours").config
    assert (config.eos_token_id, config.pad_token_id, config.text_config.eos_token_id) == (2, 0, 2)
    assert (config.image_token_id, config.vision_start_token_id, config.text_config.vocab_size) == (6, 3, 302)
    assert made.eos_token == "<|im_end|>" != made.pad_token and made.padding_side == "left"
    assert processor.chat_template == CHAT_TEMPLATE
    before = model.state_dict()["model.embed_tokens.weight"]
    after = load(tmp_path / "ours").state_dict()["model.language_model.embed_tokens.weight"]
    assert torch.equal(after[:300], before)
    pieces = tokenizer.encode(missing[-1], add_special_tokens=False)
    assert len(pieces) > 1 and torch.allclose(after[301], before[pieces].mean(0), atol=1e-6)
    for text in (*TEXTS, "1 23\n\n4"):
        assert made.encode(text, add_special_tokens=False) == tokenizer.encode(text, add_special_tokens=False)
        assert made.decode(made.encode(text, add_special_tokens=False)) == text


def test_rows_that_no_token_has_are_used_first(text_folder, tmp_path):
    source, _ = text_folder(rows=304)
    report = convert_text_model(source, tmp_path / "ours")
    taken = {name: text.partition(", ")[2] for name, text in report.tokens.items()}
    assert sorted(taken.values()) == sorted(["an unused row"] * 4 + [f"which was {name}" for name in RESERVED[:4]])
    assert load(tmp_path / "ours").config.text_config.vocab_size == 304


def test_further_tokens_start_at_the_mean_of_their_pieces(text_folder, tmp_path, tokenizer):
    source, model = text_folder(tie_word_embeddings=False)
    words = tmp_path / "tokens.txt"
    words.write_text("怒\n喜\nthe\n", encoding="utf-8")
    assert main(["convert", str(source), str(tmp_path / "ours"), "--tokens", str(words)]) == 0
    made = load_processor(tmp_path / "ours").tokenizer
    assert made.tokenize("怒the喜") == ["怒", "the", "喜"] and made.decode(made.encode("喜 the 怒")) == "喜 the 怒"
    pieces = tokenizer.encode("怒", add_special_tokens=False)
    after = load(tmp_path / "ours").state_dict()
    for name, source_name in (("model.language_model.embed_tokens", "model.embed_tokens"), ("lm_head", "lm_head")):
        before = model.state_dict()[f"{source_name}.weight"]
        row = after[f"{name}.weight"][made.convert_tokens_to_ids("怒")]
        assert len(pieces) == 3 and torch.allclose(row, before[pieces].mean(0), atol=1e-6)
    refused(source, "the token 'é' cannot be added", error=DataError, further_tokens=["é"])


@pytest.mark.parametrize(
    ("name", "unused"),
    [
        ("<repo_name>", True), ("<|reserved_special_token_17|>", True), ("<unused42>", True), ("[control_8]", True),
        ("<jupyter_output>", True), ("<s>", False), ("<|eot_id|>", False), ("[INST]", False), ("<think>", False),
    ],
)  # fmt: skip
def test_which_special_tokens_are_taken(name, unused):
    assert bool(UNUSED.fullmatch(name)) == unused


@pytest.mark.parametrize(
    ("head", "sections"), [(128, [16, 24, 24]), (64, [8, 12, 12]), (16, [2, 3, 3]), (6, [1, 1, 1])]
)
def test_sections_have_qwens_proportion(head, sections):
    assert mrope_section(head, "here") == sections and sum(sections) == head // 2


# --- eyes ------------------------------------------------------------------------------------------------------------


def test_the_vision_transformer_of_another_folder_is_copied(text_folder, tmp_path, deaf_folder):
    source, _ = text_folder()
    report = convert_text_model(source, tmp_path / "ours", vision=deaf_folder)
    seeing, made = load_file(deaf_folder / "model.safetensors"), load_file(tmp_path / "ours" / "model.safetensors")
    kept = [name for name in made if name.startswith(("model.visual.", "model.compressor.gate."))]
    assert len(kept) == 87 and all(torch.equal(made[name], seeing[name]) for name in kept)
    assert {name.split(".")[2] for name in report.fresh} == {"general", "emotion"}  # of another width
    assert report.vision == str(deaf_folder)
    equal = [name for name in made if ".emotion." in name]
    assert equal and all(torch.equal(made[name], made[name.replace("emotion", "general")]) for name in equal)
    assert load_processor(tmp_path / "ours").clip_settings == load_processor(deaf_folder).clip_settings


def test_the_head_for_facial_actions_comes_with_the_vision_transformer(text_folder, tmp_path, deaf_folder):
    source, _ = text_folder()
    shutil.copytree(deaf_folder, tmp_path / "seeing")
    add_head(tmp_path / "seeing")
    report = convert_text_model(source, tmp_path / "ours", vision=tmp_path / "seeing")
    seeing, made = (load_file(tmp_path / place / "model.safetensors") for place in ("seeing", "ours"))
    assert all(torch.equal(made[ACTIONS + name], seeing[ACTIONS + name]) for name in HEAD)
    assert load(tmp_path / "ours").config.facial_actions == NAMES
    assert report.parts["facial actions"][0] == 4 and not any(name.startswith(ACTIONS) for name in report.fresh)


def test_experts_of_the_right_width_come_along(text_folder, tmp_path, qwen, deaf_folder, monkeypatch):
    source, _ = text_folder(hidden_size=48)
    folder = qwen()
    pictures = load_processor(deaf_folder)
    monkeypatch.setattr("emotion_qwen.convert.text_model.load_processor", lambda place: pictures)
    report = convert_text_model(source, tmp_path / "ours", vision=folder)
    assert all(name.startswith("model.compressor.gate.") for name in report.fresh) and report.gate_seed == 0
    assert report.cloned["model.compressor.emotion.mlp.0.weight"] == "visual.merger.mlp.0.weight"
    merger = load_file(folder / "model.safetensors")["visual.merger.mlp.0.weight"]
    made = load_file(tmp_path / "ours" / "model.safetensors")
    assert torch.equal(made["model.compressor.emotion.mlp.0.weight"], merger)


def test_the_command_says_where_every_part_comes_from(text_folder, tmp_path, capsys, deaf_folder):
    source, _ = text_folder()
    report = tmp_path / "report.json"
    assert main(["convert", str(source), str(tmp_path / "ours"), "--report", str(report)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "tokens missing in the source: <|vision_start|>: id 3, which was <repo_name>," in out
    assert "is text-only and has no vision transformer; this one is new: train it, or give --vision" in out
    assert json.loads(report.read_text())["vision"] is None
    assert main(["convert", str(source), str(tmp_path / "seeing"), "--vision", str(deaf_folder), "--dry-run"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "text-only" not in out and "dry run; nothing written to" in out
    assert main(["convert", str(source), str(tmp_path / "x"), "--whisper", str(tmp_path)]) == 2
    assert "gets its audio input in a second step" in capsys.readouterr().err
    assert main(["convert", str(deaf_folder), str(tmp_path / "x"), "--vision", str(tmp_path)]) == 2
    assert "--vision and --tokens are for a text-only SOURCE" in capsys.readouterr().err
    assert not (tmp_path / "x").exists() and not (tmp_path / "seeing").exists()


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "only default, linear"),
        ({"head_dim": 32}, "head_dim is 32, but Qwen2.5-VL's attention needs hidden_size / num_attention_heads"),
        ({"attention_bias": True}, "attention_bias is set, which Qwen2.5-VL's language model does not have"),
        ({"mlp_bias": True}, "mlp_bias is set"),
        ({"num_attention_heads": 16, "num_key_value_heads": 16}, "heads of 4 values; three axes of positions"),
    ],
)  # fmt: skip
def test_what_our_language_model_cannot_be_is_refused(changes, text, text_folder):
    source, _ = text_folder(**changes)
    refused(source, text)


def test_weights_that_do_not_fit_are_named(text_folder):
    source, _ = text_folder()
    path = source / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.norm.weight"]
    tensors["model.layers.0.mlp.up_proj.weight"] = torch.zeros(3, 64)
    save_file({**tensors, "model.layers.0.extra": torch.zeros(1), "score.weight": torch.zeros(1)}, path)
    refused(
        source,
        "missing tensors: model.norm.weight;",
        "unexpected tensors: score.weight, model.layers.0.extra;",
        "wrong shapes: model.layers.0.mlp.up_proj.weight (3, 64) instead of (96, 64)",
    )
    (source / "tokenizer.json").unlink()
    save_file(load_file(path), path)
    (source / "config.json").unlink()
    refused(source, "no config.json")


def test_a_folder_without_a_tokenizer_is_refused(text_folder):
    source, _ = text_folder()
    (source / "tokenizer.json").write_text("{}")
    refused(source, "its tokenizer cannot be loaded")
    (source / "tokenizer.json").unlink()
    refused(source, "no tokenizer.json; copy the tokenizer's files")


# --- GGUF ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def gguf_file(tmp_path, tokenizer):
    """Return a maker of GGUF files and of the model whose rounded weights they hold."""
    gguf = pytest.importorskip("gguf")

    def make(kind: str = "llama", **metadata):
        model = make_text_model(kind, **metadata.pop("changes", {}))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2 and parameter.shape[1] % 32 == 0:
                    quantised = gguf.quantize(parameter.numpy(), gguf.GGMLQuantizationType.Q8_0)
                    parameter.copy_(torch.from_numpy(gguf.dequantize(quantised, gguf.GGMLQuantizationType.Q8_0)))
        return write_gguf(tmp_path / f"{kind}.gguf", model, tokenizer, **metadata), model

    return make


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_a_gguf_file_gives_the_logits_of_its_weights(kind, gguf_file, tmp_path, tokenizer):
    untied = kind == "qwen2"
    source, model = gguf_file(kind, pre="qwen2" if untied else "smollm", changes={"tie_word_embeddings": not untied})
    report = convert_text_model(source, tmp_path / "ours")
    made = load(tmp_path / "ours")
    ids = torch.randint(20, 300, (2, 30), generator=torch.Generator().manual_seed(1))
    assert (ours(made, ids) - logits(model, ids)).abs().max() < 1e-4
    assert report.layout == f"{kind} GGUF" and set(report.dtypes) == {"float32"}
    assert made.config.text_config.rms_norm_eps == 1e-5
    again = load_processor(tmp_path / "ours").tokenizer
    for text in (*TEXTS, "a  1\n\n2. the"):
        same = again.encode(text, add_special_tokens=False) == tokenizer.encode(text, add_special_tokens=False)
        assert same or untied  # Qwen2's tokenizer splits text by another rule


def test_text_is_split_as_the_file_says(gguf_file):
    """Without the rule of `smollm` two blanks before a digit would be two tokens."""
    split = {}
    for rule in ("smollm", "gpt-2", "llama-bpe"):
        source, _ = gguf_file(pre=rule)
        tokenizer = read_language(source).tokenizer.backend_tokenizer
        split[rule] = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str("it  12345")]
        assert tokenizer.model.ignore_merges == (rule == "llama-bpe")
    assert split["smollm"] == ["it", "ĠĠ", "1", "2", "3", "4", "5"]
    assert split["gpt-2"] == ["it", "Ġ", "Ġ12345"]
    assert split["llama-bpe"] == ["it", "Ġ", "Ġ", "123", "45"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"architecture": "gpt2"}, "a GGUF file of architecture 'gpt2'; expected one of llama, qwen2"),
        ({"pre": "tekken"}, "its tokenizer splits text by the rule 'tekken'; expected one of gpt-2, smollm"),
        ({"rope__scaling__type": "yarn"}, "its rotary positions are scaled of type 'yarn'"),
    ],
)
def test_a_gguf_file_that_is_not_read_is_refused(options, text, gguf_file):
    refused(gguf_file(**options)[0], text)


def test_half_a_gguf_file_is_refused(gguf_file):
    source, _ = gguf_file()
    content = source.read_bytes()
    source.write_bytes(content[: len(content) - 2000])
    refused(source, "not a complete GGUF file")
    source.write_bytes(content[:300])
    refused(source, "not a complete GGUF file")
    source.write_bytes(b"GGML" + content[4:])
    refused(source, "not a complete GGUF file (GGUF magic invalid)")


def test_without_gguf_the_extra_is_named(tmp_path, monkeypatch):
    from emotion_qwen.errors import MissingPackage

    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(MissingPackage, match="gguf"):
        convert_text_model(tmp_path / "model.gguf", tmp_path / "ours")

"""Overlays: base and overlay give what was trained, and nothing else is ever put together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.convert.conftest import HEAD, NAMES, add_head
from tests.model.conftest import VISION
from tests.tiny_llama import make_text_model, make_tokenizer, save_text_folder

from emotion_qwen.convert.overlay import MANIFEST, TENSORS, assemble, file_digest, source_digest
from emotion_qwen.convert.overlay_making import write_overlay
from emotion_qwen.convert.text_model import convert_text_model
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import CheckpointError
from emotion_qwen.model import PRESETS, EmotionQwenForConditionalGeneration
from emotion_qwen.model.parts import ACTIONS, LANGUAGE

EMBEDDING = f"{LANGUAGE}embed_tokens.weight"
Q_PROJ = f"{LANGUAGE}layers.0.self_attn.q_proj.weight"
RANK = 3


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """A base, a folder trained from it (low-rank changes, rows, eyes, a norm), and their overlay."""
    folder = tmp_path_factory.mktemp("story")
    base = save_text_folder(folder / "base", make_text_model(), make_tokenizer())
    with pytest.MonkeyPatch.context() as patch:
        tiny = {**VISION, "patch_size": 8, "window_size": 32, "depth": 1, "fullatt_block_indexes": [0]}
        patch.setitem(PRESETS, "mini", {"vision_config": tiny, "gate_num_heads": 4, "gate_hidden_size": 8})
        convert_text_model(base, folder / "start", further_tokens=["喜", "怒"])
    shutil.copytree(folder / "start", folder / "trained")
    path = folder / "trained" / "model.safetensors"
    tensors = load_file(path)
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return 0.1 * torch.randn(shape, generator=generator)

    for name, values in tensors.items():
        if not name.startswith(LANGUAGE):
            tensors[name] = values + noise(*values.shape)
        elif name.endswith(("q_proj.weight", "down_proj.weight")):
            tensors[name] = values + noise(len(values), RANK) @ noise(RANK, values.shape[1])
    tensors[EMBEDDING][[3, 7, 303]] += 1.0
    tensors[f"{LANGUAGE}norm.weight"] += noise(64)
    save_file(tensors, path, metadata={"format": "pt"})
    (folder / "trained" / "README.md").write_text("# card\n")
    (folder / "trained" / "LICENSE-WEIGHTS").write_text("terms\n")
    (folder / "trained" / "calibration.json").write_text("{}")
    errors = write_overlay(base, folder / "trained", folder / "overlay", name="tiny", rank=RANK, stored="float32")
    return folder, tensors, errors


@pytest.fixture
def overlay(story, tmp_path) -> Path:
    return Path(shutil.copytree(story[0] / "overlay", tmp_path / "overlay"))


def edit(overlay: Path, **changes) -> None:
    path = overlay / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rewrite(overlay: Path, change) -> None:
    tensors = load_file(overlay / TENSORS)
    change(tensors)
    save_file(tensors, overlay / TENSORS)
    edit(overlay, weights=file_digest(overlay / TENSORS))


def refused(base: Path, overlay: Path, *texts: str) -> None:
    target = overlay.parent / "target"
    with pytest.raises(CheckpointError) as caught:
        assemble(base, overlay, target)
    for text in texts:
        assert text in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value) and sorted(p.name for p in overlay.parent.iterdir()) == ["overlay"]


def test_base_and_overlay_give_what_was_trained(story, tmp_path):
    folder, trained, errors = story
    assemble(folder / "base", folder / "overlay", tmp_path / "made")
    made = load_file(tmp_path / "made" / "model.safetensors")
    assert made.keys() == trained.keys()
    assert max(float((made[name] - trained[name]).abs().max()) for name in made) < 1e-5
    exact = [n for n in made if "proj" not in n or "bias" in n]
    assert all(torch.equal(made[name], trained[name]) for name in exact)
    assert len(errors) == 4 and max(errors.values()) < 1e-5
    first, second = ({p.name for p in place.iterdir()} for place in (folder / "trained", tmp_path / "made"))
    assert first == second
    for name in ("README.md", "LICENSE-WEIGHTS", "calibration.json", "tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "made" / name).read_bytes() == (folder / "trained" / name).read_bytes()
    chats = [{"role": "user", "content": "the person shows 喜"}]
    answers = [Engine.load(place, device="cpu").chat(chats, 8) for place in (folder / "trained", tmp_path / "made")]
    assert answers[0] == answers[1]


def test_the_overlay_holds_no_tensor_of_the_base(story):
    folder, trained, _ = story
    stored = load_file(folder / "overlay" / TENSORS)
    ours = {name for name in trained if not name.startswith(LANGUAGE)}
    pairs = {name for name in stored if ":lora" in name}
    assert set(stored) == ours | pairs | {EMBEDDING + ":rows", f"{LANGUAGE}norm.weight"} and len(pairs) == 8
    assert stored[EMBEDDING + ":rows"].shape == (3, 64)
    manifest = json.loads((folder / "overlay" / MANIFEST).read_text())
    assert manifest["rows"] == {EMBEDDING: [3, 7, 303]} and manifest["tokens"] == ["喜", "怒"]
    assert manifest["base"] == file_digest(folder / "base" / "model.safetensors") == source_digest(folder / "base")


def test_the_folder_is_stored_in_the_type_that_the_overlay_names(story, overlay, tmp_path):
    edit(overlay, dtype="bfloat16", lora_scale=0.0)
    assemble(story[0] / "base", overlay, tmp_path / "made")
    made = load_file(tmp_path / "made" / "model.safetensors")
    start = load_file(story[0] / "start" / "model.safetensors")
    assert {values.dtype for values in made.values()} == {torch.bfloat16}
    assert torch.equal(made[Q_PROJ], start[Q_PROJ].bfloat16())  # a scale of nothing leaves the base
    model = EmotionQwenForConditionalGeneration.from_pretrained(tmp_path / "made", dtype="auto")
    assert model.dtype == torch.bfloat16


def test_a_higher_rank_than_the_pairs_is_measured(story, tmp_path):
    folder, _, _ = story
    errors = write_overlay(folder / "base", folder / "trained", tmp_path / "thin", name="tiny", rank=1)
    assert all(0.2 < error < 0.9 for error in errors.values())


def test_a_folder_that_was_rounded_has_the_same_changes(story, tmp_path):
    folder, trained, _ = story
    shutil.copytree(folder / "trained", tmp_path / "rounded")
    rounded = {name: values.bfloat16() for name, values in trained.items()}
    save_file(rounded, tmp_path / "rounded" / "model.safetensors")
    errors = write_overlay(folder / "base", tmp_path / "rounded", tmp_path / "overlay", name="tiny", rank=RANK)
    assert len(errors) == 4 and max(errors.values()) < 0.1
    assert json.loads((tmp_path / "overlay" / MANIFEST).read_text())["rows"] == {EMBEDDING: [3, 7, 303]}


def test_another_base_is_refused(story, overlay, tmp_path):
    other = tmp_path.parent / f"{tmp_path.name}-other"
    shutil.copytree(story[0] / "base", other)
    tensors = load_file(other / "model.safetensors")
    save_file({name: values + 1 for name, values in tensors.items()}, other / "model.safetensors")
    refused(other, overlay, "but the overlay of 'tiny' was trained on", "give exactly that file")
    shutil.rmtree(other)


def test_a_damaged_overlay_is_refused(story, overlay):
    base = story[0] / "base"
    content = (overlay / TENSORS).read_bytes()
    (overlay / TENSORS).write_bytes(content[:-4] + b"\0\0\0\1")
    refused(base, overlay, "not the file named in overlay.json")
    (overlay / TENSORS).unlink()
    refused(base, overlay, "cannot be read (No such file or directory)")
    edit(overlay, format=2)
    refused(base, overlay, "format 2, expected 1")
    edit(overlay, format=1, lora="x")
    refused(base, overlay, "lora")
    (overlay / MANIFEST).unlink()
    refused(base, overlay, "no overlay.json; give a folder of an overlay")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.pop("model.visual.patch_embed.proj.weight"), "missing tensors: model.visual.patch_embed"),
        (lambda t: t.update({"model.other": torch.zeros(1)}), "unknown tensors: model.other"),
        (lambda t: t.pop(f"{Q_PROJ}:lora_B"), f"unfit tensors: {Q_PROJ}:lora_A"),
        (lambda t: t.update({f"{Q_PROJ}:lora_A": torch.zeros(3, 7)}), f"unfit tensors: {Q_PROJ}:lora_B"),
        (lambda t: t.update({f"{EMBEDDING}:rows": torch.zeros(2, 64)}), f"unfit tensors: {EMBEDDING}:rows"),
        (lambda t: t.update({f"{Q_PROJ}:lora_C": torch.zeros(2)}), f"unfit tensors: {Q_PROJ}:lora_C"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(change, text, story, overlay):
    rewrite(overlay, change)
    refused(story[0] / "base", overlay, "overlay 'tiny' and its base are incompatible", text)


def test_tokens_that_the_configuration_does_not_expect_are_refused(story, overlay):
    config = json.loads((overlay / "config.json").read_text())
    (overlay / "config.json").write_text(json.dumps({**config, "image_token_id": 5}))
    refused(story[0] / "base", overlay, "its token ids are not those of the assembled tokenizer")


def test_an_interruption_leaves_nothing(story, overlay):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assemble(story[0] / "base", overlay, overlay.parent / "target", progress=stop)
    assert sorted(path.name for path in overlay.parent.iterdir()) == ["overlay"]


def test_a_head_for_facial_actions_is_part_of_the_overlay(story, tmp_path):
    folder, trained, _ = story
    shutil.copytree(folder / "trained", tmp_path / "trained")
    add_head(tmp_path / "trained")
    write_overlay(folder / "base", tmp_path / "trained", tmp_path / "overlay", name="tiny", rank=RANK, stored="float32")
    assemble(folder / "base", tmp_path / "overlay", tmp_path / "made")
    made, head = (load_file(tmp_path / place / "model.safetensors") for place in ("made", "trained"))
    assert made.keys() - trained.keys() == {f"{ACTIONS}{name}" for name in HEAD}
    assert all(torch.equal(made[ACTIONS + name], head[ACTIONS + name]) for name in HEAD)
    assert EmotionQwenForConditionalGeneration.from_pretrained(tmp_path / "made").config.facial_actions == NAMES

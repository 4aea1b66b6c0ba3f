"""Every training step calls the same modules in the same order, whatever its batch holds."""

from __future__ import annotations

import pytest
import torch

from emotion_qwen.model.audio import audio_token_counts

AUDIO, PATCH_VALUES = 7, 3 * 2 * 4**2
SHAPE = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 40, "num_mel_bins": 8}
HEARING = {"audio_config": {**SHAPE, "max_source_positions": 20, "frames_per_token": 5}, "audio_token_id": AUDIO}
GRIDS = {"image": [[1, 4, 6], [1, 8, 4]], "video": [[3, 4, 4], [1, 2, 6], [2, 2, 2]]}
PIXELS = {"image": "pixel_values", "video": "pixel_values_videos"}
BATCHES = {
    "text": (), "pictures": ("image",), "videos": ("video",), "pictures and videos": ("image", "video"),
    "sound": ("audio",), "all": ("image", "video", "audio"),
    "cached pictures": ("cached image",), "cached pictures, videos": ("cached image", "video"),
    "all visuals cached, sound": ("cached image", "cached video", "audio"),
}  # fmt: skip


def batch_of(media: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Return a row that names the media, with pixels, cached features or log-mel, and labels of its last words."""
    generator = torch.Generator().manual_seed(1)
    row, inputs = [10, 11], {}
    for kind, token in (("image", 5), ("video", 6)):
        cached = f"cached {kind}" in media
        if kind in media or cached:
            grids = torch.tensor(GRIDS[kind])
            patches = int(grids.prod(-1).sum())
            name, width = (f"{kind}_features", 32) if cached else (PIXELS[kind], PATCH_VALUES)
            inputs |= {f"{kind}_grid_thw": grids, name: torch.randn(patches, width, generator=generator)}
            for grid in grids:
                row += [3, *[token] * int(grid.prod() // 4), 4, 12]
    if "video" in media or "cached video" in media:
        inputs["second_per_grid_ts"] = torch.tensor([1.0, 0.5, 2.0])
    if "audio" in media:
        lengths = torch.tensor([40, 11])
        inputs |= {"input_features": torch.randn(2, 8, 40, generator=generator), "feature_lengths": lengths}
        row += [8, *[AUDIO] * int(audio_token_counts(lengths, 5).sum()), 9]
    ids = torch.tensor([[*row, 20, 21, 22]])
    labels = ids.masked_fill(torch.arange(ids.shape[1]) < ids.shape[1] - 2, -100)
    types = (ids == 5).int() + 2 * (ids == 6).int() + 3 * (ids == AUDIO).int()
    return {
        **inputs,
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": types,
        "labels": labels,
    }


@pytest.mark.parametrize("train", [True, False])
def test_the_order_of_calls_does_not_depend_on_the_batch(model, train):
    """Ranks that share a sharded model wait for each other in every module: any other order is a hang."""
    made, calls = model(**HEARING).train(train), []
    modules = {name: getattr(made.model, name) for name in ("visual", "compressor", "audio", "language_model")}
    modules["block"] = made.model.visual.blocks[0]
    for name, module in modules.items():
        module.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    for name, media in BATCHES.items():
        calls.clear()
        made(**batch_of(media), supervised_only=True)
        assert calls == ["visual", "block", "compressor", "audio", "language_model"], name


@pytest.mark.parametrize("media", BATCHES.values(), ids=BATCHES)
def test_every_batch_gives_every_parameter_a_gradient(model, media):
    """Also the one that lets DDP run without a search for unused parameters."""
    made = model(**HEARING).train()
    made(**batch_of(media), supervised_only=True).loss.backward()
    assert [
        name for name, parameter in made.named_parameters() if parameter.requires_grad and parameter.grad is None
    ] == []


@torch.no_grad()
@pytest.mark.parametrize("media", BATCHES.values(), ids=BATCHES)
def test_blank_inputs_change_no_loss(model, media):
    """The loss is that of a plain forward over the media encoded one kind at a time."""
    made, inputs = model(**HEARING), batch_of(media)
    loss = made(**inputs, supervised_only=True).loss
    encoded = {}
    for kind in ("image", "video"):
        own = {name: value for name, value in inputs.items() if name.startswith(kind) or name == PIXELS[kind]}
        encoded |= made.encode_media(own)
    if "audio" in media:
        encoded["audio"] = made.model.get_audio_features(inputs["input_features"], inputs["feature_lengths"])
    left_out = (*PIXELS.values(), "image_features", "video_features", "input_features", "feature_lengths")
    rest = {name: value for name, value in inputs.items() if name not in left_out}
    assert torch.allclose(loss, made(**rest, mm_encoder_outputs=encoded or None).loss, atol=1e-5)


@torch.no_grad()
def test_visuals_encoded_together_are_what_they_are_alone(model):
    """Pixels with pixels, and pixels with cached features, in whichever order the kinds come."""
    made, inputs = model(**HEARING), batch_of(("image", "video"))
    together = made.encode_media(inputs)
    alone = {
        "image": made.model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"]),
        "video": made.model.get_video_features(inputs["pixel_values_videos"], inputs["video_grid_thw"]),
    }
    for cached in ((), ("image",), ("video",), ("image", "video")):
        mixed = {name: value for name, value in inputs.items() if name not in [PIXELS[kind] for kind in cached]}
        mixed |= {f"{kind}_features": alone[kind].last_hidden_state for kind in cached}
        found = made.encode_media(mixed)
        assert list(found) == ["image", "video"]
        for kind, wanted in alone.items():
            assert [len(tokens) for tokens in found[kind].pooler_output] == [len(t) for t in wanted.pooler_output]
            assert torch.allclose(torch.cat(found[kind].pooler_output), torch.cat(wanted.pooler_output), atol=1e-5)
            assert torch.allclose(found[kind].last_hidden_state, wanted.last_hidden_state, atol=1e-5)
            assert torch.allclose(found[kind].gate_weights, wanted.gate_weights, atol=1e-6)
    assert (
        made(**inputs, supervised_only=True).gate_weights.tolist()
        == torch.cat([together[kind].gate_weights for kind in ("image", "video")]).tolist()
    ), "no weights of a blank visual"

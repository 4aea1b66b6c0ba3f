"""Hearing: a model without sound is what it was, tokens count sound only, and audio stands on the video's clock."""

from __future__ import annotations

import pytest
import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from emotion_qwen.errors import SettingsError, ShapeError
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.audio import EmotionQwenAudioTower, audio_token_counts
from emotion_qwen.model.configuration import EmotionQwenAudioConfig

AUDIO = 7
SHAPE = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 40, "num_mel_bins": 8}
HEARING = {"audio_config": {**SHAPE, "max_source_positions": 20, "frames_per_token": 5}, "audio_token_id": AUDIO}


@pytest.fixture
def heard():
    """Return a maker of inputs: a video of two times of 4 x 6 patches with its sound behind it, or sound alone."""

    def make(lengths: list[int], video: bool = True, gap: int = 0) -> dict[str, torch.Tensor]:
        tokens = int(audio_token_counts(torch.tensor(lengths), 5).sum())
        row = [10, *([3, *[6] * 12, 4] if video else []), *[12] * gap, 8, *[AUDIO] * tokens, 9, 11, 13]
        ids = torch.tensor([row])
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": 2 * (ids == 6).int() + 3 * (ids == AUDIO).int(),
            "input_features": torch.randn(len(lengths), 8, 40),
            "feature_lengths": torch.tensor(lengths),
        }
        if video:
            inputs["video_grid_thw"], inputs["second_per_grid_ts"] = torch.tensor([[2, 4, 6]]), torch.tensor([1.0])
            inputs["pixel_values_videos"] = torch.randn(48, 96)
        return inputs

    return make


@torch.no_grad()
def test_the_encoder_is_whispers():
    """Same weights, same frames, to the bit."""
    whisper = WhisperConfig(**SHAPE, max_source_positions=20)
    theirs = WhisperEncoder(whisper).eval()
    ours = EmotionQwenAudioTower(EmotionQwenAudioConfig(**HEARING["audio_config"]), 48).eval()
    ours.encoder.load_state_dict(theirs.state_dict())
    mel = torch.randn(3, 8, 40)
    frames = ours(mel, torch.tensor([40, 11, 1]))
    assert torch.equal(frames.last_hidden_state, theirs(mel).last_hidden_state)
    assert [len(window) for window in frames.pooler_output] == [4, 2, 1]


@torch.no_grad()
def test_a_token_can_be_made_of_mean_and_deviation_of_its_frames():
    config = EmotionQwenAudioConfig(**HEARING["audio_config"], group_features="statistics")
    tower = EmotionQwenAudioTower(config, 48).eval()
    assert tower.compressor.mlp[0].in_features == 2 * SHAPE["d_model"]
    features = tower(torch.randn(1, 8, 40), torch.tensor([40]))
    frames = features.last_hidden_state[0, 5:10].double()
    both = torch.cat([frames.mean(0), (frames.var(0, correction=0) + 1e-5).sqrt()]).float()
    expected = tower.compressor.mlp(tower.compressor.norm(both))
    assert torch.allclose(features.pooler_output[0][1], expected, atol=1e-5)
    steady = tower.compressor(torch.ones(1, 20, 32, requires_grad=True))
    assert steady.shape == (1, 4, 48) and steady.isfinite().all()


@torch.no_grad()
def test_a_model_that_does_not_hear_has_no_audio_part_and_answers_as_one_that_does(model, visual_inputs, tmp_path):
    deaf, inputs = model(), visual_inputs([[1, 4, 6]])
    assert not any("audio" in name for name in deaf.state_dict())
    hearing = model(**HEARING)
    hearing.load_state_dict(deaf.state_dict(), strict=False)
    assert torch.equal(deaf(**inputs).logits, hearing(**inputs).logits)
    with pytest.raises(ShapeError, match="log-mel for a model without audio input; use a model with audio input"):
        deaf(**inputs, input_features=torch.zeros(1, 8, 40))


@torch.no_grad()
def test_a_hearing_model_loads_equal(model, heard, tmp_path):
    made, inputs = model(**HEARING), heard([40, 11])
    made.save_pretrained(tmp_path)
    again = EmotionQwenForConditionalGeneration.from_pretrained(tmp_path)
    assert torch.equal(made(**inputs).logits, again(**inputs).logits)
    assert again.config.audio_config.seconds_per_token == pytest.approx(0.1)


@torch.no_grad()
@pytest.mark.parametrize("video", [True, False])
def test_sound_moves_the_answer_and_may_be_encoded_before(model, heard, video):
    made, inputs = model(**HEARING), heard([40, 11], video)
    encoded = made.encode_media(inputs)
    assert [len(window) for window in encoded["audio"].pooler_output] == [4, 2]
    rest = {k: v for k, v in inputs.items() if k not in ("input_features", "feature_lengths", "pixel_values_videos")}
    logits = made(**inputs).logits
    assert torch.equal(logits, made(**rest, mm_encoder_outputs=encoded).logits)
    other = {**inputs, "input_features": inputs["input_features"] + torch.randn(2, 8, 40)}
    assert (made(**other).logits - logits).abs().max() > 1e-3
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
    written = made.generate(**inputs, **options)
    assert torch.equal(written, made.generate(**rest, mm_encoder_outputs=encoded, **options))


@torch.no_grad()
@pytest.mark.parametrize("video", [True, False])
def test_generation_continues_as_a_forward_over_all_tokens_would(model, heard, video):
    made, inputs = model(**HEARING), heard([40, 11], video)
    written = made.generate(**inputs, max_new_tokens=6, min_new_tokens=6, do_sample=False)
    more = written.shape[1] - inputs["input_ids"].shape[1]
    whole = {
        **inputs,
        "input_ids": written,
        "attention_mask": torch.ones_like(written),
        "mm_token_type_ids": torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, more)),
    }
    # a fresh model state: the deltas that generation left must not matter
    made.model.rope_deltas = None
    logits = made(**whole).logits[0, -more - 1 : -1].clone()
    logits[:, 2] = -torch.inf  # the end, which min_new_tokens forbids
    assert torch.equal(logits.argmax(-1), written[0, -more:])


def test_silence_behind_a_sound_is_no_token():
    assert audio_token_counts(torch.tensor([1, 10, 11, 40]), 5).tolist() == [1, 1, 2, 4]


@torch.no_grad()
def test_audio_and_video_of_one_second_have_one_temporal_position(model, heard):
    """Two tokens a second, video times 0 and 1 s, ten audio tokens a second: the second second begins at tick 2."""
    made = model(**{**HEARING, "audio_config": {**HEARING["audio_config"], "max_source_positions": 100}})
    inputs = heard([200])
    inputs["input_features"] = torch.randn(1, 8, 200)
    media = ("pixel_values_videos", "input_features", "feature_lengths")
    places, deltas = made.model.get_rope_index(**{k: v for k, v in inputs.items() if k not in media})
    video, sound = places[:, 0, 2:14], places[:, 0, 16:36]
    assert video[0].unique().tolist() == [2, 4]
    assert sound[0].tolist() == [2 + i // 5 for i in range(20)]
    assert sound[1].tolist() == sound[2].tolist() == list(range(sound[1, 0], sound[1, 0] + 20))
    after = places[:, 0, 36:]
    assert after[0].min() > sound.max() and len({tuple(place) for place in places[:, 0].T.tolist()}) == places.shape[2]
    assert int(deltas) == int(places.max()) + 1 - places.shape[2]


@torch.no_grad()
def test_a_padded_neighbour_changes_no_position(model, heard):
    made = model(**HEARING)
    short = {k: v for k, v in heard([40], video=False).items() if k in ("input_ids", "mm_token_type_ids")}
    alone, delta = made.model.get_rope_index(**short, image_grid_thw=torch.zeros(0, 3, dtype=torch.long))
    padded = {name: torch.nn.functional.pad(value, (3, 0)) for name, value in short.items()}
    mask = torch.nn.functional.pad(torch.ones_like(short["input_ids"]), (3, 0))
    beside, other = made.model.get_rope_index(
        **padded, attention_mask=mask, image_grid_thw=torch.zeros(0, 3, dtype=torch.long)
    )
    assert torch.equal(beside[:, :, 3:], alone) and torch.equal(delta, other)


def test_unknown_group_features_are_refused():
    with pytest.raises(SettingsError, match="group_features"):
        EmotionQwenAudioConfig(**HEARING["audio_config"], group_features="moments")


def test_wrong_windows_are_refused(model, heard, config):
    made, inputs = model(**HEARING), heard([40, 11])
    with pytest.raises(ShapeError, match=r"lengths for log-mel windows of shape \(1, 8, 39\); expected \(W, 8, 40\)"):
        made(**{**inputs, "input_features": torch.zeros(1, 8, 39)})
    with pytest.raises(ShapeError, match=r"feature_lengths \[41, 0\]; expected 1 to 40 frames"):
        made(**{**inputs, "feature_lengths": torch.tensor([41, 0])})
    with pytest.raises(ShapeError, match="5 audio tokens for 6 placeholders"):
        made(**{**inputs, "feature_lengths": torch.tensor([40, 10])})
    with pytest.raises(SettingsError, match="frames_per_token 3 does not divide the 20 encoder frames"):
        config(audio_config={**SHAPE, "max_source_positions": 20, "frames_per_token": 3})

"""A pass whose prompt has placeholders without their media is refused: it would not see them."""

import numpy as np
import pytest
import torch
from tests.training.training_runs import noise_clip, tone

from emotion_qwen.errors import ShapeError

NAMES = {"image": "pixel_values", "video": "pixel_values_videos", "audio": "input_features"}


def inputs_of(processor, kind: str):
    medium = {"image": np.zeros((48, 48, 3), np.uint8), "video": noise_clip(0), "audio": tone(200.0)}[kind]
    content = [{"type": kind, kind: medium}, {"type": "text", "text": "How does this person feel?"}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, add_generation_prompt=True
    )


@pytest.mark.parametrize("kind", NAMES)
def test_placeholders_without_their_medium_are_refused(bare, processor, kind):
    whole = inputs_of(processor, kind)
    blind = {key: value for key, value in whole.items() if key != NAMES[kind]}
    message = rf"\d+ {kind} placeholder\(s\) without {NAMES[kind]}: the model would not see the medium; .*TRL"
    for ask in (bare, bare.generate):
        with torch.no_grad(), pytest.raises(ShapeError, match=message):
            ask(**blind)
    with torch.no_grad():
        encoded = bare.encode_media(whole)
        assert torch.allclose(bare(**blind, mm_encoder_outputs=encoded).logits, bare(**whole).logits, atol=1e-4)


def test_a_generated_placeholder_is_no_medium(bare, processor):
    """A model that draws the placeholder of a video goes on, and so does a text in which it stands alone."""
    alone = torch.tensor([[40, processor.video_token_id, 41]])
    with torch.no_grad():
        assert torch.isfinite(bare(input_ids=alone).logits).all()
    prompt = processor.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=True)
    with torch.no_grad():
        cache = bare(**prompt, use_cache=True).past_key_values
        drawn = torch.tensor([[processor.video_token_id]])
        assert torch.isfinite(bare(input_ids=drawn, past_key_values=cache).logits).all()

import pytest
import torch

from emotion_qwen.model import EmotionQwenForConditionalGeneration, preset
from recipes.nano.language_start import look_back


@pytest.fixture(scope="module")
def attentions():
    torch.manual_seed(0)
    model = EmotionQwenForConditionalGeneration(preset("nano", image_token_id=6, video_token_id=7)).eval()
    look_back(model.model.language_model, ((1, 2, 3, 0),))
    model.model.language_model.set_attn_implementation("eager")
    ids = torch.randint(10, 4000, (1, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = model.model.language_model(input_ids=ids, output_attentions=True)
    return [layer[0] for layer in found.attentions]


@pytest.mark.parametrize(("head", "distance"), [(0, 1), (1, 2), (2, 3)])
def test_a_head_looks_back_by_its_distance(attentions, head, distance):
    assert attentions[0][head].diagonal(-distance)[3:].mean() > 0.75
    for other in {0, 1, 2, 3, 4} - {distance}:
        assert attentions[0][head].diagonal(-other)[3:].mean() < 0.15


def test_a_free_head_looks_everywhere(attentions):
    assert attentions[0][3][-1].max() < 0.15


def test_layers_without_an_entry_stay_as_they_are(attentions):
    for layer in attentions[1:]:
        assert layer[:, -1].max() < 0.1

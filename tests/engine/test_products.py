"""Products through oneDNN are those of fp32, and where they would not be, nothing changes."""

import pytest
import torch
from torch import nn

from emotion_qwen.engine import products
from emotion_qwen.engine.products import WideLinear, keeps_precision, widen


class Rounding(WideLinear):
    """What a processor with matrix units for bf16 does."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input.bfloat16().float())


def test_a_wide_layer_multiplies_in_fp32():
    if not keeps_precision():
        pytest.skip("this processor rounds the factors of oneDNN's products to bf16")
    torch.manual_seed(0)
    layer, rows = nn.Linear(192, 512), torch.randn(3, 50, 192)
    exact = rows.double() @ layer.weight.double().T + layer.bias.double()
    assert widen(layer)
    assert isinstance(layer, WideLinear)
    assert (layer(rows) - exact).abs().max() < 1e-4  # bf16 factors: about 0.02


def test_the_setting_lasts_for_one_product():
    layer = WideLinear(8, 8)
    layer(torch.randn(2, 8))
    assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
    with pytest.raises(RuntimeError):
        layer(torch.randn(2, 9))
    assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"


def test_where_factors_are_rounded_no_layer_is_changed(monkeypatch):
    monkeypatch.setattr(products, "WideLinear", Rounding)
    assert not keeps_precision()
    layer = nn.Linear(8, 8)
    assert not widen(layer)
    assert type(layer) is nn.Linear


def test_only_fp32_layers_are_changed_and_their_weights_keep_their_names():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8, dtype=torch.bfloat16), nn.LayerNorm(8))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    widen(model)
    assert type(model[1]) is nn.Linear
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_whoever_set_the_precision_is_left_alone():
    setting = torch.backends.mkldnn.matmul
    before = setting.fp32_precision
    try:
        setting.fp32_precision = "bf16"
        assert not keeps_precision()
        assert setting.fp32_precision == "bf16"
    finally:
        setting.fp32_precision = before

"""Matrix products by the widest kernels of this processor, at full precision.

PyTorch multiplies fp32 matrices on a CPU through MKL, which keeps to 256-bit kernels on AMD processors. oneDNN, built
into the same PyTorch, takes the 512-bit ones: 105 and 220 GFLOP/s on one core of an EPYC with AVX-512. PyTorch goes to
oneDNN only where it may round the factors to bf16. A processor without matrix units for bf16 rounds nothing;
`keeps_precision` tries it out, and where anything is rounded all stays as it was.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

_PRODUCTS = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # the module replaces itself
_SIDE, _EXACT = 64, 1e-6


class WideLinear(nn.Linear):
    """A linear layer whose product goes through oneDNN.

    The setting is of the whole process, and attention's many small products are slower by it, so it lasts for one
    product. A thread that meets it changed by another gets the same product, by one kernel or the other.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: D102
        _PRODUCTS.fp32_precision = "bf16"
        try:
            return F.linear(input, self.weight, self.bias)
        finally:
            _PRODUCTS.fp32_precision = "ieee"


def widen(model: nn.Module) -> bool:
    """Send the products of a model's fp32 linear layers on a CPU through oneDNN, if that keeps their precision.

    Args:
        model: changed in place; weights and their names stay.

    Returns:
        Whether any layer was changed.
    """
    layers = [part for part in model.modules() if type(part) is nn.Linear and _plain(part.weight)]
    if not (layers and keeps_precision()):
        return False
    for layer in layers:
        layer.__class__ = WideLinear
    return True


def keeps_precision() -> bool:
    """Try out whether oneDNN computes fp32 products in fp32 here, though it is allowed to round their factors."""
    if not torch.backends.mkldnn.is_available() or _PRODUCTS.fp32_precision not in ("none", "ieee"):
        return False  # whoever has set it knows what they want
    factors = 1 + torch.arange(_SIDE * _SIDE, dtype=torch.float32).reshape(_SIDE, _SIDE) / 2**14  # none of them is bf16
    probe = WideLinear(_SIDE, _SIDE, bias=False)
    probe.weight.data = factors
    with torch.no_grad():
        exact = factors.double() @ factors.double().T
        return bool(((probe(factors) - exact).abs() <= _EXACT * exact).all())


def _plain(weight: torch.Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.device.type == "cpu"

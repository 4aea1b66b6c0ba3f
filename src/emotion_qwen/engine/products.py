"""Compute matrix products with the widest kernels of the CPU, at full precision.

On a CPU, PyTorch multiplies fp32 matrices with MKL, which uses only 256-bit kernels on AMD processors. oneDNN, which is
part of the same PyTorch, uses 512-bit kernels: 220 instead of 105 GFLOP/s on one core of an EPYC with AVX-512. PyTorch
uses oneDNN only if it may round the factors to bf16. A processor without matrix units for bf16 does not round them;
`keeps_precision` tests this, and if anything is rounded, nothing is changed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

_PRODUCTS = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # the module replaces itself
_SIDE, _EXACT = 64, 1e-6


class WideLinear(nn.Linear):
    """A linear layer whose product is computed by oneDNN.

    The setting applies to the whole process and slows down the many small products of attention, so it is set for each
    product only. If another thread changes it meanwhile, the product is the same, computed by the other kernel.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: D102
        _PRODUCTS.fp32_precision = "bf16"
        try:
            return F.linear(input, self.weight, self.bias)
        finally:
            _PRODUCTS.fp32_precision = "ieee"


def widen(model: nn.Module) -> bool:
    """Use oneDNN for the fp32 linear layers of a model on a CPU, if that keeps their precision.

    Args:
        model: changed in place; weights and their names are unchanged.

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
    """Test whether oneDNN computes fp32 products in fp32 here, although it may round their factors."""
    if not torch.backends.mkldnn.is_available() or _PRODUCTS.fp32_precision not in ("none", "ieee"):
        return False  # respect a setting by the user
    factors = 1 + torch.arange(_SIDE * _SIDE, dtype=torch.float32).reshape(_SIDE, _SIDE) / 2**14  # not exact in bf16
    probe = WideLinear(_SIDE, _SIDE, bias=False)
    probe.weight.data = factors
    with torch.no_grad():
        exact = factors.double() @ factors.double().T
        return bool(((probe(factors) - exact).abs() <= _EXACT * exact).all())


def _plain(weight: torch.Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.device.type == "cpu"

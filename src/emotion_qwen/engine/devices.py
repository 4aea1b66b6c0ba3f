"""Choose the device of a model, or divide its layers among several GPUs."""

from __future__ import annotations

from pathlib import Path

import torch

from emotion_qwen.errors import SettingsError
from emotion_qwen.model.folder import weight_files

BALANCED = "balanced"
"""Device that stands for all GPUs; the name is that of transformers' `device_map`."""
LARGEST_SHARE = 0.8
"""Largest share of the free memory of a GPU that weights may take there."""


def first_device(name: str) -> torch.device:
    """Return the device of a name, which for "auto" and "balanced" is the first GPU, if there is one.

    Raises:
        SettingsError: it cannot be used here.
    """
    if name in ("auto", BALANCED):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(name)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(
            f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); try auto or cpu"
        ) from error
    return place


def is_divided(name: str, folder: Path, dtype: torch.dtype) -> bool:
    """Whether the layers of a model are divided among all GPUs: on request, or because it is too large for the first.

    Args:
        name: of the device.
        folder: of the model.
        dtype: in which it is loaded.

    Raises:
        SettingsError: it was requested, and there are fewer than two GPUs.
    """
    count = torch.cuda.device_count()
    if name == BALANCED and count < 2:
        raise SettingsError(f"device {BALANCED!r} divides a model among GPUs, of which {count} are here; try auto")
    if name != "auto" or count < 2:
        return name == BALANCED
    stored = sum(path.stat().st_size for path in weight_files(folder)[0])
    needed = stored * dtype.itemsize / 2  # large models are stored in 16 bits
    return needed > LARGEST_SHARE * torch.cuda.mem_get_info(0)[0]

"""Make an overlay from a trained model folder and the base from which its language model was converted.

Whichever adapters were merged, and in whichever order, the change to a matrix has a low rank. The pairs are therefore
computed from the difference itself: its singular vectors with the largest singular values. The remainder is returned.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from emotion_qwen.convert.conversion import DTYPE_NAMES
from emotion_qwen.convert.layouts import EMBEDDING, TIED_HEAD
from emotion_qwen.convert.overlay import (
    COPIED,
    FORMAT,
    LORA_A,
    LORA_B,
    MANIFEST,
    ROWS,
    TENSORS,
    OverlayManifest,
    file_digest,
    source_digest,
)
from emotion_qwen.convert.shards import ReadableTensor, read_tensors
from emotion_qwen.convert.special_tokens import place_tokens
from emotion_qwen.convert.text_model import language_tensors
from emotion_qwen.convert.text_sources import read_language
from emotion_qwen.errors import CheckpointError
from emotion_qwen.model.folder import staged_folder
from emotion_qwen.processing.folder import load_processor


def write_overlay(
    base: Path,
    trained: Path,
    target: Path,
    *,
    name: str,
    rank: int,
    stored: str = "bfloat16",
    dtype: str = "float32",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float]:
    """Write the difference between a trained folder and its base.

    Args:
        base: the text-only folder or GGUF file that the trained model began with.
        trained: folder of this package with merged adapters.
        target: folder to make; it must not exist or be empty.
        name: of the model.
        rank: of every pair; at least the ranks of all adapters that were merged, added up.
        stored: type of the overlay's tensors, a key of `DTYPE_NAMES`.
        dtype: type of the assembled folder's.
        progress: called with (tensors looked at, all tensors).

    Returns:
        Changed matrix -> Frobenius norm of the remainder of its pair, as a share of the change by training.

    Raises:
        CheckpointError: folders that do not belong together, or a disk that is full.
    """
    original, tokens = _original(base, trained)
    tensors: dict[str, torch.Tensor] = {}
    rows: dict[str, list[int]] = {}
    errors: dict[str, float] = {}
    made = read_tensors(trained)
    for number, (key, tensor) in enumerate(made.items(), start=1):
        values = tensor.read().float()
        # Against the base in the type of the trained folder, so that rounding alone changes nothing.
        change = values - original[key].read().to(tensor.dtype).float() if key in original else None
        if change is None or (change.ndim == 1 and change.any()):
            tensors[key] = values
        elif key in (EMBEDDING, TIED_HEAD):
            rows[key] = (change != 0).any(dim=1).nonzero()[:, 0].tolist()
            tensors[key + ROWS] = values[rows[key]]
        elif change.any():
            tensors[key + LORA_A], tensors[key + LORA_B], errors[key] = _pair(change, rank)
        progress(number, len(made))
    missing = [key for key in original if key not in made]
    if missing:
        raise CheckpointError(f"{trained}: no {missing[0]}, which {base} has; give the folder that was trained from it")
    rows = {key: numbers for key, numbers in rows.items() if numbers}
    tensors = {
        key: values.to(DTYPE_NAMES[stored]).contiguous()
        for key, values in tensors.items()
        if not key.endswith(ROWS) or key.removesuffix(ROWS) in rows
    }
    with staged_folder(target, sum(values.nbytes for values in tensors.values())) as folder:
        save_file(tensors, folder / TENSORS, metadata={"format": "pt"})
        for file in ("config.json", *COPIED):
            if (trained / file).is_file():
                shutil.copyfile(trained / file, folder / file)
        manifest = OverlayManifest(
            format=FORMAT,
            name=name,
            base=source_digest(base),
            weights=file_digest(folder / TENSORS),
            dtype=dtype,
            rows=rows,
            tokens=tokens,
        )
        text = json.dumps(manifest.model_dump(), indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return errors


def _original(base: Path, trained: Path) -> tuple[dict[str, ReadableTensor], list[str]]:
    """Return the language model from which training started, and the plain tokens that were added to its tokenizer."""
    language = read_language(base)
    tokenizer = load_processor(trained).tokenizer
    known = language.tokenizer.get_vocab()
    plain = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if not token.special}
    tokens = [plain[number] for number in sorted(plain) if plain[number] not in known]
    placed = place_tokens(
        language.tokenizer, language.text["vocab_size"], language.text["max_position_embeddings"], tokens
    )
    if placed.tokenizer.get_vocab() != tokenizer.get_vocab():
        raise CheckpointError(f"{trained}: its tokenizer is not that of {base} with our tokens; give its own base")
    return language_tensors(language, placed), tokens


def _pair(change: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return (rank, in) and (out, rank) whose product is nearest to an (out, in) change, and the remainder."""
    left, sizes, right = torch.linalg.svd(change, full_matrices=False)
    root = sizes[:rank].sqrt()
    down, up = root[:, None] * right[:rank], left[:, :rank] * root
    return down, up, float(sizes[rank:].norm() / sizes.norm())

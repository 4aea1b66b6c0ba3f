"""The folder of what `emotion-qwen fetch` has got: where it is, and what is whole and current there.

A part is one folder with a record beside its files. Folders appear whole or not at all, so a folder with a record is
complete; the record says from which version of this package's data it was made.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

CACHE_VARIABLE = "EMOTION_QWEN_CACHE"
"""Environment variable that names another folder."""
RECORD = "fetched.json"
LIBRARY = "emotion-qwen"


def cache_folder() -> Path:
    """Return the folder of fetched parts: that of `EMOTION_QWEN_CACHE`, else one among Hugging Face's assets."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / LIBRARY


def fetched_folder(name: str) -> Path:
    """Return where the part `name` is, or would be."""
    return cache_folder() / name


def fetched_digest(name: str) -> str | None:
    """Return the digest of what a fetched part was made from; None where it is not in the cache."""
    try:
        digest = json.loads((fetched_folder(name) / RECORD).read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(digest)

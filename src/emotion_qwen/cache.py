"""The folder of parts downloaded by `emotion-qwen fetch`: its location, and which parts are complete and current.

A part is one folder with a record next to its files. Folders are created completely or not at all, so a folder with
a record is complete; the record states from which version of this package's data it was made.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

CACHE_VARIABLE = "EMOTION_QWEN_CACHE"
"""Environment variable that names another folder."""
RECORD = "fetched.json"
LIBRARY = "emotion-qwen"
MINI, WHISPER, SMOLLM2 = "mini", "whisper", "smollm2"
"""Names of the parts."""
WHISPER_FOLDER = "whisper-tiny.en"
"""Folder of the speech recogniser in the cache; reports use this name."""
MINI_OVERLAY = Path(__file__).parent / MINI / "overlay.json"
"""The part of mini that this build ships, see `convert.overlay`; a build without trained weights has no such file."""


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


def mini_digest() -> str | None:
    """Return the digest of the shipped part of mini, from which a fetched mini must have been made."""
    return hashlib.sha256(MINI_OVERLAY.read_bytes()).hexdigest() if MINI_OVERLAY.is_file() else None


def mini_is_better() -> bool:
    """Whether mini was measured to be at least as good as nano on everything, so that it is the default."""
    facts = MINI_OVERLAY.parent / "training_facts.json"
    return not facts.is_file() or json.loads(facts.read_text(encoding="utf-8")).get("default", True)


def fetched_digest(name: str) -> str | None:
    """Return the digest of the data from which a fetched part was made; None if it is not in the cache."""
    try:
        digest = json.loads((fetched_folder(name) / RECORD).read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(digest)

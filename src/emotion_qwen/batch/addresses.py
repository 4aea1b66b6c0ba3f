"""Clips at addresses of object stores and web servers, copied to a local folder by fsspec before they are analyzed.

Nothing is downloaded unless the user names a folder for the copies. A copy is complete or absent; one of the right size
is kept, so that an interrupted run continues. An address that cannot be read only affects its own clip.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from emotion_qwen.errors import EmotionQwenError, MediaError, SettingsError
from emotion_qwen.extras import optional
from emotion_qwen.files import staged
from emotion_qwen.media.clip import MEDIA_SUFFIXES, SOUND_SUFFIXES, find_media

SCHEMES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub", "http": "aiohttp", "https": "aiohttp"}
"""Scheme of an address -> package with which fsspec reads it, of the extra `scale`."""
TOGETHER = 8
"""Downloads at a time."""
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
LIST = ".txt"


@dataclass
class Addresses:
    """Addresses and the local copies of their clips.

    Attributes:
        folder: of the copies.
        origins: local copy -> (file system, path in it).
        failures: local copy -> why it could not be made.
    """

    folder: Path
    origins: dict[Path, tuple[Any, str]] = field(default_factory=dict)
    failures: dict[Path, MediaError] = field(default_factory=dict)

    def find(self, paths: Sequence[str], sounds: bool) -> list[Path]:
        """Return the local files of addresses, lists of addresses, and local paths, in order and without duplicates.

        Args:
            paths: addresses of files, patterns (`*`) and folders, which end with `/`; files of addresses, one per line
                (.txt); local files, folders and patterns.
            sounds: whether folders include sound files.

        Raises:
            MediaError: an address or path does not exist.
            MissingPackage: the package for a scheme is not installed.
            SettingsError: an unknown scheme.
        """
        files: dict[Path, None] = {}
        for text in paths:
            if not ADDRESS.match(text) and Path(text).suffix.lower() == LIST and Path(text).is_file():
                lines = (line.strip() for line in Path(text).read_text(encoding="utf-8").splitlines())
                listed = self.find([line for line in lines if line and not line.startswith("#")], sounds)
            elif ADDRESS.match(text):
                listed = self._copies(text, sounds)
            else:
                listed = find_media([text], sounds=sounds)
            files.update(dict.fromkeys(listed))
        return list(files)

    def _copies(self, address: str, sounds: bool) -> list[Path]:
        match = ADDRESS.match(address)
        assert match is not None  # the caller checked
        scheme = match[1].lower()
        if scheme not in SCHEMES:
            raise SettingsError(f"address {address[:80]!r}: expected {'://, '.join(SCHEMES)}://, or a local path")
        optional(SCHEMES[scheme], "scale")
        system, path = optional("fsspec", "scale").core.url_to_fs(address)
        suffixes = MEDIA_SUFFIXES | SOUND_SUFFIXES if sounds else MEDIA_SUFFIXES
        names = [path]
        try:
            if "*" in path:
                names = sorted(system.glob(path))
            elif address.endswith("/"):
                names = sorted(system.find(path))
        except (OSError, ValueError) as error:
            raise MediaError(f"address {address[:200]!r} cannot be listed ({_reason(error)})") from error
        if names != [path]:
            paths = {name: PurePosixPath(urlsplit(name).path) for name in names}
            names = [name for name, path in paths.items() if path.suffix.lower() in suffixes and path.name[0] != "."]
        if not names:
            raise MediaError(f"address {address[:200]!r} holds no picture or video; check the spelling")
        copies = []
        for name in names:
            copies.append(self.folder / scheme / local_name(name))
            self.origins[copies[-1]] = (system, name)
        return copies

    def fetch(self, files: Sequence[Path]) -> list[Path]:
        """Copy what is missing; return the files that are there, without those whose addresses failed."""
        with ThreadPoolExecutor(TOGETHER) as pool:
            list(pool.map(self._fetch, [file for file in files if file in self.origins]))
        return [file for file in files if file not in self.failures]

    def _fetch(self, file: Path) -> None:
        system, name = self.origins[file]
        try:
            size = system.info(name).get("size")
            if file.is_file() and size in (None, file.stat().st_size):
                return
            with staged(file, sync=False) as draft, system.open(name, "rb") as source, draft.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                if size is not None and target.tell() != size:
                    raise OSError(f"{target.tell()} of {size} bytes arrived")
        except EmotionQwenError:
            raise  # of the local disk, which concerns all clips
        except (OSError, ValueError, RuntimeError) as error:
            self.failures[file] = MediaError(f"{name[:200]!r} cannot be read ({_reason(error)})")


def local_name(name: str) -> Path:
    """Return a relative path for the path of a remote file: its readable parts, and a hash if any was changed."""
    parts = [re.sub(r"[^\w.\-]+", "_", part) for part in unquote(ADDRESS.sub("", name)).split("/")]
    safe = [part for part in parts if part not in ("", ".", "..")] or ["clip"]
    if "/".join(safe) != ADDRESS.sub("", name).lstrip("/"):
        plain = PurePosixPath(safe[-1].split("?")[0])
        safe[-1] = f"{plain.stem[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}{_suffix(name)}"
    return Path(*safe)


def _suffix(name: str) -> str:
    return PurePosixPath(urlsplit(name).path).suffix.lower()[:10]


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]

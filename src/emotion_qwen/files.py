"""Atomic writing of files, append-only journals, and locks.

A file appears under its name only when it is complete, so an interruption or a full disk leaves the old file or the new
one. A line of a journal is written completely or not at all; a partial line at the end after a killed run is ignored by
readers and removed by `truncate_partial_line`. Two runs never write to one output: `locked` refuses the second.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from emotion_qwen.errors import StorageError

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP})
LONGEST_NAME = 240
"""Maximum bytes of a file name to which the affixes of a lock can be added."""
TAIL = 65_536
"""Bytes per read in the search for the last line end."""
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_DRAFT = re.compile(rf"\.part-{_HOST}-(\d+)-\d+(?:\.[^.]*)?")
_ESCAPE = re.compile(r"\\u(dc[89a-f][0-9a-f])")
_numbers = itertools.count()
_swept: set[Path] = set()


def is_full(error: BaseException) -> bool:
    """Return whether the error means that the disk or quota is full, or the file size limit is reached."""
    return getattr(error, "errno", None) in NO_SPACE


def storage_error(path: Path, error: BaseException) -> StorageError:
    """Compose the one-line error for a file that cannot be written."""
    remedy = "free space and run again" if is_full(error) else "check the path, its permissions and the disk"
    reason = getattr(error, "strerror", None) or error
    return StorageError(f"{str(path)!r} cannot be written ({reason}); {remedy}, what was finished is kept")


@contextmanager
def staged(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a draft next to `path` with the same suffix; it replaces `path` when the block ends.

    The file gets the permissions of new files under the process's umask, even if the library that writes the draft sets
    others. After an error the draft is removed and `path` is unchanged.

    Args:
        path: a regular file or a free name; for a symbolic link the target is replaced. Missing folders are created.
        sync: flush the content to disk, so that it survives a power failure.

    Raises:
        StorageError: the disk is full, or the folder does not allow the file.
    """
    target = Path(os.path.realpath(path))
    suffix = target.suffix if len(os.fsencode(target.suffix)) < LONGEST_NAME // 4 else ""
    draft = target.with_name(f".part-{_HOST}-{os.getpid()}-{next(_numbers)}{suffix}")
    try:
        check_is_no_folder(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.parent not in _swept:
            remove_drafts(target.parent)
            _swept.add(target.parent)
        draft.touch()
        mode = draft.stat().st_mode
        yield draft
        draft.chmod(mode)
        if sync:
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        draft.replace(target)
    except BaseException as error:  # PyAV's errors are no OSErrors
        places = {str(draft), str(target), str(target.parent)}
        if is_full(error) or (isinstance(error, OSError) and error.filename in places):
            raise storage_error(path, error) from error
        raise
    finally:
        with suppress(OSError):  # its folder may be missing, or be a file
            draft.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes, *, sync: bool = True) -> None:
    """Write a file atomically.

    Args:
        path: see `staged`.
        content: text is written as UTF-8; bytes of file names that are not UTF-8 become escapes such as `\\udcb2`.
        sync: see `staged`.

    Raises:
        StorageError: see `staged`.
    """
    with staged(path, sync=sync) as draft:
        draft.write_bytes(_encoded(content))


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a path below a folder is hidden, or in a hidden folder.

    File managers leave such files behind: `._clip.mp4` and `__MACOSX/` (macOS, in archives), `.Trash-1000/`.
    """
    return any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders that are not hidden, sorted."""
    return [path for path in sorted(folder.rglob("*")) if not is_hidden(path, folder) and path.is_file()]


def remove_drafts(folder: Path, *, below: bool = False) -> None:
    """Remove the drafts of killed processes of this machine.

    Args:
        folder: to search.
        below: also search the folders below it.
    """
    if os.name == "nt":  # os.kill would end the process there
        return
    for path in folder.rglob(".part-*") if below else folder.glob(".part-*"):
        match = _DRAFT.fullmatch(path.name)
        if match and not _is_running(int(match[1])):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it belongs to another user
    return True


def named_by(name: str) -> Path:
    """Return the path with this name or, if it does not exist, the path whose name `printable` has escaped."""
    plain = Path(name)
    return plain if plain.exists() else Path(_ESCAPE.sub(lambda match: chr(int(match[1], 16)), name))


def json_line(value: Any) -> str:
    """Return a value as a line of JSON with its line end; non-ASCII characters are kept."""
    return json.dumps(value, ensure_ascii=False) + "\n"


def append(path: Path, lines: str | bytes) -> None:
    """Append complete lines to a journal, all or none of them.

    Args:
        path: of the journal; it and its folder are created if missing.
        lines: each with its line end; encoded as in `write_whole`.

    Raises:
        StorageError: the disk is full, or the file cannot be written; the journal is unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            try:
                left = memoryview(_encoded(lines))
                while left:
                    left = left[file.write(left) :]  # a full disk writes a part and raises only at the next call
            except BaseException:  # interruptions between two parts included
                os.ftruncate(file.fileno(), before)
                raise
    except OSError as error:
        raise storage_error(path, error) from error


def truncate_partial_line(path: Path) -> None:
    """Remove a partial line at the end of a journal, left by a killed run, so that lines can be appended.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        if not path.is_file():
            return
        with path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            place, whole = end, 0
            while place:
                start = max(0, place - TAIL)
                file.seek(start)
                newline = file.read(place - start).rfind(b"\n")
                if newline >= 0:
                    whole = start + newline + 1
                    break
                place = start
            if whole < end:
                file.truncate(whole)
    except OSError as error:
        raise storage_error(path, error) from error


def read_journal(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (byte offset, line without its end) of every complete line; nothing if there is no file.

    Raises:
        StorageError: the path is a folder or device.
    """
    check_is_no_folder(path)
    if not path.is_file():
        return
    place = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield place, line[:-1]
            place += len(line)


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock an output file or folder until the block or the process ends.

    The lock is an empty hidden file next to `path`, which is not removed; file systems without locks are not locked.

    Args:
        path: of an output; it need not exist.
        wait: until the other run releases the lock; otherwise raise at once.

    Raises:
        StorageError: another run has the lock, or the folder is not writable.
    """
    from filelock import FileLock, Timeout

    target = Path(os.path.realpath(path))
    name = target.name
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    with ExitStack() as lock:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            lock.enter_context(FileLock(target.with_name(f".{name}.lock"), timeout=-1 if wait else 0))
        except Timeout as error:
            raise StorageError(
                f"another run is writing to {str(path)!r}; wait until it has ended, or give another output"
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise storage_error(path, error) from error
        yield


def check_is_no_folder(path: Path) -> None:
    """Refuse a path that cannot become a file.

    Raises:
        StorageError: it is a folder or a device.
    """
    if path.exists() and not path.is_file():
        raise StorageError(f"{str(path)!r} is a folder or a device; expected the name of a file")


def _encoded(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")


def differing(wanted: dict[str, Any], earlier: dict[str, Any]) -> str:
    """Return the settings that differ between two runs; the name of the model may differ, its weights may not."""
    keys = [key for key in wanted if key != "model" and earlier.get(key) != wanted[key]]
    short = {key: not isinstance(wanted[key], dict) for key in keys}
    return "; ".join(f"{key} {earlier.get(key)!r}, now {wanted[key]!r}" if short[key] else key for key in keys)

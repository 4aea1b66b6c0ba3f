"""The error family: every message states what was received, what was expected and what to do.

The command line prints the message as one line and exits with code 2; `--debug` shows the traceback.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable


class EmotionQwenError(Exception):
    """Root of every error that is the fault of an input, a setting or the machine, not of this package."""


class SettingsError(EmotionQwenError):
    """A setting, option or label set that does not exist or does not fit."""


class MediaError(EmotionQwenError):
    """A file that cannot be read as picture or video."""


class DataError(EmotionQwenError):
    """A training or evaluation record that cannot be used."""


class StorageError(EmotionQwenError):
    """A file that cannot be written: no space, no permission, or another run that writes to it."""


class InferenceError(EmotionQwenError):
    """An input on which the model failed, for example for lack of memory."""


class ShapeError(EmotionQwenError):
    """Tensors whose shapes contradict each other."""


class CheckpointError(EmotionQwenError):
    """A model folder whose files or keys are not what the configuration asks for."""


class TrainingError(EmotionQwenError):
    """A training run that cannot continue; its last checkpoint is complete."""


class MissingPackage(EmotionQwenError):
    """An optional package that the chosen function needs."""


class RemoteError(EmotionQwenError):
    """A service that did not answer, or not in the agreed form."""


class RequestError(EmotionQwenError):
    """A request of a client that cannot be served."""


def unknown_choice(what: str, value: object, choices: Iterable[str]) -> str:
    """Compose the message for a value outside a closed set, naming the nearest choice.

    Args:
        what: what was being chosen, for example "label set".
        value: the value received.
        choices: the accepted values.
    """
    names = sorted(choices)
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {value!r}; expected one of: {', '.join(names)}.{hint}"


def listed(names: Iterable[object], limit: int) -> str:
    """Join names with commas: the first `limit`, and how many more there are."""
    texts = [str(name) for name in names]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more


def printable(path: str | os.PathLike[str]) -> str:
    r"""Write a path as text that is valid UTF-8 in every file and terminal.

    On Linux, a name may consist of any bytes, such as a name in GBK from a Chinese archive. Python represents bytes
    that are not UTF-8 as surrogates, which no UTF-8 file can contain; here they become escapes (`\udcc4`), as in our
    messages. Other names are unchanged, so a stored name can be compared with `printable` of the path it came from.

    Args:
        path: as `pathlib` or the command line gives it.
    """
    return os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")

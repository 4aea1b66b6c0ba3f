"""The error family: every message says what came, what was expected and what to do.

The command line prints the message as one line and exits with code 2; `--debug` shows the traceback.
"""

from __future__ import annotations

import difflib
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
    """A file that cannot be written: no room, no permission, or another run that writes to it."""


class InferenceError(EmotionQwenError):
    """An input at which the model failed, for example for lack of memory."""


class ShapeError(EmotionQwenError):
    """Tensors whose shapes contradict each other."""


class CheckpointError(EmotionQwenError):
    """A model folder whose files or keys are not what the configuration asks for."""


class TrainingError(EmotionQwenError):
    """A training run that cannot go on; what it saved last is whole."""


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
        value: what came.
        choices: what would have been accepted.
    """
    names = sorted(choices)
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {value!r}; expected one of: {', '.join(names)}.{hint}"

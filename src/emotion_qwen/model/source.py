"""From the name of a model to its files: the resolver used by every command.

A name is `nano`, `mini` once it has been fetched, a folder of a whole model, a folder of an adapter (its base is found
by the name that it was trained on), or `org/name` on the hub, taken from the cache or downloaded once. A model is one
of this package, or one in the layout of Qwen2.5-VL, which `convert.loading` converts in memory.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from emotion_qwen.cache import MINI as MINI_NAME
from emotion_qwen.cache import fetched_digest, fetched_folder, mini_digest, mini_is_better
from emotion_qwen.errors import CheckpointError
from emotion_qwen.model.folder import OURS, QWEN, check_folder, model_type, weight_files

NANO = Path(__file__).parents[1] / "nano"
NANO_NAME = "nano"
FETCH_MINI = f"emotion-qwen fetch {MINI_NAME}"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
LORA = "LORA"
STAGE_PROOF = "stage.json"  # written next to the weights at the end of training
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_SECONDS = 10.0  # for the one question whether the hub can be reached and has the model
WEIGHTS = "*.safetensors"
MODEL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "LICENSE*", "NOTICE*")
TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""Either of these sets is sufficient for a tokenizer."""
IMAGE_FILES = ("processor_config.json", "preprocessor_config.json")
"""Either of these contains the settings of the image processor."""
GGUF_SUFFIX = ".gguf"
EXPECTED = "give `nano`, a model folder, an adapter folder, or a hub name like org/name"


@dataclass(frozen=True)
class ModelSource:
    """The locations of a model's files.

    Attributes:
        name: as it was given; "nano" for the shipped model, "mini" for the fetched one.
        base: folder of the whole model.
        adapter: folder of the adapter on it, None without one.
        published: whether the whole model has the layout of Qwen2.5-VL and is converted when it is loaded.
    """

    name: str
    base: Path
    adapter: Path | None = None
    published: bool = False

    @property
    def folder(self) -> Path:
        """The named folder, with calibration and training facts."""
        return self.adapter or self.base

    @property
    def processor(self) -> Path:
        """The folder of the processor: the adapter's own if it has a complete one."""
        whole = self.adapter is not None and not missing_processor_files(self.adapter)
        return self.folder if whole else self.base


def find_model(name: str | Path | None, weights: bool = True) -> ModelSource:
    """Find the files of a model and check that they are complete; nothing is loaded.

    Args:
        name: see the module; None is mini if it has been fetched, else the shipped nano.
        weights: look for the weights, too; otherwise for the configuration alone.

    Raises:
        CheckpointError: there is no such model, or it is neither a model of this package nor of Qwen2.5-VL's layout.
    """
    folder = locate(name, weights)
    named = {NANO: NANO_NAME, fetched_folder(MINI_NAME): MINI_NAME}.get(folder, str(name))
    if not (folder / ADAPTER_CONFIG).is_file():
        _check_nested(folder)
        check_folder(folder, weights, (OURS, QWEN))
        return ModelSource(named, folder, published=model_type(folder) == QWEN)
    base_name = adapter_base(folder)
    check_adapter(folder, weights)
    try:
        base = locate(base_name, weights)
        check_folder(base, weights, (OURS, QWEN))
    except CheckpointError as error:
        raise CheckpointError(
            f"{folder}: the adapter's base {base_name!r} cannot be used ({error}); set its present location as "
            f"base_model_name_or_path in {ADAPTER_CONFIG}, or merge with `emotion-qwen merge ADAPTER BASE TARGET`"
        ) from error
    return ModelSource(named, base, folder, model_type(base) == QWEN)


def locate(name: str | Path | None, weights: bool = True) -> Path:
    """Return the folder of a model of any kind; a hub model is downloaded if it is not cached.

    Args:
        name: see the module; None is mini where it has been fetched, else the shipped nano.
        weights: whether the weights are needed.

    Raises:
        CheckpointError: there is no such folder, and no such model in the cache or on the hub.
    """
    name = default_model() if name is None else name
    if str(name) == NANO_NAME:
        return NANO
    if str(name) == MINI_NAME:
        return fetched_mini()
    try:
        folder = Path(name).expanduser()
        if folder.is_dir():
            return folder
        if folder.suffix.lower() == GGUF_SUFFIX and folder.is_file():
            raise CheckpointError(
                f"model {str(name)!r} is a GGUF file, which holds a language model without vision; make a model of it "
                "with `emotion-qwen convert FILE TARGET --vision MODEL`"
            )
        if folder.exists():
            raise CheckpointError(f"model {str(name)!r} is a file; {EXPECTED}")
    except (OSError, RuntimeError, ValueError) as error:  # no permission, too long, ~ of an unknown user
        raise CheckpointError(f"model {str(name)[:80]!r} cannot be accessed ({error}); {EXPECTED}") from error
    on_hub = HUB_NAME.fullmatch(str(name)) is not None
    cached = _cached(str(name), weights) if on_hub else None
    if cached is not None:
        return cached
    if not on_hub or folder.parent.is_dir():  # org/name with an existing folder org is a misspelt path
        raise CheckpointError(f"model folder {str(name)!r} does not exist; {EXPECTED}")
    return _download(str(name), weights)


def default_model() -> str:
    """Return the name of the default model: mini if it has been fetched, else nano.

    If mini was measured to be worse than nano on anything that both are compared on, its training facts contain
    `"default": false`, and it is used only by its name. If this build has a mini, one line on standard error names
    the chosen model.
    """
    if mini_digest() is None:
        return NANO_NAME
    if not mini_is_better():
        _say_once("model: nano, because mini names some emotions less reliably; mini writes more: --model mini")
        return NANO_NAME
    try:
        fetched_mini()
    except CheckpointError as error:
        _say_once(f"model: nano, because {error}")
        return NANO_NAME
    _say_once("model: mini (--model nano is smaller and faster)")
    return MINI_NAME


@functools.cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr)


def fetched_mini() -> Path:
    """Return the folder of mini in the cache.

    Raises:
        CheckpointError: this build ships no weights for it, or it has not been fetched for this build.
    """
    wanted, present = mini_digest(), fetched_digest(MINI_NAME)
    if wanted is None:
        raise CheckpointError(f"this build has no trained weights for {MINI_NAME!r} yet; {EXPECTED}")
    if present is None:
        raise CheckpointError(f"{MINI_NAME!r} has not been fetched; run once: {FETCH_MINI}")
    if present != wanted:
        raise CheckpointError(
            f"{MINI_NAME!r} in the cache was made by another version of this package; run again: {FETCH_MINI}"
        )
    return fetched_folder(MINI_NAME)


def adapter_base(folder: Path) -> str:
    """Return the name of the model that an adapter was trained on.

    Raises:
        CheckpointError: the configuration cannot be read, is of another kind of adapter or names no base.
    """
    path = folder / ADAPTER_CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        kind, base = values.get("peft_type", LORA), values.get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy the file again") from error
    if kind != LORA:
        raise CheckpointError(f"{path}: an adapter of type {kind!r}; only {LORA} adapters can be used")
    if not base:
        raise CheckpointError(f"{path}: has no base_model_name_or_path; add the name of its base model")
    # The folders of nano and mini differ between machines.
    places = {NANO.parts[-2:]: NANO_NAME, fetched_folder(MINI_NAME).parts[-2:]: MINI_NAME}
    return places.get(Path(base).parts[-2:], str(base))


def check_adapter(folder: Path, weights: bool = True) -> None:
    """Check that an adapter's weights exist as safetensors: peft would read a pickle, which can run code.

    Raises:
        CheckpointError: they are not.
    """
    if weights and not (folder / ADAPTER_WEIGHTS).is_file():
        raise CheckpointError(f"{folder}: no {ADAPTER_WEIGHTS}; give the folder saved by a run with `adapter`")


def missing_processor_files(folder: Path) -> list[str]:
    """Name the files of tokenizer and image processor that a folder lacks."""
    missing = []
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZER_FILES):
        missing.append("tokenizer.json")
    if not any((folder / name).is_file() for name in IMAGE_FILES):
        missing.append(" or ".join(IMAGE_FILES))
    return missing


def _check_nested(folder: Path) -> None:
    """Point to the model if the folder of a run or of checkpoints was given instead."""
    if (folder / "config.json").is_file():
        return
    inner = [path.parent for path in (*folder.glob("*/config.json"), *folder.glob(f"*/{ADAPTER_CONFIG}"))]
    if inner:
        raise CheckpointError(f"{folder}: no config.json; there is a model in {sorted(inner)[-1]}, give that folder")


def _cached(name: str, weights: bool) -> Path | None:
    """Return the folder of a hub model in the local cache; None if a required file is missing."""
    try:
        folder = Path(snapshot_download(name, allow_patterns=_patterns(weights), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    if (folder / ADAPTER_CONFIG).is_file():
        return folder
    try:
        if weights:
            weight_files(folder)
    except CheckpointError:
        return None  # downloaded in part
    return folder if (folder / "config.json").is_file() else None


def _patterns(weights: bool) -> list[str]:
    return [*MODEL_FILES, *([WEIGHTS] if weights else [])]


def _download(name: str, weights: bool) -> Path:
    """Download a hub model; an unreachable hub is reported after one try."""
    if constants.HF_HUB_OFFLINE:
        raise CheckpointError(
            f"model {name!r} is neither a folder nor in the cache, and HF_HUB_OFFLINE is set; {EXPECTED}"
        )
    try:
        HfApi().model_info(name, timeout=HUB_SECONDS)
        return Path(snapshot_download(name, allow_patterns=_patterns(weights)))
    except GatedRepoError as error:
        raise CheckpointError(
            f"model {name!r} is gated; accept its terms on its page, then log in with `hf auth login` or set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"model {name!r} is neither a folder nor in the cache, and the hub has no model of that name that it shows "
            "to you; check the spelling, or log in with `hf auth login` if it is private"
        ) from error
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"model {name!r} is neither a folder nor in the cache, and cannot be downloaded ({reason}); {EXPECTED}"
        ) from error

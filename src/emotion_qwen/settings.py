"""Settings: strict pydantic models, read from YAML with key=value overrides; an unknown key is an error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emotion_qwen.errors import SettingsError

SettingsType = TypeVar("SettingsType", bound="Settings")


class Settings(BaseModel):
    """A group of settings: frozen, no unknown keys, values of the declared type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls: type[SettingsType], values: dict[str, Any], place: str = "settings") -> SettingsType:
        """Build from a plain mapping.

        Args:
            values: field name -> value.
            place: where the values come from, for the error message.

        Raises:
            SettingsError: an unknown key or a value that does not fit; every fault is listed.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError(f"{place}: " + "; ".join(cls._explain(e) for e in error.errors())) from error

    @classmethod
    def _explain(cls, fault: Mapping[str, Any]) -> str:
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            return _unknown_key(key, cls._block(fault["loc"][:-1]).model_fields)
        if fault["type"] == "missing":
            return f"{key} is missing; give it a value"
        return f"{key} = {fault['input']!r}: {fault['msg']}"

    @classmethod
    def _block(cls, path: Sequence[str | int]) -> type[Settings]:
        """Return the group of settings at a place, for example ("data", 0); this group where the place is none."""
        block: type[Settings] = cls
        for name in path:
            field = block.model_fields.get(str(name))
            if field is not None:  # otherwise a place in a list, whose group is known already
                block = next(_groups(field.annotation), block)
        return block


OTHER_NAMES = {
    "lr": "learning_rate", "wd": "weight_decay", "decay": "weight_decay", "max_steps": "steps",
    "warmup_ratio": "warmup", "lr_scheduler_type": "schedule", "scheduler": "schedule", "optimizer": "name",
    "clip": "max_grad_norm", "grad_clip": "max_grad_norm", "adam_beta2": "beta2", "lora_rank": "rank", "r": "rank",
    "lora_alpha": "alpha", "lora_dropout": "dropout", "batch_size": "samples",
    "per_device_train_batch_size": "samples", "gradient_accumulation_steps": "accumulate",
    "accumulation": "accumulate", "max_length": "max_tokens", "num_workers": "workers", "save_steps": "save_every",
    "eval_steps": "evaluate_every", "logging_steps": "log_every", "output_dir": "output", "model": "start",
    "model_name_or_path": "start", "gradient_checkpointing": "checkpointing", "save_total_limit": "keep",
    "max_pixels": "video_max_pixels", "min_pixels": "video_min_pixels",
}  # fmt: skip
"""Name of a setting in other trainers -> its name here; suggested if a group of settings has it."""


def _groups(annotation: Any) -> Iterator[type[Settings]]:
    """Yield the groups of settings in an annotation such as `list[PartOfData]` or `X | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for inner in get_args(annotation):
        yield from _groups(inner)


def _unknown_key(key: str, fields: Iterable[str]) -> str:
    """Return a text that lists the keys in the group of an unknown dotted key and names the one probably meant."""
    names = sorted(fields)
    group, dot, name = key.rpartition(".")
    near = [OTHER_NAMES[name]] if OTHER_NAMES.get(name) in names else difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {group + dot + near[0]!r}?" if near else ""
    return f"unknown key {key!r}; expected one of: {', '.join(names)}.{hint}"


class ClipSettings(Settings):
    """How a clip becomes model input. Saved with every model, because a model must see what it was trained on.

    The defaults are the published release's (`train/vision_process.py`) except that pictures are capped at
    1,003,520 pixels, the cap of its processor.
    """

    fps: float = Field(2.0, gt=0)
    """Frames sampled per second of video."""
    min_frames: int = Field(4, ge=1)
    max_frames: int = Field(768, ge=2)
    video_min_pixels: int = Field(128 * 28 * 28, gt=0)
    """Smallest area of one video frame, pixels."""
    video_max_pixels: int = Field(768 * 28 * 28, gt=0)
    """Largest area of one video frame, pixels."""
    video_total_pixels: int = Field(90_316_800, gt=0)
    """Area of all frames of a video together; divides into a budget per frame."""
    image_min_pixels: int = Field(4 * 28 * 28, gt=0)
    image_max_pixels: int = Field(1280 * 28 * 28, gt=0)
    working_side: int = Field(720, ge=32)
    """Frames are reduced to this longer side while decoding; faces are found on these, pixels."""
    capture_strength: float = Field(0.5, ge=0, le=1)
    """How far everything but the tracked faces is washed out; 0 leaves frames as they are."""
    person_crops: bool = True
    """Read each person also from square crops of the face track."""
    person_margin: float = Field(0.2, ge=-0.25, le=2)
    """Margin around the face on each side, as a share of the longer side of its box; below 0 cuts into the box."""
    person_frames: int = Field(8, ge=1)
    """Crops per person, evenly spaced over the track."""
    person_pixels: int = Field(224 * 224, gt=0)
    """Area of one person crop, pixels."""
    person_weight: float = Field(0.5, ge=0, le=1)
    """Share of the people in the clip's distribution; the rest is the whole frames'."""
    person_mirrored: bool = False
    """Read each crop mirrored as well, and average: twice the time, steadier answers of a small model."""
    person_gray: bool = False
    """Turn person crops grey, for a model that saw only grey faces."""

    @property
    def capture_margin(self) -> float:
        """Margin that capture keeps around a face: that of the crops, but never less than the face's box."""
        return max(0.0, self.person_margin)


class HearingSettings(Settings):
    """How sound becomes model input, for a model with audio input. Saved with it, like `ClipSettings`.

    The defaults are Whisper large's, with four encoder frames of 20 ms to a token.
    """

    mels: int = Field(128, ge=1)
    """Bands of the log-mel spectrogram."""
    window_seconds: float = Field(30.0, gt=0)
    """Length of the window of the encoder; longer sound is divided into windows."""
    frames_per_token: int = Field(4, ge=1)
    """Encoder frames of 20 ms that become one token."""
    level: float | None = Field(default=None, ge=-60, le=0)
    """Decibels of full scale that the loudest tenth of a second of a sound is brought to, so that the gain of a
    recording decides nothing; None leaves sounds as they are."""


def read_yaml(path: Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Read a YAML mapping and apply dotted overrides.

    Args:
        path: YAML file whose top level is a mapping.
        overrides: texts like `optim.learning_rate=2.0e-5` or `data.0.weight=2`; the value is read as YAML.

    Raises:
        SettingsError: the file is missing or no mapping, or an override has no `=` or leads to no place.
    """
    if not path.is_file():
        raise SettingsError(f"settings file {str(path)!r} does not exist; give the path of a YAML file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML ({' '.join(str(error).split())}); correct the file") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: the top level is a {type(values).__name__}; expected key: value lines")
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign:
            raise SettingsError(f"override {override!r} has no '='; write key=value, for example optim.steps=100")
        *groups, name = key.split(".")
        target: Any = values
        for group in groups:
            target = _step_into(target, group, override)
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingsError(f"override {override!r}: the value is not valid YAML; put it in quotes") from error
        target[_place(target, name, override) if isinstance(target, list) else name] = value
    return values


def _step_into(target: Any, group: str, override: str) -> Any:
    if isinstance(target, list):
        inner = target[_place(target, group, override)]
    elif target.get(group) is None:  # absent, or written as `group:` without a value
        inner = target[group] = {}
    else:
        inner = target[group]
    if not isinstance(inner, dict | list):
        raise SettingsError(f"override {override!r}: {group!r} is the value {inner!r}, not a group of settings")
    return inner


def _place(values: list[Any], name: str, override: str) -> int:
    if not name.isdigit() or int(name) >= len(values):
        raise SettingsError(
            f"override {override!r}: {name!r} is no place in a list of {len(values)}; give a number from 0"
        )
    return int(name)

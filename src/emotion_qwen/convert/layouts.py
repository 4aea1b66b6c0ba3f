"""Mapping from the keys of other checkpoints to ours: names and shapes only, no weights.

Three layouts are read: "hub", that of the published Qwen2.5-VL folders; "nested", that of newer transformers in memory;
and "ours", written by `save_pretrained` of this package.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch

from emotion_qwen.convert.whisper import WhisperSource
from emotion_qwen.errors import CheckpointError, listed
from emotion_qwen.model.configuration import EmotionQwenConfig
from emotion_qwen.model.folder import key_faults
from emotion_qwen.model.modeling import EmotionQwenForConditionalGeneration
from emotion_qwen.model.parts import (
    ACTIONS,
    AUDIO,
    AUDIO_COMPRESSOR,
    AUDIO_ENCODER,
    EMOTION,
    GATE,
    GENERAL,
    HEAD,
    LANGUAGE,
    VISION,
)

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

PART_NAMES = {
    "vision transformer": VISION,
    "language model": LANGUAGE,
    "output projection": HEAD,
    "general expert": GENERAL,
    "emotion expert": EMOTION,
    "gate": GATE,
    "audio encoder": AUDIO_ENCODER,
    "audio compressor": AUDIO_COMPRESSOR,
    "facial actions": ACTIONS,
}
"""Name of a part in the report -> prefix of its tensors."""
MERGER = "merger "  # represents both experts; a space cannot occur in a key
# Source prefix -> our prefix; the first that fits counts.
PREFIXES: dict[str, tuple[tuple[str, str], ...]] = {
    "hub": (("visual.merger.", MERGER), ("visual.", VISION), ("model.", LANGUAGE), (HEAD, HEAD)),
    "nested": (("model.visual.merger.", MERGER), (VISION, VISION), (LANGUAGE, LANGUAGE), (HEAD, HEAD)),
    "ours": tuple((prefix, prefix) for prefix in PART_NAMES.values()),
}
COMPUTED = re.compile(
    r"rotary(_pos)?_emb\.inv_freq$"
)  # old checkpoints store a value that follows from the configuration
TIED_HEAD = "lm_head.weight"
EMBEDDING = f"{LANGUAGE}embed_tokens.weight"


@dataclass(frozen=True)
class KeyMap:
    """The source of every tensor of our model.

    Attributes:
        layout: a key of `PREFIXES`.
        config: the configuration of the model to write.
        shapes: every tensor to write and its shape.
        sources: tensor to write -> source key; absent for `fresh` ones.
        cloned: tensors of the emotion expert that are second copies of the merger.
        fresh: tensors of the gate and of the audio tower's compressor that have no source.
        dropped: source keys that are not carried over, each with the reason.
    """

    layout: str
    config: EmotionQwenConfig
    shapes: dict[str, Shape]
    sources: dict[str, str]
    cloned: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    dropped: dict[str, str] = field(default_factory=dict)


def expected_shapes(config: EmotionQwenConfig) -> dict[str, Shape]:
    """Build the model without memory and return the name and shape of every tensor in a folder of this package."""
    with torch.device("meta"):
        model = EmotionQwenForConditionalGeneration(config)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        del shapes[TIED_HEAD]  # the embedding serves as output projection and is stored once
    return shapes


def detect_layout(keys: Iterable[str]) -> str:
    """Return the layout, recognised by key names.

    Raises:
        CheckpointError: none of the known layouts.
    """
    keys = list(keys)
    signs = {"ours": ("model.compressor.",), "nested": (VISION, LANGUAGE), "hub": ("visual.",)}
    for layout, prefixes in signs.items():
        if any(key.startswith(prefixes) for key in keys):
            return layout
    raise CheckpointError(
        f"keys of no known layout: {listed(sorted(keys), 12)}; expected a Qwen2.5-VL checkpoint (visual.* with "
        "model.layers.*, or model.visual.* with model.language_model.*) or an Emotion-Qwen folder "
        "(model.compressor.*)"
    )


def key_map(
    shapes: Shapes, config: EmotionQwenConfig, *, fresh_gate: bool = False, whisper: WhisperSource | None = None
) -> KeyMap:
    """Map the keys of a checkpoint onto our model, and check that every key and shape fits.

    Args:
        shapes: name and shape of every source tensor.
        config: our configuration of that model.
        fresh_gate: start a new gate although the source has one.
        whisper: encoder of a Whisper checkpoint; it replaces the source's audio tower, if any.

    Returns:
        The complete map; nothing is missing and nothing left over.

    Raises:
        CheckpointError: an unknown layout, or any unexpected, missing or wrongly shaped key; all of them are listed.
    """
    layout = detect_layout(shapes)
    replaced: dict[str, str] = {}
    if whisper is not None:
        replaced = {key: "replaced by another audio encoder" for key in shapes if key.startswith(AUDIO)}
        shapes = {key: shape for key, shape in shapes.items() if key not in replaced}
        config = copy.deepcopy(config)
        config.audio_config = config.audio_token_id = None
    sources, dropped, unexpected = _place(shapes, config, layout, fresh_gate)
    merger = [name for name in sources if name.startswith(MERGER)]
    for name in merger:
        inner = name.removeprefix(MERGER)
        sources[GENERAL + inner] = sources[EMOTION + inner] = sources.pop(name)
    expected = expected_shapes(config)
    gate = tuple(name for name in expected if name.startswith(GATE))
    fresh = gate if fresh_gate or layout in ("hub", "nested") else ()
    _check(layout, shapes, sources, {k: s for k, s in expected.items() if k not in fresh}, unexpected)
    cloned = tuple(name for name in expected if merger and name.startswith(EMOTION))
    sources = {name: sources[name] for name in expected if name in sources}  # our order
    mapping = KeyMap(layout, config, expected, sources, cloned, fresh, {**dropped, **replaced})
    return mapping if whisper is None else _with_audio(mapping, whisper)


def _with_audio(mapping: KeyMap, whisper: WhisperSource) -> KeyMap:
    """Add the audio tower to the map of a model without audio input."""
    config = copy.deepcopy(mapping.config)
    config.audio_config, config.audio_token_id = whisper.config, whisper.token_id
    shapes = expected_shapes(config)
    fresh = tuple(name for name in shapes if name.startswith(AUDIO_COMPRESSOR))
    return replace(
        mapping,
        config=config,
        shapes=shapes,
        sources={**mapping.sources, **whisper.sources},
        fresh=(*mapping.fresh, *fresh),
        dropped={**mapping.dropped, **whisper.dropped},
    )


def _place(
    shapes: Shapes, config: EmotionQwenConfig, layout: str, fresh_gate: bool
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Divide source keys into those that map to our names (or `MERGER` + name), those left out and unknown ones."""
    sources: dict[str, str] = {}
    dropped: dict[str, str] = {}
    unexpected = []
    for key in shapes:
        name = renamed(key, layout)
        if COMPUTED.search(key):
            dropped[key] = "computed from the configuration"
        elif name is None:
            unexpected.append(key)
        elif name.startswith(GATE) and fresh_gate:
            dropped[key] = "a new gate was requested"
        elif name == TIED_HEAD and config.tie_word_embeddings:
            dropped[key] = "tied to the embedding"
        elif name in sources:
            raise CheckpointError(f"{key} and {sources[name]} both map to {name}; keep one of them")
        else:
            sources[name] = key
    return sources, dropped, unexpected


def renamed(key: str, layout: str) -> str | None:
    """Return our name of a source key, `MERGER` + name for one of both experts, or None for an unknown key."""
    for prefix, ours in PREFIXES[layout]:
        if key.startswith(prefix):
            return ours + key.removeprefix(prefix)
    return None


def _source_name(name: str, layout: str) -> str:
    for inner in (GENERAL, EMOTION):
        if layout in ("hub", "nested") and name.startswith(inner):
            name = MERGER + name.removeprefix(inner)
    return next(old + name.removeprefix(new) for old, new in PREFIXES[layout] if name.startswith(new))


def _check(layout: str, source_shapes: Shapes, sources: Mapping[str, str], expected: Shapes, strays: list[str]) -> None:
    unexpected = sorted({*strays, *(key for name, key in sources.items() if name not in expected)})
    missing = sorted({_source_name(name, layout) for name in expected if name not in sources})
    wrong = sorted(
        f"{sources[name]} {source_shapes[sources[name]]} instead of {expected[name]}"
        for name in expected.keys() & sources.keys()
        if source_shapes[sources[name]] != expected[name]
    )
    if faults := key_faults({"missing keys": missing, "unexpected keys": unexpected, "wrong shapes": wrong}):
        raise CheckpointError(
            f"the weights ({layout} layout) do not fit config.json: {faults}. "
            "Take weights and config.json from the same checkpoint"
        )

"""The insides of the release's compressors and gate, recognised by shape because their names are not known.

Known are the modules' names and what goes in and out of them: (N, 1280) to (N/4, 3584) for each compressor, (1, 1280)
to (1, 2) for the gate. Accepted is what has exactly the tensors of our own modules; anything else is refused with a
list of what came, never guessed. Output 0 of the gate weighs the general expert, output 1 the emotion expert.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig

from emotion_qwen.errors import CheckpointError

Shape = tuple[int, ...]
QKV_NAMES = (("q", "query", "q_proj", "wq"), ("k", "key", "k_proj", "wk"), ("v", "value", "v_proj", "wv"))


def natural(text: str) -> list[int | str]:
    """Make a sort key that counts digits as numbers: fc2 before fc10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def pair_modules(shapes: Mapping[str, Shape]) -> dict[str, tuple[str, str | None]] | None:
    """Group keys into modules of a weight and perhaps a bias, in natural order; None if a key is neither."""
    stems = {key[: -len("weight")] for key in shapes if key.endswith("weight")}
    modules: dict[str, tuple[str, str | None]] = {}
    for stem in sorted(stems, key=natural):
        modules[stem] = (stem + "weight", stem + "bias" if stem + "bias" in shapes else None)
    used = {key for pair in modules.values() for key in pair if key}
    return modules if used == set(shapes) else None


def match_expert(shapes: Mapping[str, Shape], vision: Qwen2_5_VLVisionConfig) -> dict[str, str]:
    """Find the patch merger's tensors among a compressor's.

    Args:
        shapes: the compressor's keys and shapes.
        vision: gives the widths.

    Returns:
        Our name inside an expert -> source key, five of them.

    Raises:
        CheckpointError: not a norm and two linear layers of the merger's shapes.
    """
    width = vision.hidden_size
    wide = width * vision.spatial_merge_size**2
    expected = {
        "ln_q.weight": (width,),
        "mlp.0.weight": (wide, wide),
        "mlp.0.bias": (wide,),
        "mlp.2.weight": (vision.out_hidden_size, wide),
        "mlp.2.bias": (vision.out_hidden_size,),
    }
    by_name = {inner: key for inner in expected for key in shapes if key.endswith("." + inner)}
    found = by_name if len(by_name) == len(shapes) == len(expected) else _expert_by_shape(shapes, expected)
    if found is None or any(shapes[key] != expected[inner] for inner, key in found.items()):
        raise CheckpointError(
            f"a compressor that is not shaped like Qwen2.5-VL's merger: {_with_shapes(shapes)}; "
            f"expected {_with_shapes(expected)}. Such an expert cannot be loaded into this model"
        )
    return found


def _expert_by_shape(shapes: Mapping[str, Shape], expected: Mapping[str, Shape]) -> dict[str, str] | None:
    modules = pair_modules(shapes)
    if modules is None:
        return None
    norms = [pair for pair in modules.values() if len(shapes[pair[0]]) == 1 and pair[1] is None]
    linears = [pair for pair in modules.values() if len(shapes[pair[0]]) == 2 and pair[1] is not None]
    if (len(norms), len(linears), len(modules)) != (1, 2, 3):
        return None
    # A stable sort: where the shapes tell nothing (equal widths), the natural order of the names stays.
    first, second = sorted(linears, key=lambda pair: shapes[pair[0]] != expected["mlp.0.weight"])
    names = (norms[0][0], *first, *second)
    return dict(zip(("ln_q.weight", "mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias"), names, strict=True))  # type: ignore[arg-type]


def match_gate(shapes: Mapping[str, Shape], width: int) -> tuple[dict[str, tuple[str, ...]], int]:
    """Find our gate's tensors among the release's.

    Args:
        shapes: the gate's keys and shapes.
        width: width of the patch features.

    Returns:
        Our name inside the gate -> source keys (three where query, key and value are apart), and the gate's width.

    Raises:
        CheckpointError: any other set of tensors; it lists them and names the way out.
    """
    found = _gate_by_shape(shapes, width)
    if found is None:
        raise CheckpointError(
            f"a gate of unknown form: {_with_shapes(shapes) or 'no keys at all'}; expected attention over {width} "
            "(query, key and value in one or three, and an output projection), twice a linear layer and a layer norm, "
            "and an output of 2. Pass --fresh-gate to leave it out and start a new gate (which must then be trained)"
        )
    return found


def _gate_by_shape(shapes: Mapping[str, Shape], width: int) -> tuple[dict[str, tuple[str, ...]], int] | None:
    modules = pair_modules(shapes)
    if modules is None or any(bias is None for _, bias in modules.values()):
        return None
    of_shape: dict[Shape, list[str]] = {}
    for stem, (weight, _) in modules.items():
        of_shape.setdefault(shapes[weight], []).append(stem)
    heads = [shape for shape in of_shape if len(shape) == 2 and shape[0] == 2]
    if len(heads) != 1 or len(of_shape[heads[0]]) != 1:
        return None
    hidden = heads[0][1]
    # Equal widths would leave the attention's and the layers' matrices apart only by guessing.
    if hidden in (2, width, 3 * width):
        return None
    attention = _attention(of_shape.get((3 * width, width), []), of_shape.get((width, width), []))
    first, second = of_shape.get((hidden, width), []), of_shape.get((hidden, hidden), [])
    norms = of_shape.get((hidden,), [])
    if attention is None or (len(first), len(second), len(norms)) != (1, 1, 2):
        return None
    stems: dict[str, tuple[str, ...]] = {
        **attention, "layers.0": (first[0],), "layers.2": (norms[0],),
        "layers.3": (second[0],), "layers.5": (norms[1],), "head": (of_shape[heads[0]][0],),
    }  # fmt: skip
    if sum(len(group) for group in stems.values()) != len(modules):
        return None
    keys = {
        f"{name}.{kind}": tuple(s + kind for s in group) for name, group in stems.items() for kind in ("weight", "bias")
    }
    return keys, hidden


def _attention(fused: list[str], square: list[str]) -> dict[str, tuple[str, ...]] | None:
    if len(fused) == 1 and len(square) == 1:
        return {"qkv": (fused[0],), "proj": (square[0],)}
    if fused or len(square) != 4:
        return None
    last = {stem: re.split(r"[._]$", stem)[0].rsplit(".", 1)[-1] for stem in square}
    qkv = [[stem for stem in square if last[stem] in names] for names in QKV_NAMES]
    if any(len(stems) != 1 for stems in qkv):
        return None
    three = tuple(stems[0] for stems in qkv)
    return {"qkv": three, "proj": tuple(stem for stem in square if stem not in three)}


def _with_shapes(shapes: Mapping[str, Shape]) -> str:
    return ", ".join(f"{key} {tuple(shapes[key])}" for key in sorted(shapes, key=natural))

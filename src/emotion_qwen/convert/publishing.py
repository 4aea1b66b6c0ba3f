"""Prepare a model for others: merged safetensors with a card, a GGUF file of its language model, and the hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from emotion_qwen.convert.gguf_writing import write_gguf
from emotion_qwen.convert.loading import load_model
from emotion_qwen.errors import CheckpointError, RemoteError
from emotion_qwen.extras import optional
from emotion_qwen.model.configuration import EmotionQwenConfig
from emotion_qwen.model.folder import staged_folder
from emotion_qwen.model.source import STAGE_PROOF, ModelSource, find_model
from emotion_qwen.processing.folder import load_processor

FACTS = ("calibration.json", "training_facts.json", STAGE_PROOF)
"""Files that go with the weights, if a model has them."""
CARD = "README.md"


def publish(name: str, target: Path, dtype: torch.dtype, license_name: str, gguf: str | None = None) -> None:
    """Write a model folder with everything that others need.

    Args:
        name: of the model; an adapter is merged into its base.
        target: new folder.
        dtype: of the stored weights.
        license_name: identifier of the licence of the weights, for the card.
        gguf: kind of a GGUF file of the language model, a key of `gguf_writing.KINDS`; None writes none.

    Raises:
        CheckpointError: there is no such model, or the target exists.
        MissingPackage: gguf or peft is not installed.
    """
    if target.exists():
        raise CheckpointError(f"{target} exists already; give a folder that does not")
    source = find_model(name)
    model, processor = load_model(source, dtype=dtype), load_processor(source.processor)
    with staged_folder(target) as draft:
        model.save_pretrained(draft)
        processor.save_pretrained(draft)
        for file in FACTS:
            if (source.folder / file).is_file():
                shutil.copyfile(source.folder / file, draft / file)
        if gguf is not None:
            write_gguf(model, processor.tokenizer, draft / f"language-{gguf}.gguf", gguf)
        (draft / CARD).write_text(model_card(source, model.config, license_name, dtype, gguf), encoding="utf-8")


def model_card(
    source: ModelSource, config: EmotionQwenConfig, license_name: str, dtype: torch.dtype, gguf: str | None
) -> str:
    """Return the model card: metadata for the hub, then known facts about the model, its use, and its limits."""
    path = source.folder / STAGE_PROOF
    proof: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    text = config.text_config
    lines = ["---", f"license: {license_name}", "library_name: emotion-qwen", "pipeline_tag: video-text-to-text"]
    lines += ["tags: [emotion-recognition, emotion-qwen]", "---", "", f"# {Path(source.name).name}", ""]
    lines += [
        f"An Emotion-Qwen: {text.num_hidden_layers} layers of width {text.hidden_size}, weights in "
        f"{str(dtype).removeprefix('torch.')}, gate mode `{config.gate_mode}`"
        + (", with audio input." if config.hearing is not None else ", without audio input."),
        "",
        "```", "pip install emotion-qwen", "emotion-qwen analyze clip.mp4 --model THIS_FOLDER_OR_NAME", "```", "",
        "## Training", "",
    ]  # fmt: skip
    if proof:
        lines += [
            f"Stage `{proof.get('stage')}`, {proof.get('steps')} steps from `{Path(str(proof.get('start'))).name}`; "
            f"trained parts: {', '.join(proof.get('trains', ()))}. `{STAGE_PROOF}` has the log and hashes of all parts."
        ]
    else:
        lines += ["No record of its training is in the folder. Describe here what it was trained on."]
    if gguf is not None:
        lines += ["", "## GGUF", "", f"`language-{gguf}.gguf` is the language model alone: it reads text, no media."]
    lines += [
        "", "## Limits", "",
        "Labels describe what faces, voices and words show, not what a person feels. Do not use them to make decisions "
        "about anyone, and measure the model on data like yours before you rely on it.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def upload(folder: Path, repository: str, public: bool) -> str:
    """Upload a published folder to the hub with the user's own login; return its address.

    Args:
        folder: of `publish`.
        repository: ORGANISATION/NAME, created if it does not exist.
        public: visible to everybody; otherwise only to its owners.

    Raises:
        RemoteError: the hub refuses, or cannot be reached.
    """
    hub = optional("huggingface_hub")
    try:
        api = hub.HfApi()
        api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=str(folder))
        return f"{api.endpoint}/{repository}"
    except (OSError, ValueError) as error:  # also the errors of its HTTP library
        reason = " ".join(str(error).split())[:300]
        raise RemoteError(
            f"{repository} was not uploaded ({reason}); log in with `hf auth login`. {folder} is complete"
        ) from error

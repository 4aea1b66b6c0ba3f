"""The command `emotion-qwen publish`."""

from __future__ import annotations

from pathlib import Path

import click

from emotion_qwen.convert.gguf_writing import KINDS


@click.command()
@click.argument("model")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--dtype", type=click.Choice(["bfloat16", "float16", "float32"]), default="bfloat16", show_default=True)
@click.option("--license", "license_name", default="other", show_default=True, help="Licence of the weights.")
@click.option("--gguf", type=click.Choice(list(KINDS)), help="Also write the language model, text only, as GGUF.")
@click.option("--push-to-hub", metavar="ORG/NAME", help="Upload the folder with your login; private unless --public.")
@click.option("--public", is_flag=True, help="Make the uploaded model visible to everybody.")
def publish(
    model: str, target: Path, dtype: str, license_name: str, gguf: str | None, push_to_hub: str | None, public: bool
) -> None:
    """Write MODEL for others to the folder TARGET: merged weights, processor, card."""
    import torch

    from emotion_qwen.convert import publishing

    publishing.publish(model, target, getattr(torch, dtype), license_name, gguf)
    print(target)
    if push_to_hub:
        print(publishing.upload(target, push_to_hub, public))

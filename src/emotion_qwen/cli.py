"""The command line: a table of commands, of which only the chosen one is imported.

A command is a `click.Command` in the package that owns the work. `--debug` shows the traceback of an error.
"""

from __future__ import annotations

import importlib
import sys

import click

from emotion_qwen import __version__
from emotion_qwen.console import run_command

COMMANDS: dict[str, tuple[str, str]] = {
    "analyze": ("emotion_qwen.batch.commands:analyze", "Analyze the emotions of people in clips or pictures."),
    "ask": ("emotion_qwen.batch.commands:ask", "Ask a free question about a clip or picture."),
    "faces": ("emotion_qwen.batch.commands:faces", "Show the faces found in a clip, their tracks and crops."),
    "index": ("emotion_qwen.batch.indexing:index", "Store labelled clips as examples for `analyze --examples`."),
    "export": ("emotion_qwen.export.commands:export", "Turn reports into tables, ELAN and Praat files, subtitles."),
    "express": ("emotion_qwen.express.commands:express", "Make a moving face for an emotion, a text or a report."),
    "train": ("emotion_qwen.training.commands:train", "Train one stage from a YAML file."),
    "merge": ("emotion_qwen.training.commands:merge", "Merge trained adapters into their base model."),
    "fetch": ("emotion_qwen.fetch.commands:fetch", "Download a part that is not in the package."),
    "convert": ("emotion_qwen.convert.commands:convert", "Convert another checkpoint to an Emotion-Qwen folder."),
    "publish": ("emotion_qwen.convert.publish_commands:publish", "Write a model with card and GGUF, or upload it."),
    "data": ("emotion_qwen.data.commands:data", "Check, import and export training manifests."),
    "ver": ("emotion_qwen.ver.commands:ver", "Build, review and count a Video Emotion Reasoning set."),
    "eval": ("emotion_qwen.evaluation.commands:evaluate", "Run benchmarks, score again, compare runs."),
    "probe": ("emotion_qwen.evaluation.probe.commands:probe", "Measure what a model reads in rendered faces."),
    "forgetting": (
        "emotion_qwen.evaluation.commands:forgetting",
        "Measure the general skill that emotion training cost.",
    ),
    "calibrate": (
        "emotion_qwen.evaluation.calibrate:command",
        "Fit the weights of a model's channels on validation data.",
    ),
    "verify": (
        "emotion_qwen.evaluation.verify_commands:verify",
        "Check explanations against labels and clips.",
    ),
    "serve": ("emotion_qwen.serving.commands:serve", "Serve a chat API, reports and a page."),
    "doctor": ("emotion_qwen.doctor:doctor", "Print versions, devices, optional and missing parts."),
}


class CommandTable(click.Group):
    """A group that takes names and one-line help from `COMMANDS` and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: D102
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: D102
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name][0].split(":")
        return getattr(importlib.import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: D102
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=CommandTable)
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def emotion_qwen(debug: bool) -> None:
    """Emotion-Qwen: recognition of emotions in pictures and videos with a general vision-language model."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    return run_command(emotion_qwen, arguments, "emotion-qwen")


if __name__ == "__main__":
    sys.exit(main())

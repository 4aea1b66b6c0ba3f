"""How a command ends: an error of our own family is one line on standard error and exit code 2."""

from __future__ import annotations

import sys
import warnings

import click

from emotion_qwen.errors import EmotionQwenError

EXTRA_OF_COMMAND = {
    "train": "train",
    "merge": "train",
    "eval": "eval",
    "forgetting": "eval",
    "ver": "ver",
    "export": "tables",
}
"""Command -> the extra to name for a package that several extras bring."""


class WithDefault(click.Group):
    """A group whose default command is `run`, or that named by a subclass."""

    default = "run"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:  # noqa: D102
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def quiet() -> None:
    """Silence the progress bars and warnings of libraries."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # the bar for loading weights would interfere with the progress over files
    logging.set_verbosity_error()
    warnings.filterwarnings("ignore", module="PIL")  # about damaged pictures, for which there is an error of one line


def run_command(command: click.Command, arguments: list[str] | None = None, name: str | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        command: to run.
        arguments: of the command line; None takes those of this process.
        name: the name used in help and usage.

    Raises:
        EmotionQwenError: only with `--debug` among the arguments, so that the traceback is shown.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        try:
            code = command.main(arguments, prog_name=name, standalone_mode=False)
        except ModuleNotFoundError as error:
            missing = _missing(error, arguments)
            if missing is None:
                raise
            raise missing from error
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except EmotionQwenError as error:
        if "--debug" in arguments:
            raise
        click.echo(f"error: {error}", err=True)
        return 2
    return code if isinstance(code, int) else 0


def _missing(error: ModuleNotFoundError, arguments: list[str]) -> EmotionQwenError | None:
    """Return the error that names the package to install; None where one of our own modules is missing."""
    from emotion_qwen.extras import missing_package

    chosen = next((argument for argument in arguments if not argument.startswith("-")), "")
    return missing_package(error, EXTRA_OF_COMMAND.get(chosen))

"""How a command ends: an error of our own family is one line on standard error and exit code 2."""

from __future__ import annotations

import sys

import click

from emotion_qwen.errors import EmotionQwenError


def run_command(command: click.Command, arguments: list[str] | None = None, name: str | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        command: to run.
        arguments: of the command line; None takes those of this process.
        name: that help and usage call it by.

    Raises:
        EmotionQwenError: only with `--debug` among the arguments, so that the traceback is shown.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = command.main(arguments, prog_name=name, standalone_mode=False)
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

import click
import pytest

from emotion_qwen.console import run_command
from emotion_qwen.errors import DataError


@click.command()
@click.option("--debug", is_flag=True)
def fails(debug):
    raise DataError("line 3 is broken; correct it")


@click.command()
@click.option("--number", type=int, default=7)
def answers(number):
    return number


def test_an_error_of_ours_is_one_line_and_code_2(capsys):
    assert run_command(fails, []) == 2
    assert capsys.readouterr().err == "error: line 3 is broken; correct it\n"


def test_debug_lets_the_error_through():
    with pytest.raises(DataError):
        run_command(fails, ["--debug"])


def test_a_wrong_option_is_a_usage_error_and_a_number_is_the_code(capsys):
    assert run_command(answers, ["--number", "x"]) == 2
    assert "not a valid integer" in capsys.readouterr().err
    assert run_command(answers, ["--number", "5"]) == 5

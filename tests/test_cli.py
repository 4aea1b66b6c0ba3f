import subprocess
import sys

from emotion_qwen.cli import COMMANDS, main


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out and text in out for name, (_, text) in COMMANDS.items())


def test_unknown_command_and_option_exit_with_2(capsys):
    assert main(["analyse"]) == 2
    assert "No such command 'analyse'" in capsys.readouterr().err
    assert main(["doctor", "--loud"]) == 2


def test_the_module_runs_as_a_program():
    done = subprocess.run([sys.executable, "-m", "emotion_qwen.cli", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and "0.1.0" in done.stdout

"""The package top and the help of the command line load nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "cv2", "av", "skimage", "pyarrow", "PIL", "numpy", "pydantic")


def loaded_by(code: str) -> set[str]:
    report = f"{code}\nimport sys\nprint('loaded:', *(n for n in {HEAVY!r} if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_the_package_top_is_light() -> None:
    assert loaded_by("import emotion_qwen; dir(emotion_qwen)") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["no-such-command"]])
def test_the_command_table_is_light(arguments: list[str]) -> None:
    assert loaded_by(f"from emotion_qwen import cli; cli.main({arguments!r})") == set()


@pytest.mark.parametrize("module", ["taxonomy", "matching.answer"])
def test_words_and_their_matcher_are_light(module: str) -> None:
    assert loaded_by(f"import emotion_qwen.{module}") == set()


def test_help_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "emotion_qwen.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage: emotion-qwen" in done.stdout and "analyze" in done.stdout


def test_an_unknown_public_name_says_what_there_is() -> None:
    import emotion_qwen

    with pytest.raises(AttributeError, match=r"no attribute 'Emotion'; it has __version__, EmotionQwen,"):
        emotion_qwen.Emotion  # noqa: B018

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console
from tests.views.reports import KINDS, two_people

from emotion_qwen.records import Episode
from emotion_qwen.views.brief import LONGEST, arc, show_brief

LONG = "The woman looks sad at first, her brows are lowered and her mouth corners go down. " * 8


def brief(report, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    show_brief(report, console)
    return console.file.getvalue().splitlines()


def episodes(*labels: str) -> tuple[Episode, ...]:
    return tuple(Episode(label, 3.0 * n, 3.0 * n + 2.5, 3.0 * n + 1, 0.5) for n, label in enumerate(labels))


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("kind", KINDS)
def test_every_report_fits_and_no_line_is_wider_than_the_terminal(kind, width):
    warned = {**KINDS[kind]().provenance, "warnings": ["the file ends early, and 3 frames are left out"] * 30}
    for report in (KINDS[kind](), replace(KINDS[kind](), summary=LONG, provenance=warned)):
        lines = brief(report, width)
        assert len(lines) <= LONGEST and all(cell_len(line) <= width for line in lines)
        assert lines[-2][2:].strip(" │")  # the note about limits and --verbose is never left out


def test_the_headline_says_how_the_emotions_follow_each_other():
    report = replace(two_people(), episodes=episodes("sad", "fear", "surprise", "happy"))
    assert brief(report)[1].strip("│ ") == "■ sad 0–2 s → ■ fear → ■ surprise → ■ happy from 9 s on"
    chinese = replace(KINDS["chinese"](), episodes=episodes("sad", "happy"))
    assert brief(chinese)[1].strip("│ ") == "■ 悲伤 0.0–2.5 秒 → ■ 高兴 3.0 秒起"


def test_neighbours_with_one_label_are_joined_and_of_many_the_middle_is_left_out():
    assert [each and each.label for each in arc(episodes("sad", "sad", "happy"))] == ["sad", "happy"]
    first, second, third = episodes("sad", "sad", "happy")
    (sad, _) = arc((first, replace(second, share=0.8), third))
    assert (sad.onset, sad.offset, sad.peak, sad.share) == (0.0, 5.5, 4.0, 0.8)
    many = arc(episodes("sad", "fear", "happy", "sad", "fear", "happy"))
    assert [each and each.label for each in many] == ["sad", "fear", "happy", None, "happy"]


def test_a_report_that_abstains_or_has_one_episode_keeps_its_label_as_the_headline():
    assert "→" not in brief(replace(two_people(), episodes=episodes("sad")))[1]
    abstains = replace(KINDS["abstaining"](), episodes=episodes("sad", "happy"))
    assert "→" not in brief(abstains)[1]

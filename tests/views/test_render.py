import io
import json
import re
from dataclasses import fields, replace

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console
from tests.views.reports import HOSTILE, KINDS, face, moving, nobody_seen, picture_only, two, two_people

from emotion_qwen.errors import DataError
from emotion_qwen.records import Cue, EmotionReport, LabelledExample, Verification
from emotion_qwen.strings import PHRASES, in_language
from emotion_qwen.views.html import compose_page
from emotion_qwen.views.markdown import as_markdown, escape
from emotion_qwen.views.render import as_json, save_picture, show_report
from emotion_qwen.views.sections import movement_lines


def view(report: EmotionReport, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    show_report(report, console)
    return console.file.getvalue()


def line_of(text: str, start: str) -> str:
    """Return the inside of the first line that begins so within the panel."""
    return next(line[2:-2] for line in text.splitlines() if line[2:].startswith(start))


# --- JSON


def test_json_is_one_line_with_every_field():
    line = as_json(two_people())
    names = [field.name for field in fields(EmotionReport)]
    optional = ("verification", "examples")
    assert "\n" not in line and list(json.loads(line)) == [name for name in names if name not in optional]
    near = (LabelledExample("a.png", "sad", 0.75),)
    verified = replace(two_people(), verification=Verification(None, {}, None, 2, 1, None), examples=near)
    assert list(json.loads(as_json(verified))) == names  # left out only where it is empty


def test_json_leaves_out_what_was_not_measured():
    first, second = json.loads(as_json(moving()))["people"]
    assert len(first["face"]) == 10 and "face" not in second and "actions" not in first["seen"][0]
    measured = replace(two()[1], seen=(replace(two()[1].seen[0], actions={"jawOpen": 0.25}),))
    (seen,) = json.loads(as_json(replace(two_people(), people=(measured,))))["people"][0]["seen"]
    assert seen["actions"] == {"jawOpen": 0.25}


def test_json_keeps_four_decimals_and_of_measurements_six_digits():
    cue = Cue("sound", 1.234567, 2.0, "x", "measured", {"jitter": 0.0000123456789, "pitch, Hz": 241.23456})
    report = replace(two_people(), cues=(cue,), valence_arousal=(-0.00001, np.float32(0.25)))
    told = json.loads(as_json(report))
    assert told["cues"][0]["start"] == 1.2346
    assert told["cues"][0]["measures"] == {"jitter": 1.23457e-05, "pitch, Hz": 241.235}
    assert '"valence_arousal": [0.0, 0.25], "timeline"' in as_json(report)  # no minus at zero


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_a_number_that_is_none_is_refused_with_its_place(number):
    cue = Cue("sound", 0.0, 1.0, "x", "measured", {"pitch, Hz": number})
    with pytest.raises(
        DataError, match=r"'clips/interview.mp4': cues\[5\].measures\['pitch, Hz'\] is -?(nan|inf); exp"
    ):
        as_json(replace(two_people(), cues=(*two_people().cues, cue)))
    with pytest.raises(DataError, match=r"valence_arousal\[1\] is"):
        as_json(replace(two_people(), valence_arousal=(0.0, number)))
    with pytest.raises(DataError, match=r"distribution\['happy'\] is"):
        as_json(replace(two_people(), distribution={"happy": number}))


# --- terminal view


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_view_fills_its_width_and_never_more(kind, width):
    lines = view(KINDS[kind](), width).splitlines()
    assert {cell_len(line) for line in lines} == {width}


def test_the_view_says_what_matters():
    text = view(two_people(), 120)
    for expected in (
        "clips/interview.mp4", "happy  55%", "valence +0.26", "person", "gate: general expert 0.35", "dfew7",
        "warning: 2 of 43 frames", "open words:", "1. observe", "Exam results are announced.", "It worked!",
        "episodes, smoothed: ■ sad 0.0–9.0 s (peak 2.5, 70%)",
        "calibrated", "A face shows an expression, not what a person feels. Faces are located",
        "pitch, Hz 241 · clip's pitch, Hz 198 · level, dB of full scale −18.4",
    ):  # fmt: skip
        assert expected in text, expected
    assert "not sure" not in text.replace("not sure below 40%", "")


def test_an_answer_that_is_none_is_said_first():
    lines = view(KINDS["abstaining"](), 120).splitlines()
    assert "not sure  closest is happy; confidence 24% is below 40%" in lines[1]
    assert "not calibrated" in "".join(lines)


def test_measured_and_generated_sentences_never_look_alike():
    text = view(two_people(), 120)
    assert "[measured] The words alone say sad, not happy." in text
    assert "[generated] “The tears at the start" in text and "[generated] “Two people hear good news" in text
    assert text.count("[measured]") == 6 and text.count("[generated]") == 6


FACE = {
    "en": ["The inner brows are raised (1.0–8.0 s)", "The head is turned to the left of the picture (3.5 s)",
           "The lips are pressed together (4.0–6.5 s)", "The corners of the mouth are raised (9.0–9.5 s)",
           "The smile is broad (10.0–19.5 s)", "The mouth is open (10.0–12.0 s)"],
    "zh": ["眉头内侧抬起（1.0–8.0 秒）", "头转向画面左侧（3.5 秒）", "双唇紧抿（4.0–6.5 秒）", "嘴角上扬（9.0–9.5 秒）",
           "笑得很开（10.0–19.5 秒）", "嘴张开（10.0–12.0 秒）"],
}  # fmt: skip
"""The clearest movements of the first person's face, in order of time, without plain and barely measured ones."""


@pytest.mark.parametrize("language", FACE)
def test_every_view_says_what_the_face_does(language):
    report = replace(moving(), language=language)
    say = in_language(PHRASES, report.language)
    lines = movement_lines(report, report.people[0], say)
    assert [text for text, _ in lines] == FACE[language] and not movement_lines(report, report.people[1], say)
    assert [figure for _, figure in lines][:2] == ["inner brows 0.57", "yaw −32.4°"]
    shown, markdown, page = view(report, 120), as_markdown(report), compose_page(report, None, None)
    for text, figure in lines:
        assert re.search(rf"\[{say['measured']}\] {re.escape(text)} +{re.escape(figure)}", shown), text
        assert f"`{say['measured']}` {escape(text)} <sub>{escape(figure)}</sub>" in markdown
        assert f'<span class="measured">{text}</span> <span class="soft">{figure}</span>' in page
    assert say["face"] in shown and f"### {say['face'].capitalize()}" in markdown and f"<h2>{say['face']}</h2>" in page


def test_a_picture_has_movements_without_times_and_other_models_have_none():
    still = picture_only()
    shown = view(replace(still, people=(replace(still.people[0], face=face()),)), 120)
    assert "The smile is broad  " in shown and "The smile is broad (" not in shown
    assert "what the face does" not in view(two_people()) and "<h2>what the face" not in compose_page(
        two_people(), None, None
    )
    assert "### What the face does" not in as_markdown(two_people())


def test_the_strip_turns_where_the_clip_does():
    text = view(two_people())
    clip = line_of(text, "clip ")
    start = len("person 1  ")  # the margin of the longest name
    share = (clip.index("happy") - 1 - start) / (len(clip) - start)
    assert share == pytest.approx(9 / 20, abs=0.02)
    late = line_of(text, "person 2  ")[start:]
    assert late.startswith("·" * 12) and late.endswith("·" * 15)  # seen from second 4 to 15 of 20
    axis = next(line for line in text.splitlines() if "│0 " in line)[2:-2]
    assert (axis.index("│10") - start) / (len(axis) - start) == pytest.approx(0.5, abs=0.02)


def test_disagreement_and_absence_are_told_by_words():
    text = view(two_people())
    assert "×0.83" in line_of(text, "words") and "≠ disagrees" in line_of(text, "words")
    assert "= agrees" in line_of(text, "picture") and "no answer" in line_of(text, "context")


def test_chinese_reports_speak_chinese():
    text = view(KINDS["chinese"](), 120)
    assert (
        "■ 高兴  55%" in text and "[测得]" in text and "[生成]" in text and "门控：通用专家 0.35，情感专家 0.65" in text
    )
    assert " 悲伤" in line_of(text, "全片") and "person" not in text and "gate" not in text


def test_a_picture_has_no_time():
    text = view(picture_only())
    assert "episodes" not in text and "│0" not in text and " s " not in line_of(text, "1 ")
    assert "picture, person 1  [measured]" in text


def test_who_and_what_is_missing_is_said():
    assert "no face was found" in view(nobody_seen(), 120)
    assert "Where nobody was found, the whole picture and all sound were used" in view(nobody_seen(), 120)
    sound = view(KINDS["sound_only"]())
    assert "no picture; sound and words were analyzed" in sound and "gate" not in sound
    evoked = view(KINDS["evoked"](), 120)
    assert "what the picture evokes in viewers, not what a person shows" in evoked
    assert "not searched for" in evoked and "no face" not in evoked


def test_without_an_answer_there_is_no_number_but_a_reason():
    text = view(KINDS["unanswered"](), 120)
    assert "no answer  no face was found" in text and "%" not in text and "valence" not in text
    clip = view(KINDS["unanswered_clip"](), 120)
    assert "no answer: 0.0–20.0 s (no face was found, and no voice was heard)" in clip and "%" not in clip
    assert "····" in line_of(clip, "clip ") and "█" not in clip


def test_a_gap_is_empty_in_the_strip_and_has_its_reason():
    text = view(KINDS["gapped"](), 120)
    assert "no answer: 9.0–13.0 s (no face was found, and no voice was heard)" in text
    strip = line_of(text, "clip ")
    dots = [place for place, letter in enumerate(strip) if letter == "·"]
    assert strip[dots[0] : dots[-1] + 1] == "·" * len(dots)  # one stretch of 4 in 20 s
    assert len(dots) == pytest.approx(0.2 * (120 - 4 - len("person 1  ")), abs=2)  # of what the panel leaves


def test_text_from_outside_stays_text():
    text = view(KINDS["hostile"](), 120)
    assert "\x1b" not in text and "[red]" in text and "\x1b" in HOSTILE


def test_a_long_list_is_cut_with_a_count():
    full = two_people()
    text = view(replace(full, utterances=full.utterances * 5, episodes=full.episodes * 10), 120)
    assert "3 more" in text and "8 more" in text


def test_the_saved_picture_refers_to_nothing_outside(tmp_path):
    console = Console(file=io.StringIO(), width=80, record=True)
    show_report(KINDS["chinese"](), console)
    save_picture(console, tmp_path / "new" / "report.svg")
    svg = (tmp_path / "new" / "report.svg").read_text(encoding="utf-8")
    assert svg.startswith("<svg") and "高兴" in svg
    assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "") and "@font-face" not in svg
    assert 'textLength="48.8"' in svg.split(">高兴<")[0].rsplit("<text", 1)[1]  # two letters, each as wide as two

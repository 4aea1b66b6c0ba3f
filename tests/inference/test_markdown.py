import re
from dataclasses import replace

import pytest
from reports import KINDS, nobody_seen, two_people

from emotion_qwen.inference.markdown import as_markdown, escape


def tables(text: str) -> list[list[str]]:
    """Return the rows of every table."""
    return [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]


def cells(row: str) -> int:
    return len(re.findall(r"(?<!\\)\|", row)) - 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_is_one(kind):
    text = as_markdown(KINDS[kind]())
    assert text.startswith("## ") and text.endswith("\n") and tables(text)
    for rows in tables(text):
        assert len({cells(row) for row in rows}) == 1 and re.fullmatch(r"[|:-]+", rows[1])
    assert text.count("<details>") == text.count("</details>") and len(re.findall("^```", text, re.MULTILINE)) == 2


def test_what_matters_is_said():
    text = as_markdown(two_people())
    for expected in (
        "## happy 55%", "`clips/interview.mp4` · valence +0.26", "| happy | `███████████░░░░░░░░░` | 55.0% |",
        "| clip | sad | 0.0–9.0 s | peak 2.5 s, 70% |", "| 2 | **happy 22%**, sad",
            "| words | sad 52% | 20% | ×0.83 | **",
        "| context | *nothing of it in the clip* | | | |", "**sound** `measured` Voice at 241 Hz", "pitch, Hz 241 ·",
        "- `generated` *“The tears", "1. **observe** `generated`", "- 9.5–12.0 s · It worked!", "calibrated",
        "**warning**: 2 of 43 frames", '"label_set": "dfew7"', "**A face shows an expression, not what is felt",
    ):  # fmt: skip
        assert expected in text, expected
    assert "[!WARNING]" not in text


def test_an_answer_that_is_none_is_a_warning():
    text = as_markdown(KINDS["abstaining"]())
    assert "> [!WARNING]\n> **not sure**: leans to happy, which is not an answer; confidence 24% is below 40%." in text


def test_kinds_without_people_or_time():
    assert "*no face was found; the answer comes from the whole picture*" in as_markdown(nobody_seen())
    assert "*no picture; the answer" in as_markdown(KINDS["sound_only"]())
    picture = as_markdown(KINDS["picture_only"]())
    assert "### Timeline" not in picture and "- **picture, person 1** `measured`" in picture
    chinese = as_markdown(KINDS["chinese"]())
    assert chinese.startswith("## 高兴 55%") and "### 线索" in chinese and "`测得`" in chinese


def test_text_from_outside_stays_text():
    assert escape("a|b <img> *x* [y](z) `c`\n# @me \x1b[0m") == (
        r"a\|b \<img\> \*x\* \[y\](z) \`c\` # @" + "\u2060" + r"me \[0m"
    )
    text = as_markdown(KINDS["hostile"]())
    outside = re.sub(r"```json.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<(?!/?(?:details|summary|sub|br)>)", outside)
    assert "@someone" not in outside and "\x1b" not in text


def test_no_run_of_backticks_ends_the_folded_block():
    report = replace(two_people(), provenance={**two_people().provenance, "model": "a```` b"})
    text = as_markdown(report)
    assert text.count("\n`````") == 2 and '"model": "a```` b"' in text

"""Format names, times and shares for all views; the fixed texts are in `strings`."""

from __future__ import annotations

from pathlib import PurePath

from emotion_qwen.records import EVOKED, EmotionReport
from emotion_qwen.strings import MEASURES, in_language
from emotion_qwen.taxonomy import CONCEPTS, LABEL_SETS


def file_name(report: EmotionReport) -> str:
    """Return the name of the analyzed file without its folders."""
    return PurePath(report.source).name or report.source


def about_note(report: EmotionReport, say: dict[str, str]) -> str:
    """Return the note for a report that is not about people only; "" for others."""
    return say.get(f"about_{report.about}", "")


def nobody_note(report: EmotionReport, say: dict[str, str], *, pictured: bool) -> str:
    """Return the note shown in place of people; "" if the reason for having no answer already says it."""
    if report.label is None:
        return ""
    return say["unasked" if report.about == EVOKED else "nobody" if pictured else "no_picture"]


def label_name(report: EmotionReport, label: str) -> str:
    """Return a label's name in the language of the report, from its label set."""
    labels = LABEL_SETS.get(report.provenance.get("label_set", ""))
    if report.language != "zh" or labels is None or label not in labels.labels:
        return label
    return labels.chinese[labels.labels.index(label)]


def measure_name(report: EmotionReport, name: str) -> str:
    """Return the name of a cue's measurement in the language of the report; an unknown one keeps its name."""
    return in_language(MEASURES, report.language).get(name, name)


def word_name(report: EmotionReport, word: str) -> str:
    """Return an open word, the name of a concept, in the language of the report."""
    return CONCEPTS[word].chinese[0] if report.language == "zh" and word in CONCEPTS else word


def step_name(step: str, say: dict[str, str]) -> str:
    """Return the title of a reasoning step; an unknown step keeps its name."""
    return say.get(f"step_{step}", step)


def ranked(distribution: dict[str, float]) -> list[tuple[str, float]]:
    """Return (label, share) pairs, the largest share first."""
    return sorted(distribution.items(), key=lambda pair: -pair[1])


def signed(value: float) -> str:
    """Format a number with two decimals and its sign (a real minus); zero has no sign."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def times(factor: float) -> str:
    """Format a factor such as ×1.80; very large and small ones are shown as bounds."""
    return "×>100" if factor > 100 else "×<0.01" if factor < 0.01 else f"×{factor:.2f}"


def measurement(value: float) -> str:
    """Format a measurement with three significant digits, without an exponent if it stays short."""
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"
    return text.replace("-", "−", 1) if value < 0 else text


def one_line(text: str) -> str:
    """Return text on one line without control characters, which could move a terminal's cursor or colours."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())

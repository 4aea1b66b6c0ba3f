"""How a report's names, times and shares are written in every view; the fixed words stand in `strings`."""

from __future__ import annotations

from emotion_qwen.records import EVOKED, EmotionReport
from emotion_qwen.taxonomy import LABEL_SETS


def about_note(report: EmotionReport, say: dict[str, str]) -> str:
    """Return the sentence that marks a report which is not about people alone; "" for one that is."""
    return say.get(f"about_{report.about}", "")


def nobody_note(report: EmotionReport, say: dict[str, str], *, pictured: bool) -> str:
    """Return what stands in the place of people where there are none; the reason of no answer says it already."""
    if report.label is None:
        return ""
    return say["unasked" if report.about == EVOKED else "nobody" if pictured else "no_picture"]


def label_name(report: EmotionReport, label: str) -> str:
    """Return a label's name in the report's language, as its label set gives it."""
    labels = LABEL_SETS.get(report.provenance.get("label_set", ""))
    if report.language != "zh" or labels is None or label not in labels.labels:
        return label
    return labels.chinese[labels.labels.index(label)]


def step_name(step: str, say: dict[str, str]) -> str:
    """Return how a step of reasoning is called; one that is not known keeps its name."""
    return say.get(f"step_{step}", step)


def ranked(distribution: dict[str, float]) -> list[tuple[str, float]]:
    """Return label and share, the largest share first."""
    return sorted(distribution.items(), key=lambda pair: -pair[1])


def signed(value: float) -> str:
    """Write a number of two decimals with its sign, a real minus; zero has none."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def times(factor: float) -> str:
    """Write a factor such as ×1.80; very large and small ones are only bounded."""
    return "×>100" if factor > 100 else "×<0.01" if factor < 0.01 else f"×{factor:.2f}"


def measurement(value: float) -> str:
    """Write a measurement with three significant digits, without an exponent where it stays short."""
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"
    return text.replace("-", "−", 1) if value < 0 else text


def one_line(text: str) -> str:
    """Return text on one line without control characters, which could move a terminal's cursor or colours."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())

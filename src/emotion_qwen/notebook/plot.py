"""Draw a report with matplotlib: shares over time, valence and arousal below, in the colours of all other views.

Labels are English whatever the language of the report, because matplotlib's own font has no Chinese characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from emotion_qwen.errors import SettingsError
from emotion_qwen.extras import optional
from emotion_qwen.records import EmotionReport, Gap, Moment
from emotion_qwen.views.colours import GAP, colour_of
from emotion_qwen.views.phrases import ranked
from emotion_qwen.views.playhead import clip_span

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXTRA = "notebook"
SIZE, PICTURE_SIZE = (9.0, 4.4), (6.0, 3.2)
"""Width and height in inches."""
VALENCE, AROUSAL, INK = "#0072B2", "#D55E00", "#555B66"
"""Of Okabe and Ito's palette; arousal is also dashed."""


def draw_arc(report: EmotionReport, person: int | None = None) -> Figure:
    """Draw the arc of emotions of a clip, or of one person in it; of a picture, the shares as bars.

    Args:
        report: the report.
        person: number of a person, from 1; None draws the clip.

    Raises:
        MissingPackage: matplotlib is not installed.
        SettingsError: there is no such person.
    """
    plots = optional("matplotlib.pyplot", EXTRA)  # importing it also makes notebooks show figures
    timeline, distribution = report.timeline, report.distribution
    if person is not None:
        shown = next((p for p in report.people if p.person == person), None)
        if shown is None:
            numbers = ", ".join(str(p.person) for p in report.people) or "nobody"
            raise SettingsError(f"person {person!r} is not in {report.source!r}; expected one of: {numbers}")
        timeline, distribution = shown.timeline, shown.distribution
    figure = plots.figure(figsize=SIZE if timeline else PICTURE_SIZE, layout="constrained")
    plots.close(figure)  # a notebook would show an open figure a second time
    if timeline:
        _draw_timeline(figure, clip_span(report), timeline, report.gaps if person is None else ())
    else:
        _draw_bars(figure.subplots(), distribution)
    whose = "" if person is None else f", person {person}"
    figure.suptitle(f"{report.source}{whose}", fontsize=10, color=INK)
    return figure


def _draw_timeline(figure: Figure, span: tuple[float, float], timeline: Sequence[Moment], gaps: Sequence[Gap]) -> None:
    shares, affect = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    labels = list(timeline[0].distribution)
    for number, stretch in enumerate(_stretches(timeline)):
        times = [(moment.start + moment.end) / 2 for moment in stretch]
        times[0], times[-1] = stretch[0].start, stretch[-1].end  # the ends of the clip belong to the outer windows
        if len(stretch) == 1:
            times, stretch = [stretch[0].start, stretch[0].end], [*stretch, *stretch]
        values = np.array([[moment.distribution[label] for moment in stretch] for label in labels])
        shares.stackplot(
            times, values, colors=[colour_of(label) for label in labels], labels=labels if number == 0 else (),
            edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        valence, arousal = zip(*(moment.valence_arousal for moment in stretch), strict=True)
        affect.plot(times, valence, color=VALENCE, label="valence" if number == 0 else None)
        affect.plot(times, arousal, color=AROUSAL, linestyle="--", label="arousal" if number == 0 else None)
    for axes in (shares, affect):
        for gap in gaps:
            axes.axvspan(gap.start, gap.end, facecolor=GAP, alpha=0.25, hatch="//", edgecolor="white", linewidth=0)
    shares.set(ylim=(0, 1), ylabel="share")
    affect.set(ylim=(-1, 1), ylabel="−1 to 1", xlabel="seconds", xlim=span)
    affect.axhline(0, color=INK, linewidth=0.6)
    for axes in (shares, affect):
        upwards = axes is shares  # the legend of stacked areas is in the order in which they are stacked
        place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
        axes.legend(**place, reverse=upwards, frameon=False, fontsize=9)
        _clean(axes)


def _draw_bars(axes: Any, distribution: dict[str, float]) -> None:
    pairs = ranked(distribution)[::-1]
    labels, values = [label for label, _ in pairs], [share for _, share in pairs]
    axes.barh(labels, values, color=[colour_of(label) for label in labels])
    axes.set(xlim=(0, 1), xlabel="share")
    if not pairs:
        axes.set_title("no answer", fontsize=10)
    _clean(axes)


def _stretches(timeline: Sequence[Moment]) -> list[list[Moment]]:
    """Divide a timeline where windows neither overlap nor touch: between them, there is no answer."""
    stretches = [[timeline[0]]]
    for before, moment in pairwise(timeline):
        if moment.start > before.end + 1e-6:
            stretches.append([])
        stretches[-1].append(moment)
    return stretches


def _clean(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)

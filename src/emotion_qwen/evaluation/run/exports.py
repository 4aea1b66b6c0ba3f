"""A leaderboard as files for papers and other tools: LaTeX, CSV, JSON, Hugging Face's model-index, lmms-eval's results.

Shares are percentages in LaTeX and in the model index, and shares from 0 to 1 in CSV, JSON and lmms-eval's form.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from emotion_qwen import __version__
from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.evaluation.run.leaderboard import Leaderboard, Standing
from emotion_qwen.evaluation.scoring.records import Score
from emotion_qwen.files import write_whole

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
WIDTH_OF_95 = 2 * 1.959963984540054
"""Width of a 95 % interval of a normal distribution in standard errors."""


def export_board(board: Leaderboard, path: Path) -> None:
    """Write a leaderboard in the form that the ending of a file names; see `FORMS`.

    Raises:
        SettingsError: the ending is unknown.
    """
    name = path.name.lower()
    ending = next((ending for ending in FORMS if name.endswith(ending)), None)
    if ending is None:
        raise SettingsError(unknown_choice("ending of an export", path.suffix or path.name, FORMS))
    write_whole(path, FORMS[ending](board))


def title_of(standing: Standing) -> str:
    """Return the title of a set with its wording, split, language and variant, where they are not the usual ones."""
    task = standing.task
    usual = standing.split in ("", task.splits[0])
    more = [
        task.prompt if task.column != task.name else "",
        "" if usual else f"split {standing.split}",
        "" if standing.language == "en" else "Chinese",
        standing.variant,
    ]
    return ", ".join(filter(None, (task.title, *more)))


def as_points(score: Score) -> tuple[float, float, float]:
    """Return value, low and high as they are shown: percentages of shares, other scores unchanged."""
    factor = 100 if score.share else 1
    return score.value * factor, score.low * factor, score.high * factor


def _record(standing: Standing) -> dict[str, Any]:
    score = standing.score
    return {
        "model": standing.model,
        "task": standing.task.name,
        "title": standing.task.title,
        "wording": standing.task.prompt,
        "language": standing.language,
        "split": standing.split,
        "variant": standing.variant,
        "score": score.name,
        "value": _number(score.value),
        "low": _number(score.low),
        "high": _number(score.high),
        "items": score.items,
        "coverage": _number(standing.coverage),
        "parse_rate": _number(standing.parse_rate),
        "commonest_answer": None if standing.floor is None else _number(standing.floor),
        "trained": standing.trained,
    }


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


def board_as_json(board: Leaderboard) -> str:
    """Write all standings with the authors' figures, the means, and what could not be scored."""
    rows = [{**_record(standing), "as_released": dict(standing.released)} for standing in board.standings]
    means = [
        {"model": model, "language": language, "variant": variant, "score": score.name, "value": _number(score.value),
         "low": _number(score.low), "high": _number(score.high), "note": note}
        for (model, language, variant), (score, note) in board.means.items()
    ]  # fmt: skip
    record = {"version": __version__, "standings": rows, "means": means, "unscored": dict(board.unscored)}
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def board_as_csv(board: Leaderboard) -> str:
    """Write one row per model and set; the authors' figures are not in this table."""
    text = io.StringIO(newline="")
    rows = [_record(standing) for standing in board.standings]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def latex(text: str) -> str:
    """Escape a text for LaTeX."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def board_as_latex(board: Leaderboard) -> str:
    """Write a table with one row per set and one column per model, for the package booktabs."""
    lines = [
        f"% Emotion-Qwen {__version__}; 95 % intervals in brackets; shares in percent",
        rf"\begin{{tabular}}{{ll{'r' * len(board.models)}}}",
        r"\toprule",
        " & ".join(["Set", "Score", *map(latex, board.models)]) + r" \\",
        r"\midrule",
    ]
    for row in board.rows:
        standings = [board.at(row, model) for model in board.models]
        first = next(standing for standing in standings if standing is not None)
        cells = [_latex_cell(standing.score) if standing else "--" for standing in standings]
        lines.append(" & ".join([latex(title_of(first)), latex(first.score.name), *cells]) + r" \\")
    for language, variant in dict.fromkeys((key[1], key[2]) for key in board.means):
        shown = [board.means.get((model, language, variant)) for model in board.models]
        name = next(mean[0].name for mean in shown if mean)
        title = ", ".join(filter(None, (name, "" if language == "en" else "Chinese", variant)))
        lines += [
            r"\midrule",
            " & ".join([latex(title), "mean", *(_latex_cell(m[0]) if m else "--" for m in shown)]) + r" \\",
        ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_cell(score: Score) -> str:
    if not np.isfinite(score.value):
        return "--"
    digits = 1 if score.share else 2
    value, low, high = (f"{number:.{digits}f}" for number in as_points(score))
    return rf"{value} {{\scriptsize [{low}, {high}]}}"


def as_model_index(board: Leaderboard) -> str:
    """Write Hugging Face's `model-index` for the head of a model card, one entry per model, values not verified."""
    entries = []
    for model in board.models:
        results = []
        for standing in (s for s in board.standings if s.model == model and np.isfinite(s.score.value)):
            unit = " (percent)" if standing.score.share else ""
            results.append(
                {
                    "task": {"type": _kind(standing), "name": standing.task.title},
                    "dataset": {"name": title_of(standing), "type": standing.task.name, "split": standing.split},
                    "metrics": [
                        {
                            "type": re.sub(r"\W+", "_", standing.score.name.lower()).strip("_"),
                            "name": f"{standing.score.name}{unit}",
                            "value": round(as_points(standing.score)[0], 4),
                            "verified": False,
                        }
                    ],
                    "source": {"name": f"Emotion-Qwen {__version__}, emotion-qwen eval"},
                }
            )
        entries.append({"name": model, "results": results})
    return yaml.safe_dump({"model-index": entries}, sort_keys=False, allow_unicode=True)


def _kind(standing: Standing) -> str:
    return "visual-question-answering" if standing.task.domain == "general" else "video-text-to-text"


def as_lmms_eval(board: Leaderboard) -> str:
    """Write the results in the form of lmms-eval's `*_results.json`, if there is one model.

    The standard error is that of a normal distribution with the same interval.

    Raises:
        SettingsError: there are several models.
    """
    if len(board.models) > 1:
        raise SettingsError(
            f"{len(board.models)} models ({', '.join(board.models)}); lmms-eval's form holds one, give its folder alone"
        )
    results: dict[str, dict[str, Any]] = {}
    counts: dict[str, dict[str, int]] = {}
    for standing in board.standings:
        name = f"emotion_qwen_{standing.task.column.replace('.', '_')}" + ("_zh" if standing.language == "zh" else "")
        name += f" ({standing.variant})" if standing.variant else ""
        results[name] = {"alias": title_of(standing)}
        for score in standing.result.scores:
            key = re.sub(r"\W+", "_", score.name.lower()).strip("_")
            results[name][f"{key},none"] = _number(score.value)
            results[name][f"{key}_stderr,none"] = _number((score.high - score.low) / WIDTH_OF_95)
        results[name]["read_rate,none"] = _number(standing.parse_rate * standing.coverage)
        counts[name] = {"original": standing.items, "effective": standing.items}
    record = {
        "results": results,
        "n-samples": counts,
        "config": {"model": board.models[0], "emotion_qwen": __version__},
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


FORMS: dict[str, Callable[[Leaderboard], str]] = {
    ".lmms.json": as_lmms_eval,
    ".json": board_as_json,
    ".csv": board_as_csv,
    ".tex": board_as_latex,
    ".yaml": as_model_index,
    ".yml": as_model_index,
}
"""Ending of a file -> its form; the first that fits counts."""

"""Measure the explanations in stored reports, or in the answers of a run, each beside its floor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from emotion_qwen.errors import DataError, listed
from emotion_qwen.evaluation.run.predictions import HEADER, Prediction, read_all, that_count
from emotion_qwen.evaluation.run.runner import read_items
from emotion_qwen.evaluation.run.score import folders_of
from emotion_qwen.evaluation.scoring.explanations import FLOOR, GAIN, score_explanations
from emotion_qwen.evaluation.scoring.records import Score
from emotion_qwen.evaluation.task import Item
from emotion_qwen.export.reports import ReportFiles
from emotion_qwen.matching.answer import match_label
from emotion_qwen.records import GENERATED, EmotionReport
from emotion_qwen.taxonomy import LABEL_SETS, LabelSet
from emotion_qwen.verify.claims import UNSTORED, count_claims, facts_of_report
from emotion_qwen.verify.cues import cue_overlaps
from emotion_qwen.verify.explanations import CONCLUSION, explanation_of, steps_text
from emotion_qwen.verify.measures import DRAWS, Compare, Explained, Measured, measure_agreement, measure_with_floor
from emotion_qwen.verify.sentences import LABELS, read_columns
from emotion_qwen.verify.verifier import Verifier

Row = tuple[Score, Score, Score, float | None]
"""A measure, its floor, its gain over the floor, and the best constant; None where that is not defined."""
CLAIMS, CUES, KEPT = "claims confirmed", "cue F", "label kept"


@dataclass(frozen=True, eq=False)
class ExplanationScores:
    """Scores of one source of explanations.

    Attributes:
        name: of the source.
        items: number of its answers.
        empty: number of those without an explanation.
        rows: for each measure the score, its floor, its gain and its constant, with what was left out.
        unknown: labels that the verifier does not know -> number of answers left out.
        notes: what a reader must know.
    """

    name: str
    items: int
    empty: int
    rows: Sequence[Row]
    unknown: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the content for JSON."""
        measures = {
            score.name: {
                **{name: {"value": round(s.value, 6), "low": round(s.low, 6), "high": round(s.high, 6)}
                   for name, s in (("score", score), (FLOOR, floor), (GAIN, gain))},
                "constant": None if constant is None else round(constant, 6),
                "items": score.items,
            }
            for score, floor, gain, constant in self.rows
        }  # fmt: skip
        counts = {"name": self.name, "items": self.items, "without_explanation": self.empty}
        return {**counts, "measures": measures, "unknown_labels": dict(self.unknown), "notes": list(self.notes)}


@dataclass(frozen=True)
class References:
    """What is correct for each clip: label and text, either of which may be missing.

    Attributes:
        labels: clip, by its path or the name of its file -> label.
        texts: likewise -> correct explanation.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def read_references(path: Path) -> References:
    """Read a file with a column `clip`, and `label` or `text` or both.

    Raises:
        DataError: the file cannot be read, or has no such columns.
    """
    rows = list(read_columns(path))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    label = next((name for name in LABELS if name in columns), "")
    if "clip" not in columns or not (label or "text" in columns):
        raise DataError(
            f"{str(path)!r} has the columns {listed(columns, 8) or 'none'}; expected clip, and label or text or both"
        )
    labels = {str(row["clip"]): str(row[label]).strip() for row in rows if label and row.get(label)}
    return References(labels, {str(row["clip"]): str(row["text"]) for row in rows if row.get("text")})


def score_sources(
    paths: Sequence[Path], verifier: Verifier, references: References | None = None, draws: int = DRAWS, seed: int = 0
) -> list[ExplanationScores]:
    """Measure every source: all reports together, and each task of each run on its own.

    Args:
        paths: files or folders of reports, and folders that `eval` wrote.
        verifier: reads the explanations.
        references: correct labels and texts of the reports' clips.
        draws: number of times that explanations are moved to other clips.
        seed: of these draws and of the bootstrap.

    Raises:
        DataError: a path holds neither, or a source has fewer than two clips with a readable label.
        CheckpointError: an explanation is in a language that the verifier was not trained for.
    """
    runs = [path for path in paths if path.is_dir() and any(path.glob(f"*/{HEADER}"))]
    runs += [path for path in paths if path.is_dir() and path not in runs and any(path.glob(f"*/*/{HEADER}"))]
    scores = [score_predictions(folder, verifier, draws, seed) for run in runs for folder in folders_of(run)]
    others = [path for path in paths if path not in runs]
    if others:
        reports = [entry for entry in ReportFiles(others) if isinstance(entry, EmotionReport)]
        scores.append(score_reports(reports, verifier, references or References(), draws, seed))
    return scores


def score_reports(
    reports: Sequence[EmotionReport], verifier: Verifier, references: References, draws: int = DRAWS, seed: int = 0
) -> ExplanationScores:
    """Measure the explanations of reports: their steps of reasoning, else what the model wrote about the clip.

    The model's own answer is the conclusion of the steps, else the label of the report. Errors: see `score_sources`.
    """
    answered = [report for report in reports if report.label is not None]
    texts = [_explanation(report) for report in answered]
    clips = [report.source for report in answered]
    items = [
        Explained(report.source, text, _answer(report), _of_clip(references.labels, report.source))
        for report, text in zip(answered, texts, strict=True)
    ]
    rows, unknown = _agreement(items, verifier, draws, seed)
    facts = [facts_of_report(report) for report in answered]
    checkable = [row for row, text in enumerate(texts) if count_claims(text, facts[row], UNSTORED).checkable]
    if len({clips[row] for row in checkable}) > 1:

        def confirmed(order: Sequence[int]) -> list[float]:
            counts = [
                count_claims(texts[checkable[moved]], facts[row], UNSTORED)
                for moved, row in zip(order, checkable, strict=True)
            ]
            return [count.confirmed / max(count.checkable, 1) for count in counts]

        rows.append(_scored(CLAIMS, [clips[row] for row in checkable], confirmed, draws, seed))
    again = [row for row, report in enumerate(answered) if report.verification and report.verification.reflected]
    if len({clips[row] for row in again}) > 1:
        reflected = [answered[row].verification.reflected for row in again]  # type: ignore[union-attr]

        def kept(order: Sequence[int]) -> list[float]:
            return [float(reflected[moved] == items[row].answer) for moved, row in zip(order, again, strict=True)]

        rows.append(_scored(KEPT, [clips[row] for row in again], kept, draws, seed))
    right = [_of_clip(references.texts, clip) for clip in clips]
    with_text = [row for row, text in enumerate(right) if text]
    if len({clips[row] for row in with_text}) > 1:
        pairs = [(clips[row], texts[row], right[row] or "") for row in with_text]
        rows.append(_cues(pairs, verifier, draws, seed))
    notes = [f"{len(reports) - len(answered)} reports without an answer left out"] * (len(reports) > len(answered))
    if checkable:
        notes.append(f"{CLAIMS}: over the {len(checkable)} reports with a claim about face, words or emotion")
    return ExplanationScores("reports", len(answered), texts.count(""), rows, unknown, tuple(notes))


def score_predictions(folder: Path, verifier: Verifier, draws: int = DRAWS, seed: int = 0) -> ExplanationScores:
    """Measure the replies of one task of a run: to closed questions by their labels, to free ones by their cues.

    Raises:
        DataError: no reply is a text, or see `score_sources`.
    """
    items: dict[tuple[str, str], Item] = {(item.id, item.language): item for item in read_items(folder)}
    lines = [line for line in that_count(read_all(folder)).values() if line.key in items and line.text is not None]
    name = f"{folder.parent.name}/{folder.name}"
    if not lines:
        raise DataError(f"{name}: no answer is a text with an explanation; ask for replies (eval --replies)")
    closed = [line for line in lines if items[line.key].choices]
    free = [line for line in lines if not items[line.key].choices]
    rows: list[Row] = []
    unknown: Mapping[str, int] = {}
    explained = [_explained(line, items[line.key]) for line in closed]
    if explained:
        rows, unknown = _agreement(explained, verifier, draws, seed)
    if free:
        pairs = [(_clip(items[line.key]), explanation_of(line.text or ""), line.answer) for line in free]
        rows.append(_cues(pairs, verifier, draws, seed))
    empty = sum(not explanation_of(line.text or "") for line in lines)
    return ExplanationScores(name, len(lines), empty, rows, unknown)


def _explained(line: Prediction, item: Item) -> Explained:
    scored = item.scored()
    labels = LABEL_SETS.get(item.label_set) or LabelSet("of the item", scored.allowed, scored.allowed, "")
    answer = match_label(line.text or "", labels)
    return Explained(_clip(item), explanation_of(line.text or ""), answer, scored.references[0])


def _clip(item: Item) -> str:
    return item.cluster or item.id


def _explanation(report: EmotionReport) -> str:
    if report.reasoning:
        return steps_text(report.reasoning)
    written = [sentence.text for sentence in report.rationale if sentence.kind == GENERATED]
    return " ".join(written) or report.summary


def _answer(report: EmotionReport) -> str | None:
    name = report.provenance.get("label_set", "")
    labels = LABEL_SETS.get(name) or LabelSet(name, tuple(report.distribution), tuple(report.distribution), "")
    concluded = report.reasoning.get(CONCLUSION)
    return report.label if concluded is None else match_label(concluded, labels)


def _of_clip(values: Mapping[str, str], source: str) -> str | None:
    return values.get(source) or values.get(PurePath(source).name) or values.get(PurePath(source).stem)


def _agreement(
    items: Sequence[Explained], verifier: Verifier, draws: int, seed: int
) -> tuple[list[Row], Mapping[str, int]]:
    measures, unknown = measure_agreement(items, verifier, draws, seed)
    return [_row(measured, seed) for measured in measures], unknown


def _scored(name: str, clips: Sequence[str], compare: Compare, draws: int, seed: int) -> Row:
    return _row(measure_with_floor(name, clips, compare, draws, seed), seed)


def _cues(pairs: Iterable[tuple[str, str, str]], verifier: Verifier, draws: int, seed: int) -> Row:
    clips, texts, right = (list(column) for column in zip(*pairs, strict=True))

    def compare(order: Sequence[int]) -> list[float]:
        return [overlap.f1 for overlap in cue_overlaps([texts[row] for row in order], right, verifier)]

    return _scored(CUES, clips, compare, draws, seed)


def _row(measured: Measured, seed: int) -> Row:
    scores = score_explanations(measured, seed=seed)
    return scores[measured.name], scores[FLOOR], scores[GAIN], measured.constant

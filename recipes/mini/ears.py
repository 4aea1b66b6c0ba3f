"""Train mini's audio side: the first layers of Whisper's encoder, unchanged, followed by a compressor.

The compressor is trained on acted emotional speech in four languages (`ears_voices.py`) with a frozen encoder
(`ears_features.py`) and two heads that are discarded afterwards. One pools the tokens of a voice by attention, mean and
deviation; the other is one linear layer on their mean, so that the information is easily accessible to a language
model. Each answers twice: once for any voice, and once with additional weights for the voice's own corpus, because
actors, instructions and label sets differ. Only the labels of a voice's corpus count. A corpus that was not used for
training is always answered with the common weights.

Figures come from held-out speakers: every speaker is held out once, in folds, and in addition a whole language is
held out. `ears_page.py` writes the page.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import nn

from emotion_qwen.model.audio import AudioCompressor, group_statistics
from emotion_qwen.model.configuration import EmotionQwenAudioConfig
from recipes.mini.ears_features import Features
from recipes.mini.ears_voices import CORPORA, LABELS, TRAINING, Voice, labels_of

WIDTH = 576  # of SmolLM2-135M
FOLDS = 5
WITHHELD = "nEMO"


@dataclass(frozen=True)
class EarsRun:
    """Settings of one training.

    Attributes:
        passes: over the voices.
        learning_rate: at its highest; a cosine leads down from there.
        batch_size: voices per step.
        weight_decay: of matrices.
        smoothing: share of the target that all labels of the corpus get alike.
        mixed: parameter of the Beta distribution that mixes the frames of two voices; 0 leaves them alone.
        dropout: in the heads.
        balance: corpora are drawn in proportion to their size to the power of this.
        seed: of all random choices.
    """

    passes: int = 24
    learning_rate: float = 1e-3
    batch_size: int = 64
    weight_decay: float = 0.1
    smoothing: float = 0.1
    mixed: float = 0.3
    dropout: float = 0.4
    balance: float = 0.6
    seed: int = 0


class EarsStudent(nn.Module):
    """The compressor of an audio side and the heads with which it is trained.

    Args:
        config: of the audio side.
        dropout: before the heads.
    """

    def __init__(self, config: EmotionQwenAudioConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.compressor = AudioCompressor(config, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = nn.Linear(WIDTH, 1)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(2 * WIDTH, (1 + len(TRAINING)) * len(LABELS))
        self.reader = nn.Linear(WIDTH, (1 + len(TRAINING)) * len(LABELS))

    def forward(self, groups: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits of both heads, each (B, 1 + corpora, labels): the common ones, then those of each corpus.

        Args:
            groups: (B, T, 2 width) statistics of groups of frames.
            mask: (B, T) which groups are there.
        """
        compressor = self.compressor
        tokens = groups.new_zeros(*mask.shape, WIDTH)
        tokens[mask] = self.norm(compressor.mlp(compressor.norm(groups[mask])))  # most of a batch may be padding
        weights = self.attention(tokens)[..., 0].masked_fill(~mask, -math.inf).softmax(1)[..., None]
        mean = (weights * tokens).sum(1)
        deviation = ((weights * (tokens - mean[:, None]).square()).sum(1) + 1e-5).sqrt()
        plain = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        pooled = self.head(self.drop(torch.cat([mean, deviation], 1)))
        return _answers(pooled), _answers(self.reader(self.drop(plain)))


def _answers(outputs: torch.Tensor) -> torch.Tensor:
    logits = outputs.view(len(outputs), 1 + len(TRAINING), len(LABELS))
    return torch.cat([logits[:, :1], logits[:, :1] + logits[:, 1:]], 1)


@dataclass(frozen=True)
class Lesson:
    """The data of a training.

    Attributes:
        groups: per rendering, one (T, 2 width) fp32 tensor per voice: statistics of its groups of frames.
        labels: (N,) numbers in `LABELS`.
        allowed: (N, labels) which labels the corpus of the voice has.
        corpora: (N,) names.
        speakers: (N,) names.
    """

    groups: list[list[torch.Tensor]]
    labels: torch.Tensor
    allowed: torch.Tensor
    corpora: np.ndarray
    speakers: np.ndarray


def lesson(voices: list[Voice], renderings: Iterable[Features], group: int) -> Lesson:
    """Gather voices and the statistics of their frames in groups of `group`."""
    have = labels_of(voices)
    allowed = torch.tensor([[label in have[voice.corpus] for label in LABELS] for voice in voices])
    return Lesson(
        [[_statistics(part.voice(number), group) for number in range(len(voices))] for part in renderings],
        torch.tensor([LABELS.index(voice.label) for voice in voices]),
        allowed,
        np.array([voice.corpus for voice in voices]),
        np.array([voice.speaker for voice in voices]),
    )


def _statistics(frames: np.ndarray, group: int) -> torch.Tensor:
    if not len(frames):  # of a rendering that leaves this voice out
        return torch.zeros(0, 2 * frames.shape[1])
    return group_statistics(torch.from_numpy(frames.astype(np.float32)).view(-1, group, frames.shape[1]))


def train_ears(material: Lesson, rows: np.ndarray, config: EmotionQwenAudioConfig, run: EarsRun) -> EarsStudent:
    """Train a compressor on some voices.

    Args:
        material: all voices.
        rows: numbers of those to learn from.
        config: of the audio side.
        run: how.

    Returns:
        The student, in evaluation mode.
    """
    torch.manual_seed(run.seed)
    random = np.random.default_rng(run.seed)
    student = EarsStudent(config, run.dropout)
    optimizer = torch.optim.AdamW(student.parameters(), run.learning_rate, weight_decay=run.weight_decay)
    steps = run.passes * math.ceil(len(rows) / run.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    sizes = {corpus: int((material.corpora[rows] == corpus).sum()) for corpus in TRAINING}
    chances = np.array([sizes[corpus] ** (run.balance - 1) for corpus in material.corpora[rows]])
    for _ in range(steps):
        picked = random.choice(rows, run.batch_size, p=chances / chances.sum())
        loss = _loss(student, material, picked, run, random)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return student.eval()


def _rate(progress: float) -> float:
    return min(1.0, progress / 0.05) * 0.5 * (1 + math.cos(math.pi * progress))


def _loss(
    student: EarsStudent, material: Lesson, picked: np.ndarray, run: EarsRun, random: np.random.Generator
) -> torch.Tensor:
    drawn = random.integers(len(material.groups), size=len(picked))
    groups, mask = _padded([material.groups[r][n] for r, n in zip(drawn, picked, strict=True)])
    allowed = material.allowed[picked]
    targets = F.one_hot(material.labels[picked], len(LABELS)) * (1 - run.smoothing)
    targets = targets + run.smoothing * allowed / allowed.sum(1, keepdim=True)
    corpora = material.corpora[picked]
    if run.mixed:
        share = torch.from_numpy(random.beta(run.mixed, run.mixed, len(picked))).float()
        share = torch.maximum(share, 1 - share)
        other = torch.arange(len(picked))
        for corpus in TRAINING:  # its weights learn from its own voices alone
            places = np.flatnonzero(corpora == corpus)
            other[places] = torch.from_numpy(random.permutation(places))
        both = mask & mask[other]
        mixed = share[:, None, None] * groups + (1 - share)[:, None, None] * groups[other]
        groups = torch.where(both[..., None], mixed, groups)
        weight = ((1 - share) * both.sum(1) / mask.sum(1))[:, None]
        targets = (1 - weight) * targets + weight * targets[other]
    own = torch.tensor([1 + TRAINING.index(corpus) for corpus in corpora])
    batch, loss = torch.arange(len(picked)), torch.zeros(())
    for logits in student(groups, mask):
        loss = (
            loss + _cross_entropy(logits[:, 0], targets, allowed) + _cross_entropy(logits[batch, own], targets, allowed)
        )
    return loss / 2


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    shares = logits.masked_fill(~allowed, -1e4).log_softmax(-1)
    return -(targets * shares).sum(-1).mean()


def _padded(parts: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(part) for part in parts])
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    return nn.utils.rnn.pad_sequence(list(parts), batch_first=True), mask


@torch.no_grad()
def answers(student: EarsStudent, material: Lesson, rows: np.ndarray, common: bool = False) -> tuple[Any, Any]:
    """Return the label numbers that both heads name for voices, among the labels of their corpus: two (R,) arrays.

    Args:
        student: trained.
        material: all voices.
        rows: numbers of those to name.
        common: by the common weights alone; otherwise by those of the voice's corpus, if it has some.
    """
    named: tuple[list, list] = ([], [])
    for part in np.array_split(rows, max(1, len(rows) // 256)):
        groups, mask = _padded([material.groups[0][number] for number in part])
        corpora = [None if common else corpus for corpus in material.corpora[part]]
        for head, logits in zip(named, student(groups, mask), strict=True):
            head.append(best_labels(logits, corpora, material.allowed[part]))
    return torch.cat(named[0]).numpy(), torch.cat(named[1]).numpy()


def best_labels(logits: torch.Tensor, corpora: Sequence[str | None], allowed: torch.Tensor) -> torch.Tensor:
    """Return the likeliest allowed label (B,) from (B, 1 + corpora, labels) logits, by each corpus' own answer."""
    place = [1 + TRAINING.index(corpus) if corpus in TRAINING else 0 for corpus in corpora]
    return logits[torch.arange(len(place)), place].masked_fill(~allowed, -math.inf).argmax(-1)


def cross_validate(
    material: Lesson, fold_of: np.ndarray, config: EmotionQwenAudioConfig, run: EarsRun, output: Path
) -> list[dict[str, Any]]:
    """Train once per fold on the speakers of all others, and once without `WITHHELD`; one line each, for resuming.

    Returns:
        Lines with `left_out`, and for the voices left out their `rows` and what both heads named.
    """
    lines = [json.loads(line) for line in output.read_text().splitlines()] if output.is_file() else []
    lines = [line for line in lines if line["run"] == asdict(run)]
    trains = np.isin(material.corpora, TRAINING)
    jobs = {str(fold): fold_of == fold for fold in range(FOLDS)} | {WITHHELD: material.corpora == WITHHELD}
    for name in track([name for name in jobs if name not in {line["left_out"] for line in lines}], "folds"):
        rows = np.flatnonzero(trains & ~jobs[name])
        student = train_ears(material, rows, config, run)
        left = np.flatnonzero(jobs[name] & trains)
        pooled, read = answers(student, material, left, common=name == WITHHELD)
        line = {"left_out": name, "rows": left.tolist(), "pooled": pooled.tolist(), "read": read.tolist()}
        lines.append(line | {"run": asdict(run)})
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("".join(json.dumps(entry) + "\n" for entry in lines), encoding="utf-8")
    return lines


def speaker_interval(right: np.ndarray, speakers: np.ndarray, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a share over speakers with their voices: (N,) bool and (N,) names."""
    random = np.random.default_rng(seed)
    names = sorted(set(speakers.tolist()))
    counts = np.array([[right[speakers == name].sum(), (speakers == name).sum()] for name in names])
    drawn = [counts[random.integers(0, len(names), len(names))].sum(0) for _ in range(draws)]
    low, high = np.percentile([hits / voices for hits, voices in drawn], [2.5, 97.5])
    return float(low), float(high)


def summary(material: Lesson, rows: np.ndarray, named: np.ndarray) -> dict[str, Any]:
    """Return accuracy in percent with its interval, recall of each label and counts, for voices of one corpus."""
    truth = material.labels[rows].numpy()
    right, speakers = truth == named, material.speakers[rows]
    recall = {
        LABELS[label]: round(100 * float(right[truth == label].mean()), 1) for label in sorted(set(truth.tolist()))
    }
    low, high = speaker_interval(right, speakers)
    return {
        "voices": len(rows),
        "speakers": len(set(speakers.tolist())),
        "accuracy": round(100 * float(right.mean()), 1),
        "interval": [round(100 * low, 1), round(100 * high, 1)],
        "unweighted": round(float(np.mean(list(recall.values()))), 1),
        "recall": recall,
    }


def summaries(material: Lesson, lines: list[dict[str, Any]], head: str) -> dict[str, Any]:
    """Summarise the lines of a cross-validation by corpus, for the head "pooled" or "read"."""
    named = np.full(len(material.labels), -1)
    for line in lines:
        if line["left_out"] != WITHHELD:
            named[line["rows"]] = line[head]
    out = {}
    for corpus in CORPORA:
        rows = np.flatnonzero((material.corpora == corpus) & (named >= 0))
        if len(rows):
            out[corpus] = summary(material, rows, named[rows])
    for line in lines:
        if line["left_out"] == WITHHELD:
            out[f"{WITHHELD} withheld"] = summary(material, np.array(line["rows"]), np.array(line[head]))
    return out

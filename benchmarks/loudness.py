"""How often does the level of a recording decide its label?

Voices of validation splits are written as 16-bit WAV files at several gains, full scale clips, and analyzed from the
file as users' files are.

    python benchmarks/loudness.py ../shared/data
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from scipy.io import wavfile

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.media.sound import SAMPLE_RATE, SoundBytes, read_sound

GAINS = (0.0, -12.0, -24.0, 6.0)  # dB; the first is what the others are compared with
TABLES = ("speech_emodb", "speech_ravdess", "speech_more")


def voices(data: Path, count: int) -> Iterator[np.ndarray]:
    """Give `count` waves, (S,) float32 at 16 kHz, of each table's validation split, spread over it."""
    for name in TABLES:
        table = parquet.read_table(data / f"{name}.parquet", columns=["audio", "split"])
        rows = np.flatnonzero(np.asarray(table["split"]) == "validation")
        for row in rows[np.linspace(0, len(rows) - 1, count).astype(int)]:
            yield read_sound(SoundBytes(table["audio"][int(row)].as_py(), f"{name}, row {row}")).wave


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=20, help="voices of each table")
    options = parser.parse_args()
    analyzer = Analyzer.load()
    changed, moved, items = dict.fromkeys(GAINS, 0), {gain: [] for gain in GAINS}, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "voice.wav"
        for wave in voices(options.data, options.count):
            reports = []
            for gain in GAINS:
                samples = np.clip(wave * 10 ** (gain / 20), -1, 1) * 32767
                wavfile.write(path, SAMPLE_RATE, np.rint(samples).astype(np.int16))
                reports.append(analyzer.analyze(path))
            items += 1
            for gain, report in zip(GAINS, reports, strict=True):
                changed[gain] += report.label != reports[0].label
                shares = [abs(share - reports[0].distribution[name]) for name, share in report.distribution.items()]
                moved[gain].append(sum(shares) / 2)
    for gain in GAINS:
        share = np.mean(moved[gain])
        print(f"{gain:+.0f} dB: {changed[gain]} of {items} labels changed, {share:.3f} of the distribution moved")


if __name__ == "__main__":
    main()

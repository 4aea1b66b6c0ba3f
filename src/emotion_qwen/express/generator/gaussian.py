"""The simplest generator that learns: one normal distribution of the facial actions per emotion.

Its mean moves linearly with the intensity. Guidance pushes the mean away from that of all emotions, as guidance without
a classifier does in a network. It is the baseline that a network must beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from emotion_qwen.errors import CheckpointError
from emotion_qwen.express.prototypes import PROTOTYPES
from emotion_qwen.express.track import CHANNELS, EMOTIONS
from emotion_qwen.files import write_whole

SHRINKAGE = 0.02
"""Share of the pooled variance that is added to the diagonal of each covariance."""


@dataclass(frozen=True, eq=False)
class EmotionGaussians:
    """Normal distributions of `CHANNELS`, one for each of `EMOTIONS`.

    Attributes:
        means: (7, 52) at the mean intensity of each emotion.
        slopes: (7, 52) change of the mean per unit of intensity.
        centres: (7,) mean intensity of each emotion.
        factors: (7, 52, 52) lower triangular factors of the covariances around the line.
        taught: (52,) bool, channels that are learned from the data; the others come from the table of prototypes.
    """

    means: np.ndarray
    slopes: np.ndarray
    centres: np.ndarray
    factors: np.ndarray
    taught: np.ndarray

    def draw(
        self,
        shares: np.ndarray,
        intensity: np.ndarray,
        noise: np.ndarray,
        *,
        guidance: float = 0.0,
        temperature: float = 1.0,
    ) -> np.ndarray:
        """Draw facial actions (B, 52), 0 to 1.

        Args:
            shares: (B, 7) shares of the emotions, in sum 1; a blend has the blended mean and deviation.
            intensity: (B,) 0 to 1.5.
            noise: (B, 52) standard normal. Equal rows give the same variant of each face.
            guidance: how far the mean is pushed away from that of all emotions; 0 is none.
            temperature: factor on the deviation.
        """
        mean = shares @ self.means + (intensity - shares @ self.centres)[:, None] * (shares @ self.slopes)
        mean = mean + guidance * (mean - self.means.mean(axis=0))
        mean = mean + temperature * np.einsum("bk,kij,bj->bi", shares, self.factors, noise)
        table = intensity[:, None] * (shares @ PROTOTYPES)
        return np.where(self.taught, mean, table).clip(0, 1)


def fit_gaussians(
    frames: np.ndarray, labels: np.ndarray, intensity: np.ndarray, taught: np.ndarray
) -> EmotionGaussians:
    """Fit the distributions.

    Args:
        frames: (N, 52) facial actions.
        labels: (N,) indices into `EMOTIONS`; each occurs.
        intensity: (N,).
        taught: (52,) bool.
    """
    count = len(EMOTIONS)
    means, slopes, centres, factors = [], [], [], []
    shares = SHRINKAGE * frames.var(axis=0) + 1e-8
    for emotion in range(count):
        rows = frames[labels == emotion]
        strength = intensity[labels == emotion]
        centre, spread = strength.mean(), strength.var()
        slope = (
            (strength - centre) @ (rows - rows.mean(axis=0)) / (len(rows) * spread) if spread > 1e-9 else 0 * rows[0]
        )
        rest = rows - rows.mean(axis=0) - (strength - centre)[:, None] * slope
        means.append(rows.mean(axis=0))
        slopes.append(slope)
        centres.append(centre)
        factors.append(np.linalg.cholesky(rest.T @ rest / len(rows) + np.diag(shares)))
    return EmotionGaussians(np.stack(means), np.stack(slopes), np.array(centres), np.stack(factors), taught)


def write_gaussians(gaussians: EmotionGaussians, path: Path) -> None:
    """Write the distributions as safetensors.

    Raises:
        StorageError: the file cannot be written.
    """
    arrays = {name: getattr(gaussians, name).astype(np.float32) for name in ("means", "slopes", "centres", "factors")}
    write_whole(path, save({**arrays, "taught": gaussians.taught.astype(np.uint8)}))


def read_gaussians(path: Path) -> EmotionGaussians:
    """Read stored distributions.

    Raises:
        CheckpointError: the file cannot be read, or contains something else.
    """
    count, width = len(EMOTIONS), len(CHANNELS)
    shapes = {
        "means": (count, width), "slopes": (count, width), "centres": (count,), "factors": (count, width, width),
        "taught": (width,),
    }  # fmt: skip
    try:
        arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{str(path)!r} cannot be read ({error}); expected distributions of emotions") from error
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise CheckpointError(f"{str(path)!r} holds {sorted(arrays)}; expected {sorted(shapes)} with their shapes")
    means, slopes, centres, factors = (
        arrays[name].astype(np.float64) for name in ("means", "slopes", "centres", "factors")
    )
    return EmotionGaussians(means, slopes, centres, factors, arrays["taught"].astype(bool))

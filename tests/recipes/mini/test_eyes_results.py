import itertools

import numpy as np
import pytest
import torch

from recipes.mini.eyes_data import ALIGNED, EMOTIONS, FERPLUS, SIDE, LabelledFaces
from recipes.mini.eyes_results import explained, judged, page, peer_classifier, proportion, score, votes_divergence
from recipes.mini.peer import Peer


def faces(targets: list[list[float]]) -> LabelledFaces:
    count = len(targets)
    pixels = np.zeros((count, SIDE, SIDE), np.uint8)
    pixels[:, 0, 0] = range(count)
    empty = np.full((count, 45), np.nan), np.full((count, 3), np.nan)
    return LabelledFaces(tuple("abcd"[:count]), pixels, np.asarray(targets, np.float32), np.full(count, -1), *empty)


def test_r2_is_one_for_the_truth_and_nothing_for_the_mean():
    wanted = np.array([[1.0, 1.0, 4.0], [2.0, 3.0, 0.0], [6.0, 5.0, 2.0]])
    measured = np.array([[1.0, 3.0, 0.0], [2.0, 3.0, 4.0], [6.0, 3.0, 2.0]])
    assert explained(measured, wanted) == pytest.approx([1.0, 0.0, -3.0])


def test_a_share_has_wilsons_interval():
    share = proportion(8, 10)  # Wilson 1927: 49.0 to 94.3
    assert share == {"right": 8, "of": 10, "percent": 80.0, "interval": [49.0, 94.3]}


def test_ferplus_is_judged_on_clear_faces_and_seven_labels_leave_contempt_out():
    targets = [[0.6, 0.4, 0, 0, 0, 0, 0, 0], [0.5, 0.3, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0.9]]
    probabilities = np.array([[0.3, 0.2, 0, 0, 0, 0, 0, 0.5]] * 3)
    answers = judged(FERPLUS, faces(targets), probabilities)
    assert answers.labels.tolist() == [0, 7] and answers.answers.tolist() == [7, 7]
    seven = judged(ALIGNED, faces(targets), probabilities)
    assert seven.labels.tolist() == [0, 0] and seven.answers.tolist() == [0, 0]


def test_divergence_is_zero_for_the_votes_themselves():
    targets = [[0.4, 0.4, 0, 0, 0, 0, 0, 0], [0, 0, 0.2, 0, 0, 0, 0, 0]]
    shares = np.array([[0.5, 0.5, 0, 0, 0, 0, 0, 0], [0, 0, 1.0, 0, 0, 0, 0, 0]])
    assert votes_divergence(faces(targets), shares) == pytest.approx(0, abs=1e-6)
    assert votes_divergence(faces(targets), np.full((2, 8), 1 / 8)) == pytest.approx((np.log(4) + np.log(8)) / 2)


def test_figures_count_per_class_and_over_all_sets_and_fill_the_page():
    names = ["anger", "anger", "fear", "neutral"]
    targets = np.eye(8)[[EMOTIONS.index(name) for name in names]].tolist()

    def classify(pixels: torch.Tensor) -> torch.Tensor:  # the first and the last are right
        number = (pixels[:, 0, 0, 0] * 255).round().long()
        places = [EMOTIONS.index(name) for name in ("anger", "fear", "sadness", "neutral")]
        return torch.eye(8)[torch.tensor(places)[number]]

    figures = score([(FERPLUS, faces(targets)), (ALIGNED, faces(targets[:2]))], classify)
    assert (figures["ferplus"]["right"], figures["ferplus"]["of"]) == (2, 4)
    assert figures["aligned"]["recalls"]["anger"]["percent"] == 50.0
    pooled = figures["pooled_recall"]
    assert (pooled["anger"]["right"], pooled["anger"]["of"], pooled["fear"]["of"]) == (2, 4, 1)
    assert pooled["disgust"] is None
    both = {**figures, "rafdb": figures["aligned"], "lfw": figures["aligned"]}
    text = page({"systems": {"eyes": both, "peer": both}})
    assert (
        "| FER2013, aligned | 50.0 (9.5 to 90.5; 1 of 2) | 50.0" in text
        and "| recall of disgust, all sets | - | - |" in text
    )


def test_the_peer_runs_on_invented_weights():
    torch.manual_seed(0)
    weights = {f"batch_normalization_{n}/{k}": torch.ones(c) for n, c in NORMS.items() for k in KINDS}
    kernels = {"conv2d_1": (3, 3, 1, 8), "conv2d_2": (3, 3, 8, 8), "conv2d_7": (3, 3, 128, 7)}
    widths = (8, 16, 32, 64, 128)
    for block, (before, after) in enumerate(itertools.pairwise(widths)):
        kernels[f"conv2d_{block + 3}"] = (1, 1, before, after)
        for number, width in ((2 * block + 1, before), (2 * block + 2, after)):
            weights[f"separable_conv2d_{number}/depthwise_kernel"] = torch.randn(3, 3, width, 1)
            weights[f"separable_conv2d_{number}/pointwise_kernel"] = torch.randn(1, 1, width, after) / width
    weights |= {f"{name}/kernel": torch.randn(shape) / 9 for name, shape in kernels.items()}
    weights["conv2d_7/bias"] = torch.zeros(7)
    probabilities = peer_classifier(Peer(weights))(torch.rand(2, 3, SIDE, SIDE))
    assert probabilities.shape == (2, 8) and probabilities.sum(1).tolist() == pytest.approx([1, 1])
    assert probabilities[:, EMOTIONS.index("contempt")].tolist() == [0, 0]


KINDS = ("gamma", "beta", "moving_mean", "moving_variance")
NORMS = {1: 8, 2: 8} | {
    n: width for width, ns in ((16, (3, 4, 5)), (32, (6, 7, 8)), (64, (9, 10, 11)), (128, (12, 13, 14))) for n in ns
}

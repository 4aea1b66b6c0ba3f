"""The expression generator: its gates, latent, guidance and prior, its storage, and the parts that can be left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from emotion_qwen.cli import main
from emotion_qwen.errors import CheckpointError, SettingsError, ShapeError
from emotion_qwen.express.generator import SIZES, ExpressionGenerator, expression_config
from emotion_qwen.express.generator.configuration import NOT_MEASURED, REGIONS, region_of
from emotion_qwen.express.generator.gaussian import EmotionGaussians, fit_gaussians, read_gaussians, write_gaussians
from emotion_qwen.express.generator.learned import GaussianFaces, NetworkFaces, at_rest_zero, read_faces
from emotion_qwen.express.prototypes import PROTOTYPES
from emotion_qwen.express.track import CHANNELS, EMOTIONS, PLACE, read_track

SMALL = {"hidden_size": 12, "latent_size": 5, "expert_size": 9, "bank_codes": 7}
SHARES = torch.eye(7)
INTENSITY = torch.tensor([1.0, 0.5, 1.5, 0.25, 0.0, 1.0, 0.75])


def small(**changes: object) -> ExpressionGenerator:
    """Return a small model whose parameters are all other than their initial ones."""
    torch.manual_seed(3)
    model = ExpressionGenerator(expression_config("nano", **{**SMALL, **changes})).eval()
    for parameter in model.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    model.set_statistics(torch.rand(52) * 0.2, 0.05 + torch.rand(52) * 0.2)
    return model


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def test_sizes_are_as_named() -> None:
    counts = {}
    for size in SIZES:
        with torch.device("meta"):
            model = ExpressionGenerator(expression_config(size))
        counts[size] = sum(parameter.numel() for parameter in model.parameters())
    assert 3.5e5 < counts["nano"] < 4.5e5 and 5e7 < counts["paper"] < 7e7


def test_every_action_has_the_region_of_its_place_in_the_face() -> None:
    assert {region_of(name) for name in CHANNELS} == set(REGIONS)
    assert [region_of(name) for name in ("noseSneerLeft", "cheekPuff", "tongueOut", "jawOpen", "eyeWideLeft")] == [
        "cheek", "cheek", "mouth", "jaw", "eye",
    ]  # fmt: skip


def test_gates_and_attention_are_weights() -> None:
    parts = small()(SHARES, INTENSITY, frames=torch.rand(7, 52))
    assert parts.global_gate.sum(dim=1) == pytest.approx(torch.ones(7))
    assert parts.code_use.sum(dim=1) == pytest.approx(torch.ones(7))
    assert parts.local_gate.shape == (7, 5, 6) and parts.code_use.shape == (7, 7)
    assert ((parts.local_gate > 0) & (parts.local_gate < 1)).all()
    assert (parts.global_gate[0] - parts.global_gate[3]).abs().max() > 0.01, "the gate must depend on the emotion"
    assert parts.divergence.shape == (7, 5) and (parts.divergence >= 0).all() and parts.bank_loss > 0
    assert small()(SHARES, INTENSITY).divergence is None


def test_the_sum_is_that_of_the_gates_and_experts() -> None:
    """Recompute the actions of one row by hand: neutral, table, and each expert weighted for each region."""
    model, noise = small(), torch.randn(7, 5)
    parts = model(SHARES, INTENSITY, noise=noise)
    row, place = 2, PLACE["browInnerUp"]
    condition = model.conditioned(SHARES, INTENSITY).condition
    joined = torch.cat([condition, model.bank(condition)[0]], dim=1)
    outputs = model.experts(model.from_condition(joined) + model.from_latent(parts.latent))
    region = REGIONS.index("brow")
    summed = sum(
        parts.global_gate[row, e] * parts.local_gate[row, region, e] * outputs[row, e, place] for e in range(6)
    )
    table = INTENSITY[row] * PROTOTYPES[row, place] * model.prior_weight[place]
    assert parts.actions[row, place].item() == pytest.approx(
        float(model.neutral[place] + table + model.deviation[place] * summed), abs=1e-5
    )


def test_experts_computed_together_equal_experts_computed_alone() -> None:
    layer = small().from_condition
    inputs = torch.randn(4, layer.weight.shape[1])
    alone = torch.stack([inputs @ layer.weight[e] + layer.bias[e] for e in range(6)], dim=1)
    torch.testing.assert_close(layer(inputs), alone)
    torch.testing.assert_close(layer(inputs[:, None].expand(-1, 6, -1)), alone)


def test_guidance_0_is_no_guidance_and_more_goes_further_in_the_same_direction() -> None:
    model = small()
    noise = torch.randn(7, 5)
    plain = model(SHARES, INTENSITY, noise=noise).actions
    dropped = model(SHARES, INTENSITY, noise=noise, dropped=torch.ones(7, dtype=torch.bool)).actions
    for guidance in (0.0, 1.5):
        drawn = model.draw(SHARES, INTENSITY, guidance=guidance, noise=noise)
        expected = (plain + guidance * model.taught * (plain - dropped)).clamp(0, 1)
        torch.testing.assert_close(drawn, expected)
    assert (plain - dropped).abs().max() > 0.05


def test_without_a_condition_nothing_of_it_is_left_but_the_table_of_channels_that_are_not_taught() -> None:
    model, every = small(), torch.ones(7, dtype=torch.bool)
    noise = torch.randn(1, 5).expand(7, -1)
    actions = model(SHARES, INTENSITY, noise=noise, dropped=every).actions
    torch.testing.assert_close(actions * model.taught, (actions[:1] * model.taught).expand(7, -1))


def test_channels_that_no_data_teaches_are_those_of_the_table() -> None:
    model = small()
    dead = [PLACE[name] for name in NOT_MEASURED]
    for guidance in (0.0, 2.0):
        drawn = model.draw(SHARES, INTENSITY, guidance=guidance)
        expected = (INTENSITY[:, None] * torch.from_numpy(PROTOTYPES).float()).clamp(0, 1)
        torch.testing.assert_close(drawn[:, dead], expected[:, dead])
    disgust = EMOTIONS.index("disgust")
    assert drawn[disgust, PLACE["noseSneerLeft"]] == pytest.approx(0.5), "half of the table's 1.0"
    assert not small(facs_prior=False).draw(SHARES, INTENSITY)[:, dead].any()


def test_the_same_noise_gives_the_same_faces_and_temperature_0_the_typical_face() -> None:
    model = small()
    noise = torch.randn(7, 5)
    first, same, other = (model.draw(SHARES, INTENSITY, noise=each) for each in (noise, noise, -noise))
    assert torch.equal(first, same) and not torch.equal(first, other)
    still = [model.draw(SHARES, INTENSITY, temperature=0, noise=each) for each in (noise, -noise)]
    assert torch.equal(still[0], still[1])
    assert ((first >= 0) & (first <= 1)).all()


def test_a_stored_generator_is_read_as_it_was(tmp_path: Path) -> None:
    model = small(guidance=1.25, temperature=0.9)
    model.save_pretrained(tmp_path)
    assert [path.suffix for path in tmp_path.iterdir() if path.suffix not in (".json",)] == [".safetensors"]
    again = AutoModel.from_pretrained(tmp_path).eval()
    assert isinstance(again, ExpressionGenerator) and AutoConfig.from_pretrained(tmp_path).guidance == 1.25
    noise = torch.randn(7, 5)
    drawn = [each.draw(SHARES, INTENSITY, noise=noise) for each in (model, again)]
    assert torch.equal(drawn[0], drawn[1])
    torch.testing.assert_close(again.deviation, model.deviation)


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"bank_codes": 0}, "bank."),
        ({"global_gate": False}, "global_gate."),
        ({"local_gate": False}, "local_gate."),
        ({"experts": 1}, ""),
        ({"facs_prior": False}, ""),
    ],
)
def test_parts_can_be_left_out_by_configuration(changes: dict[str, object], gone: str) -> None:
    model = small(**changes)
    parts = model(SHARES, INTENSITY, frames=torch.rand(7, 52))
    assert parts.actions.shape == (7, 52) and torch.isfinite(parts.actions).all()
    assert parts.global_gate.sum(dim=1) == pytest.approx(torch.ones(7))
    if gone:
        assert not [name for name, _ in model.named_parameters() if name.startswith(gone)]


def test_a_context_is_part_of_the_condition() -> None:
    model, noise = small(context_size=11), torch.zeros(7, 5)
    drawn = [model(SHARES, INTENSITY, context=c, noise=noise).actions for c in (torch.zeros(7, 11), torch.ones(7, 11))]
    assert not torch.allclose(drawn[0], drawn[1])
    with pytest.raises(ShapeError, match="context has the width 0; expected 11"):
        model(SHARES, INTENSITY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ["browUp"]}, "unknown channels 'browUp'"),
        ({"prior_channels": ["wink"]}, "unknown prior_channels 'wink'"),
        ({"emotions": ["anger"]}, "7 valences and 7 arousals; expected one of each for 1 emotions"),
        ({"experts": 0}, "experts is 0; expected at least 1"),
        ({"temperature": -0.5}, "temperature is -0.5; expected at least 0"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        expression_config("nano", **changes)
    with pytest.raises(SettingsError, match="unknown size 'tiny'"):
        expression_config("tiny")


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"emotions \(7, 6\) and intensity \(7,\); expected \(B, 7\)"):
        small()(SHARES[:, :6], INTENSITY)
    with pytest.raises(ShapeError, match=r"intensity \(3,\)"):
        small()(SHARES, INTENSITY[:3])


def normal_faces(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return invented faces (N, 52), labels and intensities: a smile that grows with happiness, brows with the rest."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(7), 150)
    intensity = random.uniform(0.2, 1.4, len(labels))
    frames = 0.4 + 0.02 * random.standard_normal((len(labels), 52))
    happy = labels == EMOTIONS.index("happiness")
    frames[happy, PLACE["mouthSmileLeft"]] += 0.3 * intensity[happy]
    return frames, labels, intensity


def test_distributions_follow_mean_slope_and_deviation_of_their_faces(tmp_path: Path) -> None:
    taught = np.array([name not in NOT_MEASURED for name in CHANNELS])
    gaussians = fit_gaussians(*normal_faces(), taught)
    write_gaussians(gaussians, tmp_path / "g.safetensors")
    gaussians = read_gaussians(tmp_path / "g.safetensors")
    smile, happy = PLACE["mouthSmileLeft"], EMOTIONS.index("happiness")
    assert gaussians.slopes[happy, smile] == pytest.approx(0.3, abs=0.01)
    shares, noise = np.eye(7)[np.full(1500, happy)], np.random.default_rng(1).standard_normal((1500, 52))
    for intensity, guidance, expected in ((1.0, 0.0, 0.7), (0.5, 0.0, 0.55), (1.0, 0.5, 0.7 + 0.5 * 0.266)):
        drawn = gaussians.draw(shares, np.full(1500, intensity), noise, guidance=guidance)
        assert drawn[:, smile].mean() == pytest.approx(expected, abs=0.01)
        assert drawn[:, PLACE["jawOpen"]].std() == pytest.approx(0.02, abs=0.003)
        assert drawn[:, PLACE["cheekSquintLeft"]] == pytest.approx(np.full(1500, intensity * 0.85))
    still = gaussians.draw(shares[:2], np.ones(2), noise[:2], temperature=0.0)
    assert (still[0] == still[1]).all()


def test_a_file_of_other_content_is_no_distribution(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_gaussians(tmp_path / "broken.safetensors")
    taught = np.ones(5, bool)
    write_gaussians(EmotionGaussians(*(np.zeros(3),) * 4, taught), tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="expected .'centres', 'factors'"):
        read_gaussians(tmp_path / "other.safetensors")


def test_the_command_uses_a_trained_generator(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    small().save_pretrained(tmp_path / "trained")
    options = ["--emotion", "disgust", "--seconds", "1", "--output"]
    tracks = []
    for name, extra in (("a", ["--seed", "1"]), ("b", ["--seed", "1"]), ("c", ["--seed", "2"])):
        arguments = ["--generator", str(tmp_path / "trained"), *extra]
        assert main(["express", *options, str(tmp_path / f"{name}.json"), *arguments]) == 0
        tracks.append(read_track(tmp_path / f"{name}.json"))
    assert (tracks[0].frames == tracks[1].frames).all() and (tracks[0].frames != tracks[2].frames).any()
    assert tracks[0].provenance.details["generator"] == str(tmp_path / "trained")
    assert main(["express", *options, str(tmp_path / "table.json"), "--seed", "1"]) == 0
    sneer, table = (
        track.frames[:, PLACE["noseSneerLeft"]] for track in (tracks[0], read_track(tmp_path / "table.json"))
    )
    assert table.max() > 0.5 and sneer == pytest.approx(table), "what no data teaches comes from the table"
    config = json.loads((tmp_path / "trained" / "config.json").read_text())
    (tmp_path / "trained" / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    assert main(["express", *options, str(tmp_path / "d.json"), "--generator", str(tmp_path / "trained")]) == 2
    assert "another model (bert); expected the model type emotion_qwen_expression" in capsys.readouterr().err


def test_a_take_is_at_rest_without_emotion_and_follows_the_curve() -> None:
    model = small()
    model.config.temperature = 0.0
    faces = NetworkFaces(model, seed=0)
    curve = np.eye(7)[[EMOTIONS.index("neutral"), EMOTIONS.index("fear")]] * np.array([[1.0], [0.5]])
    frames = faces(curve)
    expected = model.draw(SHARES[2:3], torch.tensor([0.5]), temperature=0.0)[0].numpy()
    neutral = model.neutral.numpy()
    assert frames.shape == (2, 52) and ((frames >= 0) & (frames <= 1)).all()
    np.testing.assert_allclose(frames[1], ((expected - neutral) / (1 - neutral)).clip(0, 1), atol=1e-5)
    assert at_rest_zero(neutral[None], neutral).max() == 0


def test_a_take_of_the_distributions_keeps_its_noise() -> None:
    taught = np.array([name not in NOT_MEASURED for name in CHANNELS])
    gaussians = fit_gaussians(*normal_faces(), taught)
    frames = GaussianFaces(gaussians, seed=1)(np.eye(7)[[3, 3]])
    assert (frames[0] == frames[1]).all() and frames[0, PLACE["mouthSmileLeft"]] > 0.3
    assert (frames != GaussianFaces(gaussians, seed=2)(np.eye(7)[[3, 3]])).any()


def test_a_stored_generator_is_read_whole_or_refused(tmp_path: Path) -> None:
    folder = tmp_path / "generator"
    small().save_pretrained(folder)
    curve = np.eye(len(EMOTIONS))
    first, again, other = (read_faces(folder, seed)(curve) for seed in (1, 1, 2))
    assert first.shape == (7, 52) and np.array_equal(first, again) and not np.allclose(first, other)
    weights = load_file(folder / "model.safetensors")
    del weights["prior.0.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks the weights prior\.0\.weight; copy the folder again"):
        read_faces(folder, 1)
    (folder / "model.safetensors").write_bytes(b"")
    for damage in (lambda: None, lambda: (folder / "config.json").write_text("[]"), (folder / "config.json").unlink):
        damage()
        with pytest.raises(CheckpointError) as caught:
            read_faces(folder, 1)
        assert "\n" not in str(caught.value)

"""The motion model: windows that join, frames that do not know the future, storage, and its use by `express`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from emotion_qwen.cli import main
from emotion_qwen.errors import CheckpointError, DataError, SettingsError, ShapeError
from emotion_qwen.express.lips import with_lips
from emotion_qwen.express.motion import PACE, Keyframe, held, make_track, neutral_weights
from emotion_qwen.express.motion_model import MOTION_SIZES, MotionModel, motion_config
from emotion_qwen.express.motion_model.configuration import MOVING
from emotion_qwen.express.motion_model.learned import at_rate, learned_track, read_motion
from emotion_qwen.express.motion_model.modeling import Surroundings
from emotion_qwen.express.motion_model.source import ANCHORS, continuation, covariance
from emotion_qwen.express.prototypes import emotion_weights
from emotion_qwen.express.track import CHANNELS, EMOTIONS, PLACE, ExpressionTrack, read_track
from emotion_qwen.express.visemes import Visemes

SMALL = {"hidden_size": 12, "layers": 2, "heads": 3, "window": 10, "context": 6, "steps": 3}
KEYFRAMES = held(emotion_weights({"anger": 0.7, "fear": 0.3}), 1.5)


def small(**changes: object) -> MotionModel:
    """Return a small model whose parameters are all other than their initial ones."""
    torch.manual_seed(5)
    model = MotionModel(motion_config("nano", **{**SMALL, **changes})).eval()
    channels = len(model.config.channels)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    is_angle = torch.tensor([name not in CHANNELS for name in model.config.channels])
    frames = torch.rand((200, channels)) * torch.where(is_angle, 20.0, 0.6) - torch.where(is_angle, 10.0, 0.0)
    model.set_statistics(frames, torch.where(is_angle, 0.0, 0.05) * torch.ones(channels))
    return model


def curve(count: int, emotion: str = "anger") -> tuple[torch.Tensor, torch.Tensor]:
    return torch.eye(7)[[EMOTIONS.index(emotion)] * count], torch.linspace(0.2, 1.2, count)


def test_sizes_are_as_stated() -> None:
    counts = {}
    for size in MOTION_SIZES:
        with torch.device("meta"):
            model = MotionModel(motion_config(size))
        counts[size] = sum(parameter.numel() for parameter in model.parameters())
    assert 3e5 < counts["nano"] < 3.6e5 and 5.5e7 < counts["paper"] < 6.5e7


def test_the_source_is_the_process_given_the_frames_before() -> None:
    """Against a plain simulation: conditional mean and covariance from the joint covariance, for 2 known frames."""
    weights, factors = continuation(5, 30.0, 0.2, 0.01)
    times = np.arange(-2, 5) / 30
    joint = covariance(times[:, None] - times, 0.2, 0.01)
    mean = joint[2:, :2] @ np.linalg.inv(joint[:2, :2])
    spread = joint[2:, 2:] - mean @ joint[:2, 2:]
    np.testing.assert_allclose(weights[2, :, ANCHORS - 2 :].numpy(), mean, atol=1e-5)
    np.testing.assert_allclose((factors[2] @ factors[2].T).numpy(), spread, atol=1e-5)
    assert not weights[2, :, : ANCHORS - 2].any() and not weights[0].any() and not factors.triu(1).any()
    prior = (factors[0] @ factors[0].T).numpy()
    np.testing.assert_allclose(prior, joint[2:, 2:], atol=1e-5)
    assert prior[0, 0] == pytest.approx(1.0) and 0.9 < prior[0, 1] < 0.99 and prior[0, 4] < 0.75


def test_random_motion_continues_the_frames_before() -> None:
    model, white = small(source_noise=0.01), torch.randn((400, 10, 55))
    past = torch.full((400, 6, 55), 1.7)
    shares, intensity = torch.eye(7)[[0] * 16].expand(400, -1, -1), torch.ones((400, 16))
    known = torch.arange(6).expand(400, -1) >= 6 - torch.tensor([0, 3, 6, 6])[:, None].repeat_interleave(100, 0)
    first = model.source(Surroundings(shares, intensity, past * known[..., None], known), white)[:, 0]
    means = first.unflatten(0, (4, 100)).mean(dim=(1, 2))
    assert means[0] == pytest.approx(0, abs=0.05) and means[1:] == pytest.approx(torch.full((3,), 1.578), abs=0.03)
    assert first[:100].std() == pytest.approx(1, abs=0.05) and first[200:].std() < 0.3


def test_an_untrained_model_leaves_the_random_motion_as_it_is() -> None:
    torch.manual_seed(0)
    model = MotionModel(motion_config("nano", **SMALL)).eval()
    shares, intensity = torch.eye(7)[[1] * 16][None], torch.ones((1, 16))
    around = Surroundings(shares, intensity, torch.randn((1, 6, 55)), torch.ones((1, 6), dtype=torch.bool))
    assert not model(torch.randn((1, 10, 55)), torch.rand(1), around).any()


def test_windows_join_without_a_seam() -> None:
    """The steps between windows are as large as those within, although every window has noise of its own."""
    torch.manual_seed(0)
    model = MotionModel(motion_config("nano", **SMALL)).eval()
    model.set_statistics(torch.randn((500, 55)) * 4, torch.zeros(55))
    steps = model.generate_motion(*curve(200), seed=1).diff(dim=0).abs().mean(dim=1)
    seams = steps[9::10]
    assert float(seams.mean()) == pytest.approx(float(steps.mean()), rel=0.1)
    apart = [model.generate_motion(*curve(10), seed=seed) for seed in (1, 2)]
    assert (apart[1][0] - apart[0][-1]).abs().mean() > 3 * seams.mean(), "windows that do not know each other jump"


def test_the_frames_before_are_seen_beyond_the_source() -> None:
    """The oldest frame before is no anchor of the source, so only the network can pass it on."""
    model, noisy = small(), torch.randn((1, 10, 55))
    shares, intensity = torch.eye(7)[[2] * 16][None], torch.ones((1, 16))
    past, known = torch.randn((1, 6, 55)), torch.ones((1, 6), dtype=torch.bool)
    changed = past.clone()
    changed[0, 0] += 1
    hidden = known.clone()
    hidden[0, 0] = False
    outputs = [
        model(noisy, torch.tensor([0.5]), Surroundings(shares, intensity, frames, seen))
        for frames, seen in ((past, known), (changed, known), (past, hidden), (changed, hidden))
    ]
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-4)
    assert not torch.allclose(outputs[0], outputs[2], atol=1e-4)
    torch.testing.assert_close(outputs[2], outputs[3])


@pytest.mark.parametrize(("changed_from", "guidance"), [(3, 0.0), (13, 0.0), (20, 1.5)])
def test_later_emotions_do_not_change_earlier_frames(changed_from: int, guidance: float) -> None:
    model = small()
    shares, intensity = curve(25)
    other = shares.clone()
    other[changed_from:] = torch.eye(7)[EMOTIONS.index("happiness")]
    first, second = (model.generate_motion(each, intensity, seed=2, guidance=guidance) for each in (shares, other))
    torch.testing.assert_close(first[:changed_from], second[:changed_from], atol=1e-4, rtol=0)
    assert (first[changed_from] - second[changed_from]).abs().max() > 1e-3
    longer = model.generate_motion(torch.cat([shares, shares]), torch.cat([intensity, intensity]), seed=2)
    if not guidance:
        torch.testing.assert_close(longer[:25], first, atol=1e-4, rtol=0)


def test_the_seed_fixes_the_motion_and_guidance_pushes_it() -> None:
    model = small()
    first, same, other = (model.generate_motion(*curve(15), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.allclose(first, other)
    assert ((first >= model.lowest) & (first <= model.highest)).all()
    assert not torch.allclose(first, model.generate_motion(*curve(15), seed=1, guidance=2.0))
    assert torch.equal(first, model.generate_motion(*curve(15), seed=1, guidance=0.0, steps=3))


def test_a_stored_model_is_read_whole_or_refused(tmp_path: Path) -> None:
    model = small(guidance=0.5)
    model.save_pretrained(tmp_path / "m")
    assert isinstance(AutoModel.from_pretrained(tmp_path / "m"), MotionModel)
    again = read_motion(tmp_path / "m")
    assert again.config.guidance == 0.5
    assert torch.equal(again.generate_motion(*curve(12)), model.generate_motion(*curve(12)))
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    for changes, message in (
        ({"model_type": "emotion_qwen_expression"}, "another model .emotion_qwen_expression.; expected the model type"),
        ({"channels": ["browUp"]}, "cannot be read as motion model .unknown channels 'browUp'"),
        ({"channels": list(MOVING[:-1])}, "cannot be read as motion model"),
        ({"emotions": list(reversed(EMOTIONS))}, "for 7 emotions .surprise first.; expected anger, disgust"),
    ):
        (tmp_path / "m" / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(CheckpointError, match=message) as caught:
            read_motion(tmp_path / "m")
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="holds no motion model; train one, or use --motion shaped"):
        read_motion(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ["jawOpen", "jawOpen"]}, "2 channels; expected at least one, each only once"),
        ({"emotions": ["joy"]}, "unknown emotions 'joy'"),
        ({"window": 0}, "window is 0; expected at least 1"),
        ({"heads": 5}, "hidden_size is 12; expected a multiple of the 5 heads"),
        ({"fps": 500.0}, "fps is 500; expected 1 to 120"),
        ({"guidance": -1.0}, "guidance is -1; expected 0 to 10"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        motion_config("nano", **{**SMALL, **changes})
    with pytest.raises(SettingsError, match="unknown size 'tiny'"):
        motion_config("tiny")


def test_shapes_that_do_not_fit_are_refused() -> None:
    model = small()
    with pytest.raises(ShapeError, match=r"shares \(0, 7\) and intensity \(0,\); expected \(T, 7\) and \(T,\)"):
        model.generate_motion(torch.zeros(0, 7), torch.zeros(0))
    around = Surroundings(torch.zeros(2, 16, 6), torch.zeros(2, 16), torch.zeros(2, 6, 55), torch.ones(2, 6).bool())
    with pytest.raises(ShapeError, match=r"shares has the shape \(2, 16, 6\); expected \(2, 16, 7\)"):
        model(torch.zeros(2, 10, 55), torch.zeros(2), around)


def test_a_track_takes_what_the_model_does_not_move_from_the_rule() -> None:
    names = [name for name in MOVING if name not in ("noseSneerLeft", "eyeBlinkLeft", "eyeBlinkRight", "roll")]
    track = learned_track(small(channels=names), KEYFRAMES, 12, seed=4)
    shaped = make_track(KEYFRAMES, 12, seed=4)
    kept = [PLACE["noseSneerLeft"], PLACE["eyeBlinkLeft"], PLACE["eyeBlinkRight"]]
    assert (track.frames[:, kept] == shaped.frames[:, kept]).all() and (track.head[:, 2] == shaped.head[:, 2]).all()
    assert track.frames[:, PLACE["eyeBlinkLeft"]].max() > 0.5, "blinks are there"
    moved = [column for column in range(52) if column not in kept]
    assert (track.frames[:, moved] != shaped.frames[:, moved]).any(axis=0).all()
    assert (track.emotions == shaped.emotions).all() and PACE.blinks_per_minute > 5


def test_a_track_is_relative_to_rest_and_at_any_frame_rate() -> None:
    model = small()
    tracks = {fps: learned_track(model, KEYFRAMES, 1.5, fps=fps, seed=2) for fps in (30.0, 60.0, 12.5)}
    assert [len(track.frames) for track in tracks.values()] == [45, 90, 19]
    np.testing.assert_allclose(tracks[60.0].frames[::2], tracks[30.0].frames, atol=1e-5)
    np.testing.assert_allclose(
        tracks[60.0].head[1:-1:2], (tracks[30.0].head[:-1] + tracks[30.0].head[1:])[:44] / 2, atol=1e-4
    )
    shares = torch.zeros((45, 7))
    shares[:, EMOTIONS.index("neutral")] = 1
    still = learned_track(model, [Keyframe(0.0, neutral_weights())], 1.5, seed=2)
    raw = model.generate_motion(shares, torch.zeros(45), seed=2).numpy()
    np.testing.assert_allclose(still.frames[:, 4], ((raw[:, 4] - 0.05) / 0.95).clip(0, 1), atol=1e-5)
    np.testing.assert_allclose(still.head, raw[:, 52:], atol=1e-4)
    assert len(learned_track(model, KEYFRAMES, 0.01).frames) == 1


def test_lips_speak_in_a_learned_track() -> None:
    track = learned_track(small(), KEYFRAMES, 1.5, seed=2)
    poses = np.zeros((3, 52))
    poses[2, PLACE["jawOpen"]] = 0.9
    visemes = Visemes(("sil", "PP", "aa"), np.eye(3)[[2] * 45], poses, 1.5, None, {"package": "invented"})
    speaking = with_lips(track, visemes)
    assert (speaking.frames[:, PLACE["jawOpen"]] >= 0.9 - 1e-9).all()
    brow = PLACE["browDownLeft"]
    assert (speaking.frames[:, brow] == track.frames[:, brow]).all()


@pytest.mark.parametrize("fps", [24.0, 60.0, 50.0])
def test_a_recording_comes_to_another_rate_without_folding(fps: float) -> None:
    clock = np.arange(int(4 * fps)) / fps
    frames = np.zeros((len(clock), 52))
    frames[:, 0] = 0.5 + 0.4 * np.sin(2 * np.pi * 1.3 * clock)
    fast = 23.0  # Hz, which would appear as 7 Hz at 30 frames per second
    frames[:, 1] = 0.5 + 0.4 * np.sin(2 * np.pi * fast * clock) * (fps > 2 * fast)
    track = at_rate(ExpressionTrack(fps, frames, np.zeros((len(clock), 3)), np.zeros((len(clock), 7))), 30.0)
    assert track.fps == 30 and len(track.frames) == 120
    middle = slice(15, -15)
    expected = 0.5 + 0.4 * np.sin(2 * np.pi * 1.3 * track.times)
    np.testing.assert_allclose(track.frames[middle, 0], expected[middle], atol=0.02)
    assert np.ptp(track.frames[middle, 1]) < 0.1


def test_a_recording_with_too_few_frames_per_second_is_refused() -> None:
    track = ExpressionTrack(10.0, np.zeros((9, 52)), np.zeros((9, 3)), np.zeros((9, 7)))
    with pytest.raises(DataError, match="recorded at 10 frames per second; expected at least 24"):
        at_rate(track, 30.0)


def test_the_command_moves_a_face_as_learned(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    small().save_pretrained(tmp_path / "m")
    options = ["express", "--emotion", "fear", "--seconds", "1", "--motion", str(tmp_path / "m")]
    for name in ("a", "b"):
        assert main([*options, "--output", str(tmp_path / f"{name}.json"), "--seed", "6"]) == 0
    first, again = (read_track(tmp_path / f"{name}.json") for name in ("a", "b"))
    assert (first.frames == again.frames).all() and (first.head == again.head).all()
    assert first.provenance.details["motion"] == str(tmp_path / "m") and first.provenance.details["seed"] == 6
    capsys.readouterr()
    for extra, message in (
        (["--motion", str(tmp_path)], "holds no motion model; train one, or use --motion shaped"),
        (["--generator", str(tmp_path / "m")], "--motion FOLDER makes the faces, too; leave --generator out"),
        (["--report", "r.json"], "expected one of --emotion"),
    ):
        assert main([*options, "--output", str(tmp_path / "no.json"), *extra]) == 2
        error = capsys.readouterr().err
        assert message in error and error.strip().count("\n") == 0 and not (tmp_path / "no.json").exists()
    report = ["express", "--report", "r.json", "--motion", str(tmp_path / "m"), "--output", str(tmp_path / "no.json")]
    assert main(report) == 2 and "a report has its own motion; leave --motion out" in capsys.readouterr().err

"""Motion is learned from recordings: which emotion moves how, a run that continues, and recordings that do not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from emotion_qwen.console import run_command
from emotion_qwen.errors import CheckpointError, DataError, SettingsError
from emotion_qwen.express.livelink import live_link_csv
from emotion_qwen.express.motion import held, make_track
from emotion_qwen.express.motion_model import MotionModel
from emotion_qwen.express.motion_model.learned import read_motion
from emotion_qwen.express.prototypes import emotion_weights
from emotion_qwen.express.track import EMOTIONS, PLACE, ExpressionTrack, write_track
from recipes.express import train_motion as recipe
from recipes.express.sequences import (
    EmotionNames,
    MotionSequence,
    WindowDrawer,
    correlation_time,
    emotion_names,
    face_at_rest,
    moving_channels,
    read_sequences,
    sequence_of,
)
from recipes.express.train_motion import FACTS, STATE, MotionSchedule, flow_loss, new_model, split_held_out, train

ANGER, SADNESS = EMOTIONS.index("anger"), EMOTIONS.index("sadness")
HERTZ = {ANGER: 2.0, SADNESS: 0.5}
JAW = PLACE["jawOpen"]
TINY = {"hidden_size": 32, "layers": 2, "heads": 2, "window": 16, "context": 8, "dropout": 0.0}


def sines(count: int = 12, length: int = 150, seed: int = 0) -> list[MotionSequence]:
    """Return invented recordings: the jaw moves at 2 Hz in anger and at 0.5 Hz in sadness, equally far."""
    random, clock, sequences = np.random.default_rng(seed), np.arange(length) / 30, []
    for number in range(count):
        emotion = (ANGER, SADNESS)[number % 2]
        frames = np.zeros((length, 55))
        frames[:, JAW] = 0.5 + 0.3 * np.sin(2 * np.pi * (HERTZ[emotion] * clock + random.random()))
        sequences.append(MotionSequence(f"{number}", frames, np.eye(7)[[emotion] * length], np.ones(length)))
    return sequences


def schedule(**changes: object) -> MotionSchedule:
    return replace(MotionSchedule(steps=6, size=4, every=2, warmup=2), **changes)


@pytest.mark.slow
def test_each_emotion_moves_as_in_its_recordings_and_windows_join(tmp_path: Path) -> None:
    model = recipe.train_motion(
        sines(), tmp_path / "m", schedule(steps=200, size=24, rate=5e-3, every=100, warmup=20), **TINY
    )
    assert model.config.channels == ["jawOpen"]
    speeds = {}
    for emotion in HERTZ:
        shares = torch.eye(7)[[emotion] * 80]
        moved = [model.generate_motion(shares, torch.ones(80), seed=seed, steps=4)[:, 0].numpy() for seed in range(3)]
        steps = np.abs(np.diff(moved, axis=1))
        speeds[emotion] = steps.mean() * 30
        inside, seams = np.delete(steps, [15, 31, 47, 63], axis=1), steps[:, 15::16]
        assert seams.mean() < 2.5 * inside.mean(), emotion  # windows that do not know each other: 4 in anger, 13
    for emotion, hertz in HERTZ.items():  # mean speed of a sine: four times its height per period
        assert 0.5 < speeds[emotion] / (4 * 0.3 * hertz) < 2, speeds
    assert speeds[ANGER] > 1.4 * speeds[SADNESS]
    facts = json.loads((tmp_path / "m" / FACTS).read_text())
    first, last = (entry["validation"] for entry in facts["history"])
    assert len(facts["recordings"]) == 11 and len(facts["held_out"]) == 1 and last < first and last < 1.2


def test_a_run_that_is_cut_off_anywhere_ends_as_if_it_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TINY | {"hidden_size": 8, "layers": 1, "dropout": 0.2}
    whole = recipe.train_motion(sines(4, 60), tmp_path / "whole", schedule(), held_out=0.25, **settings)
    step = recipe.MotionTraining.step

    def stopping(self: recipe.MotionTraining) -> float:
        if self.step_number == stop and not stopped:
            stopped.append(stop)
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(recipe.MotionTraining, "step", stopping)
    for stop in (1, 3, 4):
        stopped: list[int] = []
        output = tmp_path / f"cut{stop}"
        for _ in range(2):
            try:
                again = recipe.train_motion(sines(4, 60), output, schedule(), held_out=0.25, **settings)
            except KeyboardInterrupt:
                assert not (output / FACTS).exists()
        assert stopped == [stop]
        for name, values in whole.state_dict().items():
            assert torch.equal(values, again.state_dict()[name]), (stop, name)
        assert (output / FACTS).read_text() == (tmp_path / "whole" / FACTS).read_text()
    with pytest.raises(SettingsError, match="is of other settings or recordings; give another --output"):
        recipe.train_motion(sines(4, 61), output, schedule(), held_out=0.25, **settings)
    with pytest.raises(SettingsError, match="is of other settings or recordings"):
        recipe.train_motion(sines(4, 60), output, schedule(steps=7), held_out=0.25, **settings)
    (output / STATE).write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="cannot be read .*; remove it to start anew"):
        recipe.train_motion(sines(4, 60), output, schedule(), held_out=0.25, **settings)


def test_the_weights_of_the_lowest_validation_loss_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, seen = iter([0.5, 0.3, 0.4]), []

    def validation(self: recipe.MotionTraining) -> float:
        seen.append({name: weight.detach().clone() for name, weight in self.model.named_parameters()})
        return next(losses)

    monkeypatch.setattr(recipe.MotionTraining, "validation_loss", validation)
    model = recipe.train_motion(sines(4, 60), tmp_path / "m", schedule(), held_out=0.25, **TINY)
    kept = dict(model.named_parameters())
    assert all(torch.equal(kept[name], values) for name, values in seen[1].items())
    assert any(not torch.equal(kept[name], values) for name, values in seen[2].items())
    stored = load_file(tmp_path / "m" / "model.safetensors")
    assert all(torch.equal(stored[name], values) for name, values in seen[1].items())


def test_the_loss_counts_frames_of_the_recording_alone() -> None:
    model = new_model(sines(2, 40), "nano", 0, **TINY | {"window": 40})
    torch.nn.init.normal_(model.velocity.weight)
    drawer = WindowDrawer(sines(2, 40), model.config, model.mean, model.deviation)
    batch = drawer.draw(64, np.random.default_rng(0), 0.3)
    assert 0 < (~batch.valid).sum() <= 64 * 8 and not batch.frames[~batch.valid].any()
    before = batch.around.known.sum(dim=1)
    assert {int(count) for count in before} >= {0, 8}
    assert not batch.around.past[~batch.around.known].any()
    changed = replace(batch, frames=batch.frames.masked_fill(~batch.valid[..., None], 50.0))
    losses = [flow_loss(model, each, torch.Generator().manual_seed(1)).item() for each in (batch, changed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    alone = flow_loss(model, batch, torch.Generator().manual_seed(1), past_noise=0.5).item()
    assert alone != pytest.approx(losses[0], rel=1e-3)


def test_windows_are_those_of_the_recording() -> None:
    """A recording whose value is its frame number: window and frames before follow one another."""
    frames = np.tile(np.arange(60.0)[:, None], (1, 55))
    sequence = MotionSequence("a", frames, np.eye(7)[[0] * 30 + [3] * 30], np.arange(60) / 60)
    model = MotionModel(recipe.motion_config("nano", **TINY | {"window": 40}))
    batch = WindowDrawer([sequence], model.config, torch.zeros(55), torch.ones(55)).draw(30, np.random.default_rng(3))
    for row in range(30):
        window = batch.frames[row, batch.valid[row], 0]
        past = batch.around.past[row, batch.around.known[row], 0]
        joined = torch.cat([past, window])
        assert torch.equal(joined, torch.arange(float(joined[0]), float(joined[-1]) + 1)) and joined[-1] < 60
        known = torch.cat([batch.around.known[row], batch.valid[row]])
        assert batch.around.intensity[row, known] == pytest.approx(joined / 60)
        assert torch.equal(batch.around.shares[row, known, 3], (joined >= 30).float())


def recorded(path: Path, emotion: str = "happiness", seconds: float = 2.0, fps: float = 60.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    track = make_track(held(emotion_weights({emotion: 1.0}), seconds), seconds, fps=fps, seed=2)
    path.write_text(live_link_csv(track))
    return path


def test_emotions_come_from_the_table_then_the_name_then_the_recording(tmp_path: Path, capsys) -> None:
    for name in ("ann/take1.csv", "ann/angry_2.csv", "bob/fear_9.csv", "bob/unknown.csv", "bob/short_sad.csv"):
        recorded(tmp_path / "takes" / name, seconds=0.8 if "short" in name else 2.0)
    (tmp_path / "table.csv").write_text(
        'file,mood,intensity\nann/take1,"sadness:0.6,fear:0.4",0.5\nfear_9.csv,happy,\n'
    )
    names = emotion_names(tmp_path / "table.csv", "mood", "(?P<emotion>[a-z]+)_[0-9]|_(?P<other>sad)")
    sequences = {each.name: each for each in read_sequences([("livelink", tmp_path / "takes")], names)}
    assert set(sequences) == {"take1.csv", "angry_2.csv", "fear_9.csv"}
    take = sequences["take1.csv"]
    assert take.shares[0, [SADNESS, EMOTIONS.index("fear")]] == pytest.approx([0.6, 0.4])
    assert take.intensity[0] == pytest.approx(0.5) and len(take.frames) == 60, "60 per second become 30"
    assert sequences["angry_2.csv"].shares[0, ANGER] == 1
    assert sequences["fear_9.csv"].shares[0, EMOTIONS.index("happiness")] == 1, "the table comes first"
    assert take.frames[:, 52:].mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-9), "relative to the mean"
    assert sorted(capsys.readouterr().err.splitlines()) == [
        "short_sad.csv: no emotion is known; name it by --emotions or --pattern",
        "unknown.csv: no emotion is known; name it by --emotions or --pattern",
    ]


def test_tracks_have_their_emotions_and_short_or_slow_ones_are_refused(tmp_path: Path, capsys) -> None:
    for name, seconds, fps in (("good", 2.0, 50.0), ("short", 1.0, 30.0), ("slow", 4.0, 10.0)):
        track = make_track(held(emotion_weights({"fear": 0.5}), seconds), seconds, fps=fps)
        write_track(track, tmp_path / "tracks" / f"{name}.json")
    (tmp_path / "tracks" / "other.json").write_text("{}")
    (sequence,) = read_sequences([("track", tmp_path / "tracks")], EmotionNames())
    assert sequence.intensity.max() == pytest.approx(0.5, abs=0.02) and sequence.intensity[0] == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and "other.json" in lines[0]
    assert lines[1:] == [
        "short.json: 30 frames at 30 per second; expected at least 32, 1.1 s",
        "slow.json: recorded at 10 frames per second; expected at least 24",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recordings", "livelink", "none"], "source 'none' does not exist"),
        (["--recordings", "track", "none"], "'none' holds no track; expected files that `express import` wrote"),
        (["--recordings", "livelink", "takes"], "none of 1 recordings can be used; see above"),
        (["--recordings", "livelink", "takes", "--emotions", "none.csv"], "'none.csv' cannot be read"),
        (["--recordings", "livelink", "takes", "--emotions", "bad.csv"], "bad.csv, line 2: no file or no emotion"),
        (["--recordings", "livelink", "takes", "--emotions", "odd.csv"], "odd.csv, line 3: unknown emotion 'smirk'"),
        (["--recordings", "livelink", "takes", "--pattern", "(["], "expected a regular expression"),
        (["--recordings", "livelink", "takes", "--pattern", "[a-z]"], "has no group (?P<emotion>...)"),
        (["--recordings", "livelink", "takes", "--pattern", "(?P<emotion>take)", "--held-out", "2"], "can be used"),
        (["--recordings", "livelink", "takes", "--pattern", "(?P<emotion>fear)", "--held-out", "2"], "--held-out is 2"),
    ],
)
def test_the_command_says_in_one_line_what_does_not_fit(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path / "takes" / ("take.csv" if "fear" not in "".join(arguments) else "fear.csv"))
    (tmp_path / "bad.csv").write_text("name,emotion\na,fear\n")
    (tmp_path / "odd.csv").write_text("file,emotion\na,fear\nb,smirk\n")
    assert run_command(train, [*arguments, "--output", "m", "--steps", "1"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1] and len(error) <= 2 and not (tmp_path / "m").exists()


def test_the_command_trains_and_its_model_is_used(tmp_path: Path, capsys) -> None:
    recorded(tmp_path / "a.csv")
    recorded(tmp_path / "b.csv", "anger")
    (tmp_path / "t.csv").write_text("file,emotion\na,happy\nb,angry\n")
    arguments = [
        "--recordings",
        "livelink",
        str(tmp_path / "a.csv"),
        "--recordings",
        "livelink",
        str(tmp_path / "b.csv"),
    ]
    arguments += ["--emotions", str(tmp_path / "t.csv"), "--output", str(tmp_path / "m"), "--steps", "1"]
    assert run_command(train, arguments) == 0
    assert "2 recordings, 4 s" in (output := capsys.readouterr().out) and "step 1, training" in output
    model = read_motion(tmp_path / "m")
    assert "mouthSmileLeft" in model.config.channels or "browDownLeft" in model.config.channels
    assert {path.name for path in (tmp_path / "m").iterdir()} == {"config.json", "model.safetensors", STATE, FACTS}


def test_what_does_not_move_is_left_out_and_rest_is_that_of_neutral_frames() -> None:
    random, frames = np.random.default_rng(0), np.zeros((200, 55))
    frames[:, 3] = 0.3 + 0.1 * random.random(200)
    frames[100:, 3] += 0.4
    frames[:, 4], frames[:, 53] = 0.2, 8 * random.standard_normal(200)
    shares = np.eye(7)[[EMOTIONS.index("neutral")] * 100 + [ANGER] * 100]
    sequence = MotionSequence("a", frames, shares, np.repeat([0.0, 1.0], 100))
    assert moving_channels([sequence]) == ["eyeLookOutLeft", "pitch"]
    clock = np.arange(3000) / 30
    wave = replace(sequence, frames=np.sin(2 * np.pi * 0.5 * clock)[:, None] * np.ones(55))
    speed = 2 * np.pi * 0.5  # per second, as a multiple of the deviation
    assert correlation_time([wave, wave], ["jawOpen", "yaw"], 30.0) == pytest.approx(3**0.5 / speed, rel=0.01)
    rest = face_at_rest([sequence])
    assert rest[3] == pytest.approx(0.31, abs=0.01) and rest[4] == pytest.approx(0.2) and not rest[52:].any()
    with pytest.raises(DataError, match="nothing moves in a; expected recorded motion"):
        moving_channels([replace(sequence, frames=np.full((200, 55), 0.4))])


def test_held_out_recordings_are_whole_and_at_least_one() -> None:
    sequences = sines(10)
    for share, count in ((0.1, 1), (0.3, 3), (0.01, 1), (0.0, 0)):
        training, others = split_held_out(sequences, share, 4)
        assert len(others) == count and len({*map(id, training), *map(id, others)}) == 10
    assert len(split_held_out(sequences[:1], 0.1, 0)[0]) == 1
    track = ExpressionTrack(30.0, np.zeros((40, 52)), np.zeros((40, 3)), np.zeros((40, 7)))
    with pytest.raises(DataError, match="no emotion is known"):
        sequence_of(track, "a", None, 30.0)

"""Settings of a build, one group per step; `configs/ver/build.yaml` shows all of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from emotion_qwen.client import LengthField
from emotion_qwen.settings import Settings


class SegmentSettings(Settings):
    """How videos become clips of one shot."""

    shortest: float = Field(1.0, gt=0)
    """Seconds; shorter shots are rejected."""
    longest: float = Field(30.0, gt=0)
    """Seconds; a shot is one clip, and only longer shots are divided, between utterances where there are words."""
    threshold: float = Field(27.0, gt=0)
    """Of PySceneDetect's content detector: mean change of hue, saturation and lightness that makes a cut."""
    side: int = Field(160, ge=32)
    """Longer side in pixels at which cuts are looked for."""


class CutSettings(Settings):
    """How clips are written."""

    quality: int = Field(18, ge=0, le=51)
    """Constant rate factor where a clip is encoded anew."""
    copy_packets: bool = True
    """Copy the coded pictures where a clip begins with a keyframe and ends before one."""


class SelectSettings(Settings):
    """Which clips are worth describing."""

    fps: float = Field(12.0, gt=0)
    """Frames looked at per second; mouths move several times a second."""
    most_frames: int = Field(120, ge=8)
    side: int = Field(480, ge=64)
    """Longer side in pixels at which faces are looked for."""
    detect_every: int = Field(3, ge=1)
    """Faces are looked for on every n-th of these frames; between them boxes move in straight lines."""
    face_size: float = Field(0.07, ge=0, le=1)
    """Smallest median side of the main face, as a share of the frame's shorter side."""
    coverage: float = Field(0.6, ge=0, le=1)
    """Smallest share of the frames that show the main face."""
    unsteadiness: float = Field(0.6, gt=0)
    """Largest median step of the main face between two looks, in sides of its box."""
    sharpness: float = Field(15.0, ge=0)
    """Smallest variance of the Laplacian of the main face, scaled to 96 pixels."""
    speaking: bool = False
    """Keep only clips in which someone likely speaks."""
    expressions: bool = True
    """Measure with the shipped model how much the faces smile; a described smile is checked against it."""
    duplicates: int = Field(4, ge=0, le=64)
    """Bits of 64 by which the hashes of two pictures may differ and still be the same picture."""
    benchmarks: tuple[str, ...] = ()
    """Files and folders of benchmarks; clips that show the same pictures are left out."""


class ListenSettings(Settings):
    """Where words come from when a video has no subtitles."""

    whisper: str = ""
    """Folder of a local faster-whisper model; empty leaves clips without subtitles without words."""


class TeacherSettings(Settings):
    """Who writes: a vision endpoint that speaks OpenAI's protocol, or a local model of ours."""

    kind: Literal["endpoint", "local"] = "local"
    url: str = ""
    """Of the endpoint, up to and with `/v1`."""
    model: str = ""
    """Name at the endpoint; of a local model its folder, empty for the shipped nano."""
    key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; never written anywhere. A local endpoint needs none."""
    answer_tokens: int = Field(900, ge=16)
    temperature: float = Field(0.2, ge=0, le=2)
    structured: Literal["schema", "object", "none"] = "schema"
    """How JSON is asked for; an endpoint that refuses a schema is asked without."""


class CallSettings(Settings):
    """How an endpoint is called."""

    concurrency: int = Field(32, ge=1)
    per_minute: int = Field(0, ge=0)
    """Calls begun per minute; 0 is without limit."""
    retries: int = Field(6, ge=0)
    """After 408, 429, 5xx and broken connections."""
    patience: float = Field(120.0, gt=0)
    """Seconds to wait for one answer."""
    first_wait: float = Field(1.0, ge=0)
    """Seconds before the first retry; doubled each time, up to 60, unless the endpoint says how long."""
    length_field: LengthField = "auto"
    """Field that bounds an answer: max_tokens, max_completion_tokens, or auto, which takes what the endpoint wants."""
    max_calls: int = Field(0, ge=0)
    """Answers the set may cost, from its first call on; 0 is without limit."""
    max_tokens: int = Field(0, ge=0)
    """Tokens the set may cost, read and written; 0 is without limit."""


class DescribeSettings(Settings):
    """What a teacher is shown and asked."""

    teacher: TeacherSettings = TeacherSettings.of({})
    languages: tuple[Literal["en", "zh"], ...] = ("en", "zh")
    labels: str = "dfew7"
    """Label set of the emotions."""
    frames: int = Field(6, ge=1)
    """Frames shown, evenly spaced."""
    side: int = Field(512, ge=64)
    """Their longer side, pixels."""
    capture_strength: float = Field(0.35, ge=0, le=1)
    """How far everything but the faces is washed out in them."""
    repairs: int = Field(2, ge=0)
    """How often an answer that is not the agreed JSON is asked for again."""


class CheckSettings(Settings):
    """What a description must withstand."""

    reader: TeacherSettings | None = None
    """Reads the description without its emotion words and says which emotion it is; None reads by rules alone."""
    second: TeacherSettings | None = None
    """Describes a sample of the clips once more, to see how far two teachers agree."""
    second_share: float = Field(0.1, ge=0, le=1)
    shortest: int = Field(60, ge=1)
    """Characters of an English description; Chinese needs a third of them."""
    longest: int = Field(3000, ge=1)
    smile: float = Field(0.05, ge=0, le=1)
    """Share of happiness in every face below which a smile is invented."""
    rounds: int = Field(1, ge=0)
    """Rounds in which the teacher may revise what was objected to."""


class ExportSettings(Settings):
    """How a set is written."""

    name: str = "ver"
    validation: float = Field(0.05, ge=0, le=0.5)
    """Share of the source videos whose clips validate."""
    test: float = Field(0.05, ge=0, le=0.5)


class BuildSettings(Settings):
    """A whole build."""

    source: str
    """A folder of videos, or a manifest: JSON Lines with `path` and perhaps license, source, group, known."""
    output: str
    license: str = ""
    """Terms of videos whose manifest line names none."""
    workers: int = Field(2, ge=1)
    """Processes that cut, look and listen; 1 is that of the build itself, which a damaged video can end."""
    item_seconds: float = Field(3600.0, gt=0)
    """Seconds that a process may take for one video or clip before it is left out with the reason."""
    segment: SegmentSettings = SegmentSettings.of({})
    cut: CutSettings = CutSettings.of({})
    select: SelectSettings = SelectSettings.of({})
    listen: ListenSettings = ListenSettings.of({})
    describe: DescribeSettings = DescribeSettings.of({})
    check: CheckSettings = CheckSettings.of({})
    calls: CallSettings = CallSettings.of({})
    export: ExportSettings = ExportSettings.of({})

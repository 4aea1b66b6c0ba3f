"""Settings of a build, one group per step; `configs/ver/build.yaml` shows all of them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from emotion_qwen.client import ENDPOINT, LengthField, parse_endpoint
from emotion_qwen.errors import SettingsError
from emotion_qwen.settings import Settings


class SegmentSettings(Settings):
    """How videos become clips of one shot."""

    shortest: float = Field(1.0, gt=0)
    """Seconds; shorter shots are rejected."""
    longest: float = Field(30.0, gt=0)
    """Seconds; a shot becomes one clip, and only longer shots are split, between utterances if there are words."""
    threshold: float = Field(27.0, gt=0)
    """Threshold of PySceneDetect's content detector: mean change of hue, saturation and lightness at a cut."""
    side: int = Field(160, ge=32)
    """Longer side in pixels at which cuts are detected."""


class CutSettings(Settings):
    """How clips are written."""

    quality: int = Field(18, ge=0, le=51)
    """Constant rate factor for re-encoded clips."""
    copy_packets: bool = True
    """Copy the encoded pictures if a clip begins with a keyframe and ends before one."""


class SelectSettings(Settings):
    """Which clips are worth describing."""

    fps: float = Field(12.0, gt=0)
    """Frames analyzed per second; mouths move several times per second."""
    most_frames: int = Field(120, ge=8)
    side: int = Field(480, ge=64)
    """Longer side in pixels at which faces are detected."""
    detect_every: int = Field(3, ge=1)
    """Faces are detected in every n-th of these frames; boxes are interpolated linearly in between."""
    face_size: float = Field(0.07, ge=0, le=1)
    """Smallest median side of the main face, as a share of the frame's shorter side."""
    coverage: float = Field(0.6, ge=0, le=1)
    """Smallest share of frames with the main face."""
    unsteadiness: float = Field(0.6, gt=0)
    """Largest median movement of the main face between two detections, in sides of its box."""
    sharpness: float = Field(15.0, ge=0)
    """Smallest variance of the Laplacian of the main face, scaled to 96 pixels."""
    speaking: bool = False
    """Keep only clips in which someone likely speaks."""
    expressions: bool = True
    """Measure smiles with the shipped model, to check described smiles."""
    duplicates: int = Field(4, ge=0, le=64)
    """Bits of 64 by which the hashes of two pictures may differ if they count as equal."""
    benchmarks: tuple[str, ...] = ()
    """Files and folders of benchmarks; clips with the same pictures are excluded."""


class ListenSettings(Settings):
    """Source of words for videos without subtitles."""

    whisper: str = ""
    """Folder of a local faster-whisper model; empty leaves clips without subtitles without words."""


class TeacherSettings(Settings):
    """The teacher: an OpenAI-compatible endpoint with picture input, or a local model.

    A text in place of the group, or as `model`, that reads `openai:NAME@http://host/v1` names an endpoint, as in other
    commands; any other text names a local model.
    """

    kind: Literal["endpoint", "local"] = "local"
    url: str = ""
    """Address of the endpoint, including `/v1`."""
    model: str = ""
    """Name at the endpoint, or folder of a local model; empty for the shipped nano."""
    key_env: str = "OPENAI_API_KEY"
    """Environment variable with the key, which is never stored. A local endpoint needs none."""
    answer_tokens: int = Field(900, ge=16)
    temperature: float = Field(0.2, ge=0, le=2)
    structured: Literal["schema", "object", "none"] = "schema"
    """How JSON is requested; if an endpoint refuses schemas, requests are sent without."""

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, values: Any) -> Any:
        values = {"model": values} if isinstance(values, str) else values
        if not isinstance(values, dict) or not str(values.get("model", "")).startswith(ENDPOINT):
            return values
        try:
            url, model = parse_endpoint(values["model"])
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return {**values, "kind": "endpoint", "url": url, "model": model}


class CallSettings(Settings):
    """How an endpoint is called."""

    concurrency: int = Field(32, ge=1)
    per_minute: int = Field(0, ge=0)
    """Calls started per minute; 0 means no limit."""
    retries: int = Field(6, ge=0)
    """Number of retries after 408, 429, 5xx and broken connections."""
    patience: float = Field(120.0, gt=0)
    """Seconds to wait for one answer."""
    first_wait: float = Field(1.0, ge=0)
    """Seconds before the first retry; doubled each time up to 60, unless the endpoint states a delay."""
    length_field: LengthField = "auto"
    """Field for the maximum length of an answer: max_tokens, max_completion_tokens, or auto to try both."""
    max_calls: int = Field(0, ge=0)
    """Maximum number of answers for the set, from its first call on; 0 means no limit."""
    max_tokens: int = Field(0, ge=0)
    """Maximum number of input and output tokens for the set; 0 means no limit."""


class DescribeSettings(Settings):
    """The input of a teacher."""

    teacher: TeacherSettings = TeacherSettings.of({})
    languages: tuple[Literal["en", "zh"], ...] = ("en", "zh")
    labels: str = "dfew7"
    """Label set of the emotions."""
    frames: int = Field(6, ge=1)
    """Number of evenly spaced frames."""
    side: int = Field(512, ge=64)
    """Their longer side, pixels."""
    capture_strength: float = Field(0.35, ge=0, le=1)
    """Strength with which everything except faces is faded, 0 to 1."""
    repairs: int = Field(2, ge=0)
    """Number of repeated requests if an answer is not valid JSON of the schema."""


class CheckSettings(Settings):
    """How descriptions are checked."""

    reader: TeacherSettings | None = None
    """Names the emotion of a description without its emotion words; None uses only rules."""
    second: TeacherSettings | None = None
    """Describes a sample of the clips again, to measure the agreement of two teachers."""
    second_share: float = Field(0.1, ge=0, le=1)
    shortest: int = Field(60, ge=1)
    """Minimum and maximum characters of an English description; a third of them for Chinese."""
    longest: int = Field(3000, ge=1)
    smile: float = Field(0.05, ge=0, le=1)
    """If happiness has a smaller share in every face, a described smile is an objection."""
    rounds: int = Field(1, ge=0)
    """Number of rounds in which the teacher may revise its description."""


class CriticSettings(Settings):
    """How the critic judges descriptions that passed the check."""

    clear: float = Field(0.6, ge=0, le=1)
    """Smallest share of another emotion, in a face or a text, that contradicts a label."""
    unlikely: float = Field(0.1, ge=0, le=1)
    """Largest share of the label itself in the same face or text."""
    teacher: TeacherSettings | None = None
    """An endpoint that judges descriptions to which no rule objects; None uses only rules."""


class ExportSettings(Settings):
    """How a set is written."""

    name: str = "ver"
    validation: float = Field(0.05, ge=0, le=0.5)
    """Share of the source videos in the validation split."""
    test: float = Field(0.05, ge=0, le=0.5)


class BuildSettings(Settings):
    """All settings of a build."""

    source: str
    """A folder of videos, or a manifest: JSON Lines with `path` and optionally license, source, group, known."""
    output: str
    license: str = ""
    """License of videos without one in the manifest."""
    workers: int = Field(2, ge=1)
    """Processes for cut, look and listen; 1 uses the build process, which a damaged video can crash."""
    item_seconds: float = Field(3600.0, gt=0)
    """Time limit in seconds per video or clip, after which it is rejected."""
    segment: SegmentSettings = SegmentSettings.of({})
    cut: CutSettings = CutSettings.of({})
    select: SelectSettings = SelectSettings.of({})
    listen: ListenSettings = ListenSettings.of({})
    describe: DescribeSettings = DescribeSettings.of({})
    check: CheckSettings = CheckSettings.of({})
    critic: CriticSettings | None = None
    """None leaves the step out, as in sets of earlier versions."""
    calls: CallSettings = CallSettings.of({})
    export: ExportSettings = ExportSettings.of({})

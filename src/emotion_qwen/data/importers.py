"""Other formats into one manifest: the table of importers, and the run that holds their samples to the rules.

An importer is a function of the source and `ImportOptions` that yields samples and faults. The rules of a manifest hold
for what it yields, so whatever is written can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from emotion_qwen.data.conversations import read_llava, read_release, read_sharegpt
from emotion_qwen.data.faults import REJECTED, Check, refuse
from emotion_qwen.data.import_options import Found, ImportOptions
from emotion_qwen.data.labelled import read_labelled_folder
from emotion_qwen.data.manifest import Acceptance, write_manifest
from emotion_qwen.data.rules import SPLITS
from emotion_qwen.data.tables import read_tables
from emotion_qwen.errors import DataError, SettingsError, unknown_choice
from emotion_qwen.records import Sample
from emotion_qwen.taxonomy import label_set

__all__ = ["IMPORTERS", "ImportOptions", "import_manifest", "import_samples"]

IMPORTERS: dict[str, Callable[[Path, ImportOptions], Iterator[Found]]] = {
    "release": read_release,
    "llava": read_llava,
    "sharegpt": read_sharegpt,
    "parquet": read_tables,
    "folder": read_labelled_folder,
}


def import_samples(kind: str, source: str | Path, options: ImportOptions) -> Iterator[Found]:
    """Yield what a source holds, samples and faults, in its order.

    Args:
        kind: a name of `IMPORTERS`.
        source: the file or folder.
        options: how it becomes samples.

    Raises:
        SettingsError: an unknown kind, label set or language.
        DataError: the source as a whole cannot be read, or the split is unknown.
    """
    if kind not in IMPORTERS:
        raise SettingsError(unknown_choice("kind of source", kind, IMPORTERS))
    label_set(options.labels).names(options.language)
    if options.split is not None and options.split not in SPLITS:
        raise DataError(unknown_choice("split", options.split, SPLITS))
    if not Path(source).exists():
        raise DataError(f"source {str(source)!r} does not exist; give a file or folder")
    return IMPORTERS[kind](Path(source), options)


def import_manifest(
    kind: str,
    source: str | Path,
    output: str | Path,
    options: ImportOptions | None = None,
    *,
    max_rejected: int = 0,
    rejected: str | Path | None = None,
    decode: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Check:
    """Import a source into a manifest; the source is never changed.

    Ids that come again get a number, because other formats do not ask for different ones. With more faults than
    allowed no manifest is written; what is wrong is listed in `rejected.jsonl` in any case.

    Args:
        kind: a name of `IMPORTERS`.
        source: the file or folder.
        output: the manifest to write; it must not be there yet.
        options: how the source becomes samples; media that come as bytes go to `media` beside the output if None.
        max_rejected: how many bad records are left out before it is an error.
        rejected: where bad records are listed; `rejected.jsonl` beside the output if None.
        decode: decode media; otherwise only look for the files.
        progress: told the number of records read, after each.

    Raises:
        SettingsError: an unknown kind, label set or language.
        DataError: the source cannot be read, holds no sample or more bad records than allowed, or the output exists.
    """
    output = Path(output)
    if output.exists():
        raise DataError(f"{str(output)!r} exists already; remove it, or name another file for the manifest")
    options = options or ImportOptions(output.parent / "media")
    options = replace(options, accept=_Accepting(decode))
    results: list[Found] = []
    for result in import_samples(kind, source, options):
        results.append(result)
        if progress:
            progress(len(results))
    check = Check.of(results)
    if check.faults:
        refuse(check, Path(rejected or output.parent / REJECTED), max_rejected)
    if not check.samples:
        raise DataError(f"{str(source)!r} holds no sample; expected at least one, check the path and the kind {kind!r}")
    write_manifest(check.samples, output)
    return check


class _Accepting:
    """The rules of a manifest for imported samples; repeated ids are told apart by a number."""

    def __init__(self, decode: bool) -> None:
        self._accept = Acceptance(decode)
        self._seen: dict[str, int] = {}

    def __call__(self, sample: Sample, line: int) -> Sample:
        """Accept a sample under an id of its own.

        Raises:
            DataError: it breaks a rule.
        """
        times = self._seen.get(sample.id, 0) + 1
        numbered = sample if times == 1 else replace(sample, id=f"{sample.id}#{times}")
        self._accept(numbered, line)
        self._seen[sample.id] = times
        return numbered

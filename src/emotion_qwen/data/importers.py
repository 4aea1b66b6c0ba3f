"""Import other formats into a manifest: the table of importers, and the check of their samples.

An importer is a function of the source and `ImportOptions` that yields samples and faults. Its samples must follow the
rules of a manifest, so that the result can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from emotion_qwen.data.conversations import read_llava, read_release, read_sharegpt
from emotion_qwen.data.faults import REJECTED, Check, refuse
from emotion_qwen.data.forms import read_amt, read_ecf, read_emocfg, read_emocue, read_emoverse, read_reccon
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
    "emoverse": read_emoverse,
    "amt": read_amt,
    "emocfg": read_emocfg,
    "emocue": read_emocue,
    "ecf": read_ecf,
    "reccon": read_reccon,
}


def import_samples(kind: str, source: str | Path, options: ImportOptions) -> Iterator[Found]:
    """Yield the samples and faults of a source, in its order.

    Args:
        kind: a key of `IMPORTERS`.
        source: the file or folder.
        options: of the conversion.

    Raises:
        SettingsError: unknown kind, label set or language.
        DataError: the source cannot be read, or the split is unknown.
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

    Repeated ids get a number, because other formats do not require unique ids. With more faults than allowed, no
    manifest is written. Faults are listed in `rejected.jsonl` in any case.

    Args:
        kind: a key of `IMPORTERS`.
        source: the file or folder.
        output: the manifest to write; it must not exist.
        options: of the conversion; None stores media given as bytes in `media` next to the output.
        max_rejected: number of invalid records that are allowed.
        rejected: file for invalid records; None uses `rejected.jsonl` next to the output.
        decode: decode media; otherwise only check that the files exist.
        progress: called with the number of records read, after each record.

    Raises:
        SettingsError: unknown kind, label set or language.
        DataError: the source cannot be read, has no sample or more bad records than allowed, or the output exists.
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
    """Applies the rules of a manifest to imported samples; repeated ids get a number."""

    def __init__(self, decode: bool) -> None:
        self._accept = Acceptance(decode)
        self._seen: dict[str, int] = {}

    def __call__(self, sample: Sample, line: int) -> Sample:
        """Check a sample and return it with a unique id.

        Raises:
            DataError: it breaks a rule.
        """
        times = self._seen.get(sample.id, 0) + 1
        numbered = sample if times == 1 else replace(sample, id=f"{sample.id}#{times}")
        self._accept(numbered, line)
        self._seen[sample.id] = times
        return numbered

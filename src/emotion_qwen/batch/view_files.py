"""The files that `analyze` writes beside its report: page, Markdown, annotated clip, table of every frame."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from emotion_qwen.errors import MediaError
from emotion_qwen.files import write_whole
from emotion_qwen.records import EmotionReport
from emotion_qwen.views.outputs import view_names, view_path

if TYPE_CHECKING:  # not imported: `analyze --help` would load torch
    from emotion_qwen.analysis.analyzer import Analyzer
    from emotion_qwen.analysis.request import Request

VIEWS = {"html": ".html", "markdown": ".md", "annotated": "", "every_frame": ".csv"}
"""Option -> suffix of the file that it writes per input, if the option names a folder."""


@dataclass(frozen=True)
class ViewFiles:
    """The views of a run.

    Attributes:
        targets: option -> file, or folder for several inputs.
        names: input -> base name of its views.
    """

    targets: Mapping[str, Path]
    names: Mapping[Path, str]

    @classmethod
    def of(cls, targets: Mapping[str, Path], files: Sequence[Path]) -> ViewFiles:
        """Choose the files.

        Raises:
            MissingPackage: for the format of a table.
            SettingsError: a table of frames with another suffix.
        """
        if "every_frame" in targets and len(files) == 1 and not targets["every_frame"].is_dir():
            from emotion_qwen.export.every_frame import frame_format

            frame_format(targets["every_frame"])
        return cls(targets, view_names(files))

    def path(self, view: str, file: Path) -> Path:
        """Return where a view of an input is written."""
        return view_path(self.targets[view], VIEWS[view], file, self.names)

    def places(self, files: Sequence[Path]) -> dict[str, list[Path]]:
        """Return option -> the files that it writes."""
        return {view.replace("_", "-"): [self.path(view, file) for file in files] for view in self.targets}

    def save(self, analyzer: Analyzer, report: EmotionReport, request: Request, file: Path) -> list[MediaError]:
        """Write all views of a report; print and return the errors."""
        failures = []
        for view in self.targets:
            try:
                self._save(view, analyzer, report, request, file)
            except MediaError as error:
                failures.append(error)
                print(f"error: {error}", file=sys.stderr, flush=True)
        return failures

    def _save(self, view: str, analyzer: Analyzer, report: EmotionReport, request: Request, file: Path) -> None:
        from emotion_qwen.export.every_frame import write_every_frame
        from emotion_qwen.views.annotate import annotate
        from emotion_qwen.views.html import write_html
        from emotion_qwen.views.markdown import as_markdown

        target = self.path(view, file)
        if view == "html":
            write_html(report, target, media=file)
        elif view == "markdown":
            write_whole(target, as_markdown(report))
        elif view == "annotated":
            annotate(report, file, target)
        else:
            with Progress(console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task(f"every frame of {file.name}", total=None)
                write_every_frame(
                    target, analyzer, file, report, request,
                    watch=lambda read, count: bar.update(task, completed=read, total=count),
                )  # fmt: skip

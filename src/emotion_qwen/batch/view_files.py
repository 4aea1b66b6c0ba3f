"""The files that `analyze` writes in addition to its report: page, Markdown, annotated clip, replay, table of frames,
and the index of the pages of several clips.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress

from emotion_qwen.batch.following import terminal_progress
from emotion_qwen.errors import EmotionQwenError, MediaError, printable
from emotion_qwen.files import write_whole
from emotion_qwen.records import EmotionReport
from emotion_qwen.views.outputs import in_folder, view_names, view_path

if TYPE_CHECKING:  # not imported: `analyze --help` would load torch
    from emotion_qwen.analysis.analyzer import Analyzer
    from emotion_qwen.analysis.request import Request
    from emotion_qwen.views.index import IndexRow

INDEX = "index"
"""Base name of the page that lists the pages of several clips."""
VIEWS = {"html": ".html", "markdown": ".md", "annotated": "", "avatar": ".mp4", "every_frame": ".csv"}
"""Option -> suffix of the file that it writes per input, if the option names a folder."""


@dataclass(frozen=True)
class ViewFiles:
    """The views of a run.

    Attributes:
        targets: option -> file, or folder for several inputs.
        names: input -> base name of its views.
        rows: input -> its row in the index.
    """

    targets: Mapping[str, Path]
    names: Mapping[Path, str]
    rows: dict[Path, IndexRow] = field(default_factory=dict)

    @classmethod
    def of(cls, targets: Mapping[str, Path], files: Sequence[Path]) -> ViewFiles:
        """Choose the files.

        Raises:
            MissingPackage: for the format of a table.
            SettingsError: a table of frames with another suffix.
        """
        views = cls(targets, view_names(files, [INDEX] if "html" in targets else []))
        if "every_frame" in targets and len(files) == 1:
            from emotion_qwen.export.every_frame import frame_format

            frame_format(views.path("every_frame", files[0]))
        return views

    def path(self, view: str, file: Path) -> Path:
        """Return where a view of an input is written."""
        return view_path(self.targets[view], VIEWS[view], file, self.names)

    def places(self, files: Sequence[Path]) -> dict[str, list[Path]]:
        """Return option -> the files that it writes."""
        places = {view.replace("_", "-"): [self.path(view, file) for file in files] for view in self.targets}
        if self.index is not None:
            places["html"].append(self.index)
        return places

    @property
    def index(self) -> Path | None:
        """Path of the index; None if pages go to a single file, or nowhere."""
        folder = self.targets.get("html")
        return folder / f"{INDEX}.html" if folder and in_folder(folder, self.names) else None

    def fail(self, file: Path, error: EmotionQwenError) -> None:
        """Record for the index that an input could not be analyzed."""
        from emotion_qwen.views.index import failed_row

        self.rows[file] = failed_row(printable(file), printable(str(error)))

    def write_index(self, earlier: Mapping[str, bytes], language: str) -> None:
        """Write the index of the pages of this run, and of earlier ones whose pages are still there.

        A single page gets no index.

        Args:
            earlier: source -> line of a report, from a run that this one continues.
            language: of the texts, "en" or "zh".

        Raises:
            StorageError: the index cannot be written.
        """
        if self.index is None:
            return
        from emotion_qwen.views.index import write_index

        given = {printable(file): file for file in self.names}
        others = [Path(source) for source in earlier if source not in given]
        names = {**view_names([*self.names, *others], [INDEX]), **self.names}
        used = {self.path("html", file) for file in self.names}
        rows = []
        for file in [*self.names, *others]:
            page = self.index.with_name(f"{names[file]}.html")
            line = earlier.get(printable(file))
            if file in self.rows:
                rows.append(self.rows[file])
            elif line is not None and page.is_file() and (file in self.names or page not in used):
                rows.append(_earlier_row(line, file, page))
        if len(rows) > 1:
            write_index(self.index, rows, language)

    def save(self, analyzer: Analyzer, report: EmotionReport, request: Request, file: Path) -> list[MediaError]:
        """Write all views of a report; print and return the errors."""
        failures = []
        for view in self.targets:
            try:
                self._save(view, analyzer, report, request, file)
            except MediaError as error:
                failures.append(error)
                print(f"error: {error}", file=sys.stderr, flush=True)
                if view == "html" and self.index is not None:
                    self.fail(file, error)
        return failures

    def _save(self, view: str, analyzer: Analyzer, report: EmotionReport, request: Request, file: Path) -> None:
        target = self.path(view, file)
        if view == "html":
            self._save_page(report, file, target)
        elif view == "markdown":
            from emotion_qwen.views.markdown import as_markdown

            write_whole(target, as_markdown(report))
        elif view == "annotated":
            from emotion_qwen.views.annotate import annotate

            annotate(report, file, target)
        elif view == "avatar":
            from emotion_qwen.express.avatar import write_avatar

            write_avatar(report, target)
        else:
            from emotion_qwen.export.every_frame import write_every_frame

            with terminal_progress(*Progress.get_default_columns()) as bar:
                task = bar.add_task(f"every frame of {file.name}", total=None)
                write_every_frame(
                    target, analyzer, file, report, request,
                    watch=lambda read, count: bar.update(task, completed=read, total=count),
                )  # fmt: skip

    def _save_page(self, report: EmotionReport, file: Path, target: Path) -> None:
        from emotion_qwen.views.html import write_html
        from emotion_qwen.views.index import index_row
        from emotion_qwen.views.thumbnails import thumbnail

        write_html(report, target, media=file)
        if self.index is not None:
            self.rows[file] = index_row(report, target.name, thumbnail(report, file))


def _earlier_row(line: bytes, file: Path, page: Path) -> IndexRow:
    from emotion_qwen.export.reports import read_report
    from emotion_qwen.views.index import index_row
    from emotion_qwen.views.thumbnails import thumbnail

    report = read_report(line.decode())
    return index_row(report, page.name, thumbnail(report, file))

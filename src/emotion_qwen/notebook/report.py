"""A report with methods for notebooks: display, tables, plots and files.

Records do not depend on views, so the methods are in a subclass here, above the pages and tables that they use.
The subclass has no further data: both have the same JSON.
"""

from __future__ import annotations

import html
import os
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion_qwen.errors import MediaError, SettingsError
from emotion_qwen.export.run import SUFFIXES
from emotion_qwen.files import write_whole
from emotion_qwen.media.write.film import ENCODINGS
from emotion_qwen.media.write.playable import Playable, playable, wave_peaks
from emotion_qwen.notebook.plot import draw_arc
from emotion_qwen.notebook.tables import save_reports, to_frame
from emotion_qwen.records import EmotionReport
from emotion_qwen.views.annotate import WRITTEN_PICTURES, annotate
from emotion_qwen.views.html import compose_page, write_html
from emotion_qwen.views.markdown import as_markdown
from emotion_qwen.views.playhead import is_still
from emotion_qwen.views.render import as_json, as_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

EMBEDDED = 8 << 20
"""Bytes of the largest clip in a notebook cell; with larger clips, the page has no picture."""
HEIGHT = 760
"""Of the page in a notebook cell, pixels."""
SHOWN_EPISODES = 4
"""Number of episodes in `repr`."""
DOCUMENTS = (".html", ".htm", ".md", ".json")


class Report(EmotionReport):
    """A report as `EmotionQwen.analyze` returns it: the fields of `EmotionReport`, and methods to use them.

    In a notebook, a report as the last line of a cell is shown as its page.

    Examples:
        >>> report = EmotionQwen.load().analyze("clip.mp4")
        >>> report
        <Report 'clip.mp4': happy 54%; sad 0.0-4.2 s, happy 4.2-9.5 s; 1 person>
        >>> report.to_frame("timeline")[["start", "end", "label", "valence"]]
        >>> report.plot().savefig("arc.png")
        >>> report.save("clip.html")
    """

    @classmethod
    def of(cls, report: EmotionReport) -> Report:
        """Return a report with methods; the fields are shared with the given one."""
        return cls(**{field.name: getattr(report, field.name) for field in fields(EmotionReport)})

    def __repr__(self) -> str:
        """Return one line: source, label with its share, the first episodes, and the number of people."""
        share = "" if self.label is None else f" {self.distribution[self.label]:.0%}"
        answer = f"{self.label}{share}" if self.label else "no answer"
        if self.label and self.uncertainty is not None and self.uncertainty.abstains:
            answer = f"not sure ({answer}?)"
        spans = [f"{episode.label} {episode.onset:.1f}-{episode.offset:.1f} s" for episode in self.episodes]
        more = [f"{len(spans) - SHOWN_EPISODES} more"] if len(spans) > SHOWN_EPISODES else []
        count = len(self.people)
        people = f"{count} person" if count == 1 else f"{count} people"
        arc = [", ".join([*spans[:SHOWN_EPISODES], *more])] if spans else []
        return f"<{type(self).__name__} {self.source!r}: {'; '.join([answer, *arc, people])}>"

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own, so that its style does not reach the notebook."""
        page = html.escape(compose_page(self, *self._media()), quote=True)
        style = f"width: 100%; height: {HEIGHT}px; border: 1px solid #8884; border-radius: 6px"
        name = html.escape(f"Report of {self.source}", quote=True)
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts allow-downloads" title="{name}" style="{style}"></iframe>'
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the values of `to_json` as dictionaries and lists."""
        return as_values(self)

    def to_json(self) -> str:
        """Return one line of JSON, described by `docs/schema/emotion_report.schema.json`.

        Raises:
            DataError: a number is not finite.
        """
        return as_json(self)

    def to_frame(self, table: str = "timeline", **options: Any) -> DataFrame:
        """Return one of the tables of `emotion-qwen export` as a pandas data frame.

        Args:
            table: one of `export.tables.TABLE_NAMES`, such as "timeline", "people", "frames" or "episodes".
            options: those of `to_frame` of the package: `shape`, `names` and `baseline`.

        Raises:
            MissingPackage: pandas is not installed.
            SettingsError: there is no such table.
        """
        return to_frame([self], table, **options)

    def plot(self, person: int | None = None) -> Figure:
        """Draw the shares over time, with valence and arousal below; of a picture, the shares as bars.

        Args:
            person: number of a person, from 1 as in the tables; None draws the clip as a whole.

        Returns:
            A figure of matplotlib, which a notebook shows and `savefig` stores.

        Raises:
            MissingPackage: matplotlib is not installed.
            SettingsError: there is no such person.
        """
        return draw_arc(self, person)

    def save(self, path: str | os.PathLike[str], table: str | None = None) -> Path:
        """Save the report in the format of the suffix; an existing file is replaced.

        Args:
            path: `.html`, `.md` or `.json`; `.csv`, `.parquet` (one table) or `.xlsx` (all tables); `.eaf`,
                `.TextGrid`, `.srt` or `.vtt`; `.mp4`, `.mkv`, `.mov` or `.webm` (the clip with boxes and labels), or of
                a picture `.png`, `.jpg` or `.webp`.
            table: for formats with one table; None saves "clips".

        Returns:
            `path`.

        Raises:
            MediaError: the analyzed file is needed and not there, or is of another kind.
            MissingPackage: for the format.
            SettingsError: unknown suffix or table, or `path` is the analyzed file.
            StorageError: the file cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if os.path.realpath(path) == os.path.realpath(self.source):
            raise SettingsError(f"{str(path)!r} is the analyzed file itself; choose another file")
        if table is not None and suffix in (*DOCUMENTS, *ENCODINGS, *WRITTEN_PICTURES):
            raise SettingsError(f"{str(path)!r} holds no tables; leave table={table!r} out, or save as .csv or .xlsx")
        if suffix in (".html", ".htm"):
            write_html(self, path, media=self._file())
        elif suffix == ".md":
            write_whole(path, as_markdown(self))
        elif suffix == ".json":
            write_whole(path, self.to_json() + "\n")
        elif suffix in (*ENCODINGS, *WRITTEN_PICTURES):
            annotate(self, self.source, path)
        elif suffix in map(str.lower, SUFFIXES.values()):
            save_reports([self], path, () if table is None else [table])
        else:
            known = (".html", ".md", *SUFFIXES.values(), *ENCODINGS, *WRITTEN_PICTURES)
            raise SettingsError(f"{str(path)!r}: no format has the suffix {suffix!r}; expected {' '.join(known)}")
        return path

    def _file(self) -> Path | None:
        """Return the analyzed file; None if it is not there, as for arrays."""
        path = Path(self.source)
        return path if path.is_file() else None

    def _media(self) -> tuple[Playable | None, dict[str, object] | None]:
        """Return the clip for the page in a notebook, and the peaks of its sound; a large clip is left out."""
        file = self._file()
        if file is None or file.stat().st_size > EMBEDDED:
            return None, None
        with suppress(MediaError):  # the page is legible without its clip
            # Without a limit, so that a converted copy is embedded and not stored next to the clip.
            return playable(file, file, sys.maxsize), None if is_still(self) else wave_peaks(file)
        return None, None

"""Divide a run over many clips into parts for several processes or machines, and join their results.

Part i of n gets every n-th group of clips, so that its clips share batches with the same clips as in a single run. It
writes a file of lines of its own, which a second run continues; whichever part is completed last writes the output of
all, in the order of a single run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emotion_qwen.errors import SettingsError, printable
from emotion_qwen.files import read_journal, write_whole

TOGETHER = 16
"""Number of clips whose views share batches."""


@dataclass(frozen=True)
class Shard:
    """One of `count` parts, counted from 1."""

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> Shard:
        """Read a text such as "2/4".

        Raises:
            SettingsError: it is no part of a whole.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise SettingsError(f"--shard {text!r}; expected PART/PARTS, such as 1/4 to 4/4")
        return cls(int(match[1]), int(match[2]))

    def files(self, files: Sequence[Path]) -> list[Path]:
        """Return the files of this part, in order."""
        return [file for place, file in enumerate(files) if place // TOGETHER % self.count == self.number - 1]

    def path(self, output: Path) -> Path:
        """Return the path of this part: next to `output`, for example `reports.2of4.jsonl`."""
        return output.with_name(f"{output.stem}.{self.number}of{self.count}{output.suffix}")

    def siblings(self) -> list[Shard]:
        """Return all parts, in order."""
        return [Shard(number, self.count) for number in range(1, self.count + 1)]

    def join(self, output: Path, files: Sequence[Path]) -> bool:
        """Write the output of all parts if each of them is complete.

        Args:
            output: of all parts.
            files: of all parts, in order.

        Returns:
            Whether all parts are complete.

        Raises:
            StorageError: the output cannot be written.
        """
        lines: dict[str, bytes] = {}
        for shard in self.siblings():
            path = shard.path(output)
            stored = read_journal(path) if path.is_file() else ()
            lines |= {json.loads(line)["source"]: line + b"\n" for _, line in stored}
        sources = [printable(file) for file in files]
        if not all(source in lines for source in sources):
            return False
        write_whole(output, b"".join(lines[source] for source in sources))
        return True

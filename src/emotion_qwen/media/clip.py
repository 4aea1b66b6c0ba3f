"""The one door from a path to a clip, and from what a user names to the list of files."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from emotion_qwen.errors import MediaError
from emotion_qwen.media.container import check_readable
from emotion_qwen.media.picture import is_animation, is_picture, read_picture
from emotion_qwen.media.video import read_video
from emotion_qwen.records import Clip
from emotion_qwen.settings import ClipSettings

PICTURE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2"])
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".ogv", ".gif")
).union((".mpg", ".mpeg", ".ts", ".mts", ".m2ts"))
MEDIA_SUFFIXES = PICTURE_SUFFIXES | VIDEO_SUFFIXES


def read_clip(
    path: str | Path, settings: ClipSettings, *, start: float | None = None, end: float | None = None
) -> Clip:
    """Read a picture or a video; the content decides which, not the name.

    Args:
        path: the file. An animated picture is read as video where FFmpeg can.
        settings: frame budget and working side.
        start: seconds from the first frame of a video.
        end: seconds; frames from here on are left out.

    Raises:
        MediaError: the file cannot be read, or a span is asked of a picture.
    """
    path = Path(path)
    check_readable(path)
    if not is_picture(path):
        return read_video(path, settings, start=start, end=end)
    if is_animation(path):
        try:
            return read_video(path, settings, start=start, end=end)
        except MediaError:
            if start is not None or end is not None:
                raise
    if start is not None or end is not None:
        raise MediaError(f"{str(path)!r} is a picture; start and end apply to videos only, leave them out")
    return read_picture(path, settings)


def find_media(paths: Sequence[str]) -> list[Path]:
    """Find the files that paths, folders and patterns name, in order, each once.

    Args:
        paths: a file is taken whatever its suffix; a folder gives the files with a known media suffix in it and below,
            sorted; a pattern (`*`, `?`, `[...]`, `**`) gives what it matches, sorted.

    Raises:
        MediaError: a path does not exist, a folder holds no media, or a pattern matches nothing.
    """
    found: dict[Path, None] = {}
    for name in paths:
        path = Path(name)
        if not path.exists() and glob.has_magic(str(name)):
            found.update(dict.fromkeys(_matching(str(name))))
        elif path.is_dir():
            inside = _media_below(path)
            if not inside:
                raise MediaError(
                    f"folder {str(path)!r} holds no picture or video; expected files ending in "
                    f"{' '.join(sorted(MEDIA_SUFFIXES))}"
                )
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            raise MediaError(f"{str(path)!r} does not exist; give a file, a folder or a pattern such as 'clips/*.mp4'")
    return list(found)


def _matching(pattern: str) -> list[Path]:
    files: list[Path] = []
    for match in sorted(map(Path, glob.glob(pattern, recursive=True))):
        files.extend(_media_below(match) if match.is_dir() else [match])
    if not files:
        raise MediaError(f"pattern {pattern!r} matches no file; check the folder and the spelling")
    return files


def _media_below(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        # names with a leading dot are leftovers of file managers, such as macOS's "._clip.mp4"
        if path.suffix.lower() in MEDIA_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )

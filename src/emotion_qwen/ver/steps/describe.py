"""Ask the teacher for one strict record per clip and language."""

from __future__ import annotations

from dataclasses import dataclass

from emotion_qwen.errors import MediaError
from emotion_qwen.ver.store.columns import Row, kept, rejected
from emotion_qwen.ver.teachers.calls import Refused
from emotion_qwen.ver.teachers.description import Teacher, Unusable


@dataclass(frozen=True)
class DescribeClip:
    """Describe one clip in all languages; a clip without a usable answer is rejected with the reason."""

    teacher: Teacher
    languages: tuple[str, ...]

    def __call__(self, item: Row) -> list[Row]:
        """Return one row."""
        columns = {"en": "", "zh": "", "teacher": self.teacher.name}
        try:
            texts = {language: self.teacher.describe(item, language).packed() for language in self.languages}
        except (Unusable, Refused, MediaError) as error:
            return [row | columns for row in rejected(item, str(error))]
        return kept(item, **columns | texts)

    def lost(self, item: Row, reason: str) -> list[Row]:
        """Return one rejected row; see `pools.Work`."""
        return rejected(item, reason)

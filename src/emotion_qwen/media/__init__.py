"""File to clip: pictures and videos as frames with the times at which they are shown."""

from emotion_qwen.media.clip import find_media, read_clip
from emotion_qwen.media.picture import read_picture
from emotion_qwen.media.video import read_video

__all__ = ["find_media", "read_clip", "read_picture", "read_video"]

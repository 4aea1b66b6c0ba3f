"""The fixed words around a report, in English and Chinese, and how its times and shares are written.

Terminal view, page, Markdown and annotated video say the same thing in the same words.
"""

from __future__ import annotations

from emotion_qwen.records import EVOKED, EmotionReport
from emotion_qwen.taxonomy import LABEL_SETS

PHRASES: dict[str, tuple[str, str]] = {
    # the answer
    "not_sure": ("not sure", "不确定"),
    "no_answer": ("no answer", "没有结论"),
    "leans": ("leans to {label}, which is not an answer", "偏向{label}，但这不是结论"),
    "about_whole": (
        "Where nobody was found, the whole picture and all sound were read, as asked (--whole-picture).",
        "按要求（--whole-picture），在没有找到人的地方读取了整个画面和全部声音。",
    ),
    "about_evoked": (
        "This is what the picture evokes in whoever looks at it, not what a person shows (--evoked).",
        "这是图片在观看者心中引起的情绪，而不是画面中的人所表现的情绪（--evoked）。",
    ),
    "valence": ("valence", "效价"),
    "arousal": ("arousal", "唤醒度"),
    "pleasant": ("pleasant", "愉快"),
    "unpleasant": ("unpleasant", "不愉快"),
    "excited": ("excited", "激动"),
    "calm": ("calm", "平静"),
    "confidence": ("confidence", "置信度"),
    "clip": ("clip", "全片"),
    "shares": ("shares", "份额"),
    "whole_clip": ("whole clip", "全片"),
    "summary": ("in the model's words", "模型的描述"),
    # sections
    "timeline": ("timeline", "时间线"),
    "episodes": ("episodes", "片段"),
    "people": ("people", "人物"),
    "person": ("person", "人物"),
    "channels": ("what each channel says", "各通道的判断"),
    "channel": ("channel", "通道"),
    "cues": ("cues", "线索"),
    "why": ("why", "依据"),
    "words_open": ("open words", "开放词汇"),
    "reasoning": ("reasoning, step by step", "逐步推理"),
    "step_seen": ("what is seen", "所见"),
    "step_heard": ("what is heard", "所闻"),
    "step_said": ("what is said", "所言"),
    "step_meaning": ("what it means", "含义"),
    "step_conclusion": ("conclusion", "结论"),
    "said": ("what was said", "台词"),
    "context_given": ("context, as given", "给定的背景"),
    "gate": ("gate", "门控"),
    "trust": ("how far to trust this", "可信程度"),
    "provenance": ("where this comes from", "来源"),
    "warning": ("warning", "警告"),
    "now": ("at the playhead", "当前时刻"),
    "plane": ("valence and arousal", "效价与唤醒度"),
    # channels
    "picture": ("picture", "画面"),
    "sound": ("sound", "声音"),
    "words": ("words", "台词"),
    "context": ("context", "背景"),
    "alone": ("alone says", "单独判断"),
    "moves": ("moves the answer", "对结论的作用"),
    "weight": ("weight", "权重"),
    "weight_help": (
        "weight: how much the channel counts, by how often it was right on validation data",
        "权重：按该通道在验证数据上的可靠程度计算",
    ),
    "agrees": ("agrees", "一致"),
    "disagrees": ("disagrees", "不一致"),
    "nothing": ("gives no answer", "不提供结论"),
    "moves_help": (
        "×1.8: with this channel the label's share is 1.8 times what it is without; below ×1 it speaks against it",
        "×1.8：有此通道时，该标签的份额是没有它时的 1.8 倍；小于 ×1 表示此通道不支持该标签",
    ),
    # people
    "seen": ("seen", "出现"),
    "frames": ("frames", "帧数"),
    "feels": ("shows", "表现为"),
    "nobody": ("no face was found", "没有找到人脸"),
    "no_picture": ("no picture; what is heard and said is read", "没有画面；读取的是声音和台词"),
    "unasked": ("not looked for", "未作查找"),
    "in_frame": ("boxes: this frame alone", "人脸框：仅此帧"),
    "peak": ("peak", "峰值"),
    "smoothed": ("smoothed", "平滑后"),
    "more": ("{count} more", "另有 {count} 条"),
    # where sentences come from
    "measured": ("measured", "测得"),
    "generated": ("generated", "生成"),
    "measured_help": (
        "composed from measurements, which stand beside it",
        "由测量值组成，测量值列在旁边",
    ),
    "generated_help": ("written by the model; nobody has checked it", "由模型写出，未经核实"),
    # gate and trust
    "general_expert": ("general expert", "通用专家"),
    "emotion_expert": ("emotion expert", "情绪专家"),
    "gate_help": (
        "how much of every picture goes through the expert for emotion, and how much through the general one",
        "每个画面有多少经过情绪专家，有多少经过通用专家",
    ),
    "threshold": ("not sure below {threshold}", "低于 {threshold} 时视为不确定"),
    "entropy": ("entropy {entropy} of 1", "熵 {entropy}（最大为 1）"),
    "calibrated": ("calibrated", "已校准"),
    "uncalibrated": ("not calibrated: shares are no probabilities", "未校准：份额不是概率"),
    "limits": ("a face shows an expression, not what is felt inside", "人脸显示的是表情，而不是内心的感受"),
    "limits_more": (
        "Faces are located, never identified. Do not decide anything about a person by this.",
        "只定位人脸，从不识别身份。请勿据此对任何人作出决定。",
    ),
    # the page's controls
    "play": ("play", "播放"),
    "pause": ("pause", "暂停"),
    "mute": ("mute", "静音"),
    "speed": ("speed", "速度"),
    "boxes": ("boxes", "人脸框"),
    "raw": ("each window alone, not smoothed", "各窗口原值（未平滑）"),
    "seek": ("seek in the clip", "在片中定位"),
    "keys": (
        "arrow keys: half a second, with Shift 5 s · Page keys: episodes · Home, End · Space: play",
        "方向键：半秒，加 Shift 为 5 秒 · 翻页键：片段 · Home、End · 空格：播放",
    ),
    "no_media": ("The clip itself is not part of this page.", "此页面不含原片。"),
    "linked_media": (
        "The clip is too large for this page and is read from {path}; keep the two together.",
        "原片过大，未嵌入页面，将从 {path} 读取；请将两者放在一起。",
    ),
    "recoded_media": (
        "Browsers cannot play this format; the page shows a smaller copy, {size}.",
        "浏览器无法播放此格式；页面显示的是较小的副本（{size}）。",
    ),
    "unplayable": ("This browser cannot play the clip.", "此浏览器无法播放该片段。"),
    "window": ("window {start}–{end} s, smoothed", "窗口 {start}–{end} 秒，平滑后"),
    "window_raw": ("window {start}–{end} s", "窗口 {start}–{end} 秒"),
    "outside": ("no window here", "此处没有窗口"),
    "second": ("s", "秒"),
    "one_picture": ("picture", "图片"),
    "show_person": ("show this person", "查看此人"),
}


def phrases(language: str) -> dict[str, str]:
    """Return all fixed words in "en" or "zh"."""
    place = 1 if language == "zh" else 0
    return {key: pair[place] for key, pair in PHRASES.items()}


def about_note(report: EmotionReport, say: dict[str, str]) -> str:
    """Return the sentence that marks a report which is not about people alone; "" for one that is."""
    return say.get(f"about_{report.about}", "")


def nobody_note(report: EmotionReport, say: dict[str, str], *, pictured: bool) -> str:
    """Return what stands in the place of people where there are none; the reason of no answer says it already."""
    if report.label is None:
        return ""
    return say["unasked" if report.about == EVOKED else "nobody" if pictured else "no_picture"]


def label_name(report: EmotionReport, label: str) -> str:
    """Return a label's name in the report's language, as its label set gives it."""
    labels = LABEL_SETS.get(report.provenance.get("label_set", ""))
    if report.language != "zh" or labels is None or label not in labels.labels:
        return label
    return labels.chinese[labels.labels.index(label)]


def step_name(step: str, say: dict[str, str]) -> str:
    """Return how a step of reasoning is called; one that is not known keeps its name."""
    return say.get(f"step_{step}", step)


def ranked(distribution: dict[str, float]) -> list[tuple[str, float]]:
    """Return label and share, the largest share first."""
    return sorted(distribution.items(), key=lambda pair: -pair[1])


def signed(value: float) -> str:
    """Write a number of two decimals with its sign, a real minus; zero has none."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def times(factor: float) -> str:
    """Write a factor such as ×1.80; very large and small ones are only bounded."""
    return "×>100" if factor > 100 else "×<0.01" if factor < 0.01 else f"×{factor:.2f}"


def measurement(value: float) -> str:
    """Write a measurement with three significant digits, without an exponent where it stays short."""
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"
    return text.replace("-", "−", 1) if value < 0 else text


def one_line(text: str) -> str:
    """Return text on one line without control characters, which could move a terminal's cursor or colours."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())

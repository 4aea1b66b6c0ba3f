"""The fixed words of reports in English and Chinese, side by side; `{name}` stands for what is put in."""

from __future__ import annotations

Strings = dict[str, tuple[str, str]]

PHRASES: Strings = {
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
"""Of the views: terminal, page, Markdown and annotated video say the same thing in the same words."""
SENTENCES: Strings = {
    # the rationale
    "leads": (
        "{label} leads from {onset:.1f} s to {offset:.1f} s, most at {peak:.1f} s ({share:.0%}, smoothed).",
        "{onset:.1f} 秒至 {offset:.1f} 秒以{label}为主，{peak:.1f} 秒时最强（平滑后 {share:.0%}）。",
    ),
    "disagrees": ("By {channel} alone it would be {own}, not {label}.", "仅凭{channel}会是{own}，而不是{label}。"),
    "moves": (
        "Without {channel} {label} would have {after:.0%} instead of {before:.0%}.",
        "没有{channel}时，{label}的份额是 {after:.0%}，而不是 {before:.0%}。",
    ),
    "the_picture": ("the picture", "画面"),
    "the_sound": ("the sound", "声音"),
    "the_words": ("the words", "台词"),
    "the_context": ("the context", "背景"),
    # why there is no answer
    "below": ("confidence {confidence} is below {threshold}", "置信度 {confidence} 低于 {threshold}"),
    "unread": (
        "the face cannot be read; it may be too blurred, too small or turned away",
        "无法辨认人脸；可能过于模糊、太小或转向一侧",
    ),
    "unseen": ("no face was found", "没有找到人脸"),
    "unheard": ("no voice is heard", "没有听到人声"),
    "neither": ("no face was found, and no voice is heard", "没有找到人脸，也没有听到人声"),
    "nothing": ("there is nothing to see, to hear or to read", "没有可看、可听或可读的内容"),
    # cues
    "cue_region": (
        "{region}{frame}: covering this part lowers {label} from {before:.0%} to {after:.0%}.",
        "{region}{frame}：遮住这一部分，{label}的份额从 {before:.0%} 变为 {after:.0%}。",
    ),
    "cue_face": (
        "The face shows {label} ({before:.0%}{frame}); no single part of it carries this alone.",
        "面部显示{label}（{before:.0%}{frame}），没有哪个部分单独决定它。",
    ),
    "cue_frame": (" in the frame at {time:.1f} s", "（{time:.1f} 秒的画面）"),
    "cue_voice": (
        "Voice at {pitch:.0f} Hz (clip: {usual:.0f} Hz), {level:+.0f} dB against the clip.",
        "嗓音 {pitch:.0f} Hz（全片 {usual:.0f} Hz），音量与全片相差 {level:+.0f} dB。",
    ),
    "cue_unpitched": (
        "Voice without a steady pitch, {level:+.0f} dB against the clip.",
        "音高不稳定的嗓音，音量与全片相差 {level:+.0f} dB。",
    ),
    "cue_words": (
        "“{said}”: while this is said, {label} would have {after:.0%} without words instead of {before:.0%}.",
        "“{said}”：说这句话时，若没有台词，{label}的份额是 {after:.0%}，而不是 {before:.0%}。",
    ),
    "cue_context": (
        "“{said}”: without this context {label} would have {after:.0%} instead of {before:.0%}.",
        "“{said}”：没有这段背景时，{label}的份额是 {after:.0%}，而不是 {before:.0%}。",
    ),
    # regions of a face
    "brows and eyes": ("Brows and eyes", "眉眼"),
    "mouth": ("Mouth", "嘴部"),
    # reasoning
    "differs": (
        "the reasoning concludes {own!r}, but the measured label is {label!r}; the label does not rest on it",
        "推理的结论是“{own}”，而测得的标签是“{label}”；标签并不以推理为依据",
    ),
}
"""Composed from measurements, by `analysis`."""
VOICE_WORDS: Strings = {
    "quiet": ("quiet", "轻"),
    "middle level": ("of middle loudness", "音量适中"),
    "loud": ("loud", "响亮"),
    "low": ("low", "偏低"),
    "middle pitch": ("of middle pitch", "适中"),
    "high": ("high", "偏高"),
    "flat": ("flat", "平直"),
    "varied": ("moderately varied", "有起伏"),
    "lively": ("lively", "起伏很大"),
    "slow": ("slow", "较慢"),
    "middle rate": ("of middle pace", "适中"),
    "fast": ("fast", "较快"),
    "no pause": ("without a pause", "没有停顿"),
    "one pause": ("with one pause", "停顿一次"),
    "pauses": ("with several pauses", "停顿多次"),
    "quieter": ("quieter than usual for this speaker", "比此人平时轻"),
    "usual level": ("about as loud as usual for this speaker", "音量与此人平时相近"),
    "louder": ("louder than usual for this speaker", "比此人平时响亮"),
    "lower": ("lower than usual for this speaker", "比此人平时低"),
    "usual pitch": ("about as high as usual for this speaker", "与此人平时相近"),
    "higher": ("higher than usual for this speaker", "比此人平时高"),
    "slower": ("slower than usual for this speaker", "比此人平时慢"),
    "usual rate": ("about as fast as usual for this speaker", "与此人平时相近"),
    "faster": ("faster than usual for this speaker", "比此人平时快"),
}
"""The words for what is measured of a voice."""
VOICE_CLAIMS: Strings = {
    "level": ("The voice is {word} ({value:.0f} dB).", "人声{word}（{value:.0f} dB）。"),
    "pitch": ("The voice is {word} ({value:.0f} Hz).", "音高{word}（{value:.0f} Hz）。"),
    "spread": ("Its melody is {word} ({value:.1f} semitones).", "语调{word}（{value:.1f} 个半音）。"),
    "rate": (
        "The speech is {word} (about {value:.1f} syllables per second).",
        "语速{word}（约每秒 {value:.1f} 个音节）。",
    ),
    "pauses": ("It goes on {word} ({value:.0f}).", "说话时{word}（{value:.0f} 次）。"),
    "relative level": ("The voice is {word} ({value:+.0f} dB).", "声音{word}（{value:+.0f} dB）。"),
    "relative pitch": ("The voice is {word} ({value:+.1f} semitones).", "音高{word}（{value:+.1f} 个半音）。"),
    "relative rate": ("The speech is {word} ({value:.1f} times the rate).", "语速{word}（{value:.1f} 倍）。"),
}
"""One sentence for each measurement of a voice, by `media.voice_claims`."""
THINKING: Strings = {
    "steps": (
        "Think step by step about what the person feels. Answer as JSON: {steps}.",
        "请一步一步地思考这个人的感受，并用 JSON 回答：{steps}。",
    ),
    "seen": ("what is seen of the person", "看到了什么"),
    "heard": ("what is heard", "听到了什么"),
    "said": ("what is said", "说了什么"),
    "meaning": ("what this means in context", "结合情境意味着什么"),
    "conclusion": ("one of {labels}", "从{labels}中选一个"),
}
"""The question for steps of reasoning, and what each step is about."""
BEGINNINGS: Strings = {
    "seen": ("The person looks", "这个人看起来很"),
    "heard": ("The voice sounds", "声音听起来很"),
    "said": ("The words sound", "说的话显得很"),
    "meaning": ("I think the person feels", "我觉得这个人很"),
}
"""The fixed words that a step of reasoning begins with."""


def in_language(strings: Strings, language: str) -> dict[str, str]:
    """Return a table in "en" or "zh"."""
    place = 1 if language == "zh" else 0
    return {key: pair[place] for key, pair in strings.items()}

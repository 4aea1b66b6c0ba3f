"""The fixed words of reports in English and Chinese; `{name}` is a placeholder for a value."""

from __future__ import annotations

Strings = dict[str, tuple[str, str]]

PHRASES: Strings = {
    # the answer
    "not_sure": ("not sure", "不确定"),
    "no_answer": ("no answer", "没有结论"),
    "leans": ("closest is {label}", "最接近{label}"),
    "about_whole": (
        "Where nobody was found, the whole picture and all sound were used, as requested (--whole-picture).",
        "按要求（--whole-picture），未找到人的时段使用了整个画面和全部声音。",
    ),
    "about_evoked": (
        "This is what the picture evokes in viewers, not what a person shows (--evoked).",
        "这是图片引起观看者的情感，而不是画面中的人所表现的情感（--evoked）。",
    ),
    "untrained": ("labels of your own, untrained", "自定义标签，未经训练"),
    "valence": ("valence", "效价"),
    "arousal": ("arousal", "唤醒度"),
    "pleasant": ("pleasant", "愉快"),
    "unpleasant": ("unpleasant", "不愉快"),
    "excited": ("excited", "激动"),
    "calm": ("calm", "平静"),
    "confidence": ("confidence", "置信度"),
    "clip": ("clip", "全片"),
    "shares": ("shares", "份额"),
    # between facts; Chinese has its own marks, and a list of names another than a list of clauses
    "comma": (", ", "，"),
    "listed": (", ", "、"),
    "semicolon": ("; ", "；"),
    "colon": (": ", "："),
    "between": (" ", ""),  # sentences
    "stop": (".", "。"),
    "whole_clip": ("whole clip", "全片"),
    "summary": ("in the model's words", "模型的描述"),
    # sections
    "timeline": ("timeline", "时间线"),
    "episodes": ("episodes", "时段"),
    "people": ("people", "人物"),
    "person": ("person", "人物"),
    "channels": ("what each channel says", "各通道的判断"),
    "channel": ("channel", "通道"),
    "cues": ("cues", "线索"),
    "why": ("why", "依据"),
    "contradicted": ("not confirmed by the measurements: {what}", "与测量结果不符：{what}"),
    "words_open": ("open words", "开放词汇"),
    "reasoning": ("reasoning, step by step", "逐步推理"),
    "step_seen": ("what is seen", "所见"),
    "step_heard": ("what is heard", "所闻"),
    "step_said": ("what is said", "所言"),
    "step_meaning": ("what it means", "含义"),
    "step_conclusion": ("conclusion", "结论"),
    "step_trigger": ("what sets it off", "触发因素"),
    "step_reaction": ("reaction", "反应"),
    "step_actions": ("what the face does", "面部动作"),
    "step_expression": ("expression", "表情"),
    "step_background": ("background", "背景环境"),
    "step_attribute": ("attribute", "特点"),
    "step_subject": ("subject", "主体"),
    "step_utterance": ("cause", "原因语句"),
    "step_link": ("why", "缘由"),
    "step_situation": ("situation", "情况"),
    "step_other": ("the other's feeling", "对方的感受"),
    "step_own": ("own feeling", "自己的感受"),
    "step_managing": ("dealing with it", "自我调节"),
    "step_influence": ("what could help", "如何帮助"),
    "step_answer": ("reply", "回应"),
    "verified": ("checked", "核对"),
    "verified_emotion": ("these steps express {emotion}", "以上步骤表达的情绪：{emotion}"),
    "verified_wordless": ("these steps express nothing", "以上步骤没有内容"),
    "verified_other": (" (the answer is {label})", "（结论为{label}）"),
    "verified_claims": (
        "measurements confirm {confirmed} of {claims} claims",
        "{claims}项陈述中有{confirmed}项与测量结果相符",
    ),
    "verified_again": (
        "asked again with these steps alone, the model names {label}",
        "仅凭以上步骤再次询问，模型回答{label}",
    ),
    "examples": (
        "labelled clips most like this one, with their distance (unrelated clips: about 1.4)",
        "最相似的已标注片段及其距离（无关片段约为1.4）",
    ),
    "said": ("what was said", "话语"),
    "context_given": ("context given by the user", "用户提供的背景"),
    "gate": ("gate", "门控"),
    "weights": ("weights", "权重"),
    "label_set": ("label set", "标签集"),
    "trust": ("reliability", "可信程度"),
    "provenance": ("provenance", "来源"),
    "warning": ("warning", "警告"),
    "now": ("at the playhead", "当前时刻"),
    "plane": ("valence and arousal", "效价与唤醒度"),
    # channels
    "picture": ("picture", "画面"),
    "sound": ("sound", "声音"),
    "words": ("words", "话语"),
    "context": ("context", "背景"),
    "alone": ("on its own", "单独判断"),
    "moves": ("effect on the answer", "对结论的影响"),
    "weight": ("weight", "权重"),
    "weight_help": (
        "weight: how much the channel counts, based on its reliability on validation data",
        "权重：按该通道在验证数据上的可靠程度计算",
    ),
    "agrees": ("agrees", "一致"),
    "disagrees": ("disagrees", "不一致"),
    "nothing": ("no answer", "没有结论"),
    "moves_help": (
        "×1.8: with this channel, the share of the label is 1.8 times as large; below ×1, the channel lowers it",
        "×1.8：加入此通道后，该标签的份额变为 1.8 倍；小于 ×1 表示此通道降低了该标签的份额",
    ),
    "pull_help": (
        "bar to the right: the channel raises the share of the label; to the left: it lowers it",
        "黑条向右表示该通道提高标签的份额，向左表示降低",
    ),
    # people
    "seen": ("seen", "出现"),
    "frames": ("frames", "帧"),
    "frame_used": ("1 frame", "1 帧"),
    "frames_used": ("{count} frames", "{count} 帧"),
    "took": ("analyzed in {seconds:.1f} s", "分析用时 {seconds:.1f} 秒"),
    "feels": ("shows", "表现为"),
    "nobody": ("no face was found", "没有找到人脸"),
    "no_picture": ("no picture; sound and words were analyzed", "没有画面，仅分析声音和话语"),
    "unasked": ("not searched for", "未查找"),
    "in_frame": ("boxes: this frame only", "人脸框：仅限此帧"),
    "peak": ("peak", "峰值"),
    "smoothed": ("smoothed", "平滑后"),
    "more": ("{count} more", "另有 {count} 条"),
    "from_time": ("from {time} on", "{time}起"),
    "brief_note": (
        "A face shows an expression, not what a person feels. More with --verbose.",
        "人脸显示的是表情，而不是内心的感受。完整内容请用 --verbose。",
    ),
    # what a face does
    "face": ("what the face does", "面部动作"),
    "aside": ("{what} ({aside})", "{what}（{aside}）"),
    # where sentences come from
    "measured": ("measured", "测得"),
    "generated": ("generated", "生成"),
    "measured_help": (
        "composed from the measurements shown beside it",
        "根据旁边列出的测量值写成",
    ),
    "generated_help": ("written by the model and not verified", "由模型生成，未经核实"),
    # gate and trust
    "general_expert": ("general expert", "通用专家"),
    "emotion_expert": ("emotion expert", "情感专家"),
    "gate_help": (
        "how much of each picture is taken from the emotion expert, and how much from the general expert",
        "每个画面取自情感专家和通用专家的比例",
    ),
    "threshold": ("not sure below {threshold}", "低于 {threshold} 时视为不确定"),
    "entropy": ("entropy {entropy} of 1", "熵 {entropy}（最大为 1）"),
    "calibrated": ("calibrated", "已校准"),
    "uncalibrated": ("not calibrated: shares are not probabilities", "未校准：份额不是概率"),
    "limits": ("A face shows an expression, not what a person feels.", "人脸显示的是表情，而不是内心的感受。"),
    "limits_more": (
        "Faces are located, never identified. Do not use this to make decisions about anyone.",
        "只定位人脸，不识别身份。请勿据此对任何人作出决定。",
    ),
    # the page's controls
    "play": ("play", "播放"),
    "pause": ("pause", "暂停"),
    "mute": ("mute", "静音"),
    "speed": ("speed", "速度"),
    "boxes": ("boxes", "人脸框"),
    "raw": ("single windows, not smoothed", "各窗口原值（未平滑）"),
    "seek": ("seek in the clip", "拖动定位"),
    "keys": (
        "arrow keys: half a second, with Shift 5 s · Page keys: episodes · Home, End · Space: play",
        "方向键：半秒，加 Shift 为 5 秒 · 翻页键：时段 · Home、End · 空格：播放",
    ),
    "replay": (
        "Synthetic face: what the report says of person {person}. No picture and no sound of the clip is here.",
        "合成面孔：展示报告对人物 {person} 的判断。此页面不含原片的任何画面和声音。",
    ),
    "no_media": ("The clip itself is not part of this page.", "此页面不含原片。"),
    "linked_media": (
        "The clip is too large to embed and is loaded from {path}; keep both files together.",
        "原片过大，未嵌入页面，将从 {path} 读取；请将两个文件放在一起。",
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
    "file": ("file", "文件"),
    "download": ("download", "下载"),
    "save_table": ("timeline (CSV)", "时间线（CSV）"),
    "save_report": ("report (JSON)", "报告（JSON）"),
    "show_person": ("show this person", "查看此人"),
}
"""Texts of the views: terminal, page, Markdown and annotated video use the same words."""
SENTENCES: Strings = {
    # the rationale
    "leads": (
        "Mostly {label} from {onset:.1f} to {offset:.1f} s, peaking at {peak:.1f} s ({share:.0%}, smoothed).",
        "{onset:.1f} 秒至 {offset:.1f} 秒以{label}为主，{peak:.1f} 秒时最强（平滑后 {share:.0%}）。",
    ),
    "disagrees": (
        "Based on {channel} alone, the label would be {own}, not {label}.",
        "仅凭{channel}判断会是{own}，而不是{label}。",
    ),
    "moves": (
        "Without {channel}, the share of {label} would be {after:.0%} instead of {before:.0%}.",
        "去掉{channel}后，{label}的份额会从 {before:.0%} 变为 {after:.0%}。",
    ),
    "the_picture": ("the picture", "画面"),
    "the_sound": ("the sound", "声音"),
    "the_words": ("the words", "话语"),
    "the_context": ("the context", "背景"),
    # why there is no answer
    "below": ("confidence {confidence} is below {threshold}", "置信度 {confidence} 低于 {threshold}"),
    "unread": (
        "the face cannot be read; it may be too blurred, too small or turned away",
        "无法辨认人脸；可能过于模糊、太小或转向一侧",
    ),
    "unseen": ("no face was found", "没有找到人脸"),
    "unheard": ("no voice was heard", "没有听到人声"),
    "neither": ("no face was found, and no voice was heard", "没有找到人脸，也没有听到人声"),
    "nothing": ("there is no picture, sound or text to analyze", "没有可供分析的画面、声音或文字"),
    # cues
    "cue_region": (
        "{region}{frame}: covering this part lowers {label} from {before:.0%} to {after:.0%}.",
        "{region}{frame}：遮住这一部分后，{label}的份额从 {before:.0%} 变为 {after:.0%}。",
    ),
    "cue_face": (
        "The face shows {label} ({before:.0%}{frame}); no single part of it accounts for this.",
        "面部表现为{label}（{before:.0%}{frame}），不由任何单独部位决定。",
    ),
    "cue_frame": (" in the frame at {time:.1f} s", "（{time:.1f} 秒的画面）"),
    "cue_voice": (
        "Voice at {pitch:.0f} Hz (clip: {usual:.0f} Hz), {level:+.0f} dB relative to the clip.",
        "音高 {pitch:.0f} Hz（全片 {usual:.0f} Hz），音量与全片相差 {level:+.0f} dB。",
    ),
    "cue_unpitched": (
        "Voice without a steady pitch, {level:+.0f} dB relative to the clip.",
        "没有稳定的音高，音量与全片相差 {level:+.0f} dB。",
    ),
    "cue_levels": (
        "Compared with recordings of acted speech: {levels}.",
        "与表演语音的录音相比：{levels}。",
    ),
    "level_low": (
        "{name} low ({value} {unit}, usually {low} to {high})",
        "{name}偏低（{value} {unit}，通常{low}至{high}）",
    ),
    "level_high": (
        "{name} high ({value} {unit}, usually {low} to {high})",
        "{name}偏高（{value} {unit}，通常为{low}至{high}）",
    ),
    "level_and": ("; ", "；"),
    "cue_words": (
        "“{said}”: without these words, the share of {label} would be {after:.0%} instead of {before:.0%}.",
        "“{said}”：去掉这句话，此时{label}的份额会从 {before:.0%} 变为 {after:.0%}。",
    ),
    "cue_word": (
        "“{word}”: this word is {ratio:.0f} times as frequent in texts of {label} as in others.",
        "“{word}”：这个词在表达{label}的文本中出现的频率是在其他文本中的 {ratio:.0f} 倍。",
    ),
    "cue_frequent_word": (
        "“{word}”: this word is more than {ratio:.0f} times as frequent in texts of {label} as in others.",
        "“{word}”：这个词在表达{label}的文本中出现的频率是在其他文本中的 {ratio:.0f} 倍以上。",
    ),
    "cue_context": (
        "“{said}”: without this context, the share of {label} would be {after:.0%} instead of {before:.0%}.",
        "“{said}”：去掉这段背景，{label}的份额会从 {before:.0%} 变为 {after:.0%}。",
    ),
    # regions of a face
    "brows and eyes": ("Brows and eyes", "眉眼"),
    "mouth": ("Mouth", "嘴部"),
    # reasoning
    "differs": (
        "the reasoning concludes {own!r}, but the measured label is {label!r}; the label does not "
        "depend on the reasoning",
        "推理的结论是“{own}”，而测得的标签是“{label}”；标签不依赖推理",
    ),
    "doubted_reasoning": ("reasoning: {doubt}", "推理：{doubt}"),
    "unusable_form": (
        "the form {form!r} needs {lacks}, which is missing here",
        "{form} 形式需要{lacks}，而这里没有",
    ),
    "untrained_form": (
        "the model was not trained to reason in the form {form!r}; only the layout of the steps is reliable",
        "模型未针对 {form} 形式的推理训练过，只有步骤的格式可靠",
    ),
    # warnings about what a model was never trained for
    "untrained_own": (
        "the labels are your own ({name}); no model was trained on them, so the shares are a guess",
        "标签为自定义标签（{name}）；模型没有用这些标签训练过，份额只是猜测",
    ),
    "untrained_set": (
        "the model was never trained for the label set '{name}'; its shares are a guess",
        "模型没有用标签集 {name} 训练过，份额只是猜测",
    ),
    "untrained_evoked": (
        "the model was never asked what pictures evoke; its shares are a guess",
        "模型没有学习过图片引起的情感，份额只是猜测",
    ),
    "untrained_channel": (
        "the model was never trained for the channel '{name}'; its answer by this channel is a guess",
        "模型没有用“{name}”通道训练过，该通道的判断只是猜测",
    ),
    "sparse": (
        "the {count} analyzed frames are {seconds:.1f} s apart, further than a window of the timeline is long; what "
        "happens between them is missed: use --fps, or --every-frame",
        "共分析 {count} 帧，相隔 {seconds:.1f} 秒，长于时间线的窗口，其间的变化会被漏掉：请用 --fps 或 --every-frame",
    ),
    "no_voice": ("no voice was heard in the sound; it was ignored", "声音中没有听到人声，已忽略"),
    "other_words": (
        "the words are in Chinese characters, but the questions in English; the answer by words is a guess",
        "话语不是中文，而提问使用中文；根据话语的判断只是猜测",
    ),
}
"""Sentences that `analysis` composes from measurements."""
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
"""The words for the measurements of a voice."""
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
VOICE_LEVELS: Strings = {
    "pitch": ("pitch", "音高"),
    "spread": ("pitch spread", "音高起伏"),
    "rate": ("syllables per second", "每秒音节数"),
    "jitter": ("jitter", "频率微扰"),
    "shimmer": ("shimmer", "振幅微扰"),
}
"""Names of the measurements of a voice that are compared with other recordings, by `media.voice_claims`."""
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
    "trigger": ("what in the scene could set off a feeling", "场景中什么会引起情绪"),
    "reaction": ("how a person would feel about it", "人会对此有什么感受"),
    "actions": ("what the face does", "面部有哪些动作"),
    "expression": ("which expression these make up", "这些动作构成什么表情"),
    "background": ("where it takes place", "发生在什么地方"),
    "attribute": ("what is special about the person or thing that matters", "主要的人或物有什么特点"),
    "subject": ("who or what matters", "主要的人或物是什么"),
    "utterance": ("the sentence that causes the feeling", "引起情绪的那句话"),
    "link": ("why it causes the feeling", "它为什么会引起情绪"),
    "reply": (
        "Think about the other person first, then reply. Answer as JSON: {steps}.",
        "先为对方着想，再作回应，并用 JSON 回答：{steps}。",
    ),
    "situation": ("what the situation is", "情况是怎样的"),
    "other": ("what the other person feels, and why", "对方有什么感受，为什么"),
    "own": ("what I feel about it", "我对此有什么感受"),
    "managing": ("how I deal with my own feeling", "我如何处理自己的感受"),
    "influence": ("what could help the other person", "什么能帮助对方"),
    "answer": ("what I say", "我说的话"),
}
"""The questions of forms of reasoning ("steps" for most), and what each step is about; see `analysis.forms`."""
BEGINNINGS: Strings = {
    "seen": ("The person looks", "这个人看起来很"),
    "heard": ("The voice sounds", "声音听起来很"),
    "said": ("The words sound", "说的话显得很"),
    "meaning": ("I think the person feels", "我觉得这个人很"),
    "expression": ("The face looks", "这张脸看起来很"),
    "reaction": ("A person would feel", "人会感到"),
}
"""The fixed words at the start of each reasoning step."""


def in_language(strings: Strings, language: str) -> dict[str, str]:
    """Return a table in "en" or "zh"."""
    place = 1 if language == "zh" else 0
    return {key: pair[place] for key, pair in strings.items()}


MEASURES: Strings = {
    "share": ("share", "份额"),
    "share without brows and eyes": ("share without brows and eyes", "遮住眉眼后的份额"),
    "share without mouth": ("share without mouth", "遮住嘴部后的份额"),
    "share without picture": ("share without picture", "去掉画面后的份额"),
    "share without sound": ("share without sound", "去掉声音后的份额"),
    "share without words": ("share without words", "去掉话语后的份额"),
    "share without context": ("share without context", "去掉背景后的份额"),
    "level, dB of full scale": ("level, dB of full scale", "音量（dB，相对满刻度）"),
    "pitch, Hz": ("pitch, Hz", "音高（Hz）"),
    "pitch spread, semitones": ("pitch spread, semitones", "音高起伏（半音）"),
    "voiced share": ("voiced share", "浊音比例"),
    "rate, syllables/s": ("rate, syllables/s", "语速（音节/秒）"),
    "jitter, %": ("jitter, %", "频率微扰（%）"),
    "shimmer, %": ("shimmer, %", "振幅微扰（%）"),
    "spread, semitones": ("spread, semitones", "音高起伏（半音）"),
    "times as frequent": ("times as frequent", "频率倍数"),
    "clip's pitch, Hz": ("clip's pitch, Hz", "全片音高（Hz）"),
    "clip's level, dB of full scale": ("clip's level, dB of full scale", "全片音量（dB，相对满刻度）"),
}
"""Names of the measurements of cues, as in their JSON."""

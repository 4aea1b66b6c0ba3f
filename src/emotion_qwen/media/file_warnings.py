"""Warnings about files in Chinese. The modules of `media` write them in English, each with its values."""

from __future__ import annotations

import re

FILE_WARNINGS: dict[str, str] = {
    "the moving picture breaks off after {} frames: {}": "动图在第 {} 帧之后中断：{}",
    "none of {} cues holds words": "{} 条字幕都没有文字",
    "{} of {} cues do not end after they begin; their end is taken from the next cue, at most {} s later": (
        "{1} 条字幕中有 {0} 条的结束时间不晚于开始时间；已改为下一条字幕的开始时间，最多延后 {2} 秒"
    ),
    "{} of {} cues end before the clip begins and are left out": "{1} 条字幕中有 {0} 条在片段开始前已结束，已略去",
    "{} of {} cues begin before the clip and now begin with it": (
        "{1} 条字幕中有 {0} 条早于片段开始，已改为从片段开头开始"
    ),
    "{} of {} cues begin after the clip ends ({} s) and are left out": (
        "{1} 条字幕中有 {0} 条在片段结束（{2} 秒）后才开始，已略去"
    ),
    "{} of {} cues are left out: their times cannot be read ({})": (
        "{1} 条字幕中有 {0} 条的时间无法读取（{2}），已略去"
    ),
    "a constant offset of {} of full scale was taken out of the sound": "已去除声音中占满刻度 {} 的直流偏移",
    "the sound peaks at {} dB of full scale; it was raised by {} dB": "声音峰值为满刻度的 {} dB，已提高 {} dB",
    "the sound peaks at {} dB of full scale; it was lowered by {} dB": "声音峰值为满刻度的 {} dB，已降低 {} dB",
    "animated picture read as its first frame": "动图按第一帧读取",
    "reduced from {} to {} pixels": "图片已从 {} 缩小到 {} 像素",
    "of high dynamic range ({}); it was brought into the standard range": "高动态范围（{}）图片，已转换到标准范围",
    "a picture of 16 bits that leaves its upper bits empty; it may be too dark": "16 位图片的高位为空，画面可能过暗",
    "numbers from {} to {}; this range became 0 to 255": "像素值为 {} 至 {}，已转换到 0 至 255",
    "numbers of a rare type; taken as {}, for they reach {}": "像素类型少见，最大值为 {1}，按 {0} 处理",
    "the file has {} sound tracks; number {} was taken, {}": "文件有 {} 条音轨，读取了第 {} 条",
    "the channels cancel each other when mixed; channel {}, the loudest, was read": (
        "各声道混合后相互抵消，读取了最响的第 {} 声道"
    ),
    "packets of sound that could not be decoded, replaced by silence: {}": "{} 个音频数据包无法解码，已替换为静音",
    "gaps in the sound, filled with silence: {}, {} s in all": "声音有 {} 处间断，共 {} 秒，已填充静音",
    "samples of sound that were infinite or not numbers, set to 0: {}": "{} 个声音采样不是有限数值，已设为 0",
    "{} s of sound carry times at which there was sound already, and were left out": (
        "{} 秒声音的时间与已有声音重叠，已略去"
    ),
    "reading the sound stopped at second {}: {}": "声音在第 {} 秒处停止读取：{}",
    "the sound ends at second {} of the {} it declares: the file was cut short or its end is damaged": (
        "声音标称 {1} 秒，实际在第 {0} 秒结束：文件被截断或末尾损坏"
    ),
    "the video ends at second {} of the {} it declares: the file was cut short or its end is damaged": (
        "视频标称 {1} 秒，实际在第 {0} 秒结束：文件被截断或末尾损坏"
    ),
    "start {} s is after the end of the sound ({} s); this span is silent": (
        "起点 {} 秒在声音结束（{} 秒）之后，这一段没有声音"
    ),
    "the words were recognised by {}, at {} per token; they may be wrong": (
        "话语由 {} 识别，每个词元的平均把握为 {}，可能有误"
    ),
    "{} of {} recognised segments are left out: likely no speech": "识别出的 {1} 段中有 {0} 段可能不是语音，已略去",
    "{} text subtitle tracks ({}); track {} is read": "有 {} 条文本字幕轨（{}），读取了第 {} 条",
    "the subtitle track is in no encoding that can be told; its words are left out": (
        "无法判断字幕轨的编码，其中的话语已略去"
    ),
    "subtitle track {} ({}) holds pictures or is of no known kind; it is ignored": (
        "字幕轨 {}（{}）是图片或未知类型，已忽略"
    ),
    "the subtitle track breaks off after {} cues ({}); the rest is lost": "字幕轨在 {} 条之后中断（{}），其余丢失",
    "damaged characters: {} (they are not {})": "有 {} 个字符损坏（不是 {}）",
    "read as {} (it is not UTF-8); save it as UTF-8 if its words look wrong": (
        "按 {} 读取（不是 UTF-8）；如果文字有误，请另存为 UTF-8"
    ),
    "the file tells no frame times; {} frames per second are assumed": "文件没有帧时间，按每秒 {} 帧处理",
    "{} of {} frames could not be decoded and are left out": "{1} 帧中有 {0} 帧无法解码，已略去",
    "{} of {} frames are interlaced; one field of each was read": "{1} 帧中有 {0} 帧为隔行扫描，每帧读取一场",
    "{} of {} frames are of high dynamic range; they were brought into the standard range": (
        "{1} 帧中有 {0} 帧为高动态范围，已转换到标准范围"
    ),
}
"""Warning of `media`, with `{}` for each value -> the same in Chinese, with the values in order or by number."""


def file_warning(text: str, language: str) -> str:
    """Return a warning about a file in "en" or "zh"; one that is not in `FILE_WARNINGS` stays English."""
    for english, chinese in FILE_WARNINGS.items() if language == "zh" else ():
        match = re.fullmatch("(.+?)".join(map(re.escape, english.split("{}"))), text)
        if match:
            return chinese.format(*match.groups())
    return text

"""Prompts of the tasks: wordings shared with training, those of the benchmarks, and those of the authors' release.

The wordings named RELEASE are those of the release at commit 8c52bf3, errors included, so that published numbers can be
compared; known errors are noted with each. The others were written for this project.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emotion_qwen.evaluation.scoring.replies import LETTERS
from emotion_qwen.evaluation.task import RELEASE
from emotion_qwen.questions import TOLD, label_question
from emotion_qwen.records import PEOPLE
from emotion_qwen.taxonomy import LabelSet

DFEW_RELEASE = (
    "Analyze the following video content to determine the emotional categories of the characters. Please choose one of "
    "the following words that best matches the emotions of the characters in the video as your answer: [happy, sad, "
    "neutral, angry, surprise, disgust, fear]. Please reply with a single word indicating the emotion category."
)
MER_RELEASE = (  # mentions subtitles, which are not given
    "Analyze the following video, combined with subtitles and visual clues, determine the emotional categories of the "
    "characters. Please choose one of the following words that best matches the emotions of the characters in the "
    "video as your answer: ['happy', 'sad', 'neutral', 'angry', 'surprise', 'worried']. Reply with a single word "
    "indicating the emotion category."
)
EMER_RELEASE = {  # the English one mentions a label that is not given; for no words, the release inserts "nan"
    "en": "You are an expert in video emotion reasoning.Please reason the video carefully, and explain the reason why "
    "the current video expresses this emotional label in combination with the facial expressions, body movements, "
    "background information and conversation content of the characters.\nThe conversation content of the current video "
    "is:[{words}],Reasoning should be based on rigorous content. Start with the following: In the video....",
    "zh": "你是一个视频情绪推理的专家。请你仔细对视频进行推理，结合人物的面部表情、肢体动作、背景信息、"
    "对话内容（如果不为空）来解释推理当前视频表达的情绪。\n当前视频的对话内容是:[{words}],推理要有依据，内容严谨。使用下面的开头：在视频中....",
}
EMER_OURS = {
    "en": "What does the person in the video feel? Say it in one paragraph, with the signs by which it is to be seen "
    "or heard: face, body, what is said, and the situation. Name only what is there.",
    "zh": "视频中的人有什么情绪？请用一段话说明，并指出依据：面部表情、肢体动作、说的话以及所处的情境。"
    "只写视频中确有的内容。",
}
OPEN_OURS = {
    "en": "Which emotions does the person in the video show? List all that apply as English words, separated by "
    "commas, and nothing else.",
    "zh": "视频中的人表现出哪些情绪？请用英文单词列出所有符合的情绪，用逗号隔开，不要写别的内容。",
}
OPEN = "open"
"""Name of the wording that asks for all emotion words, for sets whose own question is a closed one."""
POLARITY_OURS = {
    "en": "Is the sentiment of the person positive, neutral or negative? Answer with one of these words.",
    "zh": "这个人的情感是积极、中性还是消极？请只回答其中一个词。",
}
POLARITY_NAMES = {"en": ("negative", "neutral", "positive"), "zh": ("消极", "中性", "积极")}
_SENTIMENT = {
    "en": "How negative or positive is the sentiment of the person? Give one number from {low} (most negative) to "
    "{high} (most positive), and nothing else.",
    "zh": "这个人的情感有多消极或多积极？请只给出一个从 {low}（最消极）到 {high}（最积极）的数字，不要写别的内容。",
}
VALENCE_AROUSAL_OURS = {
    "en": "Give the valence (-1 unpleasant, 1 pleasant) and the arousal (-1 calm, 1 excited) of the person. Answer in "
    "this form and with nothing else: valence: NUMBER, arousal: NUMBER",
    "zh": "请给出这个人的效价（-1 为不愉快，1 为愉快）和唤醒度（-1 为平静，1 为激动）。"
    "只按以下格式回答：效价：数字，唤醒度：数字",
}
EMOBANK_OURS = {
    "en": "Rate the emotion of the text from 1 to 5: valence (1 unpleasant, 5 pleasant), arousal (1 calm, 5 excited), "
    "dominance (1 controlled, 5 in control). Answer in this form and with nothing else: valence: NUMBER, arousal: "
    "NUMBER, dominance: NUMBER",
    "zh": "请用 1 到 5 给这段文字的情感打分：效价（1 不愉快，5 愉快）、唤醒度（1 平静，5 激动）、"
    "支配度（1 受控，5 掌控）。只按以下格式回答：效价：数字，唤醒度：数字，支配度：数字",
}
_MULTI = {
    "en": "Which emotion does the person show? Choose one: {labels}. And how pleasant is it, from -5 (very unpleasant) "
    "to 5 (very pleasant)? Answer in this form and with nothing else: emotion: LABEL, valence: NUMBER",
    "zh": "这个人表现出哪种情绪？请选择一个：{labels}。其愉快程度如何，从 -5（非常不愉快）到 5（非常愉快）？"
    "只按以下格式回答：情绪：标签，效价：数字",
}
PREFER_OURS = {
    "en": "Two descriptions of the emotions in the video:\na1: {a1}\na2: {a2}\nWhich one describes them better? Answer "
    "a1 or a2, or same if both are equally good, and nothing else.",
    "zh": "以下是对视频中情绪的两段描述：\na1：{a1}\na2：{a2}\n哪一段更准确？"
    "请只回答 a1 或 a2；如果同样准确，回答 same。",
}
PREFER_RELEASE = (  # of the organisers' baselines, github.com/zeroQiaoba/MERTools, MER2026_Track3/main_dpo_batch.py
    'We provide two descriptions for a given input: a1: "{a1}". a2: "{a2}". Please determinate which one is better '
    "aligned with the input content. If both of them equally align with the input content, please output 'same'. "
    "Therefore, the output should be a1, a2, or same. Please direct output the answer without additional reasoning "
    "process."
)
LISTENER_OURS = {
    "en": "Which emotion does the person show who listens, not the one who speaks? Choose one: {labels}.",
    "zh": "视频中正在听对方说话的人（不是说话者）表现出哪种情绪？请选择一个：{labels}。",
}


@dataclass(frozen=True)
class Preset:
    """The form in which a published model is asked for an emotion.

    Attributes:
        question: text, with `{labels}` for the choices if its authors name them.
        source: where its authors publish it.
        system: system message; empty for that of the chat template.
    """

    question: str
    source: str
    system: str = ""


PRESETS: dict[str, Preset] = {
    "r1-omni": Preset(
        "As an emotional recognition expert; throughout the video, which emotion conveyed by the characters is the "
        "most obvious to you?  Output the thinking process in <think> </think> and final emotion in <answer> </answer> "
        "tags.",  # two blanks as there
        "github.com/HumanMLLM/R1-Omni, README, section Demo",
    ),
    "humanomni": Preset(
        "As an emotional recognition expert; throughout the video, which emotion conveyed by the characters is the "
        "most obvious to you?\n{bare_labels}",
        "github.com/HumanMLLM/HumanOmni, README, example of training data for DFEW; its order of labels is ours",
    ),
    "affectgpt": Preset(
        "Please recognize all possible emotional states of the character.",
        "github.com/zeroQiaoba/AffectGPT, func_get_qa_ovlabel of its data sets",
    ),
    "affectgpt-choices": Preset(
        "Please select the label that can best describe the person's emotional state from the provided candidate "
        "labels: {bare_labels}.",
        "github.com/zeroQiaoba/AffectGPT, func_get_qa_onehot_w_candidates of its data sets; separators are ours",
    ),
    "emo-r3": Preset(
        "{ours}\n\nYou First think the emotional meaning step by step, and then provide the final answer.\n\nThe "
        "reasoning process MUST follow the structure below:\n<step1>Describe the overall atmosphere and its emotional "
        "tone.</step1>\n<step2>Describe the main subject or event and its emotional influence.</step2>\n"
        "<step3>Integrate the above and summarize the overall emotion.</step3>\n\nThe final answer MUST BE put in "
        "\\boxed{{}}.",
        "github.com/SeerRay-Lab/emo-r3 at f15cc50, examples/format_prompt/new/emothink_new.jinja, around our question: "
        "the file of its final run (emor3.jinja) is not in the repository, and its questions are in its data set",
    ),
    "qwen2.5-omni": Preset(
        "{ours}",
        "github.com/QwenLM/Qwen2.5-Omni, README: it has no form of its own for emotions, but needs this system message",
        "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and "
        "visual inputs, as well as generating text and speech.",
    ),
}
"""Name of a wording -> the form of a published model. VidEmo is not among them: its questions are only in data that
are not open.
"""
OBJECTS = {
    "airplane": "飞机", "automobile": "汽车", "bird": "鸟", "cat": "猫", "deer": "鹿",
    "dog": "狗", "frog": "青蛙", "horse": "马", "ship": "船", "truck": "卡车",
}  # fmt: skip
OBJECT_SET = LabelSet("cifar10", tuple(OBJECTS), tuple(OBJECTS.values()), "CIFAR-10, Krizhevsky 2009")
OBJECT_QUESTION = {
    "en": "Which object is shown? Choose one: {labels}.",
    "zh": "图中是什么物体？请选择一个：{labels}。",
}
LETTER = {
    "en": "Answer with the letter of the right option.",
    "zh": "请只回答正确选项的字母。",
}
YES_NO = "Answer with yes or no."
SHORT = "Answer with a single word or a short phrase."
YES_NO_RELEASE = "Your task is to answer yes or no based on the provided question and image. Respond with yes or no."
MMBENCH_RELEASE = (
    "Your task is to select the most appropriate option based on the provided hint, question, and image. Respond with "
    "only the letter of the chosen option (e.g., A, B, C, D)."
)
SEED_RELEASE = MMBENCH_RELEASE.replace("provided hint, question", "provided question")
SCIENCE_RELEASE = (
    "Your task is to select the most appropriate option based on the provided {given}. Please answer the "
    'question in the following format: "The answer is {{A/B/C/D}}".'
)
TEXTVQA_RELEASE = "Answer the question directly with single word or phase."  # "phase" as there
VQA_RELEASE = "Please answer the question using a single word or phrase."


def emotion_question(labels: LabelSet, language: str) -> str:
    """Compose the closed question about a person, in the wording shared with training."""
    return label_question(labels, language)


def preset_question(name: str, labels: LabelSet, about: str = PEOPLE) -> str:
    """Compose the closed question in the form of a published model; all of them are asked in English."""
    return PRESETS[name].question.format(bare_labels=", ".join(labels.labels), ours=label_question(labels, "en", about))


def polarity_names(language: str) -> tuple[str, ...]:
    """Return the words for negative, neutral and positive."""
    return POLARITY_NAMES[language]


def sentiment_question(low: int, high: int) -> dict[str, str]:
    """Compose the question for a number on a scale of sentiment, by language."""
    return {language: text.format(low=low, high=high) for language, text in _SENTIMENT.items()}


def multi_question(labels: LabelSet, language: str) -> str:
    """Compose MER2023-MULTI's question for an emotion and a valence."""
    return _MULTI[language].format(labels=", ".join(labels.names(language)))


def listener_question(labels: LabelSet, language: str) -> str:
    """Compose MER-Cross's question about the person who listens."""
    return LISTENER_OURS[language].format(labels=", ".join(labels.names(language)))


def object_question(labels: LabelSet, language: str) -> str:
    """Compose the closed question about the object of a picture, in the wording shared with training."""
    joined = (", " if language == "en" else "、").join(labels.names(language))
    return OBJECT_QUESTION[language].format(labels=joined)


def spoken(language: str, text: str) -> str:
    """Compose the sentence that quotes a person's words, in the wording shared with training."""
    return TOLD["words"][language].format(text=text)


def spoken_part(language: str, text: str) -> dict[str, str]:
    """Return the message part with a person's words; "words" contains only the words, without "The person says"."""
    return {"type": "text", "text": spoken(language, text), "words": text}


def lettered(options: Sequence[str], sign: str = "") -> str:
    """Write one option per line, with its letter."""
    return "\n".join(f"{sign}{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def choice_question(question: str, options: Sequence[str], context: str, language: str) -> str:
    """Compose a question with lettered options in our wording."""
    return "\n".join(part for part in (context, question, lettered(options), LETTER[language]) if part)


def pope_question(question: str, prompt: str) -> str:
    """Compose POPE's question."""
    return f"{YES_NO_RELEASE}\n{question}" if prompt == RELEASE else f"{question}\n{YES_NO}"


def mme_question(question: str, prompt: str) -> str:
    """Compose MME's question, which includes how to answer; the release prepends its prompt without a space."""
    return f"{YES_NO_RELEASE}{question}" if prompt == RELEASE else question


def mmbench_question(question: str, options: Sequence[str], hint: str, prompt: str, language: str) -> str:
    """Compose MMBench's question."""
    if prompt == RELEASE:
        start = f"{hint}\n " if hint else ""
        return f"{start}{question}\n Options:\n{lettered(options)}\n {MMBENCH_RELEASE}\n"
    return choice_question(question, options, hint, language)


def science_question(question: str, options: Sequence[str], hint: str, has_picture: bool, prompt: str) -> str:
    """Compose ScienceQA's question; the release omits the hint."""
    if prompt == RELEASE:
        instruction = SCIENCE_RELEASE.format(given="question and image" if has_picture else "text")
        return f"{question}\n{lettered(options)}\n{instruction}\n"
    return choice_question(question, options, f"Context: {hint}" if hint else "", "en")


def seed_question(question: str, options: Sequence[str], prompt: str) -> str:
    """Compose SEED-Bench's question."""
    if prompt == RELEASE:
        return f"{question} There are several options:\n{lettered(options, ' ')}\n{SEED_RELEASE}\n"
    return choice_question(question, options, "", "en")


def textvqa_question(question: str, prompt: str) -> str:
    """Compose TextVQA's question."""
    return f"{TEXTVQA_RELEASE}\n{question}" if prompt == RELEASE else f"{question}\n{SHORT}"


def vqa_question(question: str, prompt: str) -> str:
    """Compose VQAv2's question."""
    return f"{question}\n{VQA_RELEASE}\n" if prompt == RELEASE else f"{question}\n{SHORT}"

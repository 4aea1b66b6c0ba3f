"""Prompts of the tasks: wordings shared with training, those of the benchmarks, and those of the authors' release.

The wordings named RELEASE are those of the release at commit 8c52bf3, errors included, so that published numbers can be
compared; known errors are noted beside each. The others were written for this project.
"""

from __future__ import annotations

from collections.abc import Sequence

from emotion_qwen.evaluation.scoring.replies import LETTERS
from emotion_qwen.evaluation.task import RELEASE
from emotion_qwen.questions import TOLD, label_question
from emotion_qwen.records import EVOKED
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


def object_question(labels: LabelSet, language: str) -> str:
    """Compose the closed question about the object of a picture, in the wording shared with training."""
    joined = (", " if language == "en" else "、").join(labels.names(language))
    return OBJECT_QUESTION[language].format(labels=joined)


def spoken(language: str, text: str) -> str:
    """Compose the sentence that quotes a person's words, in the wording shared with training."""
    return TOLD["words"][language].format(text=text)


def spoken_part(language: str, text: str) -> dict[str, str]:
    """Return the message part with a person's words; "words" holds the bare words, without "The person says"."""
    return {"type": "text", "text": spoken(language, text), "words": text}


def evoked_question(labels: LabelSet, language: str) -> str:
    """Compose the closed question about the emotion that a picture evokes in the viewer."""
    return label_question(labels, language, EVOKED)


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

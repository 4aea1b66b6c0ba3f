from emotion_qwen.processing.chat import SPECIAL_TOKENS
from emotion_qwen.taxonomy import label_set
from recipes.nano.tokenizer import train_tokenizer


def test_special_tokens_come_first_and_any_text_survives():
    tokenizer = train_tokenizer(["the person looks happy"] * 50 + ["这个人很高兴。"] * 50, {"高兴"}, 400)
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(len(SPECIAL_TOKENS)))
    for text in ("the person looks happy", "这个人很高兴。", "naïve 🙂 ünïcode\n\ttabs  twice", "繁體字"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer("高兴")["input_ids"]) == 1
    assert len(tokenizer("这个人")["input_ids"]) == 3  # Chinese characters outside the kept words stay single


def test_trained_labels_are_single_tokens_of_nano(processor):
    for name in ("dfew7", "fer7", "ekman"):
        for language in ("en", "zh"):
            words = label_set(name).names(language)
            assert [len(processor.tokenizer(w)["input_ids"]) for w in words] == [1] * 7

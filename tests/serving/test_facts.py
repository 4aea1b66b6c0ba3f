"""What was measured of the people in sent media reaches a model that reads facts as its system message."""

import pytest

chat = pytest.importorskip("emotion_qwen.serving.http.chat", reason="needs the extra serve")

USER = {"role": "user", "content": [{"type": "image", "image": None}, {"type": "text", "text": "How?"}]}


def test_facts_become_the_system_message():
    messages = chat.with_facts([USER], ["Measured in a picture:\nPerson 1: sad.", "Measured in a picture:\nNobody."])
    assert messages == [
        {"role": "system", "content": "Measured in a picture:\nPerson 1: sad.\n\nMeasured in a picture:\nNobody."},
        USER,
    ]


@pytest.mark.parametrize("content", ["Be brief.", [{"type": "text", "text": "Be brief."}]])
def test_facts_follow_a_system_message_that_came(content):
    system, user = chat.with_facts([{"role": "system", "content": content}, USER], ["Person 1: sad."])
    assert "".join(part["text"] for part in system["content"]) == "Be brief.\n\nPerson 1: sad." and user is USER


def test_without_facts_messages_are_left_alone():
    messages = [USER]
    assert chat.with_facts(messages, []) is messages

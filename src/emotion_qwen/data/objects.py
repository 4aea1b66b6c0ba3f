"""The ten objects of CIFAR-10, apart from the questions about them, so that scoring needs no torch."""

from __future__ import annotations

from emotion_qwen.taxonomy import LabelSet

OBJECTS = {
    "airplane": "飞机", "automobile": "汽车", "bird": "鸟", "cat": "猫", "deer": "鹿",
    "dog": "狗", "frog": "青蛙", "horse": "马", "ship": "船", "truck": "卡车",
}  # fmt: skip
OBJECT_SET = LabelSet("cifar10", tuple(OBJECTS), tuple(OBJECTS.values()), "CIFAR-10, Krizhevsky 2009")

import math

import numpy as np
import pytest

from recipes.mini.landmarker import head_angles


def rotation(axis: int, degrees: float) -> np.ndarray:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.eye(3)
    first, second = [i for i in range(3) if i != axis]
    matrix[first, first] = matrix[second, second] = cos
    matrix[first, second], matrix[second, first] = (-sin, sin) if axis != 1 else (sin, -sin)
    return matrix


def test_angles_are_read_from_a_scaled_rotation():
    """Counterclockwise around the camera axis is a negative roll; around the upward axis the nose goes right."""
    matrix = 3.0 * rotation(2, -12) @ rotation(1, 25) @ rotation(0, -8)
    assert head_angles(matrix) == pytest.approx((25, 8, 12))
    nose = matrix @ [0, 0, 1]
    assert nose[0] > 0 and nose[2] > 0


def test_turning_and_mirroring_the_picture_change_roll_and_signs_alone():
    matrix = rotation(2, -12) @ rotation(1, 25) @ rotation(0, -8)
    assert head_angles(rotation(2, -30) @ matrix) == pytest.approx((25, 8, 42))
    mirror = np.diag([-1.0, 1.0, 1.0])
    assert head_angles(mirror @ matrix @ mirror) == pytest.approx((-25, 8, -12))

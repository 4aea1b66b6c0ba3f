import torch

from recipes.nano.augment import augment


def pictures() -> torch.Tensor:
    return torch.rand(16, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def test_strength_zero_only_flips():
    before = pictures()
    after = augment(before, 0.0, torch.Generator().manual_seed(1))
    kept = [(a - b).abs().max() < 1e-5 for a, b in zip(after, before, strict=True)]
    flipped = [(a - b.flip(-1)).abs().max() < 1e-5 for a, b in zip(after, before, strict=True)]
    assert all(k or f for k, f in zip(kept, flipped, strict=True)) and any(kept) and any(flipped)


def test_it_is_a_function_of_the_generator_and_stays_in_range():
    one, same, other = (augment(pictures(), 1.0, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert one.min() >= 0 and one.max() <= 1

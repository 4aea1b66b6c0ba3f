import torch
import torch.nn.functional as F
from torch import nn

from recipes.mini.word_start import CLAIMS, EMBEDDING_NORM, Shown, point_to_words, train_expert, word_loss

WIDTH, HIDDEN = 12, 24


def anchors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    counts = {"emotions": 8, "claims": len(CLAIMS), "objects": 10}
    return {name: F.normalize(torch.randn(n, HIDDEN, generator=generator), dim=-1) for name, n in counts.items()}


def shown(count: int = 512) -> Shown:
    """Pictures whose first feature columns name the emotion, some unmeasured, every fourth an object."""
    generator = torch.Generator().manual_seed(2)
    emotion = torch.randint(8, (count,), generator=generator)
    features = 0.1 * torch.randn(count, 8, WIDTH, generator=generator)
    features[torch.arange(count), :, emotion] += 1.0
    claims = F.one_hot(emotion, len(CLAIMS)).float()
    claims[::5] = float("nan")
    emotions, objects = F.one_hot(emotion, 8).float(), torch.full((count,), -1)
    emotions[::4], objects[::4], claims[::4] = 0.0, emotion[::4], float("nan")
    return Shown(features.half(), emotions, claims, objects)


class Expert(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4 * WIDTH, 64), nn.GELU(), nn.Linear(64, HIDDEN))

    def forward(self, groups: torch.Tensor) -> torch.Tensor:
        return super().forward(groups.flatten(1))


def test_the_mean_token_learns_to_point_to_the_words_and_has_their_length():
    torch.manual_seed(0)
    expert, pictures, words = Expert(), shown(), anchors()
    losses: list[float] = []
    train_expert(expert, pictures, words, passes=60, merge=4, watch=lambda step, loss: losses.append(loss))
    assert losses[-1] < 0.6 * losses[0]
    tokens = expert(pictures.features.float().view(-1, 4, WIDTH)).view(len(pictures.features), 2, HIDDEN)
    faces = pictures.objects < 0
    nearest = (F.normalize(tokens.mean(1), dim=-1) @ words["emotions"].T).argmax(1)
    assert (nearest == pictures.emotions.argmax(1))[faces].float().mean() > 0.95
    things = (F.normalize(tokens.mean(1), dim=-1) @ words["objects"].T).argmax(1)
    assert (things == pictures.objects)[~faces].float().mean() > 0.95
    assert abs(float(tokens.norm(dim=-1).mean().detach()) / EMBEDDING_NORM - 1) < 0.15


def test_pictures_without_anything_known_teach_only_the_length():
    nothing = Shown(torch.zeros(2, 8, WIDTH), torch.zeros(2, 8), torch.full((2, len(CLAIMS)), torch.nan),
                    torch.tensor([-1, -1]))  # fmt: skip
    tokens = torch.full((2, 3, HIDDEN), EMBEDDING_NORM / HIDDEN**0.5)
    assert float(word_loss(tokens, nothing, torch.tensor([0, 1]), anchors())) < 1e-6
    assert float(word_loss(2 * tokens, nothing, torch.tensor([0, 1]), anchors())) > 0.9


def test_words_take_the_place_of_a_linear_reader():
    torch.manual_seed(3)
    layer, reader, words = nn.Linear(20, HIDDEN), torch.randn(5, HIDDEN), anchors()["emotions"][:5]
    inputs = torch.randn(300, 20)
    before = layer(inputs)
    centred = before @ (reader - reader.mean(0)).T
    size = layer.weight.norm()
    point_to_words(layer, reader, words)
    after = layer(inputs) @ words.T
    for word in range(5):
        together = torch.stack([centred[:, word] - centred[:, word].mean(), after[:, word] - after[:, word].mean()])
        assert float(torch.corrcoef(together.detach())[0, 1]) > 0.9999
    assert torch.allclose(layer.weight.norm(), size)
    beside = torch.linalg.svd(words)[2][5:]  # what is orthogonal to all words only changes its scale
    kept, was = layer(inputs) @ beside.T, before @ beside.T
    scale = (kept * was).sum() / was.square().sum()
    assert 0 < float(scale.detach()) < 1 and torch.allclose(kept, scale * was, atol=1e-5)

import pytest
import torch

from recipes.mini.efficientnet import MAPS, EfficientNetLite0, SameConv, depthwise_as_product, load_imagenet


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return EfficientNetLite0().eval()


@torch.inference_mode()
def test_it_has_the_size_and_maps_of_efficientnet_lite0(network):
    assert sum(p.numel() for p in network.parameters()) == 4_652_008 - 1000 * 1281  # published, less ImageNet's classes
    features, maps = network(torch.rand(2, 3, 64, 64))
    assert features.shape == (2, 1280)
    assert [tuple(m.shape[1:]) for m in maps] == [(c, s, s) for c, s in zip(MAPS.values(), (16, 8, 4, 2), strict=True)]


def test_strided_padding_is_at_the_lower_right():
    convolution = SameConv(1, 1, 3, 2, linear=True).eval()
    torch.nn.init.ones_(convolution[0].weight)
    picture = torch.zeros(1, 1, 4, 4)
    picture[0, 0, 0, 0] = 1.0  # seen by the first window alone
    picture[0, 0, 3, 3] = 2.0  # by the last, together with the padding
    expected = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    torch.testing.assert_close(convolution(picture)[0, 0], expected, atol=2e-3, rtol=0)


def test_weights_load_by_order_and_other_files_are_refused(network, tmp_path):
    renamed = {f"_w{place}": tensor + 1 for place, tensor in enumerate(network.state_dict().values())}
    torch.save({**renamed, "_fc.weight": torch.zeros(1)}, tmp_path / "right.pth")
    other = EfficientNetLite0()
    load_imagenet(other, tmp_path / "right.pth")
    assert torch.equal(other.stem[0].weight, network.stem[0].weight + 1)
    torch.save({"_w": torch.zeros(3)}, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match="1 tensors of other shapes than the 294"):
        load_imagenet(other, tmp_path / "wrong.pth")


@pytest.mark.parametrize("side", [2, 3, 6])
def test_a_depthwise_convolution_is_also_a_product(side):
    torch.manual_seed(side)
    layer = SameConv(3, 3, 5, groups=3, linear=True).train()
    x = torch.randn(2, 3, side, side)
    torch.testing.assert_close(depthwise_as_product(x, layer[0].weight), layer[0](x))
    torch.testing.assert_close(layer(x), layer[1](layer[0](x)))

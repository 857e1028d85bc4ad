"""Everything that computes on a GPU computes on a device that is not the CPU, see `other_device`.

`test_other_device.py` runs this file in a process of its own. PyTorch must know a device before the first gradient.
"""

import copy

import other_device
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import idgan
from idgan.data import Batches, open_dataset
from idgan.evaluation.measure import METRICS, measure
from idgan.figures import sample_sheet
from idgan.networks import ConvGeneratorConfig, ResNetDiscriminatorConfig, VAEConfig
from idgan.objectives import GANConfig
from idgan.objectives.terms import r1_penalty
from idgan.recipes import METHODS, Adam, Stage, apply_method, override, recipe_of
from idgan.sampler import Sampler
from idgan.study.scales import GILBO, ThinnedDataset
from idgan.training import train
from idgan.training.loop import Trainer


@pytest.fixture(autouse=True)
def _other(monkeypatch):
    other_device.register()
    monkeypatch.setattr(torch, "tensor", other_device.tensor)


@pytest.fixture(scope="module")
def here():
    return idgan.load("noisy-dsprites", device="cpu")


@pytest.fixture(params=["moved", "made"])
def there(request, here):
    """A model that was moved to the device, and one of networks that were there before."""
    if request.param == "moved":
        return copy.deepcopy(here).to("other")
    vae, generator = (copy.deepcopy(network).to("other") for network in (here.vae, here.generator))
    return Sampler(here.config, vae, generator, here.bank, here.info)


def test_the_device_refuses_tensors_of_the_cpu():
    x = torch.ones(2, 3)
    y = x.to("other")
    assert y.device.type == "other" and torch.equal((y + 1).cpu(), x + 1)
    first = torch.zeros(1, dtype=torch.int64)
    assert torch.equal(y[first].cpu(), x[:1]) and torch.equal((y * torch.tensor(2.0)).cpu(), 2 * x)
    mixed = (
        lambda: y + x,
        lambda: x[first.to("other")],
        lambda: y.index_select(0, first),
        lambda: torch.where(y > 0, x, y),
    )
    for compute in mixed:
        with pytest.raises(RuntimeError, match="expected all tensors on one device"):
            compute()


def test_a_model_gives_the_same_on_every_device(here, there):
    x = here.sample(n=2, seed=0)
    calls = {
        "sample": lambda g: g.sample(n=2, seed=0),
        "complete": lambda g: g.complete(g.codes(2, seed=0)[0])[0],
        "encode": lambda g: g.encode(x),
        "reconstruct": lambda g: g.reconstruct(x),
        "edit": lambda g: g.edit(x, {"position_x": 1.0}),
        "traverse": lambda g: g.traverse(seed=0, steps=3),
        "invert": lambda g: g.invert(x, steps=2)[0],
    }
    for name, call in calls.items():
        ours, theirs = call(there), call(here)
        assert ours.device.type == "other", name
        torch.testing.assert_close(ours.cpu(), theirs, atol=1e-4, rtol=1e-3, msg=name)
    c, s = there.codes(2, seed=0)
    assert sample_sheet(there, c, s).size == sample_sheet(here, c.cpu(), s.cpu()).size
    assert there.tuned(x, c, s, steps=1).sample(c, s).device.type == "other"


def test_r1_of_a_discriminator_of_natural_images_has_the_gradients_of_a_cpu():
    network = ResNetDiscriminatorConfig(resolution=16, base_width=2).build()
    found = []
    for device in ("cpu", "other"):
        there = copy.deepcopy(network).to(device, memory_format=torch.channels_last)
        x = torch.linspace(-1, 1, 1536).view(2, 3, 16, 16).to(device).contiguous(memory_format=torch.channels_last)
        x.requires_grad_()
        parameters = [*there.parameters()][:-1]  # R1 does not depend on the last bias
        gradients = torch.autograd.grad(r1_penalty(there(x), x), parameters)
        found.append([gradient.cpu() for gradient in gradients])
    torch.testing.assert_close(found[1], found[0])


class PaddedPools(nn.Sequential):
    """A discriminator with PyTorch's own padded pooling."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d(3, 2, padding=1), nn.Flatten(), nn.Linear(4096, 1))

    def forward(self, x):
        return super().forward(x).squeeze(1)


def test_a_network_of_your_own_with_padded_pooling_trains_with_right_gradients():
    objective = GANConfig().build(
        VAEConfig(c_dim=4, image_channels=3).build(),
        ConvGeneratorConfig(c_dim=4, s_dim=3, image_channels=3).build(),
        PaddedPools(),
    )
    stage = Stage(None, {phase: Adam(1e-4) for phase in objective.phases}, steps=1, ema_decay=0.0)
    found = []
    for device in ("cpu", "other"):
        there = copy.deepcopy(objective).to(device)
        batches = Batches(open_dataset("color-dsprites"), 4, seed=0, device=device)
        trainer = Trainer(stage, there, batches, None, identity={}, report=None)
        found.append({name: value.cpu() for name, value in trainer.train_step(batches(0)).items()})
        found[-1] |= {name: value.cpu() for name, value in there.discriminator.state_dict().items()}
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("layout", "wrong"), [(torch.channels_last, True), (torch.contiguous_format, False)])
def test_the_device_computes_padded_pooling_with_channels_last_wrongly_as_cuda_did(layout, wrong):
    x = torch.rand(1, 2, 4, 4).to("other").contiguous(memory_format=layout).requires_grad_()
    F.avg_pool2d(x, 3, stride=2, padding=1).sum().backward()
    assert x.grad.cpu().isnan().any() == wrong


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(method, tmp_path, packages_of):
    packages_of(method)
    recipe = apply_method(recipe_of("noisy-dsprites"), method)
    settings, small = {"bank_size": 16}, {"batch_size": 4, "select_every": 0, "precision": "fp32"}
    for stage in recipe.stages:
        settings |= {f"{stage}_stage.{name}": value for name, value in small.items()}
    for steps in (1, 2):
        lengths = {f"{stage}_stage.steps": 2 if stage == "vae" else steps for stage in recipe.stages}
        short = override(recipe, settings | lengths)
        train(short, tmp_path, device="other", threads=1, progress=False, measure=False)
    assert idgan.load(tmp_path, device="cpu").sample(n=1, seed=0).isfinite().all()


@pytest.mark.slow
def test_every_metric_gives_the_same(here):
    dataset = ThinnedDataset(open_dataset("noisy-dsprites"))
    options = {
        "samples": 32,
        "extractor": "dsprites-convnet",
        "gilbo_options": GILBO["tiny"],
        "priors": ("aggregated", "normal"),
        "progress": False,
    }
    names = [name for name, metric in METRICS.items() if not name.startswith(("dci", "sap", "beta-vae"))]
    ours, theirs = (
        list(measure(sampler, dataset, names, **options)) for sampler in (copy.deepcopy(here).to("other"), here)
    )
    assert len(ours) >= len(names)
    for one, other in zip(ours, theirs, strict=True):
        assert one.protocol == other.protocol and one.value == pytest.approx(other.value, rel=1e-3, abs=1e-3), one.name

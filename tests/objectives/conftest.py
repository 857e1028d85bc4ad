import copy
import os
import socket
import subprocess
import sys

import pytest
import torch

from idgan.data import Batches, DSprites
from idgan.networks import (
    BottleneckDiscriminatorConfig,
    ConvDiscriminatorConfig,
    ConvGeneratorConfig,
    LogitHeadConfig,
    ProjectedDiscriminatorConfig,
    ProjectionDiscriminatorConfig,
    TCDiscriminator,
    VAEConfig,
)
from idgan.networks.modules import build_mode
from idgan.objectives import (
    BetaTCVAEConfig,
    BetaVAEConfig,
    BottleneckIDGANConfig,
    CapacityFactorVAEConfig,
    CapacityVAEConfig,
    ConditionalGANConfig,
    EndToEndIDGANConfig,
    FactorVAEConfig,
    GANConfig,
    IDGANConfig,
    InfoGANConfig,
    PairwiseTCVAEConfig,
    ProjectedIDGANConfig,
    VAEGANConfig,
)
from idgan.recipes import Adam

C_DIM, S_DIM = 4, 3
STAGE_1 = (
    BetaVAEConfig,
    CapacityVAEConfig,
    BetaTCVAEConfig,
    FactorVAEConfig,
    CapacityFactorVAEConfig,
    PairwiseTCVAEConfig,
)
ADVERSARIAL = (
    GANConfig,
    IDGANConfig,
    ConditionalGANConfig,
    InfoGANConfig,
    VAEGANConfig,
    EndToEndIDGANConfig,
    BottleneckIDGANConfig,
    ProjectedIDGANConfig,
)
DISCRIMINATORS = {
    ConditionalGANConfig: ProjectionDiscriminatorConfig(),
    InfoGANConfig: LogitHeadConfig(),
    BottleneckIDGANConfig: BottleneckDiscriminatorConfig(resolution=64, base_width=2, max_width=4, image_channels=1),
    ProjectedIDGANConfig: ProjectedDiscriminatorConfig(
        features="tiny", image_channels=1, base_width=4, max_width=6, head_width=8
    ),
}
MOVED = {(InfoGANConfig, "discriminator"): ("discriminator.", "vae.encoder.")}
"""(config, phase) -> name prefixes of the parameters that the phase updates, if they are not those of its own name."""


@pytest.fixture(scope="session")
def batches():
    """dSprites, four a batch: `batches(step)` is a new `Batch` with the same images and noise each time."""
    return Batches(DSprites(), batch_size=4, seed=0)


@pytest.fixture
def build(tiny_pyramid):
    """`build(config)`: the objective of a config on small networks with the same weights each time."""

    def make(config, c_dim=C_DIM):
        torch.manual_seed(0)
        vae = VAEConfig(c_dim=c_dim).build()
        if isinstance(config, GANConfig):
            generator = ConvGeneratorConfig(c_dim=c_dim, s_dim=S_DIM).build()
            discriminator = DISCRIMINATORS.get(type(config), ConvDiscriminatorConfig())
            if isinstance(discriminator, ProjectionDiscriminatorConfig):
                discriminator = ProjectionDiscriminatorConfig(c_dim=c_dim)
            return config.build(vae, generator, discriminator.build())
        objective = config.build(vae)
        if "tc_discriminator" in objective.phases:
            with build_mode():
                objective.tc_discriminator = TCDiscriminator(c_dim, width=32)  # a width of 1000 makes the tests slow
        return objective

    return make


@pytest.fixture
def moved():
    """`moved(objective, phase)`: name prefixes of the parameters that a phase updates."""
    return lambda objective, phase: MOVED.get((type(objective.config), phase), (f"{phase}.",))


@pytest.fixture(params=STAGE_1 + ADVERSARIAL, ids=lambda config: config.__name__)
def config(request):
    """The config of each objective in turn, with its defaults."""
    return request.param()


def backward(objective, phase, batch, precision):
    """One phase's `Losses`, after the backward pass that the training loop makes of them."""
    objective.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        losses = objective.losses(phase, batch)
    losses.total.backward(inputs=objective.parameters_of(phase))
    return losses


@pytest.fixture
def gradients():
    """`gradients(objective, phase, batch)`: (name -> gradient of each parameter with one, `Losses` of the phase)."""

    def compute(objective, phase, batch, precision="fp32"):
        losses = backward(objective, phase, batch, precision)
        return {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}, losses

    return compute


@pytest.fixture
def train_steps():
    """`train_steps(objective, [batch, ...])`: trains every phase on every batch; {phase: Losses} of the last."""

    def train(objective, batches, precision="fp32"):
        optimizers = {phase: Adam(1e-3).build(objective.parameters_of(phase)) for phase in objective.phases}
        for batch in batches:
            outcome = {}
            for phase in objective.phases:
                outcome[phase] = backward(objective, phase, batch, precision)
                optimizers[phase].step()
        return outcome

    return train


@pytest.fixture
def weights():
    """`weights(objective)`: a copy of its state dict."""
    return lambda objective: copy.deepcopy(objective.state_dict())


@pytest.fixture
def two_processes():
    """`two_processes(code)`: what each of two processes printed that ran `code` and can join one process group."""

    def run(code):
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            port = str(probe.getsockname()[1])
        environment = os.environ | {
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": port,
            "WORLD_SIZE": "2",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-c", code]
        processes = [
            subprocess.Popen(command, env=environment | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
            for rank in range(2)
        ]
        return [process.communicate(timeout=60)[0] for process in processes]

    return run

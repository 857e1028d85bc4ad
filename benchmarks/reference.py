"""A training step beside one of the reference's loop: ratios of time, and whether both compute the same.

    python benchmarks/reference.py [dsprites celeba-64-w16 ...] [--threads 1] [--rounds 6]

The reference's loop is restated from the settings of the paper: plain layers in PyTorch's default memory format, loops
without fused optimizers, R1 in a backward pass of its own at every step, two passes of G, and gradients of the frozen
encoder's parameters. The settings of optimizers are the recipe's on both sides.

Each variant runs in a process of its own, because the settings of a process (memory, denormals) are part of the
training loop. Variants take turns in short blocks, so that a busy machine slows all of them. A block counts with its
mean CPU time of a step, and a variant with the fastest of its blocks, because other programs share the caches. With
several threads, wall time counts instead.

Columns:
- reference: milliseconds of a step of the reference's loop
- fp32: the same maths (R1 at every step) in this package's loop. "difference" is the largest relative difference of a
  loss in the first three steps, from equal weights and with equal noise.
- bf16: the same with precision bf16, and lazy R1 (every 16th step) in stage 2
- ratios are reference / variant
"""

import argparse
import copy
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

STEPS = 3
"""Steps whose losses are compared."""
STAGE_1, STAGE_2 = "vae", "gan"
Step = Callable[[int], dict[str, float]]


def recipe_for(name: str, stage: str, batch_size: int | None, variant: str) -> Any:
    """The recipe `name` with beta-VAE and ID-GAN as objectives, in the precision of `variant`."""
    from idgan.objectives import BetaVAEConfig, IDGANConfig
    from idgan.recipes import recipe_of

    recipe = recipe_of(name)
    likelihood = recipe.vae_stage.objective.likelihood
    objective = BetaVAEConfig(beta=4.0, likelihood=likelihood)
    if stage == STAGE_2:
        objective = IDGANConfig(id_weight=1e-3, r1_weight=10.0, r1_interval=16 if variant == "bf16" else 1)
    settings = replace(
        recipe.stages[stage],
        objective=objective,
        precision="bf16" if variant == "bf16" else "fp32",
        batch_size=batch_size or recipe.stages[stage].batch_size,
    )
    if stage == STAGE_1:
        settings = replace(settings, optimizers={"vae": settings.optimizers["vae"]}, select_every=0)
    else:
        settings = replace(settings, ema_decay=0.999)
    return replace(recipe, **{f"{stage}_stage": settings})


def package_step(recipe: Any, stage: str) -> Step:
    """A step of this package's training loop."""
    from idgan.training.distributed import process_group
    from idgan.training.estimate import Noise, objective_of
    from idgan.training.loop import Trainer
    from idgan.training.setup import batches_of

    batches = batches_of(recipe, stage, Noise(recipe), process_group("cpu"))
    trainer = Trainer(recipe.stages[stage], objective_of(recipe, stage), batches, None, identity={}, report=None)

    def step(number: int) -> dict[str, Any]:
        return trainer.train_step(batches(number))

    return step


def reference_step(recipe: Any, stage: str) -> Step:
    """A step of the reference's loop, on plain layers with the weights that `package_step` starts from."""
    from torch import nn

    from idgan.training.distributed import process_group
    from idgan.training.estimate import Noise, objective_of
    from idgan.training.setup import batches_of

    objective = objective_of(recipe, stage).train()
    for layer in objective.modules():
        for plain in (nn.Conv2d, nn.ConvTranspose2d, nn.Unflatten):
            if isinstance(layer, plain):
                layer.__class__ = plain  # instead of this package's faster layer
    for parameter in objective.parameters():
        parameter.requires_grad_()
    batches = batches_of(recipe, stage, Noise(recipe), process_group("cpu"))
    make = reference_vae if stage == STAGE_1 else reference_gan
    take = make(objective, recipe.stages[stage])
    return lambda number: take(batches(number))


def plain_optimizer(config: Any, network: Any) -> Any:
    """The optimizer of `config` with PyTorch's loop over parameters."""
    from torch.optim import Adam, RMSprop

    from idgan import recipes

    if isinstance(config, recipes.Adam):
        return Adam(network.parameters(), config.lr, betas=(config.beta1, config.beta2), foreach=False)
    return RMSprop(network.parameters(), config.lr, alpha=config.alpha, foreach=False)


def reference_vae(objective: Any, stage: Any) -> Callable[[Any], dict[str, Any]]:
    """Stage 1: beta-VAE."""
    import torch
    import torch.nn.functional as F

    vae, config = objective.vae, objective.config
    optimizer = plain_optimizer(stage.optimizers["vae"], vae)

    def step(batch: Any) -> dict[str, Any]:
        mean, logvar = vae.encoder(batch.x).chunk(2, dim=1)
        c = mean + (logvar / 2).exp() * batch.normal(mean.shape[1])
        logits = vae.decoder(c)
        if config.likelihood == "bernoulli":
            reconstruction = F.binary_cross_entropy_with_logits(logits, batch.x, reduction="sum") / len(batch.x)
        else:
            reconstruction = F.mse_loss(torch.sigmoid(logits), batch.x, reduction="sum") / len(batch.x)
        kl = -0.5 * (1 + logvar - mean.pow(2) - logvar.exp()).sum(1).mean()
        loss = reconstruction + config.beta * kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"vae": loss.detach()}

    return step


def reference_gan(objective: Any, stage: Any) -> Callable[[Any], dict[str, Any]]:
    """Stage 2: ID-GAN."""
    import torch
    import torch.nn.functional as F

    from idgan.images import encoder_view

    vae, generator, discriminator = objective.vae, objective.generator, objective.discriminator
    config = objective.config
    averaged = copy.deepcopy(generator)
    for_d = plain_optimizer(stage.optimizers["discriminator"], discriminator)
    for_g = plain_optimizer(stage.optimizers["generator"], generator)
    size = vae.config.resolution

    def encode(x: Any) -> Any:
        return vae.encoder(encoder_view(x, size)).chunk(2, dim=1)

    def bce(logits: Any, target: float) -> Any:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    def only(network: Any) -> None:
        for each in (generator, discriminator):
            for parameter in each.parameters():
                parameter.requires_grad_(each is network)

    def step(batch: Any) -> dict[str, Any]:
        with torch.no_grad():
            mean, logvar = encode(batch.x)
            c = mean + (logvar / 2).exp() * batch.normal(mean.shape[1])
            code = torch.cat([batch.normal(generator.config.s_dim), c], dim=1)

        only(discriminator)
        for_d.zero_grad()
        x_real = (2 * batch.x - 1).requires_grad_()
        logits = discriminator(x_real)
        loss_real = bce(logits, 1.0)
        loss_real.backward(retain_graph=True)
        (gradient,) = torch.autograd.grad(logits.sum(), x_real, create_graph=True)
        r1 = config.r1_weight * gradient.pow(2).flatten(1).sum(1).mean()
        r1.backward()
        with torch.no_grad():
            x_fake = generator(code)
        loss_fake = bce(discriminator(x_fake), 0.0)
        loss_fake.backward()
        for_d.step()

        only(generator)
        for_g.zero_grad()
        x_fake = generator(code)
        loss = bce(discriminator(x_fake), 1.0)
        mean, logvar = encode((x_fake + 1) / 2)
        log_prob = -0.5 * ((c - mean).pow(2) / logvar.exp() + logvar + torch.log(torch.tensor(2 * torch.pi)))
        loss = loss - config.id_weight * log_prob.sum(1).mean()
        loss.backward()
        for_g.step()
        vae.zero_grad()
        with torch.no_grad():
            for old, new in zip(averaged.parameters(), generator.parameters()):
                old.copy_(stage.ema_decay * old + (1 - stage.ema_decay) * new)
        return {"discriminator": (loss_real + loss_fake + r1).detach(), "generator": loss.detach()}

    return step


def work(pipe: Connection, name: str, stage: str, variant: str, batch_size: int | None, threads: int) -> None:
    """Serve the blocks of one variant: receives a number of steps, sends the mean time of one in seconds."""
    import torch

    from idgan.training.setup import cpu_settings

    recipe = recipe_for(name, stage, batch_size, variant)
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    make = reference_step if variant == "reference" else package_step
    if variant == "reference":
        step = make(recipe, stage)
        serve(pipe, step, clock)
    else:
        with cpu_settings(threads):
            serve(pipe, make(recipe, stage), clock)


def serve(pipe: Connection, step: Step, clock: Callable[[], float]) -> None:
    """First send the losses of `STEPS` steps, then one mean time of a step for each received number of steps."""
    pipe.send([{key: float(value) for key, value in step(number).items()} for number in range(STEPS)])
    number = STEPS
    while count := pipe.recv():
        start = clock()
        for _ in range(count):
            step(number)
            number += 1
        pipe.send((clock() - start) / count)


def compare(name: str, stage: str, batch_size: int | None, threads: int, rounds: int) -> None:
    """Print one line about a stage of a recipe."""
    context, variants = multiprocessing.get_context("spawn"), ("reference", "fp32", "bf16")
    pipes, processes = {}, []
    for variant in variants:
        pipes[variant], other = context.Pipe()
        process = context.Process(target=work, args=(other, name, stage, variant, batch_size, threads), daemon=True)
        process.start()
        processes.append(process)
    losses = {variant: pipe.recv() for variant, pipe in pipes.items()}
    difference = max(
        abs(ours[phase] - theirs[phase]) / abs(theirs[phase])
        for ours, theirs in zip(losses["fp32"], losses["reference"])
        for phase in theirs
    )
    times: dict[str, list[float]] = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant, pipe in pipes.items():
            # Steps with lazy R1 differ from others, so a block is one interval of them.
            pipe.send(16 if (stage, variant) == (STAGE_2, "bf16") else 4)
            times[variant].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(0)
    for process in processes:
        process.join()
    ms = {variant: 1e3 * min(values) for variant, values in times.items()}
    print(f"{name:<16}{stage:<7}{ms['reference']:>10.1f}{ms['fp32']:>10.1f}{ms['bf16']:>10.1f}", end="")
    print(f"{ms['reference'] / ms['fp32']:>10.2f}{ms['reference'] / ms['bf16']:>10.2f}{difference:>12.1e}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=["dsprites", "celeba-64-w16"])
    parser.add_argument("--stage", choices=(STAGE_1, STAGE_2), help="by default both")
    parser.add_argument("--batch-size", type=int, help="by default the recipe's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    clock = "CPU" if arguments.threads == 1 else "wall"
    print(f"{clock} milliseconds of a step, {arguments.threads} threads; ratios to the reference; difference of losses")
    columns = ("reference", "fp32", "bf16", "fp32 x", "bf16 x")
    print(f"{'recipe':<16}{'stage':<7}{''.join(f'{column:>10}' for column in columns)}{'difference':>12}")
    for name in arguments.recipes:
        for stage in (STAGE_1, STAGE_2) if arguments.stage is None else (arguments.stage,):
            compare(name, stage, arguments.batch_size, arguments.threads, arguments.rounds)


if __name__ == "__main__":
    main()

"""The sampler: the frozen networks of one checkpoint. It generates, encodes and edits images."""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from idgan.codes import MAX_COUNT, as_dims, as_rows, change, common_size, sweep
from idgan.data.image_set import eyes_of
from idgan.dims import as_dim, as_names
from idgan.errors import InvalidInputError, brief, check_integer, check_range
from idgan.images import as_batch, default_batch_size, encoder_view, to_unit
from idgan.images.faces import Eyes, align_faces, check_eyes
from idgan.inversion import Inversion, tune_generator
from idgan.networks import ModelConfig, Posterior
from idgan.networks.modules import freeze
from idgan.record import TrainingRecord
from idgan.rng import seeded_rng

if TYPE_CHECKING:
    from idgan.zoo import ResolvedCheckpoint

__all__ = ["MIN_ACTIVE_KL", "PRIORS", "Sampler"]

PRIORS = ("aggregated", "normal")
"""Distributions of c: the aggregated posterior of the training images (Eq. 4), or N(0, I)."""
MIN_ACTIVE_KL = 0.1
"""Smallest mean KL to the prior, in nats, of an active code dimension."""


class Sampler(nn.Module):
    """Encoder q(c|x), decoder p(x|c) and generator G(s, c) of one checkpoint.

    The networks are in eval mode and their parameters need no gradients. Codes c are (N, c_dim), nuisances s are
    (N, s_dim), images are float32 (N, C, H, W) in [0, 1].

    **The nuisance of an image.** A model of the method reconstructing has an encoder of s. `reconstruct` and `edit`
    take its s, so they keep what the code does not represent. Other models draw s, or search for it (`invert`).

    **Inactive dimensions.** In some dimensions of c, q(c|x) stays close to the prior. They have almost no information
    about the image, and the generator uses them like s. `encode` returns 0 for them. In a code that you pass, an
    inactive dimension that is exactly 0 counts as missing, and is drawn with `seed`. Any other value is used as it is.
    With an encoder of s, a 0 is used as it is, because it was 0 in the training of that encoder.
    `forward`, `render` and `decode` use all codes as they are.

    Args:
        config: shapes of the networks.
        vae: encoder and decoder. They are frozen in place, not copied. None builds them with random weights.
        generator: the generator G, frozen or built in the same way.
        nuisance_encoder: the encoder q(s|x), frozen or built in the same way. Only if `config` has one.
        bank: posteriors of M training images. Prior "aggregated" draws c from them. None means N(0, I).
        info: facts about the model from the checkpoint, as a JSON object.

    Attributes:
        record: how the checkpoint was trained.
        dim_kl: mean KL(q(c_d|x) || N(0, 1)) of each dimension over the bank, in nats.
        active: mask of the active dimensions, bool (c_dim,). All are active if the bank shows none.
        active_dims: the active dimensions, largest KL first.
        dims: name -> dimension, of the dimensions that have a name, such as {"position_x": 4}. The order is that of
            `active_dims`.
        origin: the checkpoint that it was loaded from, or None.
    """

    vae: Any  # a module with the methods of `idgan.networks.protocols.VAENetwork`, or of `Encoder`
    generator: Any  # a module with the methods of `GeneratorNetwork`
    active: Tensor
    origin: "ResolvedCheckpoint | None" = None

    def __init__(
        self,
        config: ModelConfig,
        vae: nn.Module | None = None,
        generator: nn.Module | None = None,
        bank: Posterior | None = None,
        info: dict[str, Any] | None = None,
        nuisance_encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.vae = freeze(vae if vae is not None else config.vae.build())
        self.generator = freeze(generator if generator is not None else config.generator.build())
        if nuisance_encoder is None and config.nuisance_encoder is not None:
            nuisance_encoder = config.nuisance_encoder.build()
        self.nuisance_encoder: Any = None if nuisance_encoder is None else freeze(nuisance_encoder)
        if bank is None:
            bank = Posterior(*torch.zeros(2, 1, config.c_dim, dtype=torch.float32, device="cpu"))
        # The bank stays on the CPU in float32, so that codes are the same on every device.
        self.bank = Posterior(bank.mean.detach().float().cpu(), bank.logvar.detach().float().cpu())
        self.info = info or {}
        self.record = TrainingRecord.from_dict(self.info.get("training"))
        kl = self.bank.kl().mean(0)
        self.dim_kl: list[float] = kl.tolist()
        active = kl >= MIN_ACTIVE_KL
        self.register_buffer("active", (active if active.any() else ~active).to(self.device), persistent=False)
        order = kl.argsort(descending=True, stable=True).tolist()
        self.active_dims: list[int] = [dim for dim in order if self.active[dim]]
        names = as_names(self.info.get("dims"), config.c_dim)
        self.dims: dict[str, int] = dict(sorted(names.items(), key=lambda item: order.index(item[1])))

    @property
    def c_dim(self) -> int:
        """Number of code dimensions."""
        return self.config.c_dim

    @property
    def s_dim(self) -> int:
        """Number of nuisance dimensions, 0 if the generator has none."""
        return self.config.s_dim

    @property
    def resolution(self) -> int:
        """Height and width of the generator's images, in pixels."""
        return self.config.resolution

    @property
    def image_channels(self) -> int:
        """1 for gray images, 3 for color."""
        return self.config.image_channels

    @property
    def has_bank(self) -> bool:
        """Whether the prior "aggregated" draws from posteriors of training images. Otherwise it is N(0, I)."""
        return any(self.dim_kl)

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the networks. Codes and images are float32 in any case."""
        return next(self.parameters()).dtype

    @property
    def untrained(self) -> tuple[str, ...]:
        """Parts of the VAE ("encoder", "decoder") that cannot be used: not trained by the method, or absent."""
        if "decoder" in self.record.untrained or hasattr(self.vae, "decode"):
            return self.record.untrained
        return (*self.record.untrained, "decoder")

    @property
    def eyes(self) -> Eyes | None:
        """Where the eyes are in the training images, in fractions of the side. None if they are not aligned faces."""
        return self.record.eyes or eyes_of(self.info.get("data"))

    @property
    def parameter_counts(self) -> dict[str, int]:
        """Number of parameters of each network: "vae", "generator" and, if there is one, "nuisance_encoder"."""
        return {part: sum(p.numel() for p in getattr(self, part).parameters()) for part in self.config.parts}

    def train(self, mode: bool = True) -> "Sampler":
        """Does nothing: a sampler stays in eval mode."""
        return super().train(False)

    def __repr__(self) -> str:
        name = self.info.get("name", "unnamed")
        codes = f"c {self.c_dim} ({len(self.active_dims)} active), s {self.s_dim}"
        images = f"{self.image_channels} x {self.resolution} x {self.resolution}"
        return f"Sampler({name}: {codes} -> {images}, {self.device}, {self.dtype})"

    def code_range(self, share: float = 0.98) -> tuple[Tensor, Tensor]:
        """Low and high end of the range of each code dimension, (c_dim,) each, on the CPU.

        The range holds a fraction `share` of the codes. Its ends are quantiles of 4,096 codes of the aggregated
        posterior, or of N(0, I) without a bank.

        Raises:
            InvalidInputError: `share` is not between 0 and 1.
        """
        check_range(0, 1, exclusive=True, share=share)
        tail = (1 - share) / 2
        codes, _ = self.codes(4096, seed=0)
        low, high = codes.cpu().quantile(torch.tensor([tail, 1 - tail], dtype=torch.float32, device="cpu"), dim=0)
        return low, high

    # -------------------------------------------------------------- codes to images

    def forward(self, c: Tensor, s: Tensor) -> Tensor:
        """Images G(s, c) in [0, 1], (N, C, H, W), with gradients, of codes (N, c_dim) and nuisances (N, s_dim)."""
        code = torch.cat([s, c], dim=1).to(self.device, self.dtype)
        return to_unit(self.generator(code).float()).clamp(0, 1)

    def codes(self, n: int = 1, seed: int | None = None, prior: str = "aggregated") -> tuple[Tensor, Tensor]:
        """Draw `n` pairs (c, s), (n, c_dim) and (n, s_dim). They do not depend on the device.

        The n pairs are drawn together. With the same seed, another `n` gives other pairs.

        Args:
            n: number of pairs.
            seed: integer from 0 to 2**64 - 1. None takes a seed from PyTorch's global generator.
            prior: "aggregated" draws c from the aggregated posterior (Eq. 4), "normal" from N(0, I). s is N(0, I).
        """
        check_integer(1, MAX_COUNT, n=n)
        _check_prior(prior)
        rng = _rng(seed)
        picks = torch.randint(len(self.bank), (int(n),), dtype=torch.int64, device="cpu", generator=rng)
        noise = torch.randn(int(n), self.c_dim, dtype=torch.float32, device="cpu", generator=rng)
        c = self.bank[picks].sample(noise) if prior == "aggregated" else noise
        s = torch.randn(int(n), self.s_dim, dtype=torch.float32, device="cpu", generator=rng)
        return c.to(self.device), s.to(self.device)

    def complete(
        self,
        c: object = None,
        s: object = None,
        *,
        n: int | None = None,
        seed: int | None = None,
        prior: str = "aggregated",
    ) -> tuple[Tensor, Tensor]:
        """The codes and nuisances (c, s) that `sample` renders, (N, c_dim) and (N, s_dim). Missing ones are drawn.

        Inactive dimensions of `c` that are 0 count as missing, unless the model has a nuisance encoder.

        Args:
            c: codes (N, c_dim) or (c_dim,), or None.
            s: nuisances (N, s_dim) or (s_dim,), or None. A single row of c or s is broadcast.
            n: number of pairs. By default as many as c or s has rows.
            seed, prior: see `codes`.
        """
        _check_prior(prior)
        given_c = None if c is None else as_rows("c", c, self.c_dim, self.device)
        given_s = None if s is None else as_rows("s", s, self.s_dim, self.device)
        size = common_size(given_c, given_s, n)
        if given_c is None:
            drawn_c, drawn_s = self.codes(size, seed, prior)
        else:
            given = self.active | (given_c != 0) | (self.nuisance_encoder is not None)
            if given_s is not None and given.all():  # draws nothing, so seed=None leaves the global generator alone
                return given_c.expand(size, -1), given_s.expand(size, -1)
            drawn_c, drawn_s = self.codes(size, seed, prior)
            drawn_c = torch.where(given, given_c, drawn_c)
        return drawn_c, drawn_s if given_s is None else given_s.expand(size, -1)

    def sample(
        self,
        c: object = None,
        s: object = None,
        *,
        n: int | None = None,
        seed: int | None = None,
        prior: str = "aggregated",
        batch_size: int | None = None,
    ) -> Tensor:
        """Images of codes `c` and nuisances `s`. Missing ones are drawn, see `complete`.

        `sample(n=4, seed=0)` equals `sample(*codes(4, seed=0))`.

        Args:
            c, s, n, seed, prior: see `complete`.
            batch_size: number of images that are computed at once. None takes about 1 GB of memory at most.

        Returns:
            (N, C, H, W) float32 in [0, 1], on the sampler's device.
        """
        c, s = self.complete(c, s, n=n, seed=seed, prior=prior)
        return torch.cat(list(self.render(c, s, batch_size)))

    def render(self, c: object, s: object, batch_size: int | None = None) -> Iterator[Tensor]:
        """Batches of images G(s, c), without gradients. Codes are used as they are, and nothing is drawn.

        Args:
            c: codes (N, c_dim) or (c_dim,).
            s: nuisances (N, s_dim) or (s_dim,). A single row of c or s is broadcast.
            batch_size: see `sample`.

        Yields:
            (B, C, H, W) float32 in [0, 1], on the sampler's device.
        """
        size = default_batch_size(self.resolution) if batch_size is None else batch_size
        check_integer(1, MAX_COUNT, batch_size=size)
        c_rows, s_rows = as_rows("c", c, self.c_dim, self.device), as_rows("s", s, self.s_dim, self.device)
        n = common_size(c_rows, s_rows)
        batches = zip(c_rows.expand(n, -1).split(int(size)), s_rows.expand(n, -1).split(int(size)))
        return (self._images(*pair) for pair in batches)

    @torch.no_grad()
    def _images(self, c: Tensor, s: Tensor) -> Tensor:
        return self(c, s)

    @torch.no_grad()
    def decode(self, c: object) -> Tensor:
        """Images of the VAE's decoder, (N, C, h, w) in [0, 1], of codes (N, c_dim) or (c_dim,) as they are.

        h = w is the resolution of the VAE, 64 in the paper's models.

        Raises:
            InvalidInputError: the VAE has no decoder, or its method does not train one.
        """
        self._check_usable("decoder")
        parts = as_rows("c", c, self.c_dim, self.device).to(self.dtype).split(self._vae_batch_size)
        return torch.cat([self.vae.decode(part).float() for part in parts])

    # -------------------------------------------------------------- images to codes

    def aligned(self, x: object, face: int | None = None) -> Tensor:
        """The faces in photos `x`, cropped like the training images: (N, C, H, W) in [0, 1].

        Each face is rotated, scaled and shifted until its eyes are where they are in the training images (`eyes`).

        Args:
            x: photos in any form that `as_batch` takes.
            face: number of the face in each photo, counted from 1 at the left. None takes all faces of all photos.

        Raises:
            InvalidInputError: the model was not trained on aligned faces, or a photo shows no face.
            MissingDependencyError: the face detector is not installed (extra "faces").
        """
        squares = align_faces(x, check_eyes(self.eyes), self.resolution, face)
        return as_batch(squares, channels=self.image_channels, resolution=self.resolution).to(self.device)

    def _cut(self, x: object, crop: bool | int, align: bool | int) -> tuple[object, bool | int]:
        """The arguments `images` and `crop` of `as_batch` after `align`."""
        if align is False:
            return x, crop
        if crop is not False:
            raise InvalidInputError("align (--align) finds the square, so crop (--crop, --crop-side) cannot be given")
        return self.aligned(x, None if align is True else align), False

    @torch.no_grad()
    def posterior(self, x: object, *, crop: bool | int = False, align: bool | int = False) -> Posterior:
        """q(c|x) of images, as the encoder gives it: mean and logvar, (N, c_dim) each.

        Args:
            x: images in any form that `idgan.images.as_batch` takes.
            crop: crop images to their center square, see `as_batch`.
            align: True crops photos to their faces, see `aligned`. A number takes that face of each photo, counted
                from 1 at the left.

        Raises:
            InvalidInputError: the method does not train the encoder.
        """
        self._check_usable("encoder")
        x, crop = self._cut(x, crop, align)
        images = as_batch(x, channels=self.image_channels, resolution=self.config.vae.resolution, crop=crop)
        return self._encoded(self.vae, images)

    def _encoded(self, encoder: Any, images: Tensor) -> Posterior:
        """The `Posterior` that `encoder` gives for images at its resolution."""
        batches = images.split(self._vae_batch_size)
        return Posterior.cat([encoder.encode(batch.to(self.device, self.dtype)) for batch in batches])

    def encode(self, x: object, *, crop: bool | int = False, align: bool | int = False) -> Tensor:
        """Mean codes of images, (N, c_dim) float32. Inactive dimensions are 0. Arguments as in `posterior`."""
        return self.posterior(x, crop=crop, align=align).mean.float().masked_fill(~self.active, 0.0)

    @torch.no_grad()
    def read(
        self, x: object, s: object = None, *, seed: int | None = 0, crop: bool | int = False, align: bool | int = False
    ) -> tuple[Tensor, Tensor]:
        """Codes c (N, c_dim) and nuisances s (N, s_dim) of images, without a search.

        If the model has a nuisance encoder, it gives s. What is missing is drawn with `seed`, see `complete`.

        Args:
            x, crop, align: see `posterior`.
            s: nuisances (N, s_dim) or (s_dim,) to take instead.
            seed: seed of what is drawn.
        """
        x, crop = self._cut(x, crop, align)
        images = as_batch(x, channels=self.image_channels, resolution=self.config.vae.resolution, crop=crop)
        if s is None and self.nuisance_encoder is not None:
            view = encoder_view(images, self.config.nuisance_encoder.resolution)
            s = self._encoded(self.nuisance_encoder, view).mean.float()
        return self.complete(self.encode(images), s, seed=seed)

    def invert(
        self,
        x: object,
        *,
        steps: int = 150,
        restarts: int = 1,
        refine_c: bool = False,
        seed: int | None = 0,
        crop: bool | int = False,
        align: bool | int = False,
        progress: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Find codes c (N, c_dim) and nuisances s (N, s_dim) such that the images G(s, c) are close to images `x`.

        The encoder gives the active dimensions of c. Optimization finds s and the inactive dimensions, see
        `idgan.inversion`. It keeps them near N(0, I), because edits do not work far from it. Images are independent of
        each other. On a busy CPU, `torch.set_num_threads(1)` is faster than one thread for each core.

        Args:
            x: images in any form that `as_batch` takes.
            steps: steps of the optimizer. 0 keeps the best of the random codes.
            restarts: number of random codes that the optimizer starts from. The best result is kept.
            refine_c: optimize the active dimensions as well, and keep them near q(c|x).
            seed: seed of the random numbers.
            crop: crop images to their center square, see `as_batch`.
            align: crop photos to their faces, see `posterior`.
            progress: show progress on stderr.
        """
        check_integer(0, MAX_COUNT, steps=steps)
        check_integer(1, MAX_COUNT, restarts=restarts)
        if not isinstance(refine_c, bool):
            raise InvalidInputError(f"refine_c must be True or False, got {brief(refine_c)}")
        rng = _rng(seed)
        x, crop = self._cut(x, crop, align)
        images = as_batch(x, channels=self.image_channels, resolution=self.resolution, crop=crop).to(self.device)
        posterior = self.posterior(x, crop=crop)
        c = posterior.mean.float().masked_fill(~self.active, 0.0)
        c_std = (0.5 * posterior.logvar.float()).exp() * float(refine_c)
        s = c.new_zeros(len(c), self.s_dim)
        mean = torch.cat([s, c], dim=1)
        std = torch.cat([torch.ones_like(s), c_std.masked_fill(~self.active, 1.0)], dim=1)
        widths = [self.s_dim, self.c_dim]
        search = Inversion(lambda code: self(*code.split(widths, dim=1)[::-1]), self._features, images, mean, std)
        s, c = search.run(int(steps), int(restarts), rng, progress).split(widths, dim=1)
        return c, s

    def tuned(
        self, x: object, c: object, s: object, *, steps: int = 150, seed: int | None = 0, progress: bool = True
    ) -> "Sampler":
        """A sampler with a copy of this generator that is fitted to images `x` at their codes.

        For a photo of a face, `invert` alone finds a similar face. The fitted generator preserves the identity, and
        edits have about the same effect as before (pivotal tuning, Roich et al. 2021). The samplers share all other
        parts. For one photo: `c, s = g.invert(x)`, `own = g.tuned(x, c, s)`, then
        `own.sample(own.changed(c, changes), s)`.

        Args:
            x: images in any form that `as_batch` takes. One image, or a few of one person: the fit is shared.
            c, s: their codes (N, c_dim) and nuisances (N, s_dim), from `invert`.
            steps: steps of the optimizer.
            seed: seed of the random edits whose effect is preserved.
            progress: show progress on stderr.
        """
        check_integer(0, MAX_COUNT, steps=steps)
        images = as_batch(x, channels=self.image_channels, resolution=self.resolution).to(self.device)
        c_rows, s_rows = as_rows("c", c, self.c_dim, self.device), as_rows("s", s, self.s_dim, self.device)
        if not len(images) == len(c_rows) == len(s_rows):
            raise InvalidInputError(
                f"expected one c and one s for each image, got {len(c_rows)} and {len(s_rows)} for {len(images)}"
            )
        editable = torch.cat([self.active.new_zeros(self.s_dim), self.active])
        render = lambda network, code: to_unit(network(code)).clamp(0, 1)
        code = torch.cat([s_rows, c_rows], dim=1)
        generator = tune_generator(self.generator, render, images, code, editable, int(steps), _rng(seed), progress)
        count = "one image" if len(images) == 1 else f"{len(images)} images"
        info = self.info | {"name": f"{self.info.get('name', 'unnamed')}, tuned to {count}"}
        own = Sampler(self.config, self.vae, generator, self.bank, info, self.nuisance_encoder).to(self.device)
        own.origin = self.origin
        return own

    def _features(self, x: Tensor) -> list[Tensor]:
        """Hidden features of the encoder for images (N, C, H, H) in [0, 1], or the posterior mean if it offers none."""
        x = encoder_view(x, self.config.vae.resolution).to(self.dtype)
        hidden = getattr(self.vae, "hidden_features", None)
        return [self.vae.encode(x).mean] if hidden is None else hidden(x)

    # -------------------------------------------------------------- editing

    def reconstruct(
        self,
        x: object,
        s: object = None,
        *,
        seed: int | None = 0,
        crop: bool | int = False,
        align: bool | int = False,
        invert: bool = False,
        tune: bool = False,
    ) -> Tensor:
        """Images G(s, c) at the codes of images `x`, (N, C, H, W). See `edit`."""
        return self.edit(x, {}, s=s, seed=seed, crop=crop, align=align, invert=invert, tune=tune)

    def edit(
        self,
        x: object,
        changes: Mapping[int | str, float],
        *,
        absolute: bool = False,
        s: object = None,
        seed: int | None = 0,
        crop: bool | int = False,
        align: bool | int = False,
        invert: bool = False,
        tune: bool = False,
    ) -> Tensor:
        """Images G(s, c) at the changed codes of images `x`, (N, C, H, W).

        A code dimension is about N(0, 1) over the data, so a change of 1.5 shows clearly. For several edits of one
        image, invert it once: `c, s = g.invert(x)`, then `g.sample(g.changed(c, changes), s)`. See also `tuned`.

        Args:
            x: images in any form that `as_batch` takes.
            changes: code dimension or its name -> number to add.
            absolute: the numbers are the new values.
            s: nuisances (N, s_dim) or (s_dim,). By default those of `read`: from the nuisance encoder, or drawn.
            seed: seed of the random numbers.
            crop: crop images to their center square, see `as_batch`.
            align: crop photos to their faces, see `posterior`.
            invert: find s and the inactive dimensions by optimization, which takes seconds per image.
            tune: invert, and then fit a copy of the generator to each image, see `tuned`.
        """
        if (invert or tune) and s is not None:
            raise InvalidInputError(f"{'tune' if tune else 'invert'}=True finds s, so s cannot be given")
        x, crop = self._cut(x, crop, align)
        if invert or tune:
            c, s = self.invert(x, seed=seed, crop=crop)
        else:
            c, s = self.read(x, s, seed=seed, crop=crop)
        changed = self.changed(c, changes, absolute=absolute)
        if not tune:
            return torch.cat(list(self.render(changed, s)))
        images = as_batch(x, channels=self.image_channels, resolution=self.resolution, crop=crop)
        rows = zip(*(part.split(1) for part in (images, c, s, changed)))
        return torch.cat([next(self.tuned(x, c, s, seed=seed).render(new, s)) for x, c, s, new in rows])

    def changed(self, c: object, changes: Mapping[int | str, float], *, absolute: bool = False) -> Tensor:
        """A copy of codes `c` (N, c_dim) with `changes` (dimension or name -> number) added.

        `absolute` replaces the values.
        """
        rows = as_rows("c", c, self.c_dim, self.device)
        return change(rows, changes, self.active_dims, self.dims, absolute=absolute)

    def traverse(
        self,
        c: object = None,
        s: object = None,
        dims: Sequence[int | str] | None = None,
        span: Sequence[float] = (-3.0, 3.0),
        steps: int = 7,
        *,
        seed: int | None = 0,
    ) -> Tensor:
        """Sweep one code dimension at a time, with everything else fixed.

        Args:
            c: code to start from, (c_dim,) or (1, c_dim). By default drawn with `seed`.
            s: nuisance, (s_dim,) or (1, s_dim). By default drawn with `seed`.
            dims: D code dimensions or their names. By default `active_dims`.
            span: first and last value.
            steps: number of images per dimension.
            seed: seed of the random numbers.

        Returns:
            (D, steps, C, H, W)
        """
        start, nuisance = self.complete(c, s, seed=seed)
        if len(start) != 1:
            raise InvalidInputError(f"a traversal starts from one code and one nuisance, got {len(start)}")
        check_integer(1, MAX_COUNT, steps=steps)
        path = sweep(start, self.traversal_dims(dims), span, int(steps))
        return torch.cat(list(self.render(path.flatten(0, 1), nuisance))).unflatten(0, path.shape[:2])

    def traversal_dims(self, dims: Sequence[int | str] | None = None) -> list[int]:
        """The code dimensions to traverse as integers: `dims`, by default `active_dims`."""
        return list(self.active_dims) if dims is None else as_dims(dims, self.c_dim, self.active_dims, self.dims)

    def dim_index(self, dim: int | str) -> int:
        """The code dimension that `dim` means: an integer, "4", "c4", or a name in `dims`.

        Raises:
            InvalidInputError: there is no such dimension. The message lists the accepted ones.
        """
        return as_dim(dim, self.c_dim, self.active_dims, self.dims)

    def dim_label(self, dim: int) -> str:
        """Label of a code dimension: its name in `dims`, or "c4" for a dimension without a name."""
        return next((name for name, named in self.dims.items() if named == dim), f"c{dim}")

    def interpolate(self, a: object, b: object, steps: int = 7, s: object = None, *, seed: int | None = 0) -> Tensor:
        """Images on the straight line from code `a` to code `b`, with one nuisance: (steps, C, H, W).

        Args:
            a, b: codes (c_dim,) or (1, c_dim).
            steps: number of images, both ends included.
            s: nuisance (s_dim,) or (1, s_dim). By default drawn with `seed`.
            seed: seed of the random numbers.
        """
        check_integer(1, MAX_COUNT, steps=steps)
        seed = _drawn_seed() if seed is None else seed  # one for both ends
        (start, nuisance), (end, _) = self.complete(a, s, seed=seed), self.complete(b, s, seed=seed)
        if len(start) != 1 or len(end) != 1:
            raise InvalidInputError(
                f"an interpolation needs one code per end and one nuisance, got {len(start)} and {len(end)}"
            )
        weights = torch.linspace(0, 1, int(steps), dtype=torch.float32, device=self.device)[:, None]
        return torch.cat(list(self.render(torch.lerp(start, end, weights), nuisance)))

    # -------------------------------------------------------------- files and hubs

    # The names and the files are those of huggingface_hub's ModelHubMixin. The class itself is no base class here: it
    # rewrites `config`, and it loads without a check of hashes and names of tensors. The zoo knows how to load and
    # save. It imports the sampler, so these methods import it when they are called. They are the one exception to
    # "imports point down" (see setup.cfg), and hold no code of their own.

    @classmethod
    def from_pretrained(cls, name: str | PathLike[str], **options: Any) -> "Sampler":
        """The sampler in a hub repository ("org/name") or in a directory that `save_pretrained` wrote.

        It is the same as `idgan.load(name, **options)`.
        """
        from idgan.zoo import load

        return load(name, **options)

    def save_pretrained(self, directory: str | PathLike[str], **terms: Any) -> Path:
        """Write the model, its `config.json`, its model card and two pictures into `directory`.

        `terms` are `name`, `description`, `license` and `data`, see `idgan.zoo.pretrained.save`. Returns the directory.
        """
        from idgan.zoo.pretrained import save

        return save(self, directory, **terms)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Commit the files of `save_pretrained` to the hub repository `repo_id`. Returns the address of the commit.

        `options` are `private`, `tag`, `endpoint`, `token` and the terms of `save_pretrained`, see
        `idgan.zoo.publish.push`.
        """
        from idgan.zoo.publish import push

        return push(self, repo_id, **options)

    # -------------------------------------------------------------- checks

    @property
    def _vae_batch_size(self) -> int:
        return default_batch_size(self.config.vae.resolution)

    def _check_usable(self, part: str) -> None:
        if part in self.record.untrained:
            raise InvalidInputError(
                f"the {part} of this model has not been trained: method {self.record.method!r} does not use it"
            )
        if part in self.untrained:
            raise InvalidInputError(f"the VAE of this model ({type(self.vae).__name__}) has no {part}")


def _check_prior(prior: object) -> None:
    if prior not in PRIORS:
        raise InvalidInputError(f"prior must be one of {', '.join(PRIORS)}, got {brief(prior)}")


def _drawn_seed() -> int:
    """A seed from PyTorch's global generator."""
    return int(torch.randint(2**62, (), dtype=torch.int64, device="cpu").item())


def _rng(seed: int | None) -> torch.Generator:
    """A CPU generator for `seed`. None draws the seed from PyTorch's global generator."""
    return seeded_rng(_drawn_seed() if seed is None else seed)

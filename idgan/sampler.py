"""The thing a user holds: a frozen disentangling encoder paired with the generator that was distilled from it."""

from collections.abc import Iterator
from math import isfinite
from numbers import Integral, Real

import torch
from torch import Tensor, nn

from idgan.errors import InvalidInputError
from idgan.images import as_batch, default_batch_size, to_unit
from idgan.inversion import Inversion
from idgan.networks import Posterior
from idgan.networks.modules import freeze
from idgan.record import TrainingRecord

__all__ = ["PRIORS", "Sampler", "sweep"]

PRIORS = ("aggregated", "normal")
ACTIVE_NATS = 0.1
"""A code dimension whose mean KL to the prior is below this carries nothing of the image: it has collapsed."""


class Sampler(nn.Module):
    """Encoder q(c|x), decoder p(x|c) and generator G(s, c) of one checkpoint, in eval mode, without gradients of their own.

    Codes are `c` (N, c_dim), nuisance is `s` (N, s_dim), images are float32 (N, C, H, W) in [0, 1].

    **Collapsed dimensions.** An encoder leaves some dimensions of c at the prior: they say nothing about the image, and the generator,
    trained on draws of c, uses them like nuisance. So does the sampler: `encode` returns them as exactly 0, and in a code that is given, a
    collapsed dimension of exactly 0 counts as not given and is drawn from the posterior, by `seed`; any other value is used as it is.
    (Left at 0, the posterior mean, the generator would draw an average of all that it knows.) `forward` and `decode` use codes as they are.

    Args:
        config: `ModelConfig`, the shapes.
        vae, generator: the networks, frozen in place and not copied; None builds them with random weights.
        bank: a `Posterior` of M training images, from which `c` is drawn with prior "aggregated"; None: M = 1, the normal prior.
        info: what the checkpoint's file and the manifest say of it, a dict.
    """

    def __init__(self, config, vae=None, generator=None, bank=None, info=None):
        super().__init__()
        self.config = config
        self.vae = freeze(vae if vae is not None else config.vae.build())
        self.generator = freeze(generator if generator is not None else config.generator.build())
        bank = bank or Posterior(torch.zeros(1, config.c_dim), torch.zeros(1, config.c_dim))
        # On the CPU and in float32 wherever the networks go: draws are the same on every device.
        self.bank = Posterior(bank.mean.detach().float().cpu(), bank.logvar.detach().float().cpu())
        self.info = info or {}
        self.record = TrainingRecord.from_dict(self.info.get("training"))
        """How the checkpoint was trained."""
        kl = self.bank.kl().mean(0)
        self.dim_kl = kl.tolist()
        """Mean KL(q(c_d|x) || N(0, 1)) of each dimension over the bank, in nats: how much it carries."""
        active = kl >= ACTIVE_NATS
        self.register_buffer("active", active if active.any() else ~active, persistent=False)
        """Which dimensions carry something of the image, bool (c_dim,); the others have collapsed. If the bank shows none, all count."""
        self.active_dims = [d for d in kl.argsort(descending=True, stable=True).tolist() if self.active[d]]
        """The active dimensions, the most telling first."""

    c_dim = property(lambda self: self.config.c_dim)
    s_dim = property(lambda self: self.config.s_dim)
    resolution = property(lambda self: self.config.resolution)
    image_channels = property(lambda self: self.config.image_channels)
    device = property(lambda self: next(self.parameters()).device)
    dtype = property(lambda self: next(self.parameters()).dtype)

    @property
    def untrained(self):
        """Which of "encoder" and "decoder" nothing has trained, for the checkpoint's method has no use of them: what they give is noise."""
        return self.record.untrained

    def _needs(self, part):
        if part in self.untrained:
            raise InvalidInputError(
                f"the {part} of this model has not been trained: its method, {self.record.method}, has no use of one"
            )

    def train(self, mode=True):
        """A sampler stays in eval mode."""
        return super().train(False)

    def __repr__(self):
        name = self.info.get("name", "unnamed")
        shape = f"{self.image_channels} x {self.resolution} x {self.resolution}"
        return f"Sampler({name}: c {self.c_dim} ({len(self.active_dims)} active), s {self.s_dim} -> {shape}, {self.device}, {self.dtype})"

    # -------------------------------------------------------------- codes to images

    def forward(self, c, s):
        """G(s, c): codes (N, c_dim) and nuisance (N, s_dim), exactly as given -> images (N, C, H, W) float32 in [0, 1], with gradients."""
        return to_unit(self.generator(torch.cat([s, c], dim=1).to(self.device, self.dtype)).float()).clamp(0, 1)

    def codes(self, n=1, seed=None, prior="aggregated"):
        """Draw `n` pairs (c, s), (n, c_dim) and (n, s_dim), the same on every device for the same `n`, `seed` and `prior`.

        `seed`: None takes one from torch's global generator. The n pairs are one draw: fewer of the same seed are not the first of them.
        `prior`: "aggregated" draws c from the aggregated posterior (eq. 4), through the bank; "normal" from N(0, I). s is N(0, I).
        """
        n = _count("n", n)
        if prior not in PRIORS:
            raise InvalidInputError(f"prior must be one of {', '.join(PRIORS)}, got {prior!r}")
        rng = _rng(seed)
        picks = torch.randint(len(self.bank), (n,), generator=rng)
        noise = torch.randn(n, self.c_dim, generator=rng)
        c = self.bank[picks].sample(noise) if prior == "aggregated" else noise
        s = torch.randn(n, self.s_dim, generator=rng)
        return c.to(self.device), s.to(self.device)

    def complete(self, c=None, s=None, *, n=None, seed=None, prior="aggregated"):
        """The pair (c, s), (N, c_dim) and (N, s_dim), that `sample` renders: as given, and drawn by `codes` where it was not.

        `c` (N, c_dim) or (c_dim,), `s` (N, s_dim) or (s_dim,); one of either, or of both, goes with many. `n`: how many, where the codes do
        not say it. Collapsed dimensions of `c`: see the class.
        """
        c = None if c is None else self._rows("c", c, self.c_dim)
        s = None if s is None else self._rows("s", s, self.s_dim)
        given = {name: len(code) for name, code in (("c", c), ("s", s)) if code is not None}
        size = max([1 if n is None else _count("n", n), *given.values()])
        if n not in (None, size) or any(rows not in (1, size) for rows in given.values()):
            rows = ", ".join(f"{rows} rows of {name}" for name, rows in given.items())
            raise InvalidInputError(
                f"got {rows}{'' if n is None else f' and n = {n}'}: they must be equal, but one c or s goes with many"
            )
        kept = None if c is None else self.active | (c != 0)
        if (
            s is None or kept is None or not kept.all()
        ):  # otherwise nothing is to be drawn, and nothing is: a seed of None costs a draw, too
            drawn_c, drawn_s = self.codes(size, seed, prior)
            c = drawn_c if c is None else torch.where(kept, c, drawn_c)
            s = drawn_s if s is None else s
        return c.expand(size, -1), s.expand(size, -1)

    def sample(self, c=None, s=None, *, n=None, seed=None, prior="aggregated", batch_size=None):
        """Images of codes `c` and nuisance `s`; what is not given is drawn (see `complete` for what goes with what).

        `sample(n=4, seed=0)` is `sample(*codes(4, seed=0))`. `batch_size`: images made at once; None: as many as fit in moderate memory.

        Returns:
            (N, C, H, W) float32 in [0, 1], on the sampler's device.
        """
        return self._render(*self.complete(c, s, n=n, seed=seed, prior=prior), batch_size)

    @torch.no_grad()
    def _render(self, c, s, batch_size=None):
        """`forward` of codes (N, c_dim) and nuisance (N or 1, s_dim), in batches and without gradients."""
        batch_size = default_batch_size(self.resolution) if batch_size is None else _count("batch_size", batch_size)
        return torch.cat([self(*pair) for pair in zip(c.split(batch_size), s.expand(len(c), -1).split(batch_size))])

    @torch.no_grad()
    def render(self, c: Tensor, s: Tensor, batch_size: int | None = None) -> Iterator[Tensor]:
        """Yield G(s, c) of codes `c` (N, c_dim) and nuisance `s` (N, s_dim) a batch at a time, without gradients."""
        batch_size = default_batch_size(self.resolution) if batch_size is None else _count("batch_size", batch_size)
        for pair in zip(c.split(batch_size), s.split(batch_size)):
            yield self(*pair)

    @torch.no_grad()
    def decode(self, c):
        """The VAE decoder's rendering of codes `c` (N, c_dim) or (c_dim,), exactly as given: (N, C, h, w) float32 in [0, 1]; h = w = 64.

        Raises:
            InvalidInputError: the decoder is `untrained`.
        """
        self._needs("decoder")
        parts = self._rows("c", c, self.c_dim).to(self.dtype).split(default_batch_size(self.vae.config.resolution))
        return torch.cat([self.vae.decode(part) for part in parts])

    # -------------------------------------------------------------- images to codes

    @torch.no_grad()
    def posterior(self, x, *, crop=False):
        """q(c|x) of images in any form that `idgan.images.as_batch` takes, as the encoder gives it: mean and logvar, (N, c_dim) each.

        Raises:
            InvalidInputError: the encoder is `untrained`. So do all that read images: `encode`, `invert`, `reconstruct`, `edit`.
        """
        self._needs("encoder")
        x = as_batch(x, channels=self.image_channels, resolution=self.vae.config.resolution, crop=crop)
        return Posterior.cat(
            [
                self.vae.encode(part.to(self.device, self.dtype))
                for part in x.split(default_batch_size(self.vae.config.resolution))
            ]
        )

    def encode(self, x, *, crop=False):
        """Mean codes of images in any form, (N, c_dim); collapsed dimensions are exactly 0, which means "not given" (see the class)."""
        return torch.where(self.active, self.posterior(x, crop=crop).mean, 0.0)

    def invert(self, x, *, steps=200, restarts=2, refine_c=False, seed=0, crop=False, progress=True):
        """The pair (c, s), (N, c_dim) and (N, s_dim), at which the generator draws images `x` again as well as it can.

        The encoder gives the live dimensions of c. What it does not read, s and the collapsed dimensions, is found by optimization from
        the best of many draws (see `idgan.inversion`), and kept near N(0, I): far from it, edits do not work. `refine_c` moves the live
        dimensions too, within the width of q(c|x). A model that has no s and no collapsed dimension leaves nothing to find without it:
        then c is `encode`'s and s is empty. Images do not depend on each other; any number fits in moderate memory.

        Args:
            x: images in any form that `as_batch` takes.
            steps: of the optimizer; 0 keeps the best draw.
            restarts: how many draws each image follows; the best end is kept.
            progress: whether to show a bar, on a terminal.
        """
        images = as_batch(x, channels=self.image_channels, resolution=self.resolution, crop=crop).to(self.device)
        posterior = self.posterior(x, crop=crop)
        s = torch.zeros(len(images), self.s_dim, device=self.device)
        mean = torch.cat([s, torch.where(self.active, posterior.mean, 0.0)], dim=1)
        std = torch.cat([s + 1, torch.where(self.active, (0.5 * posterior.logvar).exp() * refine_c, 1.0)], dim=1)
        widths = [self.s_dim, self.c_dim]
        search = Inversion(lambda code: self(*code.split(widths, dim=1)[::-1]), self.vae.encoder, images, mean, std)
        s, c = search.run(_count("steps", steps, least=0), _count("restarts", restarts), _rng(seed), progress).split(
            widths, dim=1
        )
        return c, s

    # -------------------------------------------------------------- editing

    def reconstruct(self, x, s=None, *, seed=0, crop=False, invert=False):
        """G(s, c) at the codes of images `x`, (N, C, H, W). Collapsed dimensions, and `s` if it is not given, are drawn by `seed`.

        `invert` finds them by optimization instead, as `invert` does, which takes seconds an image.
        """
        return self.edit(x, {}, s=s, seed=seed, crop=crop, invert=invert)

    def edit(self, x, changes, *, absolute=False, s=None, seed=0, crop=False, invert=False):
        """`reconstruct`, with code dimensions changed: `changes` maps dimension -> how much to add, or with `absolute` its new value.

        A code is about N(0, 1) over the data: +-1.5 is a clear change. All else is as in `reconstruct` with the same `s`, `seed` and
        `invert`. For many edits of one image invert it once: `c, s = g.invert(x)`, then `g.sample(g.changed(c, changes), s)`.
        """
        if invert and s is not None:
            raise InvalidInputError("invert finds s: give one of the two")
        c, s = (
            self.invert(x, seed=seed, crop=crop) if invert else self.complete(self.encode(x, crop=crop), s, seed=seed)
        )
        return self._render(self.changed(c, changes, absolute=absolute), s)

    def changed(self, c, changes, *, absolute=False):
        """Codes `c` (N, c_dim) with `changes` (dimension -> number) added, or with `absolute` put in their place."""
        c = self._rows("c", c, self.c_dim).clone()
        for dim, value in dict(changes).items():
            dim = self._dim(dim)
            if isinstance(value, bool) or not isinstance(value, Real) or not isfinite(value):
                raise InvalidInputError(f"the change of dimension {dim} must be a finite number, got {value!r}")
            c[:, dim] = float(value) + (0 if absolute else c[:, dim])
        return self._rows("the changed c", c, self.c_dim)

    def traverse(self, c=None, s=None, dims=None, span=(-3.0, 3.0), steps=7, *, seed=0):
        """One code dimension after another swept over `span`, everything else fixed: (D, steps, C, H, W).

        `c` (c_dim,) or (1, c_dim) is where to start, `s` likewise; what is not given is drawn by `seed`. `dims`: see `traversal_dims`.
        """
        c, s = self.complete(c, s, seed=seed)
        if len(c) != 1:
            raise InvalidInputError(f"a traversal starts from one code and one nuisance, got {len(c)}")
        path = sweep(c, self.traversal_dims(dims), span, _count("steps", steps))
        return self._render(path.flatten(0, 1), s).unflatten(0, path.shape[:2])

    def traversal_dims(self, dims=None):
        """The dimensions to traverse: `dims`, checked; by default `active_dims`."""
        if dims is None:
            return list(self.active_dims)
        if isinstance(dims, Integral) or len(dims) == 0:
            raise InvalidInputError(f"dims must be a list of code dimensions, got {dims!r}")
        return [self._dim(dim) for dim in dims]

    def interpolate(self, a, b, steps=7, s=None, *, seed=0):
        """Images along the straight line from code `a` to code `b`, (c_dim,) or (1, c_dim) each, at one nuisance: (steps, C, H, W)."""
        (a, s), (b, _) = self.complete(a, s, seed=seed), self.complete(b, s, seed=seed)
        if len(a) != 1 or len(b) != 1:
            raise InvalidInputError(
                f"an interpolation has one code at each end and one nuisance, got {len(a)} and {len(b)}"
            )
        return self._render(
            torch.lerp(a, b, torch.linspace(0, 1, _count("steps", steps), device=self.device)[:, None]), s
        )

    # -------------------------------------------------------------- checks

    def _rows(self, name, code, width):
        """`code` as a float32 tensor (N, width) on the sampler's device."""
        try:
            code = torch.as_tensor(code, dtype=torch.float32, device=self.device)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise InvalidInputError(
                f"{name} must be numbers of shape (N, {width}), got {type(code).__name__} ({error})"
            ) from error
        rows = code[None] if code.ndim == 1 else code
        if rows.ndim != 2 or rows.shape[1] != width or len(rows) == 0:
            raise InvalidInputError(f"{name} must be of shape (N, {width}) or ({width},), got {tuple(code.shape)}")
        if not rows.isfinite().all():
            raise InvalidInputError(f"{name} has values that are not finite")
        return rows

    def _dim(self, dim):
        if isinstance(dim, bool) or not isinstance(dim, Integral) or not 0 <= dim < self.c_dim:
            raise InvalidInputError(
                f"there is no code dimension {dim!r}: they are 0 to {self.c_dim - 1}, live ones {self.active_dims}"
            )
        return int(dim)


def sweep(c, dims, span=(-3.0, 3.0), steps=7):
    """Copies of one code `c` (1, c_dim) with one of `dims` after another at `steps` values over `span`, ends too: (D, steps, c_dim)."""
    if len(span) != 2 or not all(isinstance(end, Real) and isfinite(end) for end in span):
        raise InvalidInputError(f"span must be two finite numbers, got {span!r}")
    path = c.repeat(len(dims), steps, 1)
    for row, dim in enumerate(dims):
        path[row, :, dim] = torch.linspace(*span, steps, device=c.device)
    return path


def _rng(seed):
    if seed is None:
        seed = torch.randint(2**62, ()).item()
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 2**63:
        raise InvalidInputError(f"seed must be an integer from 0 to 2**63 - 1 or None, got {seed!r}")
    return torch.Generator().manual_seed(int(seed))


def _count(name, value, least=1):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InvalidInputError(
            f"{name} must be a {'positive integer' if least else 'positive integer or 0'}, got {value!r}"
        )
    return int(value)

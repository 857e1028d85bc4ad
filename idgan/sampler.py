"""The thing a user holds: a frozen disentangling encoder paired with the generator that was distilled from it."""

import torch
from torch import nn

from idgan.errors import InvalidInputError
from idgan.images import as_batch, encoder_view, to_unit
from idgan.networks import Posterior
from idgan.objectives.objective import freeze

__all__ = ["PRIORS", "Sampler"]

PRIORS = ("posterior", "normal")
LIVE_NATS = 0.1
"""A code dimension whose mean KL to the prior is below this carries nothing of the image: it has collapsed."""
PIXELS_AT_ONCE = 64 * 64 * 1024


class Sampler(nn.Module):
    """Encoder q(c|x), decoder p(x|c) and generator G(s, c) of one checkpoint, in eval mode, without gradients of their own.

    Codes are `c` (N, c_dim), nuisance is `s` (N, s_dim), images are float32 (N, C, H, W) in [0, 1].

    **Collapsed dimensions.** An encoder leaves some dimensions of c at the prior: they say nothing about the image, and the generator,
    trained on draws of c, uses them like nuisance. So does the sampler: `encode` returns them as exactly 0, and wherever a code goes into the
    generator, a collapsed dimension that is exactly 0 counts as not given and is drawn from the posterior, by `seed`. Any other value is
    used as it is. (Left at 0, the posterior mean, the generator would draw an average of all that it knows.)

    Args:
        config: `ModelConfig`, the shapes.
        vae, generator: the networks; None builds them with random weights.
        bank: a `Posterior` of M training images, from which `c` is drawn with prior "posterior"; None: M = 1, the normal prior.
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
        kl = self.bank.kl().mean(0)
        self.dim_kl = kl.tolist()
        """Mean KL(q(c_d|x) || N(0, 1)) of each dimension over the bank, in nats: how much it carries."""
        self.active_dims = [d for d in kl.argsort(descending=True).tolist() if kl[d] >= LIVE_NATS]
        """The dimensions that carry something of the image, the most telling first."""

    c_dim = property(lambda self: self.config.c_dim)
    s_dim = property(lambda self: self.config.s_dim)
    resolution = property(lambda self: self.config.resolution)
    image_channels = property(lambda self: self.config.image_channels)
    device = property(lambda self: next(self.generator.parameters()).device)
    dtype = property(lambda self: next(self.generator.parameters()).dtype)

    def train(self, mode=True):
        """A sampler stays in eval mode."""
        return super().train(False)

    def __repr__(self):
        name = self.info.get("name", "unnamed")
        shape = f"{self.image_channels} x {self.resolution} x {self.resolution}"
        return f"Sampler({name}: c {self.c_dim} ({len(self.active_dims)} live), s {self.s_dim} -> {shape}, {self.device}, {self.dtype})"

    # -------------------------------------------------------------- codes to images

    def forward(self, c, s):
        """G(s, c): codes (N, c_dim) and nuisance (N, s_dim), exactly as given -> images (N, C, H, W) float32 in [0, 1], with gradients."""
        return to_unit(self.generator(torch.cat([s, c], dim=1).to(self.device, self.dtype)).float()).clamp(0, 1)

    def codes(self, n=1, seed=None, prior="posterior"):
        """Draw `n` pairs (c, s), (n, c_dim) and (n, s_dim), the same on every device for the same `seed` (None: a new one each time).

        `prior`: "posterior" draws c from the aggregated posterior (eq. 4), through the bank; "normal" from N(0, I). s is N(0, I).
        """
        _check_count("n", n)
        if prior not in PRIORS:
            raise InvalidInputError(f"prior must be one of {', '.join(PRIORS)}, got {prior!r}")
        generator = _generator(seed)
        picks = torch.randint(len(self.bank), (n,), generator=generator)
        noise = torch.randn(n, self.c_dim, generator=generator)
        c = self.bank[picks].sample(noise) if prior == "posterior" else noise
        s = torch.randn(n, self.s_dim, generator=generator)
        return c.to(self.device), s.to(self.device)

    @torch.no_grad()
    def sample(self, c=None, s=None, *, n=None, seed=None, prior="posterior", batch_size=None):
        """Images of codes `c` and nuisance `s`; what is not given is drawn (see `codes`).

        `c` (N, c_dim) or (c_dim,), `s` (N, s_dim) or (s_dim,); one of either goes with many of the other. `n`: how many to draw when
        neither is given. `batch_size`: images made at once, by default as many as fit in moderate memory.
        `sample(n=4, seed=0)` is `sample(*codes(4, seed=0))`. Collapsed dimensions of `c`: see the class.

        Returns:
            (N, C, H, W) float32 in [0, 1], on the sampler's device.
        """
        c = None if c is None else self._rows("c", c, self.c_dim)
        s = None if s is None else self._rows("s", s, self.s_dim)
        given = max((len(code) for code in (c, s) if code is not None), default=None)
        for name, code in (("c", c), ("s", s)):
            if code is not None and len(code) not in (1, given):
                raise InvalidInputError(f"{name} has {len(code)} rows, the other {given}: they must be equal, or one of them 1")
        if given is not None and n not in (None, given) and given != 1:
            raise InvalidInputError(f"n is {n} but {given} codes were given; leave n out")
        n = n or given or 1
        drawn_c, drawn_s = self.codes(n, seed, prior)
        c = drawn_c if c is None else self._complete(c.expand(n, -1), drawn_c)
        s = drawn_s if s is None else s.expand(n, -1)
        _check_count("batch_size", batch_size := batch_size or max(1, PIXELS_AT_ONCE // self.resolution**2))
        return torch.cat([self(*pair) for pair in zip(c.split(batch_size), s.split(batch_size))])

    @torch.no_grad()
    def decode(self, c):
        """The VAE decoder's rendering of codes `c` (N, c_dim) or (c_dim,), exactly as given: (N, C, h, w) float32 in [0, 1]; h = w = 64."""
        return self.vae.decode(self._rows("c", c, self.c_dim).to(self.dtype))

    # -------------------------------------------------------------- images to codes

    @torch.no_grad()
    def posterior(self, x, *, crop=False):
        """q(c|x) of images in any form that `idgan.images.as_batch` takes: a `Posterior` of mean and logvar, (N, c_dim) each, as the encoder gives it."""
        x = as_batch(x, channels=self.image_channels, resolution=self.vae.config.resolution, crop=crop)
        return self.vae.encode(encoder_view(x, self.vae.config.resolution).to(self.device, self.dtype))

    def encode(self, x, *, crop=False):
        """Mean codes of images in any form, (N, c_dim); collapsed dimensions are exactly 0, which means "not given" (see the class)."""
        mean = self.posterior(x, crop=crop).mean
        live = torch.zeros(self.c_dim, dtype=torch.bool)
        live[self.active_dims] = True
        return torch.where(live.to(mean.device), mean, 0.0)

    # -------------------------------------------------------------- editing

    def reconstruct(self, x, s=None, *, seed=0, crop=False):
        """G(s, c) at the codes of images `x`: (N, C, H, W). What c does not carry (s, collapsed dimensions) is drawn by `seed` unless `s` is given."""
        return self.sample(self.encode(x, crop=crop), s, seed=seed)

    def edit(self, x, changes, *, absolute=False, s=None, seed=0, crop=False):
        """Images `x` with code dimensions changed: `changes` maps dimension -> how much to add, or with `absolute` its new value.

        Everything else is as in `reconstruct` with the same `s` and `seed`. A code is about N(0, 1) over the data: +-1.5 is a clear change.
        """
        return self.sample(self.changed(self.encode(x, crop=crop), changes, absolute=absolute), s, seed=seed)

    def changed(self, c, changes, *, absolute=False):
        """Codes `c` (N, c_dim) with `changes` (dimension -> number) added, or with `absolute` put in their place."""
        c = self._rows("c", c, self.c_dim).clone()
        for dim, value in changes.items():
            self._check_dim(dim)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < float("inf"):
                raise InvalidInputError(f"the change of dimension {dim} must be a finite number, got {value!r}")
            c[:, dim] = value if absolute else c[:, dim] + value
        return c

    def traverse(self, c=None, s=None, dims=None, span=(-3.0, 3.0), steps=7, *, seed=0):
        """One code dimension after another swept over `span`, everything else fixed: (D, steps, C, H, W).

        `c` (c_dim,) or (1, c_dim) is where to start, `s` likewise; not given, they are drawn by `seed`. `dims`: which, by default `active_dims`.
        """
        dims = self.active_dims if dims is None else list(dims)
        for dim in dims:
            self._check_dim(dim)
        _check_count("steps", steps)
        drawn_c, drawn_s = self.codes(1, seed)
        c = drawn_c if c is None else self._complete(self._rows("c", c, self.c_dim), drawn_c)
        s = drawn_s if s is None else self._rows("s", s, self.s_dim)
        if len(c) != 1 or len(s) != 1:
            raise InvalidInputError(f"a traversal starts from one code and one nuisance, got {len(c)} and {len(s)}")
        if not dims:
            raise InvalidInputError("no dimension to traverse: this encoder's dimensions have all collapsed; name some with dims")
        path = c.repeat(len(dims), steps, 1)
        for row, dim in zip(path, dims):
            row[:, dim] = torch.linspace(*span, steps)
        images = self.sample(path.flatten(0, 1), s)
        return images.unflatten(0, (len(dims), steps))

    def interpolate(self, a, b, steps=7, s=None, *, seed=0):
        """Images along the straight line from code `a` to code `b`, (c_dim,) or (1, c_dim) each, at one nuisance: (steps, C, H, W)."""
        _check_count("steps", steps)
        drawn_c, drawn_s = self.codes(1, seed)
        a, b = (self._complete(self._rows(name, code, self.c_dim), drawn_c) for name, code in (("a", a), ("b", b)))
        if len(a) != 1 or len(b) != 1:
            raise InvalidInputError(f"an interpolation has one code at each end, got {len(a)} and {len(b)}")
        weight = torch.linspace(0, 1, steps, device=self.device)[:, None]
        return self.sample(torch.lerp(a, b, weight), drawn_s if s is None else s)

    # -------------------------------------------------------------- checks

    def _complete(self, c, drawn):
        """`c` with the collapsed dimensions that are exactly 0 taken from `drawn`, (N, c_dim) both."""
        collapsed = torch.ones(self.c_dim, dtype=torch.bool)
        collapsed[self.active_dims] = False
        return torch.where(collapsed.to(c.device) & (c == 0), drawn, c)

    def _rows(self, name, code, width):
        """`code` as a float32 tensor (N, width) on the sampler's device."""
        try:
            code = torch.as_tensor(code, dtype=torch.float32, device=self.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidInputError(f"{name} must be numbers of shape (N, {width}), got {type(code).__name__} ({error})") from error
        code = code[None] if code.ndim == 1 else code
        if code.ndim != 2 or code.shape[1] != width or len(code) == 0:
            raise InvalidInputError(f"{name} must be of shape (N, {width}) or ({width},), got {tuple(code.shape)}")
        if not code.isfinite().all():
            raise InvalidInputError(f"{name} has values that are not finite")
        return code

    def _check_dim(self, dim):
        if isinstance(dim, bool) or not isinstance(dim, int) or not 0 <= dim < self.c_dim:
            raise InvalidInputError(f"there is no code dimension {dim!r}: they are 0 to {self.c_dim - 1}, live ones {self.active_dims}")


def _generator(seed):
    if seed is None:
        seed = torch.randint(2**62, ()).item()
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise InvalidInputError(f"seed must be an integer from 0 to 2**63 - 1 or None, got {seed!r}")
    return torch.Generator().manual_seed(seed)


def _check_count(name, value):
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError(f"{name} must be a positive integer, got {value!r}")

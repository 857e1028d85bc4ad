"""The figures of the paper. Each is a function of a `Study` and of the names of recipes.

The pictures lie in rows of tiles. A label at the left of a row names a method, a code or a dimension of c. The rows of
a sheet are at most about 1,000 pixels wide.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image
from torch import Tensor

from idgan.codes import sweep
from idgan.images import encoder_view, labeled_grid, side_by_side
from idgan.plots import scatter
from idgan.sampler import Sampler
from idgan.study.scales import SYNTHETIC
from idgan.study.study import Study
from idgan.study.table import Cell, metric_title, paired_values
from idgan.study.tables import WEIGHTS, infogan_weight

__all__ = ["FIGURES", "Figure", "Panel", "decoder_and_generator", "draw", "methods", "nuisances", "traversals"]

SHEET_WIDTH = 900
"""Pixels that the tiles of a row take at most, without the labels."""
MAX_ROWS = 8
"""Most dimensions of c in a figure."""
GRID = 5
"""Nuisances in Figure 5, and codes and nuisances in Figure 8."""
METHODS = {
    "VAE": "vae",
    "beta-VAE": "beta-vae",
    "FactorVAE": "factor-vae",
    "GAN": "gan",
    "InfoGAN": "infogan",
    "ID-GAN": "id-gan",
}
TWO_STEPS = {"without distillation": "without-distillation", "cGAN": "cgan", "ID-GAN": "id-gan"}


@dataclass(frozen=True)
class Panel:
    """A part of a sheet: a caption, and rows of images.

    Attributes:
        caption: the line above.
        rows: label -> images (N, C, H, W) in [0, 1].
    """

    caption: str
    rows: Mapping[str, Tensor]


Sheet = Sequence[Panel]
Panels = Callable[[Study, Sequence[str], int], Iterator[tuple[str, Sheet]]]
"""Function of a study, names of recipes and a seed. It yields pairs (end of a file name, panels of one picture)."""
Drawn = Iterator[tuple[str, Image.Image]]


@dataclass(frozen=True)
class Figure:
    """A figure of the paper.

    Attributes:
        make: function of a study and of names of recipes that yields pairs (name of a file, picture). Runs that are
            missing are left out.
        names: the paper's data sets, as names of recipes.
        summary: what it shows, in one line.
    """

    make: Callable[[Study, Sequence[str]], Drawn]
    names: Sequence[str]
    summary: str


# ------------------------------------------------------------------ drawing


def draw(sheet: Sheet) -> Image.Image:
    """The panels side by side. Tiles have one size: 256, 128 or 64 px, whichever fits into `SHEET_WIDTH`.

    A panel shows no labels if it has those of the panel at its left.
    """
    columns = sum(max(map(len, panel.rows.values())) for panel in sheet)
    side = max(64, min(256, 1 << int(math.log2(SHEET_WIDTH / columns))))
    labels: list[list[str]] = [[], *(list(panel.rows) for panel in sheet)]
    pictures = [
        _rows(panel.rows, side, with_labels=before != own) for panel, before, own in zip(sheet, labels, labels[1:])
    ]
    return side_by_side(pictures, [panel.caption for panel in sheet])


def _rows(rows: Mapping[str, Tensor], side: int, with_labels: bool) -> Image.Image:
    """Rows of tiles of `side` px, with the labels at their left. Shorter rows end in white."""
    columns = max(map(len, rows.values()))
    tiles = [_tiles(images, side) for images in rows.values()]
    filled = [torch.cat([row, row.new_ones(columns - len(row), *row.shape[1:])]) for row in tiles]
    return labeled_grid(torch.cat(filled), columns, row_labels=list(rows) if with_labels else ())


def _tiles(x: Tensor, side: int) -> Tensor:
    """Images as tiles of `side` px in color. Larger images are averaged. Smaller ones grow by a whole factor."""
    x = (encoder_view(x, side) if x.shape[-1] > side else x).expand(-1, 3, -1, -1)
    return x.repeat_interleave(side // x.shape[-1], dim=-2).repeat_interleave(side // x.shape[-1], dim=-1)


def _images(sampler: Sampler, c: Tensor, s: Tensor) -> Tensor:
    """G(s, c) for codes (N, c_dim) and nuisances (N, s_dim) or (1, s_dim). At most 256 px, to spare the memory."""
    return torch.cat([encoder_view(x, min(256, x.shape[-1])).cpu() for x in sampler.render(c, s)])


# ------------------------------------------------------------------ the pictures


def methods(study: Study, names: Sequence[str], seed: int) -> Iterator[tuple[str, Sheet]]:
    """Rows are methods, panels are data sets.

    All models draw with one seed. Those with one encoder have the same codes. Models with an encoder of their own have
    their codes of the same training images, and GANs have codes from N(0, I).
    """
    columns, panels = 12 // min(4, len(names)), []
    for name in names:
        samplers = {label: study.sampler(name, method, seed) for label, method in METHODS.items()}
        rows = {
            label: _images(sampler, *sampler.codes(columns, seed=0)) for label, sampler in samplers.items() if sampler
        }
        if rows:
            panels.append(Panel(name, rows))
    if panels:
        yield "-".join(names) if len(names) < len(SYNTHETIC) else "all", panels


def nuisances(study: Study, names: Sequence[str], seed: int, codes: int = 2) -> Iterator[tuple[str, Sheet]]:
    """Images of one c with several s, by the three two-step systems, for some codes. At the left, the decoder's."""
    for name in names:
        samplers = {label: study.sampler(name, method, seed) for label, method in TWO_STEPS.items()}
        decoders, rows = {}, {}
        for code in range(codes):
            for label, sampler in samplers.items():
                if sampler is None:
                    continue
                c, s = sampler.codes(GRID, seed=0)
                row = f"c {code + 1}, {label}"
                decoders[row] = sampler.decode(c[code : code + 1]).cpu()
                rows[row] = _images(sampler, c[code : code + 1].expand(GRID, -1), s)
        if rows:
            yield name, [Panel("decoder", decoders), Panel("generator, several s", rows)]


def traversals(
    study: Study, names: Sequence[str], seed: int, *, systems: Mapping[str, str], code: int = 0, decoder: bool = False
) -> Iterator[tuple[str, Sheet]]:
    """Traversals of the most informative dimensions, one panel for each of `systems`, and for the decoder.

    Args:
        systems: label -> method.
        code: number of the code that is changed.
        decoder: add the decoder's images of the same codes.
    """
    for name in names:
        sheet = []
        for label, method in systems.items():
            sampler = study.sampler(name, method, seed)
            if sampler is None:
                continue
            dims = _informative_dims(sampler)[:MAX_ROWS]
            c, s = (draws[code : code + 1] for draws in sampler.codes(code + 1, seed=0))
            paths = sweep(c, dims)
            rows = {sampler.dim_label(dim): _images(sampler, path, s) for dim, path in zip(dims, paths)}
            sheet.append(Panel(label, rows))
            if decoder:
                drawn = {sampler.dim_label(dim): sampler.decode(path).cpu() for dim, path in zip(dims, paths)}
                sheet.append(Panel("VAE decoder", drawn))
        if sheet:
            yield name, sheet


def decoder_and_generator(study: Study, names: Sequence[str], seed: int) -> Iterator[tuple[str, Sheet]]:
    """The decoder's images above the generator's of the same codes."""
    for name in names:
        if sampler := study.sampler(name, "id-gan", seed):
            c, s = sampler.codes(7, seed=0)
            yield name, [Panel("", {"decoder": sampler.decode(c).cpu(), "generator": _images(sampler, c, s)})]


def code_grid(study: Study, names: Sequence[str], seed: int) -> Iterator[tuple[str, Sheet]]:
    """Every code with every nuisance. A row shares the active dimensions of c, a column shares all else."""
    for name in names:
        if sampler := study.sampler(name, "id-gan", seed):
            c, s = sampler.codes(GRID, seed=0)
            active = sampler.active.cpu()
            decoders = {f"c {row + 1}": sampler.decode(c[row : row + 1]).cpu() for row in range(GRID)}
            rows = {f"c {row + 1}": _images(sampler, torch.where(active, c[row], c), s) for row in range(GRID)}
            yield name, [Panel("decoder", decoders), Panel("generator: a column shares s", rows)]


def _informative_dims(sampler: Sampler) -> list[int]:
    """Dimensions of c, the most informative first.

    They are the active ones. Where training draws c from N(0, I), no data show which are active. Then all dimensions
    are ordered by the KL of the encoder's posterior of 64 generated images.
    """
    if sampler.has_bank:
        return sampler.active_dims
    posterior = sampler.posterior(_images(sampler, *sampler.codes(64, seed=1)))
    order: list[int] = posterior.kl().mean(0).argsort(descending=True, stable=True).tolist()
    return order


# ------------------------------------------------------------------ the plots


def disentanglement_and_quality(study: Study, names: Sequence[str]) -> Drawn:
    """Figure 3. Each run of Table 1 is a point."""
    encoders = {"VAE": "vae", "beta-VAE": "beta-vae", "FactorVAE": "factor-vae"}
    for metric in ("fvm", "mig"):
        groups: dict[str, list[tuple[str, float, float]]] = {}
        distances: list[Cell] = []
        for name in names:
            cells = {label: study.cell(name, method, [metric, "fid"]) for label, method in encoders.items()}
            weight = infogan_weight(study, name) or WEIGHTS[0]  # as in Table 1
            cells["InfoGAN"] = study.cell(name, "infogan", [metric, "fid"], gan_stage__objective__id_weight=weight)
            for label in ("beta-VAE", "FactorVAE"):
                images = study.cell(name, "id-gan", ["fid"], encoder=encoders[label])
                cells[f"ID-GAN on {label}"] = {metric: cells[label][metric], **images}
            points = [
                point for label, cell in cells.items() for point in paired_values(label, cell[metric], cell["fid"])
            ]
            groups |= {name: points} if points else {}
            distances += [cell["fid"] for cell in cells.values()]
        if groups:
            yield f"figure-3-{metric}.png", scatter(groups, metric, metric_title("fid", distances))


def distance_by_weight(study: Study, names: Sequence[str]) -> Drawn:
    """Figure A.10. All runs of ID-GAN use one encoder."""
    groups: dict[str, list[tuple[str, float, float]]] = {}
    cells: list[Cell] = []
    for name in names:
        for label in ("ID-GAN", "InfoGAN"):
            for weight in WEIGHTS:
                cell = study.cell(name, label.lower(), ["fid"], gan_stage__objective__id_weight=weight)["fid"]
                cells.append(cell)
                points = [(label, weight, result.value) for result in cell.values()]
                if points:
                    groups.setdefault(name, []).extend(points)
    if groups:
        yield "figure-A.10.png", scatter(groups, "id_weight", metric_title("fid", cells), log_x=True)


# ------------------------------------------------------------------ the list


def _sheets(number: str, panels: Panels, names: Sequence[str], summary: str) -> Figure:
    """A figure of pictures, one set for each seed of the study."""

    def make(study: Study, names: Sequence[str]) -> Drawn:
        for seed in study.seeds:
            for ending, sheet in panels(study, names, seed):
                yield f"figure-{number}-{ending}-seed-{seed}.png", draw(sheet)

    return Figure(make, names, summary)


_both = partial(traversals, systems={"InfoGAN": "infogan", "ID-GAN": "id-gan"})
_beside = partial(traversals, systems={"generator": "id-gan"}, decoder=True)

FIGURES: dict[str, Figure] = {
    "3": Figure(disentanglement_and_quality, SYNTHETIC, "disentanglement against image quality"),
    "4": _sheets("4", methods, SYNTHETIC, "the methods on the synthetic sets, at the same codes"),
    "5": _sheets("5", nuisances, ["celeba-128"], "one c with several s, by the three two-stage methods"),
    "6": _sheets("6", _both, ["celeba-64"], "traversals by InfoGAN and ID-GAN"),
    "7": _sheets("7", decoder_and_generator, ["celeba-256"], "the decoder's images above the generator's"),
    "8": _sheets("8", code_grid, ["celeba-256"], "every c with every s"),
    "9": _sheets("9", _beside, ["celebahq-1024"], "traversals by generator and decoder"),
    "A.1": _sheets("A.1", methods, ["color-dsprites"], "the methods on Color-dSprites"),
    "A.2": _sheets("A.2", methods, ["noisy-dsprites"], "the methods on Noisy-dSprites"),
    "A.3": _sheets("A.3", methods, ["scream-dsprites"], "the methods on Scream-dSprites"),
    "A.4": _sheets("A.4", _both, ["chairs-64"], "traversals by InfoGAN and ID-GAN, 3D Chairs"),
    "A.5": _sheets("A.5", _both, ["cars-64"], "traversals by InfoGAN and ID-GAN, Cars"),
    "A.6": _sheets("A.6", code_grid, ["chairs-64", "cars-64"], "every c with every s, 3D Chairs and Cars"),
    "A.7": _sheets("A.7", decoder_and_generator, ["celebahq-1024"], "the decoder's images above the generator's"),
    "A.8": _sheets("A.8", partial(_beside, code=1), ["celebahq-1024"], "as Figure 9, from a second code"),
    "A.9": _sheets("A.9", partial(_beside, code=2), ["celebahq-1024"], "as Figure 9, from a third code"),
    "A.10": Figure(distance_by_weight, ["dsprites"], "Fréchet distance against id_weight (lambda)"),
}
"""Number -> `Figure`. The data sets, and what Figures A.1 to A.7 show, follow our reading of the paper."""

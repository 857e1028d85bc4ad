"""The tables of the paper. Each is a function of a `Study` and of the names of recipes."""

from collections.abc import Callable, Iterator, Sequence

from idgan.study.scales import SYNTHETIC
from idgan.study.study import Study
from idgan.study.table import Cell

__all__ = ["TABLES", "WEIGHTS", "infogan_weight"]

Rows = dict[str, dict[str, Cell]]
Table = Callable[[Study, Sequence[str]], Iterator[tuple[str, str]]]
"""It yields pairs (name of a file, table in Markdown)."""

WEIGHTS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Values of id_weight (lambda) in Figure A.10, among which `infogan_weight` chooses."""


def table_1(study: Study, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The methods on the synthetic data sets: FVM and MIG of the encoder, Fréchet distance of the generator.

    The paper finds that beta-VAE and FactorVAE disentangle better than the VAE and InfoGAN. The images of the VAEs are
    far worse than those of the GAN. ID-GAN has the images of the GAN and the code of the VAE. A GAN has no encoder, so
    its first two columns stay empty. InfoGAN has a lambda of its own: the best of five, which cost four more runs for
    each data set.
    """
    code, images = ["fvm", "mig"], ["fid"]
    for name in names:
        rows: Rows = {
            label: study.cell(name, label.lower(), code + images) for label in ("VAE", "beta-VAE", "Factor-VAE")
        }
        weight = infogan_weight(study, name)
        if weight is None:  # the other seeds will train one weight. Which one does not change the number of runs
            study.cell(name, "infogan", code + images, **_id_weight(WEIGHTS[0]))
            rows["InfoGAN"] = {metric: {} for metric in code + images}
        else:
            rows[f"InfoGAN, lambda {weight:g}"] = study.cell(name, "infogan", code + images, **_id_weight(weight))
        rows["GAN"] = study.cell(name, "gan", images)
        for encoder in ("beta-VAE", "Factor-VAE"):  # its code is that of the encoder
            rows[f"ID-GAN on {encoder}"] = {metric: rows[encoder][metric] for metric in code}
            rows[f"ID-GAN on {encoder}"] |= study.cell(name, "id-gan", images, encoder=encoder.lower())
        yield f"table-1-{name}.md", study.table(rows, code + images, f"Table 1 {name}: disentanglement and images")


def infogan_weight(study: Study, name: str) -> float | None:
    """The value in `WEIGHTS` with which InfoGAN has the best mean of FVM and MIG, with the first seed.

    The encoder of stage 1 is selected by the same mean. Runs are shared with Figure A.10.

    Returns:
        None if no run is measured and none may be trained.
    """
    first = Study(study.scale, study.out.parent, study.seeds[:1], study.data, study.extractor, study.train)
    scores = {}
    for weight in WEIGHTS:
        cells = first.cell(name, "infogan", ["fvm", "mig"], **_id_weight(weight))
        values = [result.value for cell in cells.values() for result in cell.values()]
        if len(values) == len(cells):
            scores[weight] = sum(values) / len(values)
    study.absent |= first.absent
    study.needed |= first.needed
    return max(scores, key=scores.__getitem__, default=None)


def _id_weight(weight: float) -> dict[str, float]:
    """The option of `Study.run` for an id_weight."""
    return {"gan_stage__objective__id_weight": weight}


def table_2(study: Study, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Joint training against two stages: FVM and MIG of the encoder, Fréchet distance of the generator.

    The paper finds that the distance falls in the order of the rows, and that both joint methods lose disentanglement.
    In every row, the VAE is trained as the beta-VAE. Joint methods train for the steps of stage 2. At scale "short"
    these equal the steps of stage 1.
    """
    columns = ["fvm", "mig", "fid"]
    for name in names:
        rows: Rows = {
            label: study.cell(name, method, columns)
            for label, method in {
                "beta-VAE": "beta-vae",
                "VAE-GAN": "vae-gan",
                "ID-GAN, end to end": "end-to-end",
            }.items()
        }
        code = {metric: rows["beta-VAE"][metric] for metric in ("fvm", "mig")}  # its encoder is that of the beta-VAE
        rows["ID-GAN, two steps"] = code | study.cell(name, "id-gan", ["fid"])
        yield f"table-2-{name}.md", study.table(rows, columns, f"Table 2 {name}: joint against two-step training")


def table_3(study: Study, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The effect of the distillation: R_ID and GILBO (does G keep the code?), and Fréchet distance.

    The paper finds similar distances. The code can hardly be read from the images without distillation, better with a
    conditional discriminator, and best with ID-GAN. All three use one encoder. The encoder for CelebA at 128x128 is
    that of celeba-64.
    """
    methods = {"without distillation": "without-distillation", "cGAN": "cgan", "ID-GAN": "id-gan"}
    columns = ["r_id", "gilbo", "fid"]
    for name in names:
        rows: Rows = {label: study.cell(name, method, columns) for label, method in methods.items()}
        yield f"table-3-{name}.md", study.table(rows, columns, f"Table 3 {name}: the two-stage methods")


def table_4(study: Study, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Natural images: Fréchet distance of the methods on CelebA, 3D Chairs and Cars at 64x64.

    The paper finds the VAEs far behind the GANs, and ID-GAN about equal to the GAN. InfoGAN has the lambda of ID-GAN.
    The FID needs the Inception network of torch-fidelity. --extractor efficientnet-lite0 works without a download.
    """
    rows: Rows = {
        label: {name: study.cell(name, label.lower(), ["fid"])["fid"] for name in names}
        for label in ("VAE", "beta-VAE", "Factor-VAE", "GAN", "InfoGAN", "ID-GAN")
    }
    yield "table-4.md", study.table(rows, names, "Table 4: Fréchet distance")


TABLES: dict[str, tuple[Table, Sequence[str]]] = {
    "1": (table_1, SYNTHETIC),
    "2": (table_2, ["dsprites"]),
    "3": (table_3, ["celeba-128"]),
    "4": (table_4, ["celeba-64", "chairs-64", "cars-64"]),
}
"""Number -> (table, the paper's data sets as names of recipes)."""

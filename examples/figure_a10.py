"""Figure A.10: the Fréchet distance of ID-GAN and InfoGAN against id_weight (lambda).

All runs of ID-GAN use one encoder.

On dSprites, the paper finds the distance of ID-GAN constant over a wide range, unlike that of InfoGAN. Trains missing
runs, and writes figure_a10.png.
"""

from idgan.images import save_png
from idgan.plots import scatter
from idgan.study import metric_title, parse_arguments

study, names = parse_arguments(__doc__, ["dsprites"])
WEIGHTS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
METHODS = {"ID-GAN": "id-gan", "InfoGAN": "infogan"}

rows, groups = {}, {}
for name in names:
    for label, method in METHODS.items():
        cells = {
            f"{weight:g}": study.cell(name, method, ["fid"], gan_stage__objective__id_weight=weight)["fid"]
            for weight in WEIGHTS
        }
        rows[f"{name}, {label}"] = cells
        groups.setdefault(name, []).extend(
            (label, float(weight), result.value) for weight, cell in cells.items() for result in cell.values()
        )
print(study.table(rows, [f"{weight:g}" for weight in WEIGHTS], "Figure A10: Fréchet distance by id_weight"))
distance = metric_title("fid", [cell for cells in rows.values() for cell in cells.values()])
save_png(scatter(groups, "id_weight", distance, log_x=True), study.out / "figure_a10.png")
print(study.out / "figure_a10.png")

"""Figure 3: disentanglement against image quality. Each run of table1.py is a point.

Trains missing runs, and writes figure3-*.png.
"""

from idgan.images import save_png
from idgan.plots import scatter
from idgan.study import SYNTHETIC, metric_title, paired_values, parse_arguments

study, names = parse_arguments(__doc__, SYNTHETIC)
LABELS = {"vae": "VAE", "beta-vae": "beta-VAE", "factor-vae": "FactorVAE", "infogan": "InfoGAN"}

for metric in ("fvm", "mig"):
    groups, distances = {}, []
    for name in names:
        cells = {label: study.cell(name, method, [metric, "fid"]) for method, label in LABELS.items()}
        for encoder in ("beta-vae", "factor-vae"):
            code, images = cells[LABELS[encoder]], study.cell(name, "id-gan", ["fid"], encoder=encoder)
            cells[f"ID-GAN on {LABELS[encoder]}"] = {metric: code[metric], **images}
        groups[name] = [
            point for label, cell in cells.items() for point in paired_values(label, cell[metric], cell["fid"])
        ]
        distances += [cell["fid"] for cell in cells.values()]
    save_png(scatter(groups, metric, metric_title("fid", distances)), study.out / f"figure3-{metric}.png")
    print(study.out / f"figure3-{metric}.png")

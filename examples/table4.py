"""Table 4: natural images. Fréchet distance by method on CelebA, 3D Chairs and Cars at 64x64.

The paper finds the VAEs far behind the GANs, and ID-GAN about equal to the GAN. The data must have been prepared (`idgan prepare --help`); its FID
needs torch-fidelity's Inception, and --extractor efficientnet-lite0 works without a download.
"""

from idgan.study import arguments

study, names = arguments(__doc__, ["celeba-64", "chairs-64", "cars-64"])
rows = {label: {} for label in ("VAE", "beta-VAE", "Factor-VAE", "GAN", "ID-GAN")}
for label, row in rows.items():
    for name in names:
        row[name] = study.cell(name, label.lower(), ["fid"])["fid"]
study.table(rows, names, "Table 4: Fréchet distance")

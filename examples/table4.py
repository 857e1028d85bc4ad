"""Table 4: natural images. Fréchet distance of the methods on CelebA, 3D Chairs and Cars at 64x64.

The paper finds the VAEs far behind the GANs, and ID-GAN about equal to the GAN. Prepare the data first (`idgan prepare
--help`). The FID needs the Inception network of torch-fidelity. --extractor efficientnet-lite0 works without a
download.
"""

from idgan.study import parse_arguments

study, names = parse_arguments(__doc__, ["celeba-64", "chairs-64", "cars-64"])
rows = {label: {} for label in ("VAE", "beta-VAE", "Factor-VAE", "GAN", "ID-GAN")}
for label, row in rows.items():
    for name in names:
        row[name] = study.cell(name, label.lower(), ["fid"])["fid"]
print(study.table(rows, names, "Table 4: Fréchet distance"))

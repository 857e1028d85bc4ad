"""Table 1: the methods on the synthetic data sets.

FactorVAE metric and MIG of the encoder, Fréchet distance of the generator.

The paper finds that beta-VAE and FactorVAE disentangle better than the VAE and InfoGAN. The images of the VAEs are far
worse than those of the GAN. ID-GAN has the images of the GAN and the code of the VAE. A GAN has no encoder, so its
first two columns stay empty.
"""

from idgan.study import SYNTHETIC, parse_arguments

study, names = parse_arguments(__doc__, SYNTHETIC)
CODE, IMAGES = ["fvm", "mig"], ["fid"]

for name in names:
    rows = {
        label: study.cell(name, label.lower(), CODE + IMAGES) for label in ("VAE", "beta-VAE", "Factor-VAE", "InfoGAN")
    }
    rows["GAN"] = study.cell(name, "gan", IMAGES)
    for encoder in ("beta-VAE", "Factor-VAE"):  # its code is that of the encoder
        rows[f"ID-GAN on {encoder}"] = {metric: rows[encoder][metric] for metric in CODE}
        rows[f"ID-GAN on {encoder}"] |= study.cell(name, "id-gan", IMAGES, encoder=encoder.lower())
    print(study.table(rows, CODE + IMAGES, f"Table 1 {name}: disentanglement and images"))

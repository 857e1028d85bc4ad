"""Table 1: the synthetic sets. FactorVAE metric and MIG of the encoder, Fréchet distance of the generator, by method.

The paper finds that beta-VAE and FactorVAE disentangle better than the VAE and InfoGAN, that the VAEs' images are far worse than the GAN's,
and that ID-GAN has the images of the one with the code of the other. A GAN has no encoder: its first two columns stay empty.
"""

from idgan.study import SYNTHETIC, arguments

study, names = arguments(__doc__, SYNTHETIC)
CODE, IMAGES = ["fvm", "mig"], ["fid"]

for name in names:
    rows = {
        label: study.cell(name, label.lower(), CODE + IMAGES) for label in ("VAE", "beta-VAE", "Factor-VAE", "InfoGAN")
    }
    rows["GAN"] = study.cell(name, "gan", IMAGES)
    for encoder in ("beta-VAE", "Factor-VAE"):  # the code is the encoder's
        rows[f"ID-GAN on {encoder}"] = {metric: rows[encoder][metric] for metric in CODE}
        rows[f"ID-GAN on {encoder}"] |= study.cell(name, "id-gan", IMAGES, encoder=encoder.lower())
    study.table(rows, CODE + IMAGES, f"Table 1 {name}: disentanglement and images")

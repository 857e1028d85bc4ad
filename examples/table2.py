"""Table 2: joint training against two stages.

FactorVAE metric and MIG of the encoder, Fréchet distance of the generator.

The paper finds that the distance falls in the order of the rows, and that both joint methods lose disentanglement. In
every row, the VAE is trained as the beta-VAE. Joint methods train for the steps of stage 2. At scale "short" these
equal the steps of stage 1.
"""

from idgan.study import parse_arguments

study, names = parse_arguments(__doc__, ["dsprites"])
METHODS = {
    "beta-VAE": "beta-vae",
    "VAE-GAN": "vae-gan",
    "ID-GAN, end to end": "end-to-end",
    "ID-GAN, two steps": "id-gan",
}

for name in names:
    rows = {}
    for label, method in METHODS.items():
        if method == "id-gan":  # its encoder is that of the beta-VAE
            rows[label] = {metric: rows["beta-VAE"][metric] for metric in ("fvm", "mig")} | study.cell(
                name, method, ["fid"]
            )
        else:
            rows[label] = study.cell(name, method, ["fvm", "mig", "fid"])
    print(study.table(rows, ["fvm", "mig", "fid"], f"Table 2 {name}: joint against two-step training"))

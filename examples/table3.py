"""Table 3: what the distillation does. R_ID and GILBO (does G keep the code?) and Fréchet distance of the two-step methods.

The paper finds like distances, and a code that is read back from the images hardly without distillation, better with a conditional
discriminator, best with ID-GAN. All three stand on one encoder. The paper's table is of CelebA at 128x128: --names celeba-128 --data ...
"""

from idgan.study import arguments

study, names = arguments(__doc__, ["dsprites"])
METHODS = {"without distillation": "without-distillation", "cGAN": "cgan", "ID-GAN": "id-gan"}

for name in names:
    rows = {label: study.cell(name, method, ["r_id", "gilbo", "fid"]) for label, method in METHODS.items()}
    study.table(rows, ["r_id", "gilbo", "fid"], f"Table 3 {name}: the two-step methods")

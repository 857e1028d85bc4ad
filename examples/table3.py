"""Table 3: the effect of the distillation.

R_ID and GILBO (does G keep the code?), and Fréchet distance of the two-stage methods.

The paper finds similar distances. The code can hardly be read from the images without distillation, better with a
conditional discriminator, and best with ID-GAN. All three use one encoder. The paper's table is for CelebA at 128x128:
--names celeba-128 --data ...
"""

from idgan.study import parse_arguments

study, names = parse_arguments(__doc__, ["dsprites"])
METHODS = {"without distillation": "without-distillation", "cGAN": "cgan", "ID-GAN": "id-gan"}

for name in names:
    rows = {label: study.cell(name, method, ["r_id", "gilbo", "fid"]) for label, method in METHODS.items()}
    print(study.table(rows, ["r_id", "gilbo", "fid"], f"Table 3 {name}: the two-stage methods"))

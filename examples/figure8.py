"""Figure 8: every code with every nuisance. Images of a row share c, and images of a column share s.

Takes the ID-GAN of table4.py, trains it if it is missing, and writes figure8-*.png. For any other model: idgan sample
MODEL --grid
"""

import idgan
from idgan.figures import code_grid_sheet
from idgan.images import save_png
from idgan.study import parse_arguments

study, names = parse_arguments(__doc__, ["celeba-64"])
SIZE = 8

for name in names:
    for seed in study.seeds:
        run, path = study.run(name, "id-gan", seed), study.out / f"figure8-{name}-seed-{seed}.png"
        if run is None:
            print(f"{name}, seed {seed}: missing")
            continue
        g = idgan.load(str(run))
        save_png(code_grid_sheet(g, *g.codes(SIZE, seed=0)), path)
        print(path)

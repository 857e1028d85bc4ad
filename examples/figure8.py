"""Figure 8: what c fixes and what s leaves open. Every code with every nuisance: a row shares c, a column shares s.

Of the ID-GAN of table4.py; trains it if it is missing, then writes figure8-*.png. Of a model that is there: idgan sample MODEL --grid
"""

import idgan
from idgan.figures import code_grid_sheet
from idgan.images import save_png
from idgan.study import arguments

study, names = arguments(__doc__, ["celeba-64"])
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

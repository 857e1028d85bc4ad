"""`python -m idgan`, which is `idgan`; torchrun needs it."""

from idgan.cli import main

main()

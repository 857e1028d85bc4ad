"""`python -m idgan` runs the command line, like `idgan`. torchrun needs this form."""

from idgan.cli import main

main()

"""The command line. Each command is a few lines over the library; the library does the work."""

import errno
import importlib

import click

from idgan import __version__
from idgan.errors import IdganError

__all__ = ["main"]

COMMANDS = {
    "list": "idgan.cli.zoo:list_",
    "info": "idgan.cli.zoo:info",
    "verify": "idgan.cli.zoo:verify",
    "sample": "idgan.cli.draw:sample",
    "traverse": "idgan.cli.draw:traverse",
    "encode": "idgan.cli.draw:encode",
    "reconstruct": "idgan.cli.draw:reconstruct",
    "edit": "idgan.cli.draw:edit",
    "prepare": "idgan.cli.prepare:prepare",
    "train": "idgan.cli.fit:train",
    "evaluate": "idgan.cli.measure:evaluate",
    "plot": "idgan.cli.plot:plot",
    "convert": "idgan.cli.exchange:convert",
    "export": "idgan.cli.exchange:export",
    "publish": "idgan.cli.publish:publish",
    "cache": "idgan.cli.publish:cache",
}


class Commands(click.Group):
    """Commands are imported when they run, and an error of this package or of the disk ends in one line, not in a traceback."""

    def list_commands(self, context):
        return list(COMMANDS)

    def get_command(self, context, name):
        if name not in COMMANDS:
            return None
        module, function = COMMANDS[name].split(":")
        return getattr(importlib.import_module(module), function)

    def invoke(self, context):
        try:
            return super().invoke(context)
        except (IdganError, OSError) as error:
            if getattr(error, "errno", None) == errno.EPIPE:  # `idgan list | head`: click leaves quietly
                raise
            raise click.ClickException(" ".join(str(error).split())) from error
        except KeyboardInterrupt as error:
            raise click.ClickException(str(error) or "interrupted") from error


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="idgan")
def main():
    """Images with disentangled codes: sample, edit, train and measure ID-GAN models.

    \b
    idgan sample dsprites                  a picture of samples, from weights inside the package
    idgan traverse dsprites                what each code dimension does
    idgan train dsprites --out runs/mine   the whole training; run it again to continue

    A MODEL is a name from `idgan list`, a hub repository (org/repo or org/repo@revision), a run directory, or a .safetensors file.
    """

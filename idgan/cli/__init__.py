"""The command line. Each command is a few lines over the library."""

import errno
import importlib
import os
from typing import Any

import click

from idgan import __version__
from idgan.cli.options import ARGUMENTS, SuggestingGroup
from idgan.errors import IdganError
from idgan.memory import kept_memory
from idgan.registry import import_object, load_plugins

__all__ = ["main"]

COMMANDS = {
    "list": "idgan.cli.zoo:list_",
    "info": "idgan.cli.zoo:info",
    "verify": "idgan.cli.zoo:verify",
    "dims": "idgan.cli.dims:dims",
    "sample": "idgan.cli.draw:sample",
    "traverse": "idgan.cli.draw:traverse",
    "interpolate": "idgan.cli.draw:interpolate",
    "demo": "idgan.cli.demo:demo",
    "encode": "idgan.cli.encode:encode",
    "reconstruct": "idgan.cli.encode:reconstruct",
    "edit": "idgan.cli.encode:edit",
    "prepare": "idgan.cli.prepare:prepare",
    "train": "idgan.cli.fit:train",
    "evaluate": "idgan.cli.measure:evaluate",
    "plot": "idgan.cli.plot:plot",
    "table": "idgan.cli.study:table",
    "figure": "idgan.cli.study:figure",
    "convert": "idgan.cli.exchange:convert",
    "export": "idgan.cli.exchange:export",
    "publish": "idgan.cli.publish:publish",
    "cache": "idgan.cli.publish:cache",
}
"""Command -> module and function. A module is imported when its command runs, so that help does not load torch."""


class Commands(SuggestingGroup):
    """The commands of `COMMANDS`. Errors of the package and of the disk end in one line without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name].split(":")
        return getattr(importlib.import_module(module), function)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (IdganError, OSError) as error:
            if getattr(error, "errno", None) == errno.EPIPE:  # `idgan list | head`: click ends quietly
                raise
            raise click.ClickException(" ".join(str(error).split())) from error
        except KeyboardInterrupt as error:
            if os.environ.get("RANK", "0") != "0":  # one process of several speaks
                raise SystemExit(1) from error
            raise click.ClickException(str(error) or "interrupted") from error


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="idgan")
@click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="First import a module of yours that registers data sets, networks, methods, ... Can be repeated.",
)
def main(modules: tuple[str, ...]) -> None:
    """Images with disentangled codes: sample, edit, train and measure ID-GAN models.

    \b
    idgan sample dsprites                  samples, from weights in the package
    idgan traverse dsprites                what each code dimension changes
    idgan train dsprites --out runs/mine   train; the same command resumes
    idgan --import my_package.faces train my-faces

    A MODEL is a name from `idgan list`, a hub repository (org/repo or org/repo@revision), a run directory, a saved
    model or a .safetensors file.
    """
    click.get_current_context().with_resource(kept_memory())
    load_plugins()
    for module in modules:
        import_object(module)

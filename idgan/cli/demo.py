"""`idgan demo`: a web page to play with a model."""

import time

import click

from idgan.cli.options import device_option, load_model, model_argument, threads_option, title_of


@click.command()
@model_argument
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on. 0.0.0.0 is all networks.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: the first free one from 7860]"
)
@threads_option
@device_option
def demo(model: str, host: str, port: int | None, device: str) -> None:
    """Serve a web page to play with MODEL.

    The page has a slider for each active dimension. It shows the decoder beside the generator, edits your photos, and
    makes animations. It loads nothing from the internet. Ctrl-C ends it.

    It needs the extra `demo`, which installs gradio. That may replace Pillow by an older version.

    \b
    idgan demo dsprites
    idgan demo celeba-64-w16 --port 8000
    """
    from idgan.demo import demo_page, serve

    page = demo_page(load_model(model, device), title_of(model))
    click.echo(f"{serve(page, host, port)}  (Ctrl+C ends it)")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        click.echo("closed")
    finally:
        page.close(verbose=False)

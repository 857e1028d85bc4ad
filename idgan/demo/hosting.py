"""Serves a page, and writes the files of a Space of the Hugging Face Hub that serves it."""

import json
from pathlib import Path
from typing import Any

from idgan import __version__
from idgan.demo.page import STYLE, import_gradio
from idgan.errors import IdganError, InvalidInputError
from idgan.files import user_path, write_atomically

__all__ = ["SOURCE_ADVICE", "serve", "write_space"]


# ------------------------------------------------------------------ serving


def serve(page: Any, host: str | None = None, port: int | None = None) -> str:
    """Serve a page of `demo_page` until `page.close()`, and return its address.

    Args:
        page: the page.
        host: address to listen on. None is this computer only, or what a Space sets.
        port: None takes the first free one from 7860 on.

    Raises:
        IdganError: the port is taken, or the host is no address of this computer.
    """
    gr = import_gradio()
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            footer_links=[],
            ssr_mode=False,
            theme=gr.themes.Default(primary_hue="indigo", neutral_hue="slate", **fonts),
            css=STYLE,
        )
    except OSError as error:
        where = f"port {port}" if port else "a port from 7860 to 7959"
        raise IdganError(
            f"cannot listen on {where} of {host or '127.0.0.1'}: the port is taken, or the host is no address of this "
            "computer. Give another --port, or none for the next free one"
        ) from error
    return str(address)


# ------------------------------------------------------------------ a Space


APP = """\
import idgan
from idgan.demo import demo_page, serve

page = demo_page(idgan.load({model!r}), {title!r})
serve(page)
page.block_thread()
"""

SOURCE = "git+https://ADDRESS_OF_THE_REPOSITORY"
SOURCE_ADVICE = f"In requirements.txt, replace {SOURCE} by the address that you install idgan from."
"""What the user must do before the upload. The package does not know where it was installed from."""
REQUIREMENTS = f"""\
# {SOURCE_ADVICE}
# This Space was written by idgan {__version__}. An address may end in @TAG or @COMMIT to pin a version.
idgan[demo,faces] @ {SOURCE}
"""


def write_space(directory: str | Path, model: str) -> list[Path]:
    """Write the files of a Space of the Hugging Face Hub with the page of `model`: app.py, requirements.txt, README.md.

    First put the address of idgan into requirements.txt, see `SOURCE_ADVICE`. Then upload the directory with
    `hf upload ORG/NAME DIRECTORY --repo-type space`.

    Args:
        directory: a directory, which need not exist.
        model: what `idgan.load` loads there: a name of the zoo or a hub repository.

    Returns:
        The paths of the files.

    Raises:
        InvalidInputError: one of the files exists with another content.
        MissingDependencyError: gradio is not installed. Its version is written to README.md.
    """
    gradio_version = import_gradio().__version__
    title = model.partition("@")[0].rpartition("/")[2]
    front = {
        "title": f"{title}: ID-GAN",
        "colorFrom": "blue",
        "colorTo": "indigo",
        "sdk": "gradio",
        "sdk_version": gradio_version,
        "app_file": "app.py",
    } | ({"models": [model.partition("@")[0]]} if "/" in model else {})
    lines = "".join(f"{key}: {json.dumps(value)}\n" for key, value in front.items())
    contents = {
        "app.py": APP.format(model=model, title=title),
        "requirements.txt": REQUIREMENTS,
        "README.md": f"---\n{lines}---\n\nA page to play with the model `{model}` of idgan.\n\n"
        f"<!-- Before the upload: {SOURCE_ADVICE} -->\n",
    }
    place = user_path(directory)
    for name, content in contents.items():
        if (place / name).exists() and (place / name).read_text(errors="replace") != content:
            raise InvalidInputError(f"{place / name} exists with another content; choose another directory")
    return [write_atomically(place / name, content) for name, content in contents.items()]

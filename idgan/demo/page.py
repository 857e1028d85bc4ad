"""The page of a model: what it shows, and what its controls do. It is made with gradio."""

import math
import os
import random
import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from idgan.errors import IdganError, InvalidInputError, MissingDependencyError, missing_extra
from idgan.figures import enlarged, traversal_frames
from idgan.images import as_batch, as_rgb, save_gif, to_pil
from idgan.sampler import Sampler

__all__ = ["STYLE", "about", "demo_page", "import_gradio", "slider_ranges"]

SIDE = 512
"""Width and height of the pictures on the page, in pixels."""
MAX_SEED = 2**31 - 1
"""Largest seed in a field."""
INVERT_STEPS = 150
"""Steps of an inversion, unless the user gives others."""
T = TypeVar("T")

STYLE = """
.gradio-container { max-width: 1320px !important; margin: 0 auto !important; }
.sliders .form { display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); }
.picture img { width: 100%; height: 100%; object-fit: contain; }
.pixels img { image-rendering: pixelated; }
.sliders input[type=range] { min-width: 0; }
.caption { text-align: center; }
footer { display: none !important; }
"""


def slider_ranges(sampler: Sampler) -> dict[int, tuple[float, float]]:
    """The range of a slider for each active dimension: `Sampler.code_range`, rounded outwards to tenths.

    Returns:
        dimension -> (low, high), in the order of `Sampler.active_dims`.
    """
    low, high = (ends.tolist() for ends in sampler.code_range())
    return {dim: (math.floor(10 * low[dim]) / 10, math.ceil(10 * high[dim]) / 10) for dim in sampler.active_dims}


def about(sampler: Sampler) -> str:
    """What a page says about its model and its sliders."""
    text = f"ID-GAN, {sampler.resolution} x {sampler.resolution} pixels. "
    text += "Each slider is one active dimension of the code c, the most informative first. "
    if sampler.s_dim > 0 or len(sampler.active_dims) < sampler.c_dim:
        text += "The nuisance is all that the code does not carry. "
    if "decoder" not in sampler.untrained:
        text += "The VAE decoder draws the same code, without a nuisance."
    return text


def import_gradio() -> Any:
    """The module gradio, which reports nothing to its makers unless the user's environment asks for that.

    Raises:
        MissingDependencyError: it is not installed.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ImportError as error:
        raise MissingDependencyError(missing_extra("the page needs gradio", "demo")) from error
    return gradio


# ------------------------------------------------------------------ the page


def demo_page(sampler: Sampler, name: str) -> Any:
    """The page of a model, a `gradio.Blocks`. It loads nothing from the web and reports nothing.

    Args:
        sampler: the model.
        name: what the page calls it.

    Raises:
        MissingDependencyError: gradio is not installed.
    """
    return _Page(import_gradio(), sampler, name).build()


class _Work(NamedTuple):
    """The work on one photo.

    Attributes:
        x: what the model sees, (1, C, H, H) in [0, 1].
        c, s: its code (1, c_dim) and nuisance (1, s_dim), before edits.
        sampler: the model, or a copy that was tuned to `x`.
    """

    x: Tensor
    c: Tensor
    s: Tensor
    sampler: Sampler


def _given(value: T | None) -> T:
    """What a control of the photo gives.

    Raises:
        InvalidInputError: it is None.
    """
    if value is None:
        raise InvalidInputError("there is no photo yet; upload one first")
    return value


class _Page:
    """Builds the page. The methods `draw...` and `read...` are what its controls call."""

    def __init__(self, gradio: Any, sampler: Sampler, name: str) -> None:
        self.gradio = gradio
        self.sampler = sampler
        self.name = name
        self.dims = list(sampler.active_dims)
        self.ranges = slider_ranges(sampler)
        self.has_decoder = "decoder" not in sampler.untrained
        self.has_encoder = "encoder" not in sampler.untrained
        self.has_nuisance = sampler.s_dim > 0 or len(self.dims) < sampler.c_dim
        self.files = tempfile.TemporaryDirectory(prefix="idgan-demo-")  # lives as long as the page

    def build(self) -> Any:
        gr, sampler = self.gradio, self.sampler
        with gr.Blocks(title=f"idgan: {self.name}", analytics_enabled=False, fill_width=True) as page:
            gr.Markdown(f"# {self.name}\n{about(sampler)}")
            with gr.Tab("Samples"):
                self._build_samples(page)
            if self.has_encoder:
                with gr.Tab("Your photo"):
                    self._build_photo()
            with gr.Tab("Animation"):
                self._build_animation()
        page.idgan_files = self.files
        return page

    # -------------------------------------------------------------- samples

    def _build_samples(self, page: Any) -> None:
        gr = self.gradio
        with gr.Row():
            with gr.Column(scale=5):
                with gr.Row():
                    self.generated = self._image("generator", "generated")
                    pictures = [self.generated]
                    if self.has_decoder:
                        pictures.append(self._image("VAE decoder", "decoded"))
            with gr.Column(scale=3, min_width=320):
                with gr.Row():
                    self.seed = self._seed("seed of the code", "seed")
                    self.nuisance = self._seed("seed of the nuisance", "nuisance", visible=self.has_nuisance)
                with gr.Row():
                    shuffle = gr.Button("Random", variant="primary", elem_id="random", size="md", min_width=80)
                    other = gr.Button(
                        "Other nuisance", visible=self.has_nuisance, elem_id="other", size="md", min_width=150
                    )
                    reset = gr.Button("Reset", elem_id="reset", size="md", min_width=80)
                self.sliders = self._build_sliders("sample")
        seeds = [self.seed, self.nuisance]
        drawn = [*self.sliders, *pictures]
        quiet = {"show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
        page.load(self._shown(self.draw_seed), seeds, drawn, **quiet)
        shuffle.click(self._shown(self.draw_random), None, [*seeds, *drawn], **quiet)
        other.click(self._shown(self.draw_other), [self.seed, *self.sliders], [self.nuisance, *pictures], **quiet)
        reset.click(self._shown(self.draw_seed), seeds, drawn, **quiet)
        self.seed.input(self._shown(self.draw_seed), seeds, drawn, **quiet)
        moved = [self.nuisance.input, *(slider.input for slider in self.sliders)]
        gr.on(moved, self._shown(self.draw), [*seeds, *self.sliders], pictures, **quiet)

    def draw(self, seed: int, nuisance: int, *values: float) -> list[Any]:
        """Pictures of the code whose active dimensions are `values`."""
        c, s = self._codes(seed, nuisance, *values)
        pictures = [self._picture(self.sampler.sample(c, s))]
        if self.has_decoder:
            pictures.append(self._picture(self.sampler.decode(c)))
        return pictures

    def draw_seed(self, seed: int, nuisance: int) -> list[Any]:
        """Sliders and pictures of the code that `seed` draws."""
        c, _ = self.sampler.codes(1, _as_seed(seed))
        updates, values = self._slider_updates(c)
        return [*updates, *self.draw(seed, nuisance, *values)]

    def draw_random(self) -> list[Any]:
        """Seeds, sliders and pictures of a random code."""
        seed = random.randrange(10_000)
        return [seed, seed, *self.draw_seed(seed, seed)]

    def draw_other(self, seed: int, *values: float) -> list[Any]:
        """The seed of another nuisance, and pictures of the same code with it."""
        nuisance = random.randrange(10_000)
        return [nuisance, *self.draw(seed, nuisance, *values)]

    def _codes(self, seed: int, nuisance: int, *values: float) -> tuple[Tensor, Tensor]:
        """The pair (c, s). `nuisance` draws s and the inactive dimensions of c, as in `code_grid_sheet`."""
        c, s = self.sampler.codes(1, _as_seed(nuisance))
        return self.sampler.changed(c, dict(zip(self.dims, values)), absolute=True), s

    # -------------------------------------------------------------- photo

    def _build_photo(self) -> None:
        gr, faces = self.gradio, self.sampler.eyes is not None
        work = gr.State()
        progress = gr.Progress(track_tqdm=True)  # gradio fills in an argument with this default
        with gr.Row():
            with gr.Column(scale=2, min_width=240):
                photo = gr.Image(
                    label="a photo or picture",
                    type="filepath",
                    sources=["upload", "clipboard", "webcam"],
                    height=260,
                    elem_id="photo",
                )
                with gr.Row(visible=faces):
                    face = gr.Number(
                        1, label="face, from the left", precision=0, minimum=1, elem_id="face", min_width=80
                    )
                    align = gr.Button("Find the face", variant="primary", elem_id="align", min_width=80)
                gr.Markdown("Or cut the square by hand, with the eyes on the crosses." if faces else "Cut the square:")
                zoom = gr.Slider(1, 8, 1, step=0.05, label="zoom", elem_id="zoom", buttons=[])
                across = gr.Slider(0, 1, 0.5, step=0.01, label="left to right", elem_id="across", buttons=[])
                down = gr.Slider(0, 1, 0.5, step=0.01, label="top to bottom", elem_id="down", buttons=[])
            with gr.Column(scale=4):
                with gr.Row():
                    seen = self._image("what the model sees", "seen")
                    edited = self._image("generator, edited", "edited")
                gr.Markdown(
                    "The encoder reads the code of the picture. The inversion then finds the nuisance, so that the "
                    "generator comes closer to the picture. Tuning fits a copy of the generator to the picture. After "
                    "that, edit it with the sliders."
                )
                steps = gr.Slider(
                    10, 1000, INVERT_STEPS, step=10, label="steps of inversion and tuning", elem_id="steps", buttons=[]
                )
                tune = gr.Checkbox(faces, label="tune the generator", elem_id="tune")
                with gr.Row():
                    invert = gr.Button("Invert", variant="primary", elem_id="invert")
                    undo = gr.Button("Undo the edits", elem_id="undo")
            with gr.Column(scale=3, min_width=350):
                sliders = self._build_sliders("photo")
        place = [zoom, across, down]
        read, drawn = [work, *sliders, seen, edited], [work, *sliders, edited]
        quiet = {"show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
        photo.change(self._shown(self.read_new_photo), photo, [*place, *read], **quiet)
        gr.on([part.input for part in place], self._shown(self.read_photo), [photo, *place], read, **quiet)
        align.click(self._shown(self.align_photo), [photo, face], read, show_progress_on=seen, api_visibility="private")

        def find(work: _Work | None, steps: float, tune: bool, _: Any = progress) -> list[Any]:
            return self.invert_photo(work, steps, tune)

        invert.click(self._shown(find), [work, steps, tune], drawn, show_progress_on=edited, api_visibility="private")
        undo.click(self._shown(self.draw_work), work, drawn, **quiet)
        edits = [slider.input for slider in sliders]
        gr.on(edits, self._shown(self.draw_edit), [work, *sliders], edited, **quiet)

    def read_new_photo(self, photo: str | None) -> list[Any]:
        """The controls of the center square, and what `read_photo` returns for it."""
        center = (1, 0.5, 0.5)
        if photo is None:
            return [*center, None, *self._slider_updates(torch.zeros(1, self.sampler.c_dim))[0], None, None]
        return [*center, *self.read_photo(photo, *center)]

    def read_photo(self, photo: str | None, zoom: float, across: float, down: float) -> list[Any]:
        """The work on a square of the photo, the sliders, what the model sees, and what the generator draws."""
        image = as_rgb(Path(_given(photo)).read_bytes())
        side = min(image.size) / zoom
        left, top = round(across * (image.width - side)), round(down * (image.height - side))
        square = image.crop((left, top, left + round(side), top + round(side)))
        x = as_batch(square, channels=self.sampler.image_channels, resolution=self.sampler.resolution)
        return self._read(x)

    def align_photo(self, photo: str | None, face: float | None) -> list[Any]:
        """As `read_photo`, for the face with the number `face`. An empty field is the first face."""
        return self._read(self.sampler.aligned(_given(photo), int(face or 1)))

    def _read(self, x: Tensor) -> list[Any]:
        work = _Work(x.cpu(), *self.sampler.read(x), self.sampler)
        work, *sliders, edited = self.draw_work(work)
        return [work, *sliders, self._guides(self._picture(x)), edited]

    def invert_photo(self, work: "_Work | None", steps: float, tune: bool) -> list[Any]:
        """The work with the codes that inversion finds, the sliders, and what the generator draws."""
        x = _given(work).x
        c, s = self.sampler.invert(x, steps=int(steps))
        own = self.sampler.tuned(x, c, s, steps=int(steps)) if tune else self.sampler
        return self.draw_work(_Work(x, c, s, own))

    def draw_work(self, work: "_Work | None") -> list[Any]:
        """The work, its sliders, and the generator's picture of its codes."""
        work = _given(work)
        return [work, *self._slider_updates(work.c)[0], self.draw_edit(work)]

    def draw_edit(self, work: "_Work | None", *values: float) -> Any:
        """The generator's picture of the codes with the active dimensions `values`."""
        _, c, s, sampler = _given(work)
        return self._picture(sampler.sample(sampler.changed(c, dict(zip(self.dims, values)), absolute=True), s))

    def _guides(self, picture: Image.Image) -> Image.Image:
        """A picture with crosses where the model expects eyes."""
        picture = picture.convert("RGB")
        draw, side, arm = ImageDraw.Draw(picture), picture.width, picture.width * 0.03
        for x, y in ((x * side, y * side) for x, y in self.sampler.eyes or ()):
            for color, width in (("black", 5), ("white", 2)):
                draw.line([x - arm, y, x + arm, y], fill=color, width=width)
                draw.line([x, y - arm, x, y + arm], fill=color, width=width)
        return picture

    # -------------------------------------------------------------- animation

    def _build_animation(self) -> None:
        gr = self.gradio
        labels = [(self.sampler.dim_label(dim), dim) for dim in self.dims]
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                gr.Markdown("Each tile sweeps one dimension of the code of the tab *Samples*, there and back.")
                dims = gr.CheckboxGroup(labels, value=self.dims[:6], label="dimensions", elem_id="dims")
                span = gr.Slider(0.5, 4, 2.5, step=0.25, label="from minus to plus", elem_id="span", buttons=[])
                frames = gr.Slider(3, 40, 15, step=1, label="images", elem_id="frames", buttons=[])
                make = gr.Button("Make the GIF", variant="primary", elem_id="make")
            with gr.Column(scale=4):
                gif = gr.Image(
                    show_label=False, type="filepath", format="gif", elem_id="gif", interactive=False,
                    buttons=["download", "fullscreen"],
                )  # fmt: skip
        inputs = [dims, span, frames, self.seed, self.nuisance, *self.sliders]
        make.click(self._shown(self.draw_animation), inputs, gif, api_visibility="private")

    def draw_animation(self, dims: list[int], span: float, frames: float, *code: Any) -> str:
        """The path of a GIF that sweeps `dims`, from the code of the first tab."""
        if not dims:
            raise InvalidInputError("no dimension is chosen; choose at least one")
        c, s = self._codes(*code)
        chosen = [dim for dim in self.dims if dim in dims]
        animation = traversal_frames(self.sampler, c, s, dims=chosen, span=(-span, span), steps=int(frames))
        place = Path(tempfile.mkdtemp(dir=self.files.name))  # another for each visitor
        return str(save_gif(animation, place / f"{self.name}-traversals.gif", fps=12))

    # -------------------------------------------------------------- parts

    def _image(self, caption: str, elem_id: str) -> Any:
        """A column with a picture below its caption. A label on the picture would cover a part of it."""
        with self.gradio.Column(min_width=200):
            self.gradio.Markdown(caption, elem_classes="caption")
            return self.gradio.Image(
                show_label=False,
                format="png",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id=elem_id,
                elem_classes=["picture", "pixels"] if self.sampler.image_channels == 1 else ["picture"],
            )

    def _seed(self, label: str, elem_id: str, visible: bool = True) -> Any:
        return self.gradio.Number(
            0, label=label, precision=0, minimum=0, maximum=MAX_SEED, elem_id=elem_id, visible=visible, min_width=100
        )

    def _build_sliders(self, place: str) -> list[Any]:
        with self.gradio.Group(elem_classes="sliders"):
            return [
                self.gradio.Slider(
                    *self.ranges[dim],
                    value=0.0,
                    step=0.01,
                    label=self.sampler.dim_label(dim),
                    elem_id=f"{place}-c{dim}",
                    interactive=True,
                    buttons=[],
                    min_width=160,
                )
                for dim in self.dims
            ]

    def _slider_updates(self, c: Tensor) -> tuple[list[Any], list[float]]:
        """Sliders at the code c (1, c_dim), wide enough for it, and their values."""
        values = [round(c[0, dim].item(), 2) for dim in self.dims]
        updates = []
        for dim, value in zip(self.dims, values):
            low, high = self.ranges[dim]
            updates.append(self.gradio.update(value=value, minimum=min(low, value), maximum=max(high, value)))
        return updates, values

    def _picture(self, x: Tensor) -> Image.Image:
        """One image (1, C, H, H) at the size of the page."""
        return to_pil(enlarged(x.cpu(), SIDE))[0]

    def _shown(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose errors are shown on the page."""
        gr = self.gradio

        @wraps(function)
        def shown(*arguments: Any, **options: Any) -> Any:
            try:
                return function(*arguments, **options)
            except (IdganError, OSError) as error:
                raise gr.Error(str(error), print_exception=False) from error

        return shown


def _as_seed(value: object) -> int:
    """The seed in a number field. An empty field counts as 0."""
    return int(value) if isinstance(value, (int, float)) else 0

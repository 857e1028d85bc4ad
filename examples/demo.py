"""A web page with a slider for each active code dimension. Needs gradio: pip install '.[demo]' in a checkout."""

import argparse

import gradio
import torch
from PIL import Image

import idgan
from idgan.images import contact_sheet, to_pil


def page(model: str) -> gradio.Interface:
    """The page of a model: one slider per active dimension, and a seed for what the code does not carry."""
    sampler = idgan.load(model)
    has_decoder = "decoder" not in sampler.untrained

    def draw(seed: float, *values: float) -> Image.Image | list[Image.Image]:
        c = torch.zeros(sampler.c_dim)  # the seed draws inactive dimensions that are 0
        c[sampler.active_dims] = torch.tensor(values, dtype=torch.float32)
        images = [sampler.sample(c, seed=int(seed))]
        if has_decoder:
            images.append(sampler.decode(c))
        pictures = [to_pil(contact_sheet(x.cpu(), padding=0, scale=max(1, 256 // x.shape[-1])))[0] for x in images]
        return pictures if has_decoder else pictures[0]

    sliders = [gradio.Slider(-3, 3, value=0, step=0.05, label=f"dimension {dim}") for dim in sampler.active_dims]
    captions = ["generator", "VAE decoder"] if has_decoder else ["generator"]
    return gradio.Interface(
        draw,
        [gradio.Number(0, precision=0, minimum=0, label="seed"), *sliders],
        [gradio.Image(label=caption) for caption in captions],
        live=True,
        title=f"idgan: {model}",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model",
        default="dsprites",
        help="a name from `idgan list`, a hub repository, a run directory or a .safetensors file",
    )
    parser.add_argument("--port", type=int, default=7860)
    arguments = parser.parse_args()
    page(arguments.model).launch(server_name="127.0.0.1", server_port=arguments.port)

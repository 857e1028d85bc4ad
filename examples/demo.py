"""Sliders for the code: a page where each live dimension is moved by hand. Needs `pip install 'idgan[demo]'`."""

import argparse

import gradio
import torch

import idgan
from idgan.images import contact_sheet, to_pil


def page(model):
    """The page for `model` (a MODEL, as everywhere): a slider a live dimension, a seed for what the code does not carry."""
    sampler = idgan.load(model)
    decodes = "decoder" not in sampler.untrained

    def draw(seed, *values):
        c = torch.zeros(sampler.c_dim)  # 0 in the other dimensions leaves them to the seed
        c[sampler.active_dims] = torch.tensor(values, dtype=torch.float32)
        images = [sampler.sample(c, seed=int(seed)), *([sampler.decode(c)] if decodes else [])]
        pictures = [to_pil(contact_sheet(x.cpu(), padding=0, scale=max(1, 256 // x.shape[-1])))[0] for x in images]
        return pictures if decodes else pictures[0]

    sliders = [gradio.Slider(-3, 3, value=0, step=0.05, label=f"dimension {dim}") for dim in sampler.active_dims]
    return gradio.Interface(
        draw,
        [gradio.Number(0, precision=0, minimum=0, label="seed"), *sliders],
        [gradio.Image(label="generator"), *([gradio.Image(label="VAE decoder")] if decodes else [])],
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

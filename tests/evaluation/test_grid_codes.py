"""Codes of many images are those of each."""

import torch

from idgan.evaluation.grid_codes import GridCodes, mean_codes


def test_grid_codes_are_the_encoders_means(perfect, bands):
    codes = GridCodes(perfect.vae, bands, "cpu", progress=False)
    indices = torch.tensor([59, 0, 7, 7])
    assert torch.allclose(codes(indices), perfect.vae.encode(bands.images(indices)).mean)
    assert torch.equal(codes.table, mean_codes(perfect.vae, bands, torch.arange(60), "cpu"))


def test_mean_codes_of_a_random_data_set_are_a_function_of_the_indices(perfect, bands):
    class Noisy(type(bands)):
        stochastic = True

        def images(self, indices, generator=None):
            return (super().images(indices) + 0.1 * torch.rand(len(indices), 1, 64, 64, generator=generator)).clamp(
                0, 1
            )

    a, b = (mean_codes(perfect.vae, Noisy(), torch.arange(60), "cpu") for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, mean_codes(perfect.vae, bands, torch.arange(60), "cpu"))

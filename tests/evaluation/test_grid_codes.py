"""Codes of many images are those of each."""

import pytest
import torch

from idgan.data import ColorDSprites, Dataset, FactorGrid
from idgan.errors import InvalidInputError
from idgan.evaluation import grid_codes
from idgan.evaluation.grid_codes import GridCodes, codes_file, mean_codes
from idgan.networks import VAEConfig


def test_grid_codes_are_the_encoders_means(perfect, bands):
    codes = GridCodes(perfect.vae, bands, "cpu", progress=False)
    indices = torch.tensor([59, 0, 7, 7])
    assert torch.allclose(codes(indices), perfect.vae.encode(bands.images(indices)).mean)
    assert torch.equal(codes(torch.arange(60)), mean_codes(perfect.vae, bands, torch.arange(60), "cpu"))


def test_an_image_is_encoded_once(perfect, bands, monkeypatch):
    rendered = []

    def images(indices, rng=None, images=bands.images):
        rendered.append(len(indices))
        return images(indices)

    monkeypatch.setattr(bands, "images", images)
    codes = GridCodes(perfect.vae, bands, "cpu", progress=False)
    for indices in torch.tensor([5, 3, 3]), torch.tensor([3, 5]), torch.tensor([5]):
        codes(indices)
    assert rendered == [64]  # a batch of the two images and of copies that fill it up


class Stripes(Dataset):
    """640 noisy images of a seed each, so that an encoder with random weights tells them apart."""

    resolution, image_channels, factors = 64, 1, FactorGrid((32, 20), ("a", "b"))

    def __len__(self):
        return 640

    def images(self, indices, rng=None):
        return torch.stack([torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(int(i))) for i in indices])


def test_codes_are_to_the_bit_those_of_the_whole_grid_in_any_order():
    vae, dataset = VAEConfig(4).build().eval(), Stripes()
    whole = mean_codes(vae, dataset, torch.arange(640), "cpu")
    codes = GridCodes(vae, dataset, "cpu", progress=False)
    for indices in torch.tensor([5]), torch.tensor([639, 3, 5]), torch.randint(640, (300,)), torch.arange(640):
        assert torch.equal(codes(indices), whole[indices])


class Noisy(Stripes):
    stochastic = True

    def images(self, indices, rng=None):
        return 0.5 * super().images(indices) + 0.5 * torch.rand(len(indices), 1, 64, 64, generator=rng)


def test_noise_is_a_function_of_the_index():
    vae, dataset = VAEConfig(4).build().eval(), Noisy()
    together = GridCodes(vae, dataset, "cpu", progress=False)(torch.arange(640))
    codes = GridCodes(vae, dataset, "cpu", progress=False)
    for indices in torch.tensor([7, 5]), torch.arange(3, 90):
        assert torch.equal(codes(indices), together[indices])
    assert not torch.allclose(together, mean_codes(vae, Stripes(), torch.arange(640), "cpu"))


def test_a_noisy_data_set_may_inherit_from_nothing_or_wrap_another():
    class Plain:
        """Its images are those of `inner`, in negative."""

        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def images(self, indices, rng=None):
            return 1 - self.inner.images(indices, rng)

    class Negative(ColorDSprites):
        def images(self, indices, rng=None):
            return 1 - super().images(indices, rng)

    vae, indices = VAEConfig(4, image_channels=3).build().eval(), torch.tensor([7, 5])
    wrapped, inherited, other = (
        GridCodes(vae, dataset, "cpu", progress=False)(indices)
        for dataset in (Plain(ColorDSprites()), Negative(), ColorDSprites())
    )
    assert torch.equal(wrapped, inherited) and not torch.allclose(wrapped, other)


def test_mean_codes_of_a_random_data_set_are_a_function_of_the_indices():
    vae = VAEConfig(4).build().eval()
    a, b = (mean_codes(vae, Noisy(), torch.arange(60), "cpu") for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, mean_codes(vae, Stripes(), torch.arange(60), "cpu"))


def test_networks_of_half_precision_encode():
    vae = VAEConfig(4).build().eval()
    expected = mean_codes(vae, Stripes(), torch.arange(8), "cpu")
    found = mean_codes(vae.bfloat16(), Stripes(), torch.arange(8), "cpu")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.01)


def test_a_data_set_without_factors_has_no_grid(perfect, bands):
    bands.factors = None
    with pytest.raises(InvalidInputError, match="grid codes need ground-truth factors"):
        GridCodes(perfect.vae, bands, "cpu")


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """`kept(vae)`: the file of the codes of all `Stripes` by `vae`."""
    monkeypatch.setattr(grid_codes, "MIN_KEPT", 640)
    return lambda vae: codes_file(vae, Stripes(), tmp_path)


def test_codes_of_all_images_are_kept_for_an_equal_encoder_and_version(kept, monkeypatch):
    torch.manual_seed(0)
    vae, other = VAEConfig(4).build().eval(), VAEConfig(4).build().eval()
    assert kept(vae) != kept(other)
    codes = GridCodes(vae, Stripes(), "cpu", progress=False, path=kept(vae))
    codes(torch.arange(600))
    assert not kept(vae).exists()
    whole = codes(torch.arange(640))
    with monkeypatch.context() as patch:
        patch.setattr(grid_codes, "__version__", "another")
        assert not kept(vae).exists()
    other.load_state_dict(vae.state_dict())
    again = GridCodes(None, Stripes(), "cpu", progress=False, path=kept(other))  # None could encode nothing
    assert torch.equal(again(torch.arange(640)), whole)


def test_a_damaged_file_of_codes_is_replaced(kept):
    vae = VAEConfig(4).build().eval()
    kept(vae).write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="encoded again"):
        codes = GridCodes(vae, Stripes(), "cpu", progress=False, path=kept(vae))
    whole = codes(torch.arange(640))
    assert torch.equal(GridCodes(None, Stripes(), "cpu", progress=False, path=kept(vae))(torch.arange(640)), whole)


def test_codes_of_few_images_or_of_an_unregistered_encoder_are_not_kept(perfect, bands, tmp_path):
    assert codes_file(VAEConfig(4).build(), Stripes(), tmp_path) is None
    assert codes_file(perfect.vae, bands, tmp_path) is None

"""Names of code dimensions: what a name may be, what it stands for, and where a sampler takes one."""

import pytest
import torch

from idgan.dims import as_dim, as_names
from idgan.errors import InvalidInputError
from idgan.networks import ConvGeneratorConfig, ModelConfig, Posterior, VAEConfig
from idgan.sampler import Sampler

NAMES = {"scale": 2, "position_x": 0}


@pytest.fixture(scope="module")
def sampler():
    torch.manual_seed(0)
    bank = Posterior(torch.randn(500, 4) * torch.tensor([1.0, 0, 3.0, 0]), torch.tensor([[-2.0, 0, -2.0, 0]] * 500))
    return Sampler(ModelConfig(VAEConfig(4), ConvGeneratorConfig(4, 2)), bank=bank, info={"dims": NAMES})


@pytest.mark.parametrize(("dim", "expected"), [(3, 3), ("3", 3), ("c3", 3), (" scale ", 2), ("position_x", 0)])
def test_a_dimension_by_number_or_name(dim, expected):
    assert as_dim(dim, 4, [2, 0], NAMES) == expected


@pytest.mark.parametrize("dim", [4, -1, "c4", "size", "", True, 1.0, None, "c", "٣"])
def test_no_dimension(dim):
    with pytest.raises(InvalidInputError, match=r"must be a name \(scale, position_x\) or an integer from 0 to 3, got"):
        as_dim(dim, 4, [2, 0], NAMES)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "must map names"),
        ({"c3": 3}, "the name of a code dimension"),
        ({"C3": 3}, "the name of a code dimension"),
        ({"größe": 3}, "the name of a code dimension"),
        ({"3d": 3}, "the name of a code dimension"),
        ({"7": 3}, "the name of a code dimension"),
        ({"a b": 3}, "the name of a code dimension"),
        ({"x" * 41: 3}, "the name of a code dimension"),
        ({3: 3}, "the name of a code dimension"),
        ({"scale": 4}, "scale must be a code dimension from 0 to 3, got 4"),
        ({"scale": "2"}, "scale must be a code dimension from 0 to 3"),
        ({"scale": True}, "scale must be a code dimension"),
        ({"a": 1, "b": 1}, "has two names"),
    ],
)
def test_what_are_no_names(names, message):
    with pytest.raises(InvalidInputError, match=message):
        as_names(names, 4)
    with pytest.raises(InvalidInputError, match=message):
        Sampler(ModelConfig(VAEConfig(4), ConvGeneratorConfig(4, 2)), info={"dims": names})


def test_a_sampler_knows_its_names(sampler):
    assert list(sampler.dims.items()) == [("scale", 2), ("position_x", 0)]  # as active_dims
    assert [sampler.dim_label(dim) for dim in range(4)] == ["position_x", "c1", "scale", "c3"]
    assert sampler.dim_index("scale") == sampler.dim_index("c2") == 2


def test_edits_and_traversals_take_names(sampler):
    c = torch.zeros(1, 4)
    assert sampler.changed(c, {"scale": 1.5, "c0": -1}).tolist() == [[-1.0, 0.0, 1.5, 0.0]]
    x = torch.rand(1, 1, 64, 64)
    assert torch.equal(sampler.edit(x, {"scale": 1}), sampler.edit(x, {2: 1}))
    assert torch.equal(sampler.traverse(dims=["scale"], steps=3), sampler.traverse(dims=[2], steps=3))
    with pytest.raises(InvalidInputError, match="dimension 2 is changed twice"):
        sampler.changed(c, {"scale": 1, 2: 1})


def test_the_range_of_a_code_leaves_its_tails_out(sampler):
    low, high = sampler.code_range()
    c, _ = sampler.codes(4_000, seed=1)
    inside = (c >= low) & (c <= high)
    assert inside.float().mean(0).tolist() == pytest.approx([0.98] * 4, abs=0.01)


def test_without_a_bank_the_range_is_that_of_the_normal_prior():
    low, high = Sampler(ModelConfig(VAEConfig(4), ConvGeneratorConfig(4, 2))).code_range()
    assert high.tolist() == pytest.approx([2.326] * 4, abs=0.2)
    assert low.tolist() == pytest.approx([-2.326] * 4, abs=0.2)

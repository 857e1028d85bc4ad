import torch
from torch import nn

from idgan.networks import LogitHeadConfig, TCDiscriminator


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_tc_discriminator_has_the_parameters_of_table_a2():
    # dim -> 6 x FC 1000 -> FC 2
    assert count(TCDiscriminator(10)) == (10 * 1000 + 1000) + 5 * (1000 * 1000 + 1000) + (1000 * 2 + 2)
    assert count(TCDiscriminator(3, width=8)) == (3 * 8 + 8) + 5 * (8 * 8 + 8) + (8 * 2 + 2)
    assert count(TCDiscriminator(3, width=8, depth=2)) == (3 * 8 + 8) + (8 * 8 + 8) + (8 * 2 + 2)


def test_tc_discriminator_is_leaky_between_its_layers():
    layers = list(TCDiscriminator(3, width=8).layers)
    assert [type(layer) for layer in layers] == [nn.Linear, nn.LeakyReLU] * 6 + [nn.Linear]
    assert {layer.negative_slope for layer in layers[1::2]} == {0.2}


def test_tc_discriminator_gives_two_float32_logits():
    discriminator = TCDiscriminator(3, width=8)
    with torch.autocast("cpu", torch.bfloat16):
        logits = discriminator(torch.randn(5, 3))
    assert logits.shape == (5, 2)
    assert logits.dtype == torch.float32


def test_a_logit_head_is_linear_in_the_features():
    head, features = LogitHeadConfig(features=6).build(), torch.randn(5, 6)
    assert count(head) == 6 + 1
    logits = head(features)
    assert logits.shape == (5,)
    torch.testing.assert_close(head(features[:1] + features[1:2]) + head(torch.zeros(1, 6)), logits[:1] + logits[1:2])

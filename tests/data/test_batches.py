import threading
import time

import pytest
import torch

from idgan.data import Batches, ColorDSprites, Dataset, DSprites, NoisyDSprites, Prefetcher
from idgan.errors import DataError, InvalidInputError
from idgan.rng import make_rng

DATASETS = [DSprites, ColorDSprites, NoisyDSprites]


class Plain(Dataset):
    """Ten gray images of one level each, with a darker left half. A test can tell indices and flips from them."""

    resolution, image_channels = 8, 3

    def __len__(self):
        return 10

    def images(self, indices, rng=None):
        x = (indices.float() / 10)[:, None, None, None].expand(-1, 3, 8, 8).clone()
        x[..., :4] /= 2
        return x


def everything(batch):
    """The images of a batch and its noise, as one tensor a row."""
    return torch.cat([batch.x.flatten(1), batch.normal(5), batch.uniform(3), batch.normal(2)], 1)


def test_a_batch_and_its_parts_know_the_size_of_the_data_set():
    batch = Batches(Plain(), 4, seed=0)(0)
    assert [part.data_size for part in (batch, *batch.split(2))] == [10] * 3


# ------------------------------------------------------------------ generators


def test_a_generator_is_a_function_of_its_key():
    assert torch.equal(torch.rand(5, generator=make_rng(3, 7)), torch.rand(5, generator=make_rng(3, 7)))


def test_every_part_of_the_key_counts_and_so_does_their_order():
    keys = [(), (0,), (0, 0), (0, 1), (1, 0), (1, 1), (0, -1), (-1, 0), (2**40, 0), (0, 2**40), (0, 0, 0)]
    draws = [tuple(torch.rand(4, generator=make_rng(*key)).tolist()) for key in keys]
    assert len(set(draws)) == len(keys)


def test_streams_of_near_keys_are_unrelated():
    n = 4000
    keys = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (0, -1), (2, 0)]
    streams = torch.stack([torch.randn(n, generator=make_rng(*key)) for key in keys])
    off_diagonal = torch.corrcoef(streams) - torch.eye(len(keys))
    assert off_diagonal.abs().max() < 5 / n**0.5


def test_first_draws_of_consecutive_steps_are_uniform_and_unrelated():
    n = 4000
    first = torch.stack([torch.rand((), generator=make_rng(0, step)) for step in range(n)])
    counts = torch.histc(first, 10, 0, 1)
    assert (counts - n / 10).abs().max() < 5 * (n * 0.09) ** 0.5
    for lag in (1, 2):
        assert torch.corrcoef(torch.stack([first[lag:], first[:-lag]]))[0, 1].abs() < 5 / n**0.5


# ------------------------------------------------------------------ a batch is a function of (seed, step)


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_batch_does_not_depend_on_what_was_asked_before(dataset):
    batches = Batches(dataset(), 6, seed=1, flip=True, dequantize=True)
    in_order = [everything(batches(step)) for step in range(4)]
    torch.rand(3)  # nor on the global generator
    for step in (3, 0, 2, 2):
        assert torch.equal(everything(batches(step)), in_order[step])
    assert torch.equal(everything(Batches(dataset(), 6, seed=1, flip=True, dequantize=True)(3)), in_order[3])


def test_a_batch_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    everything(Batches(NoisyDSprites(), 4, seed=0, flip=True, dequantize=True)(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_steps_and_seeds_give_different_batches():
    rows = [everything(Batches(NoisyDSprites(), 4, seed)(step)) for seed in (0, 1) for step in (0, 1)]
    assert not any(torch.equal(rows[i], rows[j]) for i in range(4) for j in range(i))


def test_all_images_of_the_data_set_are_drawn_alike():
    batches = Batches(Plain(), 100, seed=0)
    levels = torch.cat([(batches(step).x[:, 0, 0, -1] * 10).round().long() for step in range(50)])
    counts = levels.bincount(minlength=10).float()
    assert (counts - 500).abs().max() < 5 * (5000 * 0.09) ** 0.5


def test_a_batch_knows_its_step_and_its_noise_has_one_row_an_image():
    batch = Batches(DSprites(), 6, seed=0)(17)
    assert batch.step == 17
    assert batch.x.shape == (6, 1, 64, 64)
    assert batch.normal(3).shape == batch.uniform(3).shape == (6, 3)
    assert batch.normal(0).shape == (6, 0)


def test_noise_is_standard_normal_and_uniform_and_drawn_anew_each_time():
    batch = Batches(Plain(), 2000, seed=0)(0)
    normal, uniform = batch.normal(10), batch.uniform(10)
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03
    assert 0 <= uniform.min() < 0.001
    assert 0.999 < uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01
    assert not torch.equal(batch.normal(10), normal)


def test_once_computes_once_a_batch():
    batches, calls = Batches(Plain(), 2, seed=0), []
    batch = batches(0)
    made = [batch.once("a", lambda: calls.append("a") or object()) for _ in range(3)]
    assert made[0] is made[1] is made[2]
    assert batch.once("b", lambda: "b") == "b"
    batches(0).once("a", lambda: calls.append("another batch"))
    assert calls == ["a", "another batch"]


def test_once_remembers_a_none():
    batch, calls = Batches(Plain(), 2, seed=0)(0), []
    assert [batch.once("nothing", lambda: calls.append(1)) for _ in range(2)] == [None, None]
    assert len(calls) == 1


# ------------------------------------------------------------------ several processes


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("world_size", [2, 3])
def test_the_processes_see_together_what_one_would(dataset, world_size):
    options = {"flip": True, "dequantize": True}
    whole = Batches(dataset(), 6, seed=0, **options)
    shares = [Batches(dataset(), 6, seed=0, rank=rank, world_size=world_size, **options) for rank in range(world_size)]
    for step in (0, 5):
        parts = [share(step) for share in shares]
        assert [len(part.x) for part in parts] == [6 // world_size] * world_size
        assert torch.equal(torch.cat([everything(part) for part in parts]), everything(whole(step)))


@pytest.mark.parametrize(("batch_size", "world_size"), [(5, 2), (64, 3), (1, 2)])
def test_a_batch_that_cannot_be_shared_equally_is_refused(batch_size, world_size):
    with pytest.raises(InvalidInputError, match=f"batch of {batch_size} cannot be shared equally by {world_size}"):
        Batches(Plain(), batch_size, seed=0, rank=0, world_size=world_size)


def test_what_is_no_data_set_is_refused():
    class Bare:
        resolution, image_channels = 8, 3

    with pytest.raises(
        InvalidInputError, match="Bare is not a data set: it has no factors, stochastic, streams, images"
    ):
        Batches(Bare(), 4, seed=0)


def test_a_float64_default_and_a_default_device_change_nothing():
    expected = everything(Batches(ColorDSprites(), 4, seed=0, flip=True, dequantize=True)(1))
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            x = everything(Batches(ColorDSprites(), 4, seed=0, flip=True, dequantize=True)(1))
    finally:
        torch.set_default_dtype(torch.float32)
    assert x.dtype == torch.float32 and torch.equal(x, expected)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_parts_of_a_batch_are_together_the_batch(dataset):
    batches = Batches(dataset(), 12, seed=0, rank=1, world_size=2, parts=3, flip=True, dequantize=True)
    whole, parts = batches(5), batches(5).split(3)
    assert [len(part.x) for part in parts] == [2, 2, 2]
    assert [part.step for part in parts] == [5, 5, 5]
    assert torch.equal(torch.cat([everything(part) for part in parts]), everything(whole))


def test_parts_draw_from_where_the_batch_stood():
    whole, parted = (Batches(Plain(), 4, seed=0)(0) for _ in range(2))
    whole.normal(3), parted.normal(3)
    assert torch.equal(torch.cat([everything(part) for part in parted.split(2)]), everything(whole))


def test_pooled_values_are_the_mean_over_the_parts_once_all_are_there():
    whole, parts = Batches(Plain(), 4, seed=0)(0), Batches(Plain(), 4, seed=0)(0).split(4)
    for _ in range(2):
        assert whole.pooled("kl", torch.tensor(3.0)) == 3.0
        assert [part.pooled("kl", torch.tensor(float(i))) for i, part in enumerate(parts)] == [None, None, None, 1.5]


def test_a_batch_that_cannot_be_parted_equally_is_refused():
    with pytest.raises(
        InvalidInputError,
        match="batch of 12 cannot be shared equally by 2 processes in 4 parts each; choose a multiple of 8",
    ):
        Batches(Plain(), 12, seed=0, world_size=2, parts=4)


# ------------------------------------------------------------------ read ahead


class Streaming(Plain):
    """`Plain`, as if from a disk. It notes the threads that read it, and cannot read the batch number `damaged`."""

    streams = True

    def __init__(self, damaged=None):
        self.threads, self.damaged = [], damaged

    def images(self, indices, rng=None):
        self.threads.append(threading.current_thread().name)
        if len(self.threads) - 1 == self.damaged:
            raise DataError("000007.jpg cannot be used")
        return super().images(indices)


def readers():
    """The threads that read ahead right now."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_batches_read_ahead_are_the_same_whatever_steps_are_asked_for():
    options = {"flip": True, "dequantize": True}
    expected = Batches(Plain(), 6, seed=1, **options)
    with Prefetcher(Batches(Streaming(), 6, seed=1, **options), steps=9) as batches:
        for step in (2, 3, 4, 7, 8, 0, 0, 1, 8):
            assert torch.equal(everything(batches(step)), everything(expected(step)))


def test_one_batch_is_read_ahead_in_a_thread_and_none_past_the_end():
    dataset = Streaming()
    with Prefetcher(Batches(dataset, 2, seed=0), steps=4) as batches:
        for step in range(4):
            batches(step)
            assert step + 1 <= len(dataset.threads) <= step + 2
        time.sleep(0.1)  # for what should not come
    assert len(dataset.threads) == 4
    assert dataset.threads[0] == threading.current_thread().name
    assert all(name.startswith("read-ahead") for name in dataset.threads[1:])


def test_what_stays_in_memory_is_not_read_ahead():
    with Prefetcher(Batches(Plain(), 2, seed=0), steps=9) as batches:
        assert torch.equal(batches(3).x, Batches(Plain(), 2, seed=0)(3).x)
        assert not readers()


def test_an_error_comes_with_its_own_batch_and_leaves_no_thread():
    with pytest.raises(DataError, match=r"000007\.jpg cannot be used"):
        with Prefetcher(Batches(Streaming(damaged=3), 2, seed=0), steps=9) as batches:
            for step in range(9):
                batches(step)
                reached = step
    assert reached == 2
    assert not readers()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_leaves_no_thread(error):
    with pytest.raises(error):
        with Prefetcher(Batches(Streaming(), 2, seed=0), steps=9) as batches:
            batches(0)
            assert readers()
            raise error
    assert not readers()


# ------------------------------------------------------------------ flips and noise on pixels


def test_images_come_as_they_are_unless_asked_otherwise():
    x = Batches(Plain(), 50, seed=0)(0).x
    assert torch.equal(x, Plain().images((x[:, 0, 0, -1] * 10).round().long()))


def test_flips_mirror_about_half_of_the_images_left_to_right():
    plain, flipping = Batches(Plain(), 1000, seed=0)(3).x, Batches(Plain(), 1000, seed=0, flip=True)(3).x
    same, mirrored = ((flipping == other).flatten(1).all(1) for other in (plain, plain.flip(3)))
    assert (same | mirrored).all()
    visible = plain[:, 0, 0, 0] != plain[:, 0, 0, -1]
    assert 0.42 < mirrored[visible].float().mean() < 0.58


def test_dequantisation_adds_less_than_one_gray_level_to_each_pixel():
    plain, noisy = Batches(Plain(), 100, seed=0)(3).x, Batches(Plain(), 100, seed=0, dequantize=True)(3).x
    added = (noisy - plain) * 256
    assert added.min() > -1e-4  # rounding of float32
    assert added.max() < 1 + 1e-4
    assert abs(added.mean() - 0.5) < 0.02
    assert abs(added.var() - 1 / 12) < 0.01
    assert torch.corrcoef(added.flatten(1)[:20]).fill_diagonal_(0).abs().max() < 0.4  # each image and pixel has its own


def test_dequantisation_leaves_images_and_flips_as_they_were():
    flipped, both = (Batches(Plain(), 20, seed=0, flip=True, dequantize=noise)(0).x for noise in (False, True))
    assert ((both - flipped).abs() <= 1 / 256 + 1e-6).all()

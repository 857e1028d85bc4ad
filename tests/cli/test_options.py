"""Options: seeds, dimensions, changes, paths and threads."""

import os
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from idgan.cli.options import (
    DatasetArgument,
    InputPath,
    OutputDirectory,
    OutputFile,
    OutputPlace,
    busy_note,
    default_out,
    idle_cores,
    idle_threads_option,
    parse_changes,
    parse_dims,
    parse_numbers,
    threads_option,
)
from idgan.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0", [0]),
        ("0-3", [0, 1, 2, 3]),
        ("0-2,42", [0, 1, 2, 42]),
        ("7,3", [7, 3]),
        (" 1 , 2-2 ", [1, 2]),
        ("3,3", [3, 3]),
        (None, None),
    ],
)
def test_numbers(text, numbers):
    assert parse_numbers(None, None, text) == numbers


@pytest.mark.parametrize("text", ["", ",", "a", "-1", "1-", "3-1", "1,,2", "1.5", "0x1", "1 2", "1-2-3", "٣", "9" * 21])
def test_what_are_no_numbers(text):
    with pytest.raises(click.BadParameter, match="is not a number or a range, such as 0-15,42"):
        parse_numbers(None, None, text)


@pytest.mark.parametrize("text", ["0-100000", "0-999999999999999999", "0-59999,0-59999"])
def test_too_many_numbers_are_refused_at_once(text):
    with pytest.raises(click.BadParameter, match="more than 100,000"):
        parse_numbers(None, None, text)
    assert len(parse_numbers(None, None, "0-99999")) == 100_000


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_numbers_come_back_in_order(numbers):
    assert parse_numbers(None, None, ",".join(map(str, numbers))) == numbers


def test_dimensions_by_number_range_and_name():
    assert parse_dims(None, None, "0, scale,3-5,c7") == [0, "scale", 3, 4, 5, "c7"]
    with pytest.raises(click.BadParameter, match="'a b' is not a number or a range"):
        parse_dims(None, None, "0,a b")


@pytest.mark.parametrize(
    ("texts", "changes"),
    [
        (["3=+1.5"], {3: 1.5}),
        (["scale=-1", "c4=2"], {"scale": -1.0, "c4": 2.0}),
        (["0=-2", "1=.5", " 2 = 3. "], {0: -2.0, 1: 0.5, 2: 3.0}),
        ([], {}),
    ],
)
def test_changes(texts, changes):
    assert parse_changes(None, None, texts) == changes


@pytest.mark.parametrize(
    "text", ["3", "=1", "3=", "a-b=1", "-1=1", "3=1=2", "3=nan", "3=inf", "3=one", "3=1,4=2", "1.0=2"]
)
def test_what_are_no_changes(text):
    with pytest.raises(click.BadParameter, match=r"is not DIMENSION=AMOUNT, such as 3=\+1\.5"):
        parse_changes(None, None, [text])


def test_a_dimension_changes_once():
    with pytest.raises(click.BadParameter, match="dimension 3 is given twice"):
        parse_changes(None, None, ["3=1", "03=2"])


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("dsprites", "dsprites"),
        ("org/repo", "repo"),
        ("org/repo@v1.0", "repo"),
        ("runs/mine", "mine"),
        ("runs/v1.2/", "v1.2"),
        ("../small.safetensors", "small"),
        (".", "here"),
    ],
)
def test_pictures_are_named_after_their_model(model, name, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert default_out(model, "samples.png") == Path(f"{name}-samples.png")


# ------------------------------------------------------------------ paths


def refusal(kind, path):
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(str(path), None, None)
    return caught.value.message


def test_outputs_that_can_be_written_are_accepted(tmp_path):
    (tmp_path / "old.png").touch()
    for name in ("new.png", "old.png", "UPPER.PNG", "missing/parent/new.png"):
        assert OutputFile(".png", ".gif").convert(str(tmp_path / name), None, None) == str(tmp_path / name)
    assert OutputFile().convert(str(tmp_path / "codes"), None, None) == str(tmp_path / "codes")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in (".", "new", "missing/new", "link"):
        assert OutputDirectory().convert(str(tmp_path / name), None, None) == str(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "old.png"]  # checking leaves nothing


def test_outputs_that_cannot_be_written_are_refused(tmp_path, monkeypatch):
    (tmp_path / "directory.png").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "kept.png").touch()
    assert "must end in .png or .gif, got" in refusal(OutputFile(".png", ".gif"), tmp_path / "a.jpg")
    assert "directory.png is a directory" in refusal(OutputFile(".png"), tmp_path / "directory.png")
    assert "Not a directory" in refusal(OutputFile(".png"), tmp_path / "file/a.png")
    assert "too long" in refusal(OutputFile(".png"), tmp_path / ("a" * 300 + ".png"))
    assert "file is not a directory" in refusal(OutputDirectory(), tmp_path / "file")
    assert "cannot write to" in refusal(OutputDirectory(), "/proc/a/b")
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).endswith("kept.png"))
    assert "kept.png is read-only" in refusal(OutputFile(".png"), tmp_path / "kept.png")


def test_a_default_output_is_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dsprites-edit.png").mkdir()
    with pytest.raises(InvalidInputError, match=r"dsprites-edit\.png is a directory"):
        default_out("dsprites", "edit.png")


def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "in.png").touch()
    assert InputPath().convert("~/in.png", None, None) == str(tmp_path / "in.png")
    assert OutputFile(".png").convert("~/out.png", None, None) == str(tmp_path / "out.png")
    assert OutputDirectory().convert("~/runs", None, None) == str(tmp_path / "runs")


# ------------------------------------------------------------------ threads


def test_threads_are_set_for_the_command():
    @click.command()
    @threads_option
    def command():
        click.echo(torch.get_num_threads())

    before = torch.get_num_threads()
    try:
        assert CliRunner().invoke(command, ["--threads", "3"]).output == "3\n"
        assert CliRunner().invoke(command, []).output == "3\n"
        assert CliRunner().invoke(command, ["--threads", "0"]).exit_code == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["broken:zero", "os:system"])
def test_a_data_set_of_ones_own_that_fails_is_named(tmp_path, monkeypatch, name):
    (tmp_path / "broken.py").write_text("def zero(): return 1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidInputError, match=f"--data {name} failed: (ZeroDivisionError|TypeError)"):
        DatasetArgument().convert(name, None, None)


@pytest.mark.parametrize(
    ("device", "load", "says"),
    [("cpu", 0.4, ""), ("cuda", 9.0, ""), ("cpu", 1.2, "used 1 of"), ("cpu", 999.0, " {0} of {0} ")],
)
def test_a_measured_time_tells_of_other_programs(monkeypatch, device, load, says):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    note = busy_note(device)
    assert says.format(os.cpu_count()) in note and bool(note) == bool(says)


def test_search_commands_use_idle_cores_only(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert idle_cores() is None  # the user has chosen
    monkeypatch.delenv("OMP_NUM_THREADS")
    idle = idle_cores()
    assert idle is None or 1 <= idle <= os.cpu_count()

    @click.command()
    @idle_threads_option
    def command():
        click.echo(torch.get_num_threads())

    before = torch.get_num_threads()
    try:
        assert CliRunner().invoke(command, ["--threads", "3"]).output == "3\n"
        torch.set_num_threads(1)
        assert CliRunner().invoke(command, []).output == "1\n"  # never more than PyTorch has
    finally:
        torch.set_num_threads(before)


def test_a_place_is_a_file_or_a_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v1.2").mkdir()
    place = OutputPlace(".png")
    for path, directory in (
        ("a.png", False),
        ("new", True),
        ("new.d/", True),
        ("v1.2", True),
        ("deep/er/a.PNG", False),
    ):
        assert place.convert(path, None, None) == path
        assert OutputPlace.is_directory(path) == directory
    (tmp_path / "file").touch()
    for path, message in (
        ("a.jpg", "must end in .png, or be a directory, got 'a.jpg'"),
        ("file", "is not a directory"),
    ):
        with pytest.raises(click.BadParameter, match=message):
            place.convert(path, None, None)

"""How seeds, dimensions and changes are written."""

from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idgan.cli.options import default_out, parse_changes, parse_numbers


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


@pytest.mark.parametrize(
    ("texts", "changes"),
    [(["3=+1.5"], {3: 1.5}), (["0=-2", "1=.5", " 2 = 3. "], {0: -2.0, 1: 0.5, 2: 3.0}), ([], {})],
)
def test_changes(texts, changes):
    assert parse_changes(None, None, texts) == changes


@pytest.mark.parametrize(
    "text", ["3", "=1", "3=", "a=1", "-1=1", "3=1=2", "3=nan", "3=inf", "3=one", "3=1,4=2", "1.0=2"]
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

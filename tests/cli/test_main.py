"""The command line as a whole: help without torch, examples in every command, errors of one line."""

import errno
import os
import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from idgan import __version__
from idgan.cli import COMMANDS, main


def commands(group=main, path=()):
    """(words, command) of every command and group."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            yield (*path, name), command
            if isinstance(command, click.Group):
                yield from commands(command, (*path, name))


def idgan(*arguments):
    return subprocess.run([sys.executable, "-m", "idgan", *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "command"), list(commands()), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_has_help_with_an_example_that_parses(words, command):
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0
    examples = re.findall(rf"^ +idgan ({' '.join(words)}\b.*)$", result.output, re.MULTILINE)
    assert examples
    known = {option for parameter in command.params for option in parameter.opts}
    for example in examples if not isinstance(command, click.Group) else []:
        assert set(re.findall(r"(?<= )--[a-z-]+", example)) <= known
    undescribed = {
        parameter.name for parameter in command.params if isinstance(parameter, click.Option) and not parameter.help
    }
    assert undescribed <= {"seed", "format", "part"}  # which their names and choices describe


@pytest.mark.parametrize("words", [(), *(words for words, _ in commands())], ids=" ".join)
def test_help_fits_80_columns(words):
    output = CliRunner().invoke(main, [*words, "--help"], env={"COLUMNS": "200"}).output
    assert not [line for line in output.splitlines() if len(line) > 80]


def test_help_names_every_command_in_a_sentence():
    output = CliRunner().invoke(main, ["--help"]).output
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S.*\.$", output, re.MULTILINE), name
    assert "..." not in output.partition("Commands:")[2]


def test_help_of_a_group_cuts_no_sentence_short():
    output = CliRunner().invoke(main, ["prepare", "--help"]).output
    assert "..." not in output.partition("Commands:")[2]
    assert re.search(r"^  celeba +CelebA\.$", output, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("sampel", "dsprites"), ("'sampel'", "'sample'")),
        (("prepare", "celebba", "x.zip"), ("'celebba'", "'celeba'")),
        (("sample", "dsprites", "--pror", "normal"), ("--pror", "--prior")),
        (("sample", "dsprites", "--prior", "Agregated"), ("'Agregated' is not one of", "'aggregated'")),
        (("train", "dsprites", "--stage", "gna"), ("'gna' is not one of", "'gan'")),
        (("--import", "os", "list", "--status", "relesed"), ("'relesed' is not one of", "'released'")),
    ],
)
def test_a_mistyped_word_brings_the_closest_one(fail, words, parts):
    said, mark, meant = fail(*words, code=2).partition("Did you mean ")
    assert mark and parts[0] in said and parts[1] in meant


def test_help_list_and_info_do_not_import_torch():
    code = (
        "import sys; from idgan.cli import main; main(sys.argv[1:], standalone_mode=False); "
        "heavy = {'torch', 'numpy', 'PIL', 'huggingface_hub'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    listed = (["list"], ["list", "celeba*"], ["info", "dsprites"], ["info", "celeba-64", "--json"])
    for arguments in (["--help"], ["sample", "--help"], ["edit", "--help"], ["--version"], *listed):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_the_module_runs():
    done = idgan("--version")
    assert (done.returncode, done.stdout) == (0, f"idgan, version {__version__}\n")


def test_an_error_is_one_line_and_no_traceback():
    done = idgan("sample", "no-such-model")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"Error: no checkpoint is called 'no-such-model'.*\n", done.stderr)


def test_unknown_commands_and_options(fail):
    assert "No such command 'smaple'. Did you mean 'sample'?" in fail("smaple", code=2)
    assert "No such command 'xyz'" in fail("xyz", code=2)
    assert "No such option" in fail("sample", "x", "--sed", "3", code=2)
    assert "Missing argument 'MODEL'" in fail("sample", code=2)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "could not write 5 bytes to a.png"),
            "Error: [Errno 28] could not write 5 bytes to a.png",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file", "a\nb"), r"Error: [Errno 2] No such file: 'a\nb'"),
        (KeyboardInterrupt(), "Error: interrupted"),
        (KeyboardInterrupt("stopped at step 5"), "Error: stopped at step 5"),
    ],
)
def test_what_the_disk_and_the_user_do_is_no_traceback(fail, monkeypatch, error, said):
    def stop(*arguments, **options):
        raise error

    monkeypatch.setattr("idgan.load", stop, raising=False)
    assert fail("sample", "small.safetensors") == said


def test_modules_of_the_user_are_imported_first(run, directory):
    (directory / "my_data").mkdir()
    (directory / "my_data/__init__.py").write_text("")
    (directory / "my_data/faces.py").write_text("print('imported faces')")
    (directory / "cars.py").write_text("print('imported cars')")
    output = run("--import", "my_data.faces", "--import", "cars", "encode", "small.safetensors", "one.png")
    assert output.startswith("imported faces\nimported cars\n{")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "'broken' cannot be imported: No module named 'broken'"),
        ("import no_such_module", "'broken' cannot be imported: No module named 'no_such_module'"),
        ("1 / 0", "'broken' cannot be imported: ZeroDivisionError: division by zero"),
        ("def", "'broken' cannot be imported: SyntaxError: "),
        ("raise SystemExit(0)", "'broken' cannot be imported: SystemExit: 0"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named(fail, directory, content, message):
    if content is not None:
        (directory / "broken.py").write_text(content)
    assert message in fail("--import", "broken", "list")


def test_plug_ins_are_loaded_before_a_command(run, monkeypatch):
    loaded = []
    monkeypatch.setattr("idgan.cli.load_plugins", lambda: loaded.append("plug-ins"))
    run("--help")
    assert not loaded
    run("encode", "small.safetensors", "one.png")
    assert loaded == ["plug-ins"]


def test_idle_threads_do_not_spin():
    code = "import os, idgan; print(os.environ['OMP_WAIT_POLICY'])"
    for value, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        environment = {name: text for name, text in os.environ.items() if name != "OMP_WAIT_POLICY"}
        environment |= {} if value is None else {"OMP_WAIT_POLICY": value}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == expected


def test_no_home_directory_is_needed(directory):
    """As in a container whose user has no HOME and no entry in the password database."""
    code = (
        "import pwd, sys\n"
        "def missing(user): raise KeyError(user)\n"
        "pwd.getpwuid = pwd.getpwnam = missing\n"
        "from idgan.cli import main\n"
        "main(sys.argv[1:])"
    )
    names = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    for arguments in (["sample", "small.safetensors", "--out", "~/a.png"], ["encode", "small.safetensors", "one.png"]):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (directory / "~/a.png").exists()


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(f"{sys.executable} -m idgan --help | true", shell=True, capture_output=True, text=True)
    assert done.stderr == ""

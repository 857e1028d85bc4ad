"""Publish a finished run: its manifest entry, and its place in the package or on a hub."""

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from idgan.errors import (
    HubAuthError,
    HubError,
    HubOfflineError,
    HubUnreachableError,
    InvalidInputError,
    RunError,
    UnknownModelError,
)
from idgan.files import read_json, write_atomically
from idgan.record import TrainingRecord
from idgan.registry import load_plugins
from idgan.zoo.card import MAIN_METHODS, RECIPE_FILE, RESULTS_FILE, TITLE, model_card
from idgan.zoo.manifest import REPO_NAME, DataSet, Entry, Manifest, Weights, package_manifest, write_entry
from idgan.zoo.models import ResolvedCheckpoint, verify
from idgan.zoo.weights import CHECKPOINT_FILE, CheckpointFile, build_sampler, read_file

__all__ = ["NO_COMMIT", "embed", "entry_of", "publish"]

RUN_FILES = (CHECKPOINT_FILE, RESULTS_FILE, RECIPE_FILE, "samples.png", "traversals.png")
ABSOLUTE = r"/|~|\\\\|[A-Za-z]:[/\\]|file:"
"""The beginning of an absolute path on any operating system."""
NO_COMMIT = "0" * 40
"""Takes the place of the commit in an entry until the checkpoint is published."""


def entry_of(
    run: str | Path,
    weights: Weights,
    *,
    description: str | None = None,
    license: str | None = None,
    data: DataSet | None = None,
) -> Entry:
    """The manifest entry of the finished run in the directory `run`. `weights` states where its file is.

    Description, license and data are by default those of the recipe in the package's manifest. They must be given for a
    run on images of the user's own (`--data`). Everything else is read from the run. Absolute paths are cut to their
    last part.

    Raises:
        RunError: the run has no checkpoint, no readable results, or results of another checkpoint.
        InvalidInputError: something must be given and is not.
        UnknownModelError: the recipe is not in the package's manifest, and something is not given.
    """
    run = Path(run)
    _require_files(run, (CHECKPOINT_FILE, RESULTS_FILE))
    return _entry_of(run, read_file(run / CHECKPOINT_FILE), weights, description, license, data)


def _require_files(run: Path, names: tuple[str, ...]) -> None:
    for name in names:
        if not (run / name).is_file():
            advice = (
                f"measure it: `idgan evaluate {run}`"
                if name == RESULTS_FILE
                else "repeat its `idgan train` command to finish it"
            )
            raise RunError(f"{run} has no {name}, so it is no finished run; {advice}")


def _entry_of(
    run: Path,
    file: CheckpointFile,
    weights: Weights,
    description: str | None = None,
    license: str | None = None,
    data: DataSet | None = None,
) -> Entry:
    try:
        results = read_json(run / RESULTS_FILE)
        measured, metrics = results["sha256"], results["metrics"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{run / RESULTS_FILE} has no results of this package: delete it, and measure again: `idgan evaluate {run}`"
        ) from error
    if measured != file.sha256:
        raise RunError(f"{run / RESULTS_FILE} belongs to another checkpoint; measure this one: `idgan evaluate {run}`")
    training = _training_of(file)
    record = TrainingRecord.from_dict(training)
    if description is None or license is None or data is None:
        if record.data:
            raise InvalidInputError(
                f"{run} was trained on {record.data}, which may differ from the data of {record.recipe}: "
                "give --description, --license and --data"
            )
        manifest = Manifest.read(package_manifest())
        if record.recipe not in manifest.names():
            raise UnknownModelError(
                f"{run} was trained by the recipe {record.recipe!r}, which the package's manifest does not describe: "
                "give --description, --license and --data"
            )
        known = manifest[record.recipe]
        description, license, data = description or known.description, license or known.license, data or known.data
    config = file.config
    return Entry(
        status="released",
        description=description,
        license=license,
        data=data,
        resolution=config.resolution,
        image_channels=config.image_channels,
        c_dim=config.c_dim,
        s_dim=config.s_dim,
        model=config.to_dict(),
        dims=file.info.get("dims"),
        weights=weights,
        training=_without_private_paths(training),
        metrics=metrics,
    )


def _training_of(file: CheckpointFile) -> dict[str, Any]:
    """The training record in `file`, as JSON object."""
    training = file.info.get("training")
    if not training:
        raise RunError(f"{file.path} has no record of its training; publish the checkpoint of an `idgan train` run")
    return dict(training)


def _without_private_paths(value: Any) -> Any:
    """JSON `value` with every absolute path cut to its last part. Directories of a private machine stay private."""
    if isinstance(value, dict):
        return {name: _without_private_paths(content) for name, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_private_paths(content) for content in value]
    if not isinstance(value, str):
        return value
    if re.match(ABSOLUTE, value):
        return _last_part(value)
    try:
        words = shlex.split(value)
    except ValueError:
        words = [value]
    cut = [_last_part(word) for word in words]
    return value if cut == words else shlex.join(cut)


def _last_part(word: str) -> str:
    """The last part of an absolute path, also behind `name=`. Other words stay as they are."""
    name, equals, path = word.rpartition("=")
    if not re.match(ABSOLUTE, path):
        return word
    return name + equals + re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def refuse_name(name: str | None, training: dict[str, Any]) -> None:
    """Refuse the `name` of a recipe for a run of another method than that recipe's.

    `training` is the record of the run.

    Raises:
        InvalidInputError: says which method the run is of.
    """
    method = TrainingRecord.from_dict(training).method
    if method not in (None, *MAIN_METHODS) and name in Manifest.read(package_manifest()).entries:
        raise InvalidInputError(
            f"this run is of the method {method}, and {name!r} is an {TITLE}: "
            f"choose another name, such as {name}-{method}"
        )


def embed(run: str | Path, checkout: str | Path, **terms: Any) -> Entry:
    """Make the finished run in `run` the embedded checkpoint of its recipe, in the source tree `checkout`.

    `terms` are `description`, `license` and `data`, as in `entry_of`.

    Returns:
        The new entry in the manifest of `checkout`.

    Raises:
        InvalidInputError: the run is of another method than the recipe.
        RunError: it is not finished or not measured.
    """
    run, checkout = Path(run), Path(checkout)
    load_plugins()
    _require_files(run, (CHECKPOINT_FILE, RESULTS_FILE))
    file = read_file(run / CHECKPOINT_FILE)
    training = _training_of(file)
    name = str(training.get("recipe"))
    refuse_name(name, training)
    weights = Weights(file=f"{name}.safetensors", sha256=file.sha256, bytes=len(file.data), embedded=True)
    entry = _entry_of(run, file, weights, **terms)
    write_atomically(checkout / "idgan" / "weights" / weights.file, file.data)
    write_entry(checkout / "weights_manifest.json", name, entry)
    return entry


# ------------------------------------------------------------------ to a hub


def publish(
    run: str | Path,
    repo: str,
    *,
    name: str | None = None,
    private: bool = False,
    tag: str | None = None,
    dry_run: bool = False,
    endpoint: str | None = None,
    token: str | bool | None = None,
    **terms: Any,
) -> tuple[Entry, dict[str, bytes]]:
    """Publish the finished run in the directory `run` as the hub repository `repo`, in one commit.

    A missing repository is made. If the upload is interrupted, the repository has none of the new files. Publishing the
    same again makes no commit.

    Args:
        name: name in a manifest, by default that of the repository.
        private: make the repository private. A public one is refused.
        tag: tag for the commit. A tag of that name at another commit is not moved, and is an error.
        dry_run: send nothing. The entry's revision is `NO_COMMIT`.
        endpoint, token: as in `idgan.load`.
        terms: description, license and data, as in `entry_of`.

    Returns:
        (entry, files): the manifest entry that pins the commit, and the content of the commit, file name -> bytes.

    Raises:
        RunError: the run is not finished, not measured, or does not compute its golden outputs.
        InvalidInputError: the repository or the entry has the name of a recipe, and the run is of another method.
        HubError: the hub did not take it. Subclasses say why.
    """
    run = Path(run)
    load_plugins()
    for value, pattern, accepted in (
        (repo, REPO_NAME, '"organization/name"'),
        (tag or "x", r"\w[\w.-]*", "a tag: letters, digits, . _ -"),
    ):
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise InvalidInputError(f"{value!r} is not {accepted}")
    _require_files(run, RUN_FILES)
    file = read_file(run / CHECKPOINT_FILE)
    weights = Weights(CHECKPOINT_FILE, file.sha256, len(file.data), repo=repo, revision=NO_COMMIT)
    entry = _entry_of(run, file, weights, **terms)
    for taken in {repo.partition("/")[2], name}:
        refuse_name(taken, entry.training or {})
    if not verify(ResolvedCheckpoint(repo, file.path, file.sha256, file=file))["ok"]:
        raise RunError(
            f"the networks of {run} do not compute its golden outputs; "
            f"`idgan verify {run}` shows more. Nothing was published"
        )
    files = {name: (run / name).read_bytes() for name in RUN_FILES} | {CHECKPOINT_FILE: file.data}
    files[RECIPE_FILE] = _public_recipe(run / RECIPE_FILE, files[RECIPE_FILE])
    files["README.md"] = model_card(entry, build_sampler(file)).encode()
    if not dry_run:
        commit = _upload(repo, files, private, tag, endpoint, token)
        entry = replace(entry, weights=replace(weights, revision=commit))
    return entry, files


def _public_recipe(path: Path, content: bytes) -> bytes:
    """The `content` of a run's recipe.json without private paths."""
    try:
        recipe = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {error}. Repeat the `idgan train` command that made the run") from error
    public = _without_private_paths(recipe)
    return content if public == recipe else (json.dumps(public, indent=2) + "\n").encode()


def _upload(
    repo: str,
    files: dict[str, bytes],
    private: bool,
    tag: str | None,
    endpoint: str | None,
    token: str | bool | None,
) -> str:
    """Commit `files` to `repo` unless it has them already, and tag that commit. Returns the commit, 40 hex digits."""
    from huggingface_hub import CommitOperationAdd, HfApi

    from idgan.zoo.remote import Remote, check_token

    remote = Remote(repo, CHECKPOINT_FILE, "main", endpoint=endpoint, token=token)
    if remote.offline:
        raise HubOfflineError(f"{repo} cannot be published in offline mode; unset HF_HUB_OFFLINE")
    check_token(token)
    api = HfApi(remote.endpoint, token=token)
    with _publishing(remote):
        api.create_repo(repo, private=private, exist_ok=True)
        head = api.model_info(repo)
        if private and not head.private:
            raise HubError(
                f"{repo} exists and is public: make it private first, or publish without --private. "
                "Nothing was published"
            )
        commit: str = api.create_commit(  # the client skips files that have not changed, and an empty commit
            repo,
            [CommitOperationAdd(name, content) for name, content in files.items()],
            commit_message="Publish a checkpoint",
            parent_commit=head.sha,
        ).oid
        if tag is not None:
            api.create_tag(repo, tag=tag, revision=commit, exist_ok=True)
            if (there := api.model_info(repo, revision=tag).sha) != commit:
                raise HubError(
                    f"the tag {tag} of {repo} is at {there} already and is not moved; {commit} "
                    "is published without a tag. Choose another tag"
                )
    return commit


@contextmanager
def _publishing(remote: Any) -> Iterator[None]:
    """Turn the client's errors into errors of this package."""
    from idgan.zoo import remote as hub

    try:
        yield
    except hub.client.HTTPError as error:
        if hub.is_broken_connection(error):
            raise HubUnreachableError(
                f"{remote.repo}: the connection to {remote.host} failed ({error}). "
                "Nothing half-finished is visible there; publish again."
            ) from error
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 403:
            raise HubAuthError(
                f"{remote.repo}: this token may not write there; use one with write access to {remote.repo}."
            ) from error
        if status == 412:
            raise HubError(
                f"{remote.repo} was changed by someone else meanwhile. Nothing was published; publish again."
            ) from error
        raise hub.translated(error, remote) from error
    except (hub.client.OfflineModeIsEnabled, hub.client.LocalTokenNotFoundError, hub.client.HFValidationError) as error:
        raise hub.translated(error, remote) from error

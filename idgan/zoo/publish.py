"""Publish a finished run: its manifest entry, and its place in the source tree or on a hub."""

import re
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
)
from idgan.evaluation.results import RESULTS_FILE
from idgan.files import write_atomically
from idgan.registry import load_plugins
from idgan.sampler import Sampler
from idgan.zoo.card import MAIN_METHODS, TITLE
from idgan.zoo.entries import CONFIG_FILE, FILE_NAME, REPO_NAME, Entry, SavedModel, Weights
from idgan.zoo.manifest import Manifest, check_name, package_manifest, write_entry
from idgan.zoo.models import load, verify
from idgan.zoo.pretrained import content_of, facts_of, measured, pack
from idgan.zoo.weights import CHECKPOINT_FILE

__all__ = ["MAX_EMBEDDED_BYTES", "NO_COMMIT", "check_target", "embed", "publish", "push"]

MAX_EMBEDDED_BYTES = 12 << 20
"""Size of the largest checkpoint inside the package. A larger one lies beside it, and wheels do not include it."""
NO_COMMIT = "0" * 40
"""Takes the place of the commit in an entry until the checkpoint is published."""


# ------------------------------------------------------------------ entries


def _load_run(run: Path) -> Sampler:
    """The model of a finished and measured run, or in a directory of `Sampler.save_pretrained`.

    Raises:
        RunError: the run has no checkpoint, no readable results, results of another checkpoint, or no training record.
    """
    has_results = (run / CONFIG_FILE).is_file()  # a saved model, whose config has earlier results
    for name in (CHECKPOINT_FILE,) if has_results else (CHECKPOINT_FILE, RESULTS_FILE):
        if not (run / name).is_file():
            advice = (
                f"measure it: `idgan evaluate {run}`"
                if name == RESULTS_FILE
                else "repeat its `idgan train` command to finish it"
            )
            raise RunError(f"{run} has no {name}, so it is no finished run; {advice}")
    sampler = load(f"{run}/", device="cpu")  # with the slash, it is no name of the manifest
    assert sampler.origin is not None
    if not has_results:
        measured(run, sampler.origin.sha256)
    if not sampler.info.get("training"):
        raise RunError(
            f"{run / CHECKPOINT_FILE} has no record of its training; publish the checkpoint of an `idgan train` run"
        )
    return sampler


def _stated(saved: SavedModel, sampler: Sampler) -> SavedModel:
    """`saved`, if it states a license and the data."""
    if saved.license is None or saved.data is None:
        record = sampler.record
        if record.data:
            reason = f"it was trained on {record.data}, which may differ from the data of {record.recipe}"
        elif record.recipe in Manifest.read(package_manifest()).entries:
            reason = f"it was trained on the data set {sampler.info.get('data')}, which is not that of {record.recipe}"
        else:
            reason = f"the package's manifest does not describe the recipe {record.recipe!r}"
        raise InvalidInputError(
            f"license and data of this model are not known: {reason}. Give --license and --data "
            "(in Python: license=, data=)"
        )
    return saved


def _entry(saved: SavedModel, sampler: Sampler, weights: Weights) -> Entry:
    """The entry of a model with the license and data that `saved` states."""
    assert saved.license is not None and saved.data is not None
    return Entry(
        status="released",
        description=saved.description,
        license=saved.license,
        data=saved.data,
        resolution=saved.resolution,
        image_channels=saved.image_channels,
        c_dim=saved.c_dim,
        s_dim=saved.s_dim,
        recipe_steps=saved.recipe_steps,
        active_dims=saved.active_dims,
        dim_kl=tuple(round(kl, 3) for kl in sampler.dim_kl),
        parameters=sampler.parameter_counts,
        model=saved.model,
        dims=saved.dims or None,
        weights=weights,
        training=saved.training,
        metrics=saved.metrics,
    )


def refuse_name(name: str | None, sampler: Sampler) -> None:
    """Refuse the `name` of a recipe for a model of another method than that recipe's.

    Raises:
        InvalidInputError: says which method the model is of.
    """
    method = sampler.record.method
    if method not in (None, *MAIN_METHODS) and name in Manifest.read(package_manifest()).entries:
        raise InvalidInputError(
            f"this run is of the method {method}, and {name!r} is an {TITLE}: "
            f"choose another name, such as {name}-{method}"
        )


# ------------------------------------------------------------------ to the source tree


def embed(run: str | Path, checkout: str | Path, **terms: Any) -> Entry:
    """Make the finished run in `run` the checkpoint of its recipe in the source tree `checkout`.

    A file of at most `MAX_EMBEDDED_BYTES` goes into the package. A larger one goes into the folder `weights` beside it.
    A checkout, an editable install, an sdist and an archive for torch.hub have that folder. A wheel does not.

    Everything is read from the run. Absolute paths are cut to their last part. `terms` are `description`, `license` and
    `data`, see `idgan.zoo.pretrained.facts_of`. License and data must be given for a run on other images than its
    recipe's.

    Returns:
        The new entry in the manifest of `checkout`.

    Raises:
        InvalidInputError: the run is of another method than the recipe, or license or data are unknown.
        RunError: it is not finished or not measured.
    """
    checkout = Path(checkout)
    sampler = _load_run(Path(run))
    if sampler.record.recipe is None:
        raise InvalidInputError(f"{run} was not trained by a recipe, so its entry has no name; publish it with a name")
    name = check_name(sampler.record.recipe)
    refuse_name(name, sampler)
    content, _ = content_of(sampler)
    saved = _stated(facts_of(sampler, content, True, **terms), sampler)
    is_small = len(content) <= MAX_EMBEDDED_BYTES
    weights = replace(saved.weights, file=f"{name}.safetensors", embedded=is_small, beside=not is_small)
    entry = _entry(saved, sampler, weights)
    manifest = checkout / "weights_manifest.json"
    known = Manifest.read(manifest).entries.get(name) if manifest.exists() else None
    if known is not None:  # what the recipe asks is also known for a run on other images
        entry = replace(entry, recipe_steps=known.recipe_steps)
    inside, beside = (folder / weights.file for folder in (checkout / "idgan" / "weights", checkout / "weights"))
    place, other = (inside, beside) if is_small else (beside, inside)
    write_atomically(place, content)
    write_entry(manifest, name, entry)
    other.unlink(missing_ok=True)  # the file of an older model of another size
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
    """Publish the finished run in the directory `run` as the hub repository `repo`, in one commit. See `push`.

    Args:
        run: a measured run directory, or a directory of `Sampler.save_pretrained`.
        repo: "organization/name".
        name: name in a manifest, by default that of the repository.
        dry_run: send nothing. The entry's revision is `NO_COMMIT`.
        private, tag, endpoint, token: see `push`.
        terms: `description`, `license` and `data`, as in `embed`.

    Returns:
        (entry, files): the manifest entry that pins the commit, and the content of the commit, file name -> bytes.

    Raises:
        RunError: the run is not finished, not measured, or does not reproduce its golden outputs.
        InvalidInputError, HubError: as in `push`.
    """
    load_plugins()
    check_target(repo, tag)
    sampler = _load_run(Path(run))
    refuse_name(name, sampler)
    saved, files = _pack(sampler, repo, **terms)
    commit = NO_COMMIT if dry_run else _upload(repo, files, private, tag, endpoint, token)
    return _entry(saved, sampler, replace(saved.weights, repo=repo, revision=commit)), files


def push(
    sampler: Sampler,
    repo: str,
    *,
    private: bool = False,
    tag: str | None = None,
    endpoint: str | None = None,
    token: str | bool | None = None,
    **terms: Any,
) -> str:
    """Commit the files of `sampler` to the hub repository `repo`, in one commit.

    A missing repository is created. If the upload is interrupted, the repository has none of the new files. Pushing the
    same files again makes no commit.

    Args:
        sampler: the model.
        repo: "organization/name".
        private: create a private repository. An existing public one is refused.
        tag: tag for the commit. A tag of that name at another commit is not moved, and raises an error.
        endpoint, token: as in `idgan.load`.
        terms: `name`, `description`, `license` and `data`, see `idgan.zoo.pretrained.facts_of`. License and data must
            be known or given.

    Returns:
        The address of the commit.

    Raises:
        InvalidInputError: license or data are unknown, or a baseline would take the name of a recipe.
        RunError: the networks do not reproduce the golden outputs in their file.
        HubError: the hub refused the commit or could not be reached. Subclasses say why.
    """
    check_target(repo, tag)
    _, files = _pack(sampler, repo, **terms)
    commit = _upload(repo, files, private, tag, endpoint, token)
    from idgan.zoo.remote import Remote  # its import takes a tenth of a second

    return f"{Remote(repo, CHECKPOINT_FILE, commit, endpoint=endpoint).host}/{repo}/commit/{commit}"


def check_target(repo: str, tag: str | None) -> None:
    """Refuse a malformed name of a repository, or a malformed tag.

    Raises:
        InvalidInputError: says what is accepted.
    """
    for value, pattern, accepted in (
        (repo, REPO_NAME, '"organization/name"'),
        ("x" if tag is None else tag, FILE_NAME, "a tag: up to 128 ASCII letters, digits, . _ - and no .."),
    ):
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise InvalidInputError(f"{value!r} is not {accepted}")


def _pack(sampler: Sampler, repo: str, **terms: Any) -> tuple[SavedModel, dict[str, bytes]]:
    """The files of `sampler` for a hub, and what its `config.json` says. What must not be published is refused."""
    refuse_name(repo.partition("/")[2], sampler)
    saved, files = pack(sampler, repo=repo, **terms)
    _stated(saved, sampler)
    origin = sampler.origin
    if origin is not None and saved.changed_from != origin.sha256 and not verify(origin)["ok"]:
        raise RunError(
            f"the networks of {origin.path} do not compute its golden outputs; "
            f"`idgan verify {origin.path}` shows more. Nothing was published"
        )
    return saved, files


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

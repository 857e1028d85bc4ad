"""From a finished run to a checkpoint that others load: its manifest entry, its place in the package or on a hub, its model card."""

import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from idgan import zoo
from idgan.errors import HubAuthError, HubError, HubOfflineError, HubUnreachableError, InvalidInputError, RunError
from idgan.files import sha256_of, write_atomically
from idgan.zoo.manifest import REPO_NAME, Entry, Manifest, Weights, package_manifest, write_entry
from idgan.zoo.weights import CHECKPOINT_FILE, read_checkpoint

__all__ = ["NO_COMMIT", "embed", "entry_of", "model_card", "publish"]

RESULTS_FILE = "results.json"
RUN_FILES = (CHECKPOINT_FILE, RESULTS_FILE, "recipe.json", "samples.png", "traversals.png")
PUBLISHED, TITLE = "id-gan", "ID-GAN"
"""The method that recipes are of."""
NO_COMMIT = "0" * 40
"""Stands in an entry where the commit will be, as long as nothing is published."""


def entry_of(run, weights, *, description=None, license=None, data=None):
    """The manifest `Entry` of the finished run in the directory `run`, whose file is where `weights` (a `Weights`) says.

    What is not given of description, license and data (a `DataSet`) is what the package's manifest says of the recipe, unless the run was
    trained on images of its own (`--data`); everything else is read from the run.

    Raises:
        RunError: the run has no checkpoint, no results that can be read, or results of another checkpoint.
        InvalidInputError: something is not given, and the run was trained on images of its own.
        UnknownModelError: something is not given, and the recipe is not in the package's manifest.
    """
    run = Path(run)
    for name in (CHECKPOINT_FILE, RESULTS_FILE):
        if not (run / name).is_file():
            raise RunError(
                f"{run} has no {name}: finish it with `idgan train`, and measure it with `idgan evaluate {run}`"
            )
    try:
        results = json.loads((run / RESULTS_FILE).read_text())
        measured, metrics = results["sha256"], results["metrics"]
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{run / RESULTS_FILE} holds no results of this package: delete it, and measure anew: `idgan evaluate {run}`"
        ) from error
    if measured != sha256_of(run / CHECKPOINT_FILE):
        raise RunError(f"{run / RESULTS_FILE} belongs to another checkpoint; measure this one: `idgan evaluate {run}`")
    sampler = read_checkpoint(run / CHECKPOINT_FILE)
    training = sampler.info["training"]
    if None in (description, license, data):
        if training.get("data"):
            other = f"{run} was trained on {training['data']}, which need not be what {training['recipe']} is of"
            raise InvalidInputError(f"{other}: give --description, --license and --data")
        known = Manifest.read(package_manifest())[training["recipe"]]
        description, license, data = description or known.description, license or known.license, data or known.data
    return Entry(
        status="released",
        description=description,
        license=license,
        data=data,
        resolution=sampler.resolution,
        image_channels=sampler.image_channels,
        c_dim=sampler.c_dim,
        s_dim=sampler.s_dim,
        model=sampler.config.to_dict(),
        weights=weights,
        training=training,
        metrics=metrics,
    )


def refuse_name(name, training):
    """Refuse the name of a recipe for a run, whose checkpoint says `training` of itself, of another method than that recipe's."""
    method = _system(training)
    if method not in (None, PUBLISHED) and name in Manifest.read(package_manifest()).entries:
        raise InvalidInputError(
            f"this run is of the method {method}, and {name!r} is an {TITLE}: choose another name, such as {name}-{method}"
        )


def _system(training):
    """The method that a checkpoint says it is: a name, or None where it is by no recipe of the package."""
    return training.get("method", PUBLISHED)


def embed(run, checkout):
    """Make the finished run in the directory `run` the embedded checkpoint of its recipe, in the source tree `checkout`; -> its `Entry`.

    Raises:
        InvalidInputError: the run is of a method that is only compared with the recipe's.
        RunError: it is not finished or not measured.
    """
    path = Path(run) / CHECKPOINT_FILE
    if not path.is_file():
        raise RunError(f"{run} has no {CHECKPOINT_FILE}: finish it with `idgan train`")
    content = path.read_bytes()
    training = read_checkpoint(path).info["training"]
    name = training["recipe"]
    refuse_name(name, training)
    weights = Weights(file=f"{name}.safetensors", sha256=sha256_of(path), bytes=len(content), embedded=True)
    entry = entry_of(run, weights)
    write_atomically(Path(checkout) / "idgan" / "weights" / weights.file, content)
    write_entry(Path(checkout) / "weights_manifest.json", name, entry)
    return entry


# ------------------------------------------------------------------ to a hub


def publish(run, repo, *, name=None, private=False, tag=None, dry_run=False, endpoint=None, token=None, **terms):
    """Publish the finished run in the directory `run` as the hub repository `repo`, which is made if missing, in one commit.

    Whatever interrupts it, the repository holds all of the new files or none. Publishing what is there already makes no commit.

    Args:
        name: what a manifest will call it; None: as the repository is called.
        private: make the repository private; one that is public already is refused.
        tag: a tag for the commit; a tag of that name that is elsewhere stays there, and is an error.
        dry_run: send nothing; the entry's revision is `NO_COMMIT`.
        endpoint, token: as in `idgan.load`.
        terms: description, license and data, as in `entry_of`.

    Returns:
        (entry, files): the manifest `Entry` that pins the commit, and what the commit holds, file name -> bytes.

    Raises:
        RunError: the run is not finished, not measured, or does not compute its golden outputs.
        InvalidInputError: the repository or the manifest's entry would be called like a recipe, and the run is not of its method.
        HubError: a subclass says why the hub did not take it.
    """
    run = Path(run)
    for value, pattern, accepted in (
        (repo, REPO_NAME, '"organisation/name"'),
        (tag or "x", r"\w[\w.-]*", "a tag: letters, digits, . _ -"),
    ):
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise InvalidInputError(f"{value!r} is not {accepted}")
    for file in RUN_FILES:
        if not (run / file).is_file():
            advice = (
                f"measure it: `idgan evaluate {run}`"
                if file == RESULTS_FILE
                else "the `idgan train` that made it continues it"
            )
            raise RunError(f"{run} has no {file}, so it is no finished run; {advice}")
    files = {file: (run / file).read_bytes() for file in RUN_FILES}
    content = files[CHECKPOINT_FILE]
    weights = Weights(CHECKPOINT_FILE, hashlib.sha256(content).hexdigest(), len(content), repo=repo, revision=NO_COMMIT)
    entry = entry_of(run, weights, **terms)
    for taken in {repo.partition("/")[2], name}:
        refuse_name(taken, entry.training)
    if not zoo.verify(run.resolve() / CHECKPOINT_FILE)["ok"]:
        raise RunError(
            f"the networks of {run} do not compute its golden outputs; `idgan verify {run}` tells more. Nothing was published"
        )
    files["README.md"] = model_card(entry, read_checkpoint(run / CHECKPOINT_FILE)).encode()
    if not dry_run:
        commit = _upload(repo, files, private, tag, endpoint, token)
        entry = replace(entry, weights=replace(weights, revision=commit))
    return entry, files


def _upload(repo, files, private, tag, endpoint, token):
    """Commit `files` to `repo`, unless it holds them already, and tag that commit; -> its 40 hex digits."""
    from huggingface_hub import CommitOperationAdd, HfApi

    from idgan.zoo import remote as hub

    remote = hub.Remote(repo, CHECKPOINT_FILE, "main", endpoint=endpoint, token=token)
    if remote.offline:
        raise HubOfflineError(f"{repo} cannot be published in offline mode; unset HF_HUB_OFFLINE")
    hub.refuse_odd_token(token)
    api = HfApi(remote.endpoint, token=token)
    with _publishing(remote):
        api.create_repo(repo, private=private, exist_ok=True)
        head = api.model_info(repo)
        if private and not head.private:
            raise HubError(
                f"{repo} exists and is public: make it private first, or publish without --private. Nothing was published"
            )
        commit, held = head.sha, {item.path: item for item in api.list_repo_tree(repo, revision=head.sha)}
        if not all(name in held and _is_same(held[name], content) for name, content in files.items()):
            operations = [CommitOperationAdd(name, content) for name, content in files.items()]
            commit = api.create_commit(
                repo, operations, commit_message="Publish a checkpoint", parent_commit=head.sha
            ).oid
        if tag is not None:
            api.create_tag(repo, tag=tag, revision=commit, exist_ok=True)
            if (there := api.model_info(repo, revision=tag).sha) != commit:
                raise HubError(
                    f"{repo}@{tag} is {there} already, and stays there; {commit} is published without a tag. Choose another"
                )
    return commit


def _is_same(held, content):
    """Whether a file of the hub (a `RepoFile`) has this content: it states the sha256 of large files, git's hash of others."""
    if held.lfs:
        return held.lfs.sha256 == hashlib.sha256(content).hexdigest()
    return held.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def _publishing(remote):
    """The client's errors come out as ours."""
    from idgan.zoo import remote as hub

    try:
        yield
    except hub.client.HTTPError as error:
        if hub.is_broken_connection(error):
            raise HubUnreachableError(
                f"{remote.repo}: the connection to {remote.host} failed ({error}). Nothing half-finished is visible there; publish again."
            ) from error
        status = error.response.status_code
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


# ------------------------------------------------------------------ the model card


def model_card(entry, sampler):
    """The README.md (Markdown, with the hub's front matter) of the checkpoint that `entry` describes and `sampler` holds."""
    training, repo = entry.training, entry.weights.repo
    spdx = re.fullmatch(r"(?!LicenseRef)\S+", entry.license) is not None
    license = (
        [f"license: {entry.license.lower()}"]
        if spdx
        else ["license: other", f"license_name: {json.dumps(entry.license.lower())}"]
    )
    reads = "encoder" not in sampler.untrained
    limits = [f"- Weights: {entry.license}. Data: {entry.data.name}, {entry.data.license}; its terms bind here too."]
    if reads:
        limits += [
            f"- It knows {entry.data.name} and nothing else: other images are encoded as if they came from there, biases included."
        ]
    if idle := entry.c_dim - len(sampler.active_dims):
        limits += [f"- {idle} of {entry.c_dim} dimensions of c carry nothing."]
    limits += [
        "- What dimensions of c mean was found without labels: nothing guarantees that one dimension is one property."
    ]
    if reads:
        limits += ["- Encoding keeps only what c holds: an image is not reproduced exactly."]
    return "\n".join(
        [
            "---",
            *license,
            "library_name: idgan",
            "pipeline_tag: unconditional-image-generation",
            "tags: [idgan, gan, vae, disentanglement]",
            "---",
            f"# {repo.partition('/')[2]}",
            f"\n{entry.description}. {_kind(entry, sampler)}",
            "\n![samples](samples.png)\n\n![what each dimension does](traversals.png)",
            f'\n## Use\n\n```python\nimport idgan\n\nmodel = idgan.load("{repo}")\nimages = model.sample(n=8, seed=0)\n```',
            "\n## Measured\n\n| metric | value | samples | seed | protocol |\n|---|---|---|---|---|",
            *map(_metric_row, entry.metrics),
            f"\nDetails are in {RESULTS_FILE}. Values compare only with values of the same protocol and number of samples.",
            f"\n## Training\n\n    {training['command']}",
            f"\nSteps {json.dumps(training['steps'])}, seed {training['seed']}, {training['wall_time_seconds'] / 3600:.1f} hours on"
            f" {training['hardware']}, with {', '.join(f'{name} {version}' for name, version in training['versions'].items())}."
            " All settings are in recipe.json.",
            "\n## License and limits\n",
            *limits,
            "",
        ]
    )


def _kind(entry, sampler):
    """What method the checkpoint is of, and what it makes of what: a few sentences."""
    method, live = _system(entry.training), len(sampler.active_dims)
    told = f" ({live} carry information)" if any(sampler.dim_kl) else ""
    code = f"code c of {entry.c_dim} dimensions{told}"
    images = f"{entry.resolution}x{entry.resolution} {'color' if entry.image_channels == 3 else 'gray'} images"
    nuisance = f" and a nuisance s of {entry.s_dim}" if entry.s_dim else ""
    if method == PUBLISHED:
        return f"An {TITLE}: a VAE finds a disentangled {code}, and\na GAN makes sharp {images} from c{nuisance}."
    which = (
        f"This is no {TITLE} but the method `{method}`, which {TITLE} is compared with."
        if method
        else "The recipe is its maker's own."
    )
    noise = f" Not trained, and so not served: its {' and '.join(sampler.untrained)}." if sampler.untrained else ""
    return f"{which}\nIt makes {images} from a {code}{nuisance}.{noise}"


def _metric_row(metric):
    confidence = metric.get("confidence")
    value = f"{metric['value']:.4f}" + ("" if confidence is None else f" ± {confidence:.4f}")
    cells = (metric["name"], value, metric["samples"], metric["seed"], metric["protocol"])
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

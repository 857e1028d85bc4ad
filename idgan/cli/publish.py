"""`idgan publish`, `cache`: publish a run, and manage the checkpoints in the hub cache."""

from collections.abc import Iterator
from typing import Any

import click

from idgan.cli.options import InputPath, OutputDirectory, OutputFile, say_json


@click.command()
@click.argument("run", type=InputPath(dir_okay=True))
@click.option("--repo", required=True, metavar="ORG/NAME", help="The hub repository. It is created if missing.")
@click.option("--private", is_flag=True, help="Create a private repository. An existing public one is refused.")
@click.option("--revision", metavar="TAG", help="Tag of the commit.")
@click.option("--dry-run", is_flag=True, help="Show what would be published, and send nothing.")
@click.option("--manifest", type=OutputFile(), help="Add the entry to this manifest, for IDGAN_MANIFEST.")
@click.option("--name", help="The entry's name in the manifest.  [default: the repository's]")
@click.option("--token", help="A hub token with write access.  [default: HF_TOKEN, or the login of `hf auth login`]")
@click.option("--description", help="One line of text.  [default: made from the training record]")
@click.option("--license", help="SPDX expression for the weights.  [default: that of the recipe]")
@click.option(
    "--data", nargs=2, metavar="NAME LICENSE", help="The training data and its license.  [default: the recipe's]"
)
@click.option(
    "--space",
    type=OutputDirectory(),
    help="Also write the page of `idgan demo` to this directory, as a hub Space. Needs the extra `demo`.",
)
def publish(
    run: str,
    repo: str,
    private: bool,
    revision: str | None,
    dry_run: bool,
    manifest: str | None,
    name: str | None,
    token: str | None,
    description: str | None,
    license: str | None,
    data: tuple[str, str] | None,
    space: str | None,
) -> None:
    """Publish the finished and measured run in the directory RUN.

    Weights, config.json, pictures and a model card go to the Hugging Face Hub, or to HF_ENDPOINT, in one commit. If
    they are published already, no commit is made. Prints the manifest entry that pins the commit.

    \b
    idgan publish runs/mine --repo org/mine --dry-run
    idgan publish runs/mine --repo org/mine --revision v1 --manifest zoo.json
    """
    from pathlib import Path

    from idgan.errors import InvalidInputError
    from idgan.zoo import manifest as zoo_manifest
    from idgan.zoo.entries import DataSet
    from idgan.zoo.publish import check_target
    from idgan.zoo.publish import publish as send

    if space and dry_run:
        raise click.UsageError("--dry-run writes nothing, so it excludes --space")
    name = name or repo.rpartition("/")[2]
    if manifest:  # checked now, because after the upload it would be too late
        try:
            zoo_manifest.check_name(name)
        except InvalidInputError as error:
            raise InvalidInputError(f"{error}; give another with --name") from error
        if Path(manifest).exists():
            zoo_manifest.Manifest.read(manifest)
    if space:
        from idgan.demo import write_space

        check_target(repo, revision)
        write_space(space, f"{repo}@{revision}" if revision else repo)
    terms: dict[str, Any] = {"description": description, "license": license}
    terms["data"] = DataSet(*data) if data else None
    entry, files = send(run, repo, name=name, private=private, tag=revision, dry_run=dry_run, token=token, **terms)
    if dry_run:
        click.echo(files["README.md"].decode() + "\n", err=True)
    for file, content in files.items():
        click.echo(f"{'would publish' if dry_run else 'published'} {repo}/{file} ({len(content):,} bytes)", err=True)
    say_json({name: entry.to_json()})
    if manifest and not dry_run:
        zoo_manifest.write_entry(manifest, name, entry)
        click.echo(f"{manifest} has it as {name}", err=True)
    if space:
        from idgan.demo import SOURCE_ADVICE

        click.echo(f"{space} is a Space. {SOURCE_ADVICE}", err=True)
        click.echo(f"Then `hf upload ORG/NAME {space} --repo-type space` publishes it", err=True)


@click.command()
@click.option("--verify", is_flag=True, help="Check the hash of every file. Exits with 1 if one is damaged.")
@click.option("--clean", is_flag=True, help="Delete the leftovers of interrupted or failed downloads.")
@click.option("--cache-dir", type=OutputDirectory(), help="The cache.  [default: HF_HUB_CACHE]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cache(verify: bool, clean: bool, cache_dir: str | None, as_json: bool) -> None:
    """Show the checkpoints of idgan in the hub cache.

    The list has their sizes, and leftovers of interrupted or failed downloads.

    \b
    idgan cache
    idgan cache --verify --clean
    """
    from idgan.zoo import cache as stored

    freed = stored.clean(cache_dir) if clean else None
    repos = stored.scan(cache_dir)
    checked = stored.verify(cache_dir) if verify else []
    faults = {str(file.path): fault for file, fault in checked if fault}
    if as_json:
        say_json(
            {"repositories": [_repo(repo) for repo in repos], "freed": freed, "checked": len(checked), "faults": faults}
        )
    else:
        for line in _lines(repos, freed, checked if verify else None, faults):
            click.echo(line)
    if faults:
        raise SystemExit(1)


def _repo(repo: Any) -> dict[str, Any]:
    """A `CachedRepo` as a JSON object."""
    files = [
        {"name": file.name, "revision": file.revision, "path": str(file.path), "sha256": file.sha256}
        for file in repo.files
    ]
    return {"repo": repo.repo, "bytes": repo.bytes, "files": files, "leftovers": [str(path) for path in repo.leftovers]}


def _lines(repos: list[Any], freed: int | None, checked: list[Any] | None, faults: dict[str, str]) -> Iterator[str]:
    if freed is not None:
        yield f"{freed:,} bytes of leftovers deleted"
    for repo in repos:
        yield f"{repo.repo}  {repo.bytes:,} bytes"
        for file in repo.files:
            yield f"  {file.revision[:12]}  {file.name}"
        if repo.leftovers:
            yield f"  {len(repo.leftovers)} leftover(s) of failed downloads; `idgan cache --clean` deletes them"
    if not repos:
        yield "the cache holds no checkpoint of idgan"
    if checked is not None:
        yield f"{len(checked)} file(s) hashed, {len(faults)} damaged"
    for path, fault in faults.items():
        yield f"  {path}: {fault}; loading it fetches it again"

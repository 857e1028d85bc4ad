"""Image files that a command takes, the files that it writes for them, and the images that fail."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from idgan.errors import InvalidInputError

__all__ = ["Failures", "Source", "check_places", "results_of", "sources_of"]


@dataclass(frozen=True)
class Source:
    """An image file.

    Attributes:
        file: its path.
        stem: the path of its results below an output directory, without suffix.
        folder: the given folder that it is in. None if the file itself was given.
    """

    file: Path
    stem: Path
    folder: Path | None = None


def sources_of(images: tuple[str, ...]) -> list[Source]:
    """The image files among `images`, which are files and folders.

    Raises:
        InvalidInputError: a folder has no images.
    """
    from idgan.data.sources import FolderFiles

    sources = []
    for path in map(Path, images):
        if not path.is_dir():
            sources.append(Source(path, Path(path.stem)))
            continue
        folder = FolderFiles(path)
        for note in folder.notes:
            click.echo(f"{path}: {note}", err=True)
        if not folder.images:
            raise InvalidInputError(f"the folder {path} has no images")
        below = [Path(*Path(name).parts[1:]) for name in folder.images]
        sources += [Source(path / name, name.with_suffix(""), path) for name in below]
    return sources


def results_of(sources: list[Source], out: Path, ending: str) -> list[Path]:
    """The file below `out` that each source is written to. Sources with one stem keep their suffix.

    Raises:
        InvalidInputError: two sources would be written to one file, or as `check_places`.
    """
    stems = [source.stem for source in sources]
    results: dict[Path, Path] = {}
    for source in sources:
        stem = source.stem if stems.count(source.stem) == 1 else source.stem.with_name(source.file.name)
        result = out / stem.with_name(f"{stem.name}{ending}")
        if result in results:
            raise InvalidInputError(
                f"{results[result]} and {source.file} would both be written to {result}. "
                "Give them in separate calls with different --out"
            )
        results[result] = source.file
    check_places(sources, results)
    return list(results)


def check_places(sources: list[Source], results: Iterable[Path]) -> None:
    """Check that no result replaces a source, and that no picture is written into a folder of sources.

    Raises:
        InvalidInputError: one does, or would be. The next call would take the picture for one of the images.
    """
    pictures = [result.resolve() for result in results if result.suffix != ".json"]
    for folder in dict.fromkeys(source.folder for source in sources if source.folder):
        if any(picture.is_relative_to(folder.resolve()) for picture in pictures):
            raise InvalidInputError(
                f"results would be written among the images of the folder {folder}. Choose an --out outside of it"
            )
    files = {source.file.resolve() for source in sources}
    for result in results:
        if result.resolve() in files:
            raise InvalidInputError(f"{result} is one of the images, and would be overwritten. Choose another --out")


class Failures:
    """Images that could not be used. The others are finished first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.errors: dict[Path, InvalidInputError] = {}

    def of(self, sources: list[Source], read: Callable[[Path], Any]) -> Iterator[tuple[int, Source, Any]]:
        """Number, source and result of `read` for each source. One that cannot be read is said and left out."""
        for number, source in enumerate(sources):
            try:
                value = read(source.file)
            except InvalidInputError as error:
                self.errors[source.file] = error
                if self.count > 1:
                    click.echo(f"Failed: {error}", err=True)
                continue
            yield number, source, value

    def end(self) -> None:
        """Raise an error if an image failed, so that the command does not end with 0."""
        if not self.errors:
            return
        if self.count == 1:
            raise next(iter(self.errors.values()))
        from idgan.data.image_set import few

        raise InvalidInputError(f"{len(self.errors)} of {self.count} images failed: {few([*map(str, self.errors)])}")

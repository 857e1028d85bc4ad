"""`idgan prepare`: from published archives or folders to ready images, in parallel and resumable.

All work happens inside the directory. A progress file is in the directory until the index replaces it at the end.
Threads convert images ahead, but images are stored in order. To resume, images stored after the last update of the
progress file are cut off.
"""

import hashlib
import io
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import PIL
from PIL import Image

from idgan.data.attributes import attributes_of
from idgan.data.directory import data_directory
from idgan.data.image_folder import ARRAY_FILE, ATTRIBUTES_FILE, IMAGES_FOLDER, INDEX_FILE, PROGRESS_FILE, cut
from idgan.data.image_set import IMAGE_SETS, Crop, few
from idgan.data.sources import HUGGING_FACE, FileSource, is_hidden, open_files
from idgan.data.storage import ArrayStorage, FileStorage, Storage
from idgan.errors import DataError, InvalidInputError, check_integer
from idgan.files import read_json, user_path, write_atomically
from idgan.images import as_rgb, pixel_limit
from idgan.progress import progress as progress_bar

__all__ = ["Prepared", "prepare_images"]

SAVE_EVERY = 512
"""Images between two updates of the progress file. An interruption loses at most this many."""
MAX_ARRAY_RESOLUTION = 256
"""Above this resolution images stay files. Training steps hide their decoding, and an array would fill the disk."""
MAX_SKIPPED = 0.01
LOCK_FILE = ".lock"


@dataclass(frozen=True)
class Prepared:
    """What `prepare_images` made.

    Attributes:
        path: the directory.
        images: number of images.
        resolution: their height and width, in pixels.
        skipped: name -> reason, for each image that was left out.
        notes: sentences on what is missing or left out.
        new: whether there was work to do.
    """

    path: Path
    images: int
    resolution: int
    skipped: dict[str, str]
    notes: list[str]
    new: bool


def prepare_images(
    kind: str,
    source: str | Path,
    out: str | Path | None = None,
    resolution: int | None = None,
    *,
    limit: int | None = None,
    skip: int = 0,
    workers: int | None = None,
    max_pixels: int | None = None,
    source_side: int | None = None,
    progress: bool = False,
) -> Prepared:
    """Crop and resize the images of the set `kind` into a directory that `open_dataset` takes. `source` is only read.

    A second call continues an interrupted preparation, and does nothing for a finished one.

    Args:
        kind: a key of `IMAGE_SETS`: "celeba", "celebahq", "chairs", "cars", or "folder" for any images, cut to their
            center square.
        source: a folder, a zip or tar archive, a folder of archives, or "hf:org/name" (see `open_files`).
        out: the directory. None is KIND-RESOLUTION in `data_directory()`, where `open_dataset` finds it.
        resolution: height and width of the prepared images, 8 to 4096 pixels. None is `source_side`, or the default of
            the set.
        limit: largest number of images after the skipped ones. None is all.
        skip: number of images to leave out at the beginning. The images after the `limit` of a training set make a
            held-out set.
        workers: number of threads. None is one for each CPU.
        max_pixels: size of the largest image that is read, in pixels. None is Pillow's limit.
        source_side: height and width of the images of `source`, for a copy of CelebA-HQ that is smaller than published.
        progress: whether to show the progress on stderr.

    Raises:
        InvalidInputError: an unknown kind, a number out of range, or an `out` inside of the source.
        DataError: the source is missing or damaged, or more than 1% of its images are. `out` holds something else,
            cannot be written, or another process prepares it. The disk is too small or full.
    """
    if source_side is not None:
        check_integer(8, 4096, source_side=source_side)
    image_set = IMAGE_SETS[kind].of_side(source_side)
    if resolution is None:
        resolution = source_side or image_set.resolution
    check_integer(8, 4096, resolution=resolution)
    check_integer(1, **{name: n for name, n in (("limit", limit), ("workers", workers)) if n is not None})
    check_integer(0, skip=skip)
    out = user_path(out or data_directory() / f"{kind}-{resolution}").absolute()
    _check_place(out, source)
    with ExitStack() as stack:
        stack.enter_context(pixel_limit(max_pixels))
        if not (out / INDEX_FILE).is_file():
            stack.enter_context(_claimed(out))
        files = open_files(source)
        plan = image_set.plan(files)
        if skip >= len(plan.crops):
            raise InvalidInputError(f"skip must be less than the number of images, {len(plan.crops):,}, got {skip:,}")
        crops = dict(list(plan.crops.items())[skip : None if limit is None else skip + limit])
        identity = {"kind": kind, "resolution": int(resolution), "content": _fingerprint(files, crops)}
        new = not _is_done(out, identity)
        if new:
            _Preparation(out, files, crops, identity, plan.notes).run(workers or os.cpu_count() or 1, progress)
        notes = _add_attributes(out, files, image_set.attribute_files)
    index = read_json(out / INDEX_FILE)
    return Prepared(out, len(index["names"]), int(resolution), index["skipped"], [*index["notes"], *notes], new)


def _add_attributes(out: Path, files: FileSource, accepted: Sequence[str]) -> list[str]:
    """Store the attributes of the images in the finished directory `out`, if the source has them.

    Returns:
        Sentences on what is wrong with them.
    """
    index = read_json(out / INDEX_FILE)
    if "attributes" in index:
        return []
    try:
        found = attributes_of(files, index["names"], accepted)
    except DataError as error:  # the images are of use without them
        return [f"attributes are left out: {error}"]
    if found is None:
        return []
    file = io.BytesIO()
    np.save(file, found.values)
    write_atomically(out / ATTRIBUTES_FILE, file.getvalue())
    write_atomically(out / INDEX_FILE, json.dumps(index | {"attributes": found.names}, indent=1))
    return []


def _fingerprint(files: FileSource, crops: dict[str, Crop]) -> str:
    """Hash of what is to be made: names and sizes of the files, and their crops."""
    digest = hashlib.sha256()
    for name, crop in crops.items():  # a name that is not UTF-8 has no plain encoding
        digest.update(f"{name}\0{files.sizes[name]}\0{crop.key}\n".encode(errors="backslashreplace"))
    return digest.hexdigest()


# ------------------------------------------------------------------ the directory


def _check_place(out: Path, source: str | Path) -> None:
    """Check that `out` may become a prepared directory: it is absent, empty, or was made by an earlier call."""
    if not str(source).startswith(HUGGING_FACE):
        real, folder = out.resolve(), user_path(source).resolve()
        if folder.is_dir() and real.is_relative_to(folder) and not is_hidden(real.relative_to(folder).as_posix()):
            raise InvalidInputError(f"{out} is inside of the source {source}: choose a directory outside of it")
    try:
        if not out.exists():
            return
        ours = not out.is_dir() or (out / INDEX_FILE).is_file() or _progress(out)
        foreign = not out.is_dir() or not (ours or all(map(_is_system_file, out.iterdir())))
    except OSError as error:
        raise DataError(f"{out} cannot be read: {error.strerror}") from error
    if foreign:
        raise DataError(f"{out} exists and was not made by `idgan prepare`: choose another directory")


def _is_system_file(path: Path) -> bool:
    """Whether a file does not keep a directory from being empty: a hidden one, or one that a new file system has."""
    return path.name.startswith(".") or path.name == "lost+found"


@contextmanager
def _claimed(out: Path) -> Iterator[None]:
    """Context in which `out` exists and no other process prepares it. If it stays empty, it is removed."""
    from huggingface_hub.utils import WeakFileLock

    lock = out / LOCK_FILE
    made = not out.exists()
    with ExitStack() as stack:
        try:
            earlier = out.with_name(f"{out.name}.partial")  # an older version worked there
            if made and (earlier / PROGRESS_FILE).is_file():
                earlier.rename(out)
            out.resolve().mkdir(parents=True, exist_ok=True)
            if made:
                stack.callback(_remove_if_empty, out)
            stack.enter_context(WeakFileLock(lock, timeout=0.1))
        except TimeoutError as error:
            raise DataError(f"another process is preparing {out}: wait for it, or choose another directory") from error
        except OSError as error:
            raise DataError(f"{out} cannot be written: {error.strerror}. Choose another directory") from error
        stack.callback(lock.unlink, missing_ok=True)
        yield


def _remove_if_empty(directory: Path) -> None:
    with suppress(OSError):
        directory.rmdir()


def _progress(out: Path) -> dict[str, Any]:
    """The last note of progress in `out`, or an empty dict."""
    try:
        state = read_json(out / PROGRESS_FILE)
        return state if "identity" in state else {}
    except (OSError, ValueError, TypeError):
        return {}


def _is_done(out: Path, identity: dict[str, Any]) -> bool:
    """Whether `out` is a finished directory of `identity`.

    Raises:
        DataError: it is a finished directory of something else.
    """
    if not (out / INDEX_FILE).is_file():
        return False
    try:
        index = read_json(out / INDEX_FILE)
        changed = [name for name, value in identity.items() if index[name] != value]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{out} exists and was not made by `idgan prepare`: choose another directory") from None
    if changed:
        raise DataError(
            f"{out} was prepared from something else (another {', '.join(changed)}): "
            "delete it, or choose another directory"
        )
    return True


# ------------------------------------------------------------------ the work

Converted = tuple[Image.Image, int, bytes | None]
"""A finished image, the smaller side of its crop, and the content of its file if that holds just this image."""


class _Preparation:
    """The work on one directory.

    Attributes:
        done: number of images that are finished, the first ones.
        skipped: name -> reason, for those of them that were left out.
        enlarged: number of those that were enlarged.
    """

    def __init__(
        self, out: Path, files: FileSource, crops: dict[str, Crop], identity: dict[str, Any], notes: list[str]
    ) -> None:
        self.out = out
        self.files = files
        self.crops = crops
        self.identity = identity
        self.notes = notes
        self.resolution: int = identity["resolution"]
        self.done, self.enlarged = 0, 0
        self.skipped: dict[str, str] = {}
        storage = ArrayStorage if self.resolution <= MAX_ARRAY_RESOLUTION else FileStorage
        self.storage: Storage = storage(out, self.resolution)

    def run(self, workers: int, progress: bool) -> None:
        """Prepare the remaining images.

        Raises:
            DataError: too many images cannot be used. Everything stored is deleted then. Or writing failed. What is
                stored is kept then.
        """
        self._resume()
        self._check_disk()
        bar = progress_bar(len(self.crops), self.out.name, "image", progress, initial=self.done)
        try:
            with bar, self.storage.opened(self.rows), ThreadPoolExecutor(workers) as threads:
                for name, future in _ahead(threads, self._convert, self._contents(), 4 * workers):
                    self._deal_with(name, future)
                    bar.update()
            self._finish()
        except DataError:  # another run could not continue
            self._clear()
            raise
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{reason}. Run the same command again to continue after {self.done:,} images") from error

    @property
    def rows(self) -> int:
        """Number of images that are stored."""
        return self.done - len(self.skipped)

    def _resume(self) -> None:
        """Continue an interrupted run of the same work, or begin anew."""
        state = _progress(self.out)
        if state.get("identity") == self.identity:
            self.done, self.enlarged, self.skipped = state["done"], state["enlarged"], state["skipped"]
        else:
            self._clear()
            self._note_progress()

    def _clear(self) -> None:
        """Delete everything that a preparation stores."""
        shutil.rmtree(self.out / IMAGES_FOLDER, ignore_errors=True)
        for name in (ARRAY_FILE, PROGRESS_FILE):
            (self.out / name).unlink(missing_ok=True)

    def _note_progress(self) -> None:
        state = {"identity": self.identity, "done": self.done, "enlarged": self.enlarged, "skipped": self.skipped}
        write_atomically(self.out / PROGRESS_FILE, json.dumps(state))

    def _check_disk(self) -> None:
        needed, free = (len(self.crops) - self.done) * self.storage.bytes_each, shutil.disk_usage(self.out).free
        if needed > free:
            raise DataError(f"{self.out} needs another {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")

    def _contents(self) -> Iterator[tuple[str, bytes | Exception]]:
        """Yields the name of each image that is left, and its content or the error of reading it.

        One thread reads everything, because archives are read in order.
        """
        for name in list(self.crops)[self.done :]:
            try:
                yield name, self.files.read(name)
            except Exception as error:  # damaged archives make readers raise almost anything
                yield name, error

    def _convert(self, name: str, content: bytes | Exception) -> Converted:
        if isinstance(content, Exception):
            raise content
        whole = as_rgb(content)
        image, side = cut(whole, self.crops[name], self.resolution)
        return image, side, content if side == self.resolution and image.size == whole.size else None

    def _deal_with(self, name: str, future: "Future[Converted]") -> None:
        """Store the image or note why it is left out. Note the progress at intervals."""
        if error := future.exception():
            self._skip(name, str(error) or type(error).__name__)
        else:
            image, side, content = future.result()
            self.storage.append(image, content, PurePosixPath(name).suffix.lower())
            self.enlarged += side < self.resolution
        self.done += 1
        if self.done % SAVE_EVERY == 0 or self.done == len(self.crops):
            self.storage.flush()
            self._note_progress()

    def _skip(self, name: str, reason: str) -> None:
        self.skipped[name] = reason
        if len(self.skipped) > MAX_SKIPPED * len(self.crops):
            raise DataError(
                f"more than {MAX_SKIPPED:.0%} of {len(self.crops):,} images cannot be used: {self._skips}. "
                f"{IMAGE_SETS[self.identity['kind']].origin or 'Repair or remove them'}"
            )

    @property
    def _skips(self) -> str:
        return few([f"{name} ({reason})" for name, reason in self.skipped.items()])

    def _finish(self) -> None:
        notes = list(self.notes)
        if self.skipped:
            notes.append(f"{len(self.skipped):,} images cannot be used and are left out: {self._skips}")
        if self.enlarged:
            notes.append(f"{self.enlarged:,} images were cut from less than {self.resolution} px, and enlarged")
        index = self.identity | {
            "storage": self.storage.name,
            "sha256": self.storage.finish(self.rows),
            "skipped": self.skipped,
            "notes": notes,
            "pillow": PIL.__version__,
            "names": [name for name in self.crops if name not in self.skipped],
        }
        write_atomically(self.out / INDEX_FILE, json.dumps(index, indent=1))
        (self.out / PROGRESS_FILE).unlink()


def _ahead(
    threads: ThreadPoolExecutor,
    function: Callable[[str, bytes | Exception], Converted],
    items: Iterable[tuple[str, bytes | Exception]],
    ahead: int,
) -> "Iterator[tuple[str, Future[Converted]]]":
    """Yields the name and the future of function(*item) of each item, in order. `ahead` more are started."""
    started: deque[tuple[str, Future[Converted]]] = deque()
    for item in items:
        started.append((item[0], threads.submit(function, *item)))
        if len(started) > ahead:
            yield started.popleft()
    yield from started

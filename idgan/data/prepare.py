"""`idgan prepare`: from published archives or folders to ready images, in parallel and resumable.

Everything happens in DIR.partial, which becomes DIR by renaming: DIR is whole or absent. Images are converted ahead by threads but stored
in order, so that what is done is a beginning of the whole; resuming cuts off what was stored after the last note of progress.
"""

import hashlib
import json
import os
import shutil
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import PIL
from tqdm import tqdm

from idgan.data.archives import open_files
from idgan.data.directory import data_directory
from idgan.data.image_folder import IMAGE_SETS, INDEX_FILE, PROGRESS_FILE, cut, decode
from idgan.data.image_set import few
from idgan.data.storage import ArrayStorage, FileStorage
from idgan.errors import DataError, InvalidInputError
from idgan.files import write_atomically

__all__ = ["Prepared", "prepare_images"]

SAVE_EVERY = 512
"""Images between two notes of progress: what an interruption costs at most."""
MAX_ARRAY_RESOLUTION = 256
"""Above this resolution images stay files: decoding them is little beside a training step, while an array would fill the disk."""
MAX_SKIPPED = 0.01


@dataclass(frozen=True)
class Prepared:
    """What `prepare_images` made: where, how many images of what size, those left out (name -> why), what to know, whether it is new."""

    path: Path
    images: int
    resolution: int
    skipped: dict
    notes: list
    new: bool


def prepare_images(kind, source, out=None, resolution=None, *, limit=None, workers=None, progress=False):
    """Crop and resize the images of the set `kind` into a directory that `open_dataset` takes; `source` is only read.

    Run again, it continues an interrupted preparation, and does nothing for a finished one.

    Args:
        kind: "celeba", "celebahq", "chairs", "cars", or "folder" for any images, cut to their center square.
        source: a folder, a zip or tar archive, a folder of archives, or "hf:org/name" (see `open_files`).
        out: the directory; None is KIND-RESOLUTION in `data_directory()`, where `open_dataset` finds it.
        resolution: None is 64, for celebahq 1024.
        limit: only so many images, the first ones.
        workers: threads; None is one a CPU.
        progress: show a bar where there is a terminal.

    Returns:
        `Prepared`.

    Raises:
        InvalidInputError: an unknown kind, or a number out of range.
        DataError: the source is missing or damaged, or more than 1% of its images are; `out` holds something else, or another process
            prepares it; the disk is too small.
    """
    if kind not in IMAGE_SETS:
        raise InvalidInputError(f"kind must be one of {', '.join(IMAGE_SETS)}, got {kind!r}")
    resolution = IMAGE_SETS[kind].resolution if resolution is None else resolution
    for name, value, least, most in (
        ("resolution", resolution, 8, 4096),
        ("limit", limit, 1, None),
        ("workers", workers, 1, None),
    ):
        if value is not None and (value < least or value > (most or value)):
            raise InvalidInputError(
                f"{name} must be {least} or more{f' and at most {most}' if most else ''}, got {value}"
            )
    files = open_files(source)
    plan = IMAGE_SETS[kind].plan(files)
    crops = dict(list(plan.crops.items())[:limit])
    identity = {"kind": kind, "resolution": resolution, "content": _fingerprint(files, crops)}
    out = Path(out or data_directory() / f"{kind}-{resolution}").expanduser().absolute()
    with _locked(out):
        new = not _is_done(out, identity)
        if new:
            _Preparation(out, files, crops, identity, plan.notes).run(workers or os.cpu_count() or 1, progress)
    index = json.loads((out / INDEX_FILE).read_text())
    return Prepared(out, len(index["names"]), resolution, index["skipped"], index["notes"], new)


def _fingerprint(files, crops):
    """Hash of what is to be made: names and sizes of the files, and their crops."""
    digest = hashlib.sha256()
    for name, crop in crops.items():
        digest.update(f"{name}\0{files.sizes[name]}\0{crop}\n".encode())
    return digest.hexdigest()


@contextmanager
def _locked(out):
    from huggingface_hub.utils import WeakFileLock

    path = out.with_name(f"{out.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(path, timeout=0.1))
        except TimeoutError as error:
            raise DataError(f"another process is preparing {out}: wait for it, or choose another directory") from error
        stack.callback(path.unlink, missing_ok=True)
        yield


def _is_done(out, identity):
    """Whether `out` holds what `identity` says; raises DataError if it holds anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        index = json.loads((out / INDEX_FILE).read_text())
        changed = [name for name, value in identity.items() if index[name] != value]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{out} is there and was not made by `idgan prepare`: choose another directory") from None
    if changed:
        raise DataError(
            f"{out} was prepared from something else (another {', '.join(changed)}): delete it, or choose another directory"
        )
    return True


class _Preparation:
    """The work on one directory: of the images, the first `done` are dealt with, the `skipped` of them (name -> why) being left out."""

    def __init__(self, out, files, crops, identity, notes):
        self.out = out
        self.work = out.with_name(f"{out.name}.partial")
        self.files = files
        self.crops = crops
        self.identity = identity
        self.notes = notes
        self.resolution = identity["resolution"]
        self.done, self.enlarged, self.skipped = 0, 0, {}

    def run(self, workers, progress):
        self._resume()
        self.storage = (ArrayStorage if self.resolution <= MAX_ARRAY_RESOLUTION else FileStorage)(
            self.work, self.resolution
        )
        self._check_disk()
        bar = tqdm(
            total=len(self.crops),
            initial=self.done,
            unit="image",
            desc=self.out.name,
            disable=None if progress else True,
        )
        try:
            with bar, self.storage.opened(self.rows), ThreadPoolExecutor(workers) as threads:
                for name, future in _ahead(threads, self._convert, self._contents(), 4 * workers):
                    self._deal_with(name, future)
                    bar.update()
        except DataError:  # nothing that another run could continue
            shutil.rmtree(self.work)
            raise
        self._finish()

    @property
    def rows(self):
        """How many images are stored."""
        return self.done - len(self.skipped)

    def _resume(self):
        """Take up an interrupted run of the same work, or begin anew."""
        try:
            state = json.loads((self.work / PROGRESS_FILE).read_text())
        except (OSError, ValueError):
            state = {}
        if state.get("identity") == self.identity:
            self.done, self.enlarged, self.skipped = state["done"], state["enlarged"], state["skipped"]
        else:
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir()

    def _save(self):
        self.storage.flush()
        state = {"identity": self.identity, "done": self.done, "enlarged": self.enlarged, "skipped": self.skipped}
        write_atomically(self.work / PROGRESS_FILE, json.dumps(state))

    def _check_disk(self):
        needed, free = (len(self.crops) - self.done) * self.storage.bytes_each, shutil.disk_usage(self.work).free
        if needed > free:
            raise DataError(f"{self.out} needs another {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")

    def _contents(self):
        """Yields (name, its bytes or what went wrong with reading them) of what is left; one reader, since archives are read in order."""
        for name in list(self.crops)[self.done :]:
            try:
                yield name, self.files.read(name)
            except Exception as error:  # damaged archives make readers raise almost anything
                yield name, error

    def _convert(self, name, content):
        """-> the finished image, the smaller side of its crop, and its bytes if they hold just that image."""
        if isinstance(content, Exception):
            raise content
        whole = decode(content)
        image, side = cut(whole, self.crops[name], self.resolution)
        return image, side, content if side == self.resolution and image.size == whole.size else None

    def _deal_with(self, name, future):
        """Store the image or note why it is left out; now and then note the progress."""
        if error := future.exception():
            self._skip(name, str(error) or type(error).__name__)
        else:
            image, side, content = future.result()
            self.storage.append(image, content, PurePosixPath(name).suffix.lower())
            self.enlarged += side < self.resolution
        self.done += 1
        if self.done % SAVE_EVERY == 0 or self.done == len(self.crops):
            self._save()

    def _skip(self, name, why):
        self.skipped[name] = why
        if len(self.skipped) > MAX_SKIPPED * len(self.crops):
            raise DataError(
                f"of {len(self.crops):,} images more than {MAX_SKIPPED:.0%} cannot be used: {self._skips}. "
                f"{IMAGE_SETS[self.identity['kind']].origin or 'Repair or remove them'}"
            )

    @property
    def _skips(self):
        return few([f"{name} ({why})" for name, why in self.skipped.items()])

    def _finish(self):
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
        write_atomically(self.work / INDEX_FILE, json.dumps(index, indent=1))
        if self.out.exists():
            self.out.rmdir()  # it is empty
        self.work.rename(self.out)
        (self.out / PROGRESS_FILE).unlink(missing_ok=True)


def _ahead(threads, function, items, ahead):
    """Yields (item[0], future of function(*item)) in order, having started `ahead` of them more."""
    started = deque()
    for item in items:
        started.append((item[0], threads.submit(function, *item)))
        if len(started) > ahead:
            yield started.popleft()
    yield from started

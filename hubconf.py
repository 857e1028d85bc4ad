"""torch.hub entry points: one a checkpoint, named like it with underscores. `torch.hub.load(REPO, "dsprites")` is `idgan.load("dsprites")`."""

dependencies = ["torch", "torchvision", "huggingface_hub", "safetensors", "PIL", "numpy"]

from idgan.zoo.manifest import Manifest as _Manifest  # noqa: E402
from idgan.zoo.manifest import package_manifest as _package_manifest  # noqa: E402


def _entry_point(name, entry):
    def load(**options):
        import idgan

        return idgan.load(name, **options)

    load.__name__ = name.replace("-", "_")
    load.__doc__ = f"""{entry.description}

    Status: {entry.status}. Weights: {entry.licence}; data: {entry.data.name} ({entry.data.licence}).
    Keyword arguments are those of `idgan.load`: pretrained, device, dtype, cache_dir, endpoint, token, local_files_only.
    Returns an `idgan.Sampler`.
    """
    return load


globals().update({_name.replace("-", "_"): _entry_point(_name, _entry) for _name, _entry in _Manifest.read(_package_manifest()).entries.items()})

"""torch.hub entry points: one a checkpoint, named like it with underscores. `torch.hub.load(REPO, "dsprites")` is `idgan.load("dsprites")`."""

import json as _json
from pathlib import Path as _Path

dependencies = [
    "torch",
    "huggingface_hub",
    "safetensors",
    "PIL",
    "numpy",
]  # torch.hub checks these after importing this file: nothing heavy above


def _entry_point(name, entry):
    def load(**options):
        import idgan

        return idgan.load(name, **options)

    load.__name__ = name.replace("-", "_")
    load.__doc__ = f"""{entry["description"]}: encoder, decoder and generator as one `idgan.Sampler`.

    Status: {entry["status"]}. Weights: {entry["license"]}; data: {entry["data"]["name"]} ({entry["data"]["license"]}).
    Keyword arguments are those of `idgan.load`: pretrained, device, dtype, cache_dir, endpoint, token, local_files_only.
    """
    return load


for _name, _entry in _json.loads(_Path(__file__).with_name("weights_manifest.json").read_text())["models"].items():
    globals()[_name.replace("-", "_")] = _entry_point(_name, _entry)

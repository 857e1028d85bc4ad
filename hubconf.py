"""torch.hub entry points, one for each checkpoint. `torch.hub.load(REPO, "dsprites")` is `idgan.load("dsprites")`.

Names are those of the checkpoints, with underscores for dashes.
"""

import json as _json
from collections.abc import Callable as _Callable
from pathlib import Path as _Path
from typing import Any as _Any

# torch.hub checks these after it has imported this file, so the imports above are light.
dependencies = ["torch", "huggingface_hub", "safetensors", "PIL", "numpy"]


def _entry_point(name: str, entry: dict[str, _Any]) -> _Callable[..., _Any]:
    """The function that loads the checkpoint `name`, with help from its manifest `entry`."""

    def load(**options: _Any) -> _Any:
        import idgan

        return idgan.load(name, **options)

    load.__name__ = name.replace("-", "_")
    load.__doc__ = f"""{entry["description"]}: encoder, decoder and generator as one `idgan.Sampler`.

    Status: {entry["status"]}. Weights: {entry["license"]}. Data: {entry["data"]["name"]} ({entry["data"]["license"]}).
    Keyword arguments are those of `idgan.load`: pretrained, device, dtype, cache_dir, endpoint, token,
    local_files_only.
    """
    return load


for _name, _entry in _json.loads(_Path(__file__).with_name("weights_manifest.json").read_text())["models"].items():
    globals()[_name.replace("-", "_")] = _entry_point(_name, _entry)

"""The model card of a published checkpoint."""

import json
import re
from typing import Any

from idgan.record import TrainingRecord
from idgan.sampler import Sampler
from idgan.zoo.manifest import Entry, printable

__all__ = ["MAIN_METHODS", "RECIPE_FILE", "RESULTS_FILE", "TITLE", "model_card"]

RESULTS_FILE = "results.json"
RECIPE_FILE = "recipe.json"
MAIN_METHODS, TITLE = ("id-gan", "projected"), "ID-GAN"
"""The methods that are ID-GAN, with the recipe's discriminator or a projected one, and their name in texts."""


def model_card(entry: Entry, sampler: Sampler) -> str:
    """The README.md of a checkpoint on a hub: Markdown after the hub's front matter."""
    from huggingface_hub import ModelCardData

    record = TrainingRecord.from_dict(entry.training)
    repo = str(entry.weights and entry.weights.repo)
    is_spdx = re.fullmatch(r"(?!LicenseRef)\S+", entry.license) is not None
    front = ModelCardData(
        license=entry.license.lower() if is_spdx else "other",
        license_name=None if is_spdx else entry.license.lower(),
        library_name="idgan",
        pipeline_tag="unconditional-image-generation",
        tags=["idgan", "gan", "vae", "disentanglement"],
    )
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    return "\n".join(
        [
            "---",
            front.to_yaml(),
            "---",
            f"# {repo.partition('/')[2]}",
            f"\n{entry.description}. {_kind(entry, sampler)}",
            "\n![samples](samples.png)\n\n![what each dimension does](traversals.png)",
            "\n## Use\n\n```python\nimport idgan\n",
            f'model = idgan.load("{repo}")\nimages = model.sample(n=8, seed=0)\n```',
            "\n## Measured\n\n| metric | value | samples | seed | protocol |\n|---|---|---|---|---|",
            *map(_metric_row, entry.metrics),
            f"\nDetails are in {RESULTS_FILE}."
            " Values compare only with values of the same protocol and number of samples.",
            f"\n## Training\n\n    {printable(record.command)}",
            f"\nSteps {json.dumps(record.steps)}, seed {record.seed},"
            f" {(record.wall_time_seconds or 0) / 3600:.1f} hours"
            f" on {printable(record.hardware)}, with {printable(versions)}. All settings are in {RECIPE_FILE}.",
            "\n## License and limits\n",
            *_limits(entry, sampler),
            "",
        ]
    )


def _limits(entry: Entry, sampler: Sampler) -> list[str]:
    """License and limits of a checkpoint, as lines of a list."""
    license = f"- Weights: {entry.license}. Data: {entry.data.name}, {entry.data.license}; its terms also apply."
    meaning = "- The meaning of a dimension of c was found without labels: one dimension need not be one property."
    lines = [license, meaning]
    if inactive := entry.c_dim - len(sampler.active_dims):
        lines += [f"- {inactive} of {entry.c_dim} dimensions of c are inactive: they carry no information."]
    if "encoder" not in sampler.untrained:
        lines += [
            f"- The encoder knows only {entry.data.name}. "
            "It encodes other images as if they came from there, with its biases.",
            "- Encoding keeps only what c holds: an image is not reproduced exactly.",
        ]
    return lines


def _kind(entry: Entry, sampler: Sampler) -> str:
    """The method of the checkpoint, and what it generates from what, in a few sentences."""
    method = TrainingRecord.from_dict(entry.training).method
    active = f" ({len(sampler.active_dims)} carry information)" if any(sampler.dim_kl) else ""
    code = f"code c of {entry.c_dim} dimensions{active}"
    images = f"{entry.resolution}x{entry.resolution} {'color' if entry.image_channels == 3 else 'gray'} images"
    nuisance = f" and a nuisance s of {entry.s_dim}" if entry.s_dim else ""
    if method in MAIN_METHODS:
        return f"An {TITLE}: a VAE finds a disentangled {code}, and\na GAN generates sharp {images} from c{nuisance}."
    which = (
        f"This is no {TITLE} but the method `{printable(method)}`, which {TITLE} is compared with."
        if method
        else "It follows no recipe of the package."
    )
    untrained = f" Not trained, and not served: its {' and '.join(sampler.untrained)}." if sampler.untrained else ""
    return f"{which}\nIt generates {images} from a {code}{nuisance}.{untrained}"


def _metric_row(metric: dict[str, Any]) -> str:
    confidence = metric.get("confidence")
    value = f"{metric['value']:.4f}" + ("" if confidence is None else f" ± {confidence:.4f}")
    cells = (metric["name"], value, metric["samples"], metric["seed"], metric["protocol"])
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

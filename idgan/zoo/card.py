"""The model card of a checkpoint. It says what its record and its results say, and nothing else."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from idgan.record import TrainingRecord, value_text
from idgan.sampler import MIN_ACTIVE_KL, Sampler
from idgan.zoo.entries import SavedModel
from idgan.zoo.untrusted import printable

if TYPE_CHECKING:
    from huggingface_hub import ModelCard, ModelCardData

__all__ = ["MAIN_METHODS", "TITLE", "model_card"]

MAIN_METHODS, TITLE = ("id-gan", "projected", "reconstructing"), "ID-GAN"
"""The methods that are ID-GAN, and their name in texts. Two have a projected discriminator, one reconstructs."""
TASK = "unconditional-image-generation"
FACTOR_METRICS = r"fvm|mig|sap|dci.*|beta.*"
"""Metrics that compare dimensions of c with true factors."""
DISTANCES = r"F?I?D|FD-.*|FID.*|KI?D.*"
"""Metrics of the quality of images."""


def model_card(saved: SavedModel, sampler: Sampler, repo: str | None = None) -> "ModelCard":
    """The model card of the checkpoint that `saved` describes.

    Args:
        saved: what is known about the file.
        sampler: the model in it.
        repo: hub repository that will hold the card. None for a directory.
    """
    from huggingface_hub import ModelCard  # its import takes a tenth of a second

    record = TrainingRecord.from_dict(saved.training)
    title = repo.partition("/")[2] if repo else saved.name or "An idgan model"
    parts = [
        f"# {printable(title)}",
        f"{printable(saved.description.rstrip('.'))}.",
        *_kind(saved, record, sampler),
        *_warnings(saved, record, sampler),
        "![samples](samples.png)\n\n![what each dimension does](traversals.png)",
        "## Use",
        f'```python\nimport idgan\n\nmodel = idgan.load("{repo or "PATH_OF_THIS_DIRECTORY"}")\n'
        "images = model.sample(n=8, seed=0)\n```",
        "## Code dimensions",
        *_dimensions(saved, sampler),
        "## Measured",
        *_results(saved),
        "## Training",
        *_training(saved, record),
        "## License and limits",
        "\n".join(f"- {line}" for line in _limits(saved, sampler)),
    ]
    return ModelCard(f"---\n{_metadata(saved, title).to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n")


def _metadata(saved: SavedModel, title: str) -> "ModelCardData":
    """The front matter, by which a hub finds and lists the model."""
    from huggingface_hub import EvalResult, ModelCardData

    is_spdx = re.fullmatch(r"(?!LicenseRef)\S+", saved.license or "LicenseRef") is not None
    method = TrainingRecord.from_dict(saved.training).method if saved.training else None
    dataset = saved.data and (saved.data.id or re.sub(r"[^a-z0-9]+", "-", saved.data.name.lower()).strip("-"))
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=dataset or "unknown",
            dataset_name=saved.data.name if saved.data else "unknown",
            metric_type=metric["name"],
            metric_value=metric["value"],
            metric_config=metric["protocol"],
            metric_args={name: metric[name] for name in ("samples", "seed") if metric[name] is not None},
        )
        for metric in saved.metrics
    ]
    return ModelCardData(
        license=None if saved.license is None else saved.license.lower() if is_spdx else "other",
        license_name=None if is_spdx or saved.license is None else saved.license.lower(),
        library_name="idgan",
        pipeline_tag=TASK,
        tags=["idgan", "gan", "vae", *([method] if method else [])],
        datasets=[dataset] if dataset else None,
        model_name=title if results else None,
        eval_results=results or None,
    )


def _kind(saved: SavedModel, record: TrainingRecord, sampler: Sampler) -> Iterator[str]:
    """What the networks take and make, and by which method."""
    images = f"{saved.resolution}x{saved.resolution} {'color' if saved.image_channels == 3 else 'gray'} images"
    nuisance = f" and a nuisance s of {saved.s_dim}" if saved.s_dim else ""
    reads = "" if "encoder" in sampler.untrained else "An encoder reads a code c from an image.\n"
    if sampler.nuisance_encoder is not None:
        reads += "A second encoder reads the nuisance s.\n"
    text = f"{reads}A generator draws {images} from a code c of {saved.c_dim} dimensions{nuisance}."
    if sampler.untrained:
        text += f" Not trained, and not served: its {' and '.join(sampler.untrained)}."
    if saved.training is None or record.method in MAIN_METHODS:
        yield text
    elif record.method:
        yield f"This is no {TITLE} but the method `{printable(record.method)}`, which {TITLE} is compared with.\n{text}"
    else:
        yield f"It follows no method of the package.\n{text}"


def _warnings(saved: SavedModel, record: TrainingRecord, sampler: Sampler) -> Iterator[str]:
    """What a reader must know before anything else."""
    if sampler.info.get("pretrained") is False:
        yield "**Its weights are random.** It was not trained."
    if saved.changed_from:
        yield (
            "**It was changed after the training that is described here.** It was loaded from the checkpoint with the "
            f"sha256 `{saved.changed_from}`, and saved with other weights or another record."
        )
    if short := [stage for stage, steps in record.steps.items() if steps < (saved.recipe_steps or {}).get(stage, 0)]:
        yield f"**It was trained for less than its recipe asks:** {_budget(saved, record, short)}."


def _budget(saved: SavedModel, record: TrainingRecord, stages: list[str]) -> str:
    """Steps of `stages`, and of the recipe: "40 of the recipe's 12,000 steps in stage `vae`, ..."."""
    planned = {stage: f"of the recipe's {steps:,} " for stage, steps in (saved.recipe_steps or {}).items()}
    return ", ".join(
        f"{record.steps[stage]:,} {planned.get(stage, '')}steps in stage `{printable(stage)}`" for stage in stages
    )


def _dimensions(saved: SavedModel, sampler: Sampler) -> Iterator[str]:
    """The active dimensions with their names and KL divergences."""
    if saved.active_dims is None:
        yield "The file has no posteriors of training images that differ from the prior, so none is known to be active."
        return
    count = f"{len(saved.active_dims)} of {saved.c_dim}" if saved.active_dims else f"None of the {saved.c_dim}"
    rule = (
        f"{count} dimensions of c {'are' if len(saved.active_dims) > 1 else 'is'} active. Active means that the mean "
        f"KL divergence to N(0, 1), over the stored posteriors of training images, is {MIN_ACTIVE_KL} nats or more."
    )
    names = {dim: name for name, dim in (saved.dims or {}).items()}
    listed = ", ".join(
        f"{f'`{printable(names[dim])}` (c{dim})' if dim in names else f'c{dim}'}: {sampler.dim_kl[dim]:.2f}"
        for dim in saved.active_dims
    )
    yield f"{rule} In nats: {listed}." if listed else rule


def _results(saved: SavedModel) -> Iterator[str]:
    if not saved.metrics:
        yield "Nothing was measured on this file."
        return
    rows = ["| metric | value | samples | seed | protocol |", "|---|---|---|---|---|"]
    for metric in saved.metrics:
        value = value_text(metric["value"], metric.get("confidence"))
        cells = (metric["name"], value, metric["samples"], metric["seed"], metric["protocol"])
        rows.append("| " + " | ".join(printable(cell).replace("|", "\\|") for cell in cells) + " |")
    yield "\n".join(rows)
    yield "Details are in config.json. Values compare only with values of the same protocol and number of samples."


def _training(saved: SavedModel, record: TrainingRecord) -> Iterator[str]:
    if saved.training is None:
        yield "The file has no record of its training."
        return
    if record.command:
        yield f"    {printable(record.command)}"
    facts = []
    if record.steps:
        facts.append(f"It had {_budget(saved, record, list(record.steps))}.")
    for setting, part in (("init_vae_from", "encoder and decoder"), ("init_generator_from", "generator")):
        if record.settings.get(setting):
            facts.append(
                f"Its {part} started from `{printable(record.settings[setting])}`, whose steps are not counted."
            )
    if record.images is not None:
        facts.append(f"It saw {record.images:,} images.")
    if record.seed is not None:
        facts.append(f"The seed was {record.seed}.")
    facts += _times(record)
    if record.versions:
        versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
        facts.append(f"Versions: {printable(versions)}.")
    yield " ".join([*facts, "The whole record is in config.json."])


def _times(record: TrainingRecord) -> Iterator[str]:
    """How long the stages took. A stage that was taken from another model ran there, perhaps on other hardware."""
    taken = {name: stage for name, stage in record.stages.items() if "from" in stage}
    if record.wall_time_seconds is not None:
        elsewhere = (stage.get("seconds") for stage in taken.values())
        seconds = record.wall_time_seconds - sum(each for each in elsewhere if isinstance(each, (int, float)))
        yield f"It took {_duration(seconds)}{_on(record)}."
    for name, stage in taken.items():
        yield f"Stage `{printable(name)}` is that of `{printable(stage['from'])}`, whose time is not counted."


def _on(record: TrainingRecord) -> str:
    return f" on {printable(record.hardware)}" if record.hardware else ""


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


def _limits(saved: SavedModel, sampler: Sampler) -> Iterator[str]:
    """License and limits. A limit is lifted only by a result."""
    yield f"Weights: {saved.license or 'no license is stated'}."
    if saved.data:
        yield f"Data: {printable(saved.data.name)}, {printable(saved.data.license)}; its terms also apply."
    else:
        yield "Data: not stated."
    names = [str(metric["name"]) for metric in saved.metrics]
    if not any(re.fullmatch(DISTANCES, name) for name in names):
        yield "The quality of its images was not measured."
    if not any(re.fullmatch(FACTOR_METRICS, name) for name in names):
        yield "Whether one dimension of c stands for one property of the images was not measured."
    if saved.active_dims is not None and (inactive := saved.c_dim - len(saved.active_dims)):
        yield f"{inactive} of {saved.c_dim} dimensions of c are inactive: they carry no information about an image."
    if "encoder" not in sampler.untrained and saved.training:
        known = printable(saved.data.name) if saved.data else "its training images"
        yield f"The encoder knows only {known}. It encodes other images as if they came from there, with its biases."
        yield "Encoding keeps only what c holds: an image is not reproduced exactly."

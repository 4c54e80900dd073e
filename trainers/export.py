"""Exports a saved VAE as a SavedModel, which needs TensorFlow alone.

    python -m trainers.export --model=runs/digits/best.keras --output=digits
    python -m trainers.export --model=runs/a-weigh/last.keras --beta=0.1 --output=vae

Its endpoints are `serve`, `encode`, `sample_posterior`, `decode`, `generate`,
`generate_with_noise` and `negative_elbo`. They take and give the data in their own
units, also where the run standardised them (its `scaling.json`); those of a
`SentenceVAE` take and give strings. Of a Multi-Rate VAE it is the plain one of the
weight `--beta`. An older SavedModel in that directory is replaced, other files are not.
"""

import pathlib

from absl import flags

import keras_vae as kv
from trainers import _flag_checks
from trainers import _flags
from trainers import _program
from trainers import _resolve
from trainers import _saved
from trainers import _units


def main(argv):
    """Runs the program."""
    _program.main("export", argv, lambda: prepare(_resolve.export(flags.FLAGS)), export)


def prepare(settings):
    """Loads the model; returns the arguments of `export`.

    Args:
        settings: `_settings.ExportSettings`.

    Raises:
        _settings.FlagError: If there is no such model.
    """
    model = _saved.load(settings)
    with _flag_checks.blamed("model", settings.model):
        return settings, _units.in_own_units(model, _saved.scaling(settings, model))


def export(settings, model):
    """Writes the SavedModel.

    Args:
        settings: `_settings.ExportSettings`.
        model: `keras_vae.VAE`.

    Returns:
        What was written, a string.
    """
    with _flag_checks.blamed("output", settings.output):
        model.export(settings.output, verbose=False)
    inputs = f"events of shape {(None, *model.event_shape)}"
    if isinstance(model, kv.SentenceVAE):
        inputs = "sentences, strings"
    return (
        f"{pathlib.Path(settings.output)}: a SavedModel of {inputs}, "
        f"{model.latent_dim} latent units"
        + (", in the data's own units" if _units.takes_own(model) else "")
    )


def run():
    """Runs the program from the command line."""
    _program.run(_flags.define_export, main, __doc__)


if __name__ == "__main__":
    run()

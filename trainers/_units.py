"""Models and figures in the units of the data, where a run standardises them."""

import numpy as np

import keras_vae as kv
from keras_vae import figures
from trainers import _files

# Figures that hold log p(x|z), which depends on the units of x.
_DENSITIES = ("negative_elbo", "distortion", "loss", "negative_log_likelihood")


def normalization(scaling):
    """Returns the Keras layer of a `_data.Scaling`."""
    return kv.normalization.layer(scaling.mean, scaling.scale)


def takes_own(model):
    """Whether a VAE takes the data in their own units, and standardises them itself."""
    return isinstance(model.likelihood, kv.distributions.Standardized)


def in_own_units(model, scaling):
    """Returns the VAE that takes and gives the data in their own units.

    Args:
        model: `keras_vae.VAE`.
        scaling: `_data.Scaling` of the data that it was trained on, or None.
    """
    if scaling is None or takes_own(model):
        return model
    return kv.in_original_units(model, normalization(scaling))


def changed(inputs, change):
    """Returns the inputs of a model whose data are changed, and conditions not.

    Args:
        inputs: Array (examples, ...), or a dict of it as "x" and of conditions.
        change: Callable of the array.
    """
    if isinstance(inputs, dict):
        return {**inputs, "x": change(inputs["x"])}
    return change(inputs)


def diagnose(model, x, scaling, train=None, **options):
    """Diagnoses a model; nats of its error are those of the data in their own units.

    Args:
        model: `keras_vae.VAE`.
        x: Array (examples, ...) that it takes, held out, or a dict with conditions.
        scaling: `_data.Scaling` of these data, or None.
        train: Array (other examples, ...), those that it was trained on, or None.
        **options: See `keras_vae.diagnose`.
    """
    if scaling is not None:
        model = in_own_units(model, scaling)
        x, train = (
            part
            if part is None
            else changed(part, lambda v: scaling.undo(v).astype("float32"))
            for part in (x, train)
        )
    return kv.diagnose(model, x, train=train, **options)


def write(model, scaling, path):
    """Writes `model.keras` and `saved_model/` in the data's own units.

    Args:
        model: Compiled `keras_vae.VAE`.
        scaling: `_data.Scaling` of the data that it was trained on, or None.
        path: `pathlib.Path` of the run.
    """
    model = in_own_units(model, scaling)
    if not model.optimizer.built:
        # Keras warns of a file in which it finds no more than the learning rate.
        model.optimizer.build(model.trainable_variables)
    with _files.replaced(path / "model.keras") as partial:
        model.save(partial)
    model.export(path / "saved_model", verbose=False)


def stated(metrics, model, scaling, x):
    """Returns figures whose densities are those of the data in their own units.

    Args:
        metrics: Dict of what was measured on the data that the model takes.
        model: `keras_vae.VAE`.
        scaling: `_data.Scaling` of these data, or None.
        x: Array (examples, ...), the data, NaN where an element is missing.

    Returns:
        Dict, where data are standardised with "standardized_negative_elbo" beside
        "negative_elbo"; "baselines" are in own units too.
    """
    if scaling is None and not takes_own(model):
        return metrics
    shares = np.mean(~np.isnan(x), axis=0)
    inside, outside = model.likelihood.log_units(model.event_shape, shares), 0.0
    if scaling is not None:
        likelihood = kv.distributions.Standardized("normal", normalization(scaling))
        outside = likelihood.log_units(model.event_shape, shares)
    own = {name: metrics[name] + outside for name in _DENSITIES if name in metrics}
    if "baselines" in metrics:
        simple = metrics["baselines"]
        own["baselines"] = {name: nats + outside for name, nats in simple.items()}
    standardized = metrics["negative_elbo"] - inside
    return {**metrics, **own, "standardized_negative_elbo": standardized}


def remark(metrics):
    """Returns lines that say in which units the figures are; none without a choice."""
    if "standardized_negative_elbo" not in metrics:
        return []
    standardized = metrics["standardized_negative_elbo"]
    return [
        "Densities are of the data in their own units; -ELBO of standardised data is "
        f"{standardized:.2f}"
    ]


def pictured(model, number, seed):
    """Returns generated events for a picture, of a conditional model one class each.

    Args:
        model: `keras_vae.VAE` whose noise is its own.
        number: Integer.
        seed: Integer.

    Returns:
        Array (number, *event_shape): draws of x if it is a row of real numbers, means
        of p(x|z) if it is an image or of other numbers.
    """
    noise, condition = shows_noise(model), classes_in_turn(model, number)
    return model.generate(number, seed, noise, condition).numpy()


def classes_in_turn(model, number):
    """Returns the conditions of so many pictures, or None of a model without."""
    return {
        name: np.arange(number) % model.conditions.num_classes(name)
        for name in model.conditions
    } or None


def shows_noise(model):
    """Whether pictures of generated events show draws of x, see `pictured`."""
    is_image = figures.is_image(model.event_shape)
    return model.likelihood.real_valued and not is_image

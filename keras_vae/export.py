"""Export of a model as a plain SavedModel."""

import functools
import inspect
import os
import tempfile

import keras
import tensorflow as tf

from keras_vae import _keras
from keras_vae import checks

# Files that TensorFlow writes. A directory with any other file may hold the user's work
# and is not replaced.
_OWN_FILES = {"assets", "fingerprint.pb", "saved_model.pb", "variables"}


def export(model, filepath, format="tf_saved_model", verbose=True):
    """Writes a SavedModel that needs only TensorFlow, as `keras.Model.export` does.

    | endpoint | inputs | output |
    |---|---|---|
    | `serve` | `x` | mean of p(x|z) at the posterior mean, (batch, *event_shape) |
    | `encode` | `x` | dict: `mean`, `stddev` of q(z|x), (batch, latent_dim) |
    | `sample_posterior` | `x`, `seed` | one z ~ q(z|x) each, (batch, latent_dim) |
    | `decode` | `z` (batch, latent_dim) | mean of p(x|z), (batch, *event_shape) |
    | `generate` | `n`, `seed` | means of p(x|z), z ~ p(z), (n, *event_shape) |
    | `generate_with_noise` | `n`, `seed` | draws of x ~ p(x|z) for the same z |
    | `negative_elbo` | `x`, `seed` | -ELBO with one draw of z, in nats, (batch,) |

    Each endpoint is a signature, and an attribute of the object that
    `tf.saved_model.load` returns; "serving_default" is `serve`. `x` and `z` are float32
    in batches of any size. Outputs are float32 in the units of the data. `n` and `seed`
    are int64 scalars. Equal seeds give equal draws and no endpoint keeps state, so the
    caller's seeds determine all draws. If x cannot be its own target, because it has
    several tensors or another shape, `negative_elbo` takes `x`, `y` and `seed`.

    With several latents `decode` takes each by its name, `encode` returns
    `<name>_mean` and `<name>_stddev`, and `sample_posterior` each by its name.

    Each endpoint also takes, by name and one for each example, the conditions that its
    networks take: int64 labels (batch,) or float32 values. A `SemiSupervisedVAE` adds
    `classify` of `x`, q(y|x) of each class, (batch, classes), and takes the label -1.

    The directory appears once it is complete and replaces an older SavedModel.

    Args:
        model: A `VAE` with known shapes.
        filepath: String or `pathlib.Path`, the directory to write.
        format: Must be "tf_saved_model".
        verbose: Boolean, whether to print the endpoints. Defaults to True.

    Raises:
        ValueError: If `format` is another format, the model is not built, or `filepath`
            holds anything but a SavedModel.

    Example:
    >>> import tempfile
    >>> vae = kv.VAE(
    ...     encoder=kv.networks.mlp_encoder([32]),
    ...     decoder=kv.networks.mlp_decoder([32], (8, 8, 1)),
    ...     latent_dim=4,
    ... )
    >>> vae.build((None, 8, 8, 1))
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     vae.export(directory, verbose=False)
    ...     loaded = tf.saved_model.load(directory)
    >>> loaded.generate(n=3, seed=7).shape
    TensorShape([3, 8, 8, 1])
    """
    if format != "tf_saved_model":
        raise ValueError(
            "`format` must be 'tf_saved_model', the only one with several endpoints. "
            f"Received: format={format!r}"
        )
    if not model.built:
        raise ValueError(
            "`model` must be built before `export`: first call `fit` or "
            f"`build((None, *event_shape))`. Received: {model.name!r}, not built"
        )
    archive = keras.export.ExportArchive()
    for table in _keras.sublayers(model, keras.layers.StringLookup):
        archive.track(table)
    found = model.endpoints()
    for name, (function, inputs) in found.items():
        endpoint = _stateless(function, list(inputs))
        archive.add_endpoint(name, endpoint, list(inputs.values()))
    filepath = os.fspath(filepath)
    if "://" in filepath:  # TensorFlow opens object stores, which have no rename.
        archive.write_out(filepath, verbose=False)
    else:
        _write_at_once(archive, os.path.realpath(filepath))
    if verbose:
        print(f"Saved model at {filepath!r}. Endpoints: {', '.join(found)}")


def endpoints(model):
    """Returns a dict of the endpoints of a `VAE` that is built, see `export`.

    Args:
        model: `VAE`.

    Returns:
        A dict of names to pairs: a function, and a dict of the specs of its inputs.
    """
    x = _inputs(model.get_build_config()["input_shape"])
    y, number = _batch(model.event_shape), tf.TensorSpec((), "int64")
    x, y, z = {"x": x}, {"y": y}, _latents(model)
    n, seed = {"n": number}, {"seed": number}
    given = functools.partial(_conditions, model)

    def negative_elbo(x, seed, y=None, **condition):
        return -model.elbo(x, y, seed=seed, condition=condition)

    def generate(n, seed, noise=False, **condition):
        return model.generate(n, seed, noise, condition)

    is_target = isinstance(x["x"], tf.TensorSpec) and (
        x["x"].shape.is_compatible_with(y["y"].shape)
    )
    by_x, by_z = given("encoder"), given("decoder")
    both, drawn = given("encoder", "decoder"), given("prior", "decoder")
    return {
        "serve": (lambda x, **c: model.reconstruct(x, c), x | both),
        "encode": (lambda x, **c: _moments(model, x, c), x | by_x),
        "sample_posterior": (
            lambda x, seed, **c: model.sample_posterior(x, seed, c),
            x | seed | by_x,
        ),
        "decode": (lambda **given: _decode(model, z, given), z | by_z),
        "generate": (generate, n | seed | drawn),
        "generate_with_noise": (
            functools.partial(generate, noise=True),
            n | seed | drawn,
        ),
        "negative_elbo": (
            negative_elbo,
            x | ({} if is_target else y) | seed | given("encoder", "decoder", "prior"),
        ),
        **{
            name: (function, x | given(part))
            for name, (function, part) in model.further_endpoints.items()
        },
    }


def _conditions(model, *parts):
    """Returns the specs of the conditions that one of some parts takes, by name."""
    return {
        name: tf.TensorSpec(
            (None, *model.conditions.raw_shape(name)),
            "int64" if model.conditions.num_classes(name) else "float32",
            name,
        )
        for name in model.conditions
        if model.takes(name, *parts)
    }


def _latents(model):
    """Returns the specs of the latents: z, or of several each by its name."""
    if len(model.latents) == 1:
        return {"z": _batch(model.latents[0].shape)}
    return {latent.name: _batch(latent.shape) for latent in model.latents}


def _moments(model, x, condition):
    """Returns the means and standard deviations of q(z|x), a dict of tensors."""
    mean, stddev = model.encode(x, condition)
    if not isinstance(mean, dict):
        return {"mean": mean, "stddev": stddev}
    means = {f"{name}_mean": value for name, value in mean.items()}
    return means | {f"{name}_stddev": value for name, value in stddev.items()}


def _decode(model, names, given):
    """Decodes the latents of these names among given inputs."""
    latents = {name: given.pop(name) for name in names}
    return model.decode(latents.get("z", latents), given)


def _stateless(function, names):
    # TensorFlow traces again when it saves, so the scope must be inside the function.
    # In the scope layers neither update variables nor keep losses of this graph.
    def endpoint(*args):
        with keras.StatelessScope():
            return function(**dict(zip(names, args, strict=True)))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in names]
    endpoint.__signature__ = inspect.Signature(parameters)
    return endpoint


def _inputs(shape, name=None):
    if checks.is_shape(shape):
        return _batch(shape[1:], name)
    if isinstance(shape, dict):
        return {key: _inputs(value, key) for key, value in shape.items()}
    return [_inputs(value) for value in shape]


def _batch(shape, name=None):
    return tf.TensorSpec((None, *shape), "float32", name)


def _write_at_once(archive, filepath):
    exists = os.path.exists(filepath)
    if exists and not _is_replaceable(filepath):
        raise ValueError(
            "`filepath` must not exist, or must be a directory that holds only a "
            f"SavedModel to replace. Received: filepath={filepath!r}"
        )
    parent, name = os.path.split(filepath)
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}.", dir=parent) as beside:
        new, old = os.path.join(beside, "new"), os.path.join(beside, "old")
        archive.write_out(new, verbose=False)
        if exists:
            os.rename(filepath, old)
        try:
            os.rename(new, filepath)
        except BaseException:
            if exists:
                os.rename(old, filepath)
            raise


def _is_replaceable(filepath):
    return os.path.isdir(filepath) and set(os.listdir(filepath)) <= _OWN_FILES

"""Models that flags describe."""

import keras
import numpy as np

import keras_vae as kv
from trainers import _data
from trainers import _flag_checks
from trainers import _flags

_UNIT_INTERVAL = ("bernoulli", "continuous_bernoulli")
_HIDDEN = {"mlp": (256, 256), "conv": (256, 256), "resnet": (256,), "linear": ()}


def default_likelihood(chosen, data):
    """Returns the name of the likelihood that suits the range of the data."""
    if chosen.binarize != "none" or _data.is_binary(data):
        return "bernoulli"
    return "continuous_bernoulli" if _data.is_unit_interval(data) else "normal"


def build(chosen, data, make):
    """Builds and compiles a model, and checks that it can be trained on the data.

    Args:
        chosen: Namespace from `_flags.read`.
        data: `_data.Data`.
        make: Callable that makes the model of the keyword arguments of a VAE: all but
            its objective.

    Returns:
        What `make` returned, built and compiled for a run of known length.

    Raises:
        _flags.FlagError: If flags and data do not go together.
    """
    keras.utils.set_random_seed(chosen.seed)
    keras.config.set_dtype_policy(chosen.precision)
    likelihood = _likelihood(chosen)
    for x in data:
        if x is not None:
            _check_data(likelihood, x, chosen)
    encoder, decoder = _networks(chosen, data.train, likelihood)
    model = make(
        encoder=encoder,
        decoder=decoder,
        latent_dim=chosen.latent_dim,
        likelihood=likelihood,
        posterior=chosen.posterior,
        prior=_prior(chosen, data.train),
        seed=chosen.seed,
    )
    model.build((None, *data.train.shape[1:]))
    if chosen.prior == "vamp_prior" and chosen.likelihood not in _UNIT_INTERVAL:
        model.latent.prior.initialize(data.train)
    _compile(model, chosen, data.steps_per_epoch(chosen.batch_size))
    return model


def _compile(model, chosen, steps_per_epoch):
    model.compile(
        keras.optimizers.Adam(learning_rate(chosen, steps_per_epoch)),
        jit_compile={"auto": "auto", "true": True, "false": False}[chosen.jit_compile],
        steps_per_execution=chosen.steps_per_execution or "auto",
    )


def learning_rate(chosen, steps_per_epoch):
    """Returns the learning rate that the flags ask for.

    Args:
        chosen: Namespace with `learning_rate`, `learning_rate_decay` and `epochs`.
        steps_per_epoch: Integer.

    Returns:
        A float or a `keras.optimizers.schedules.LearningRateSchedule`.
    """
    rate, steps = chosen.learning_rate, chosen.epochs * steps_per_epoch
    if chosen.learning_rate_decay == "none":
        return rate
    if chosen.learning_rate_decay == "cosine":
        return keras.optimizers.schedules.CosineDecay(rate, steps)
    rise = max(steps // 10, 1)
    # Not from 0, which would waste a step, and of a run of one all of it.
    return keras.optimizers.schedules.CosineDecay(
        rate / rise, max(steps - rise, 1), warmup_target=rate, warmup_steps=rise
    )


def _likelihood(chosen):
    if chosen.likelihood == "categorical":
        return kv.distributions.Categorical(chosen.num_classes)
    return kv.distributions.likelihoods.get(chosen.likelihood)


def _check_data(likelihood, x, chosen):
    try:
        likelihood.check_data(x)
    except ValueError as error:
        raise _flags.FlagError(
            f"`--likelihood`={chosen.likelihood} does not suit the data of "
            f"--dataset={chosen.dataset}: {error}"
        ) from error


def _networks(chosen, x, likelihood):
    event_shape = x.shape[1:]
    hidden = _HIDDEN[chosen.network] if chosen.hidden is None else chosen.hidden
    options = {"activation": chosen.activation or "relu"}
    output_shape = likelihood.params_shape(event_shape)
    if chosen.network in ("mlp", "linear"):
        options["output_bias"] = likelihood.initial_bias(x.mean(axis=0))
        decoder = kv.networks.mlp_decoder(hidden[::-1], output_shape, **options)
        options.pop("output_bias")
        return kv.networks.mlp_encoder(hidden, event_shape, **options), decoder
    if len(event_shape) != 3:
        raise _flags.FlagError(
            f"`--network` must be mlp or linear for data that are no images of shape "
            f"(height, width, channels). Received: --network={chosen.network} for "
            f"examples of shape {event_shape}"
        )
    make_encoder = getattr(kv.networks, f"{chosen.network}_encoder")
    make_decoder = getattr(kv.networks, f"{chosen.network}_decoder")
    options |= {"hidden": hidden, "filters": chosen.filters}
    # All pixels of a channel share a bias.
    bias = likelihood.initial_bias(x.mean(axis=(0, 1, 2)))
    with _flag_checks.blamed("filters", chosen):
        encoder = make_encoder(event_shape, **options)
        return encoder, make_decoder(output_shape, output_bias=bias, **options)


def _prior(chosen, x):
    options = {} if chosen.prior not in _flag_checks.MIXTURES else {"seed": chosen.seed}
    if chosen.num_components is not None:
        options["num_components"] = chosen.num_components
    if chosen.prior == "gaussian_mixture":
        return kv.priors.GaussianMixture(**options)
    if chosen.prior == "vamp_prior":
        if chosen.likelihood not in _UNIT_INTERVAL:
            options["value_range"] = None
        prior = kv.priors.VampPrior(**options)
        if options.get("value_range", True) is None and prior.num_components > len(x):
            raise _flags.FlagError(
                "`--num_components` must be at most the number of training examples, "
                f"{len(x)}, from which the pseudo-inputs start. Received: "
                f"--num_components={prior.num_components}"
            )
        return prior
    return kv.priors.get(chosen.prior)


def picture_range(data):
    """Returns the grey values that are drawn black and white."""
    return min(0.0, float(np.min(data.test))), max(1.0, float(np.max(data.test)))

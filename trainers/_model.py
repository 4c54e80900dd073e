"""Models that flags describe."""

import functools

import keras
import numpy as np

import keras_vae as kv
from trainers import _data
from trainers import _flag_checks
from trainers import _settings
from trainers import _units

_UNIT_INTERVAL = ("bernoulli", "continuous_bernoulli")
# Units of the layers of level 1 of a hierarchy; each further level has half as many.
_WIDEST = 512
_HIDDEN = {"mlp": (256, 256), "conv": (256, 256), "resnet": (256,), "linear": ()}


def build(settings, data, make):
    """Builds and compiles a model, and checks that it can be trained on the data.

    Args:
        settings: `_settings.Settings`.
        data: `_data.Data`.
        make: Callable that makes the model of the keyword arguments of a VAE: all but
            its objective.

    Returns:
        What `make` returned, built and compiled for a run of known length.

    Raises:
        _settings.FlagError: If flags and data do not go together.
    """
    keras.utils.set_random_seed(settings.fit.seed)
    keras.config.set_dtype_policy(settings.fit.precision)
    likelihood = _likelihood(settings)
    for x in data:
        if x is not None:
            _check_data(likelihood, x, settings)
    networks = _networks(settings, data, likelihood)
    model = make(
        **networks,
        likelihood=likelihood,
        posterior=settings.model.posterior,
        prior=_prior(settings, data.train),
        linear_path=settings.model.linear_path != "none",
        conditions=data.conditions,
        missing=settings.data.known_as_missing,
        seed=settings.fit.seed,
    )
    model.build((None, *data.train.shape[1:]))
    _start(model, settings, data)
    if (
        settings.model.prior == "vamp_prior"
        and settings.model.likelihood not in _UNIT_INTERVAL
    ):
        # Where an element is missing, the encoder sees 0.
        x = _units.changed(data.inputs("train"), np.nan_to_num)
        model.latent.prior.initialize(x)
    compile_model(model, settings, data.steps_per_epoch(settings.fit.batch_size))
    return model


def kind(settings):
    """Returns the class of the model of one weight that the flags ask for.

    Args:
        settings: `_settings.Settings`.
    """
    if settings.model.levels is None:
        return kv.VAE
    return functools.partial(kv.HierarchicalVAE, inference=settings.model.model)


def _start(model, settings, data):
    """Sets what is known before training: the linear path, or the noise alone."""
    x = _data.as_seen(data.inputs("train"), settings.data.binarize)
    if settings.model.linear_path == "data":
        with _flag_checks.blamed("linear_path", "data"):
            model.adapt(x)
        return
    x = model.conditions.main(x)
    if getattr(model.likelihood, "scale", None) in ("shared", "optimal"):
        try:
            noise = kv.linear_forecast(x, settings.model.latent_dim, [1.0]).noise[0]
        except ValueError:
            noise = kv.normalization.observed_moments(x)[1].mean()
        model.likelihood.adapt_scale(float(np.sqrt(max(noise, 1e-12))))


def compile_model(model, settings, steps_per_epoch):
    """Compiles a model as the flags ask.

    Args:
        model: `keras_vae.VAE`.
        settings: `_settings.Settings`.
        steps_per_epoch: Integer.
    """
    model.compile(
        _optimizer(settings, steps_per_epoch),
        jit_compile={"auto": "auto", "true": True, "false": False}[
            settings.fit.jit_compile
        ],
        steps_per_execution=settings.fit.steps_per_execution or "auto",
    )


def _optimizer(settings, steps_per_epoch):
    fit, rate = settings.fit, learning_rate(settings, steps_per_epoch)
    options = {"global_clipnorm": fit.clip_norm}
    if fit.skip_norm is None:
        return keras.optimizers.Adam(rate, **options)
    return kv.optimizers.SkippingAdam(rate, fit.skip_norm, **options)


def learning_rate(settings, steps_per_epoch):
    """Returns the learning rate that the flags ask for.

    Args:
        settings: `_settings.Settings`.
        steps_per_epoch: Integer.

    Returns:
        A float or a `keras.optimizers.schedules.LearningRateSchedule`.
    """
    rate, steps = settings.fit.learning_rate, settings.fit.epochs * steps_per_epoch
    if settings.fit.learning_rate_decay == "none":
        return rate
    if settings.fit.learning_rate_decay == "cosine":
        return keras.optimizers.schedules.CosineDecay(rate, steps)
    rise = max(steps // 10, 1)
    # Not from 0, which would waste a step, and of a run of one all of it.
    return keras.optimizers.schedules.CosineDecay(
        rate / rise, max(steps - rise, 1), warmup_target=rate, warmup_steps=rise
    )


def _likelihood(settings):
    if settings.model.likelihood == "categorical":
        return kv.distributions.Categorical(settings.model.num_classes)
    return kv.distributions.likelihoods.get(settings.model.likelihood)


def _check_data(likelihood, x, settings):
    try:
        likelihood.check_data(x, settings.data.known_as_missing)
    except ValueError as error:
        raise _settings.FlagError(
            f"`--likelihood`={settings.model.likelihood} does not suit the data of "
            f"--dataset={settings.data.dataset}: {error}"
        ) from error


def _networks(settings, data, likelihood):
    """Returns the encoder, the decoder and the shape of z, of each level if some."""
    model, event_shape = settings.model, data.train.shape[1:]
    convolves = model.network in _flag_checks.CONVOLUTIONAL
    if convolves and len(event_shape) != 3:
        raise _settings.FlagError(
            f"`--network` must be mlp or linear for data that are no images of shape "
            f"(height, width, channels). Received: --network={model.network} for "
            f"examples of shape {event_shape}"
        )
    # All pixels of a channel share the bias of a convolution.
    mean = _mean(data.train, (0, 1, 2) if convolves else 0)
    options = {
        "activation": model.activation or "relu",
        "output_bias": likelihood.initial_bias(mean),
        "conditions": data.conditions,
    }
    output_shape = likelihood.params_shape(event_shape)
    if model.levels is not None:
        return _level_networks(model, output_shape, options)
    encoder, decoder = _encoder_and_decoder(
        settings, event_shape, output_shape, options
    )
    return {"encoder": encoder, "decoder": decoder, "latent_dim": model.latent_dim}


def _level_networks(model, output_shape, options):
    """Returns the networks and shapes of a hierarchy."""
    if model.network == "resnet":
        options |= {"activation": model.activation or "gelu", "levels": model.levels}
        options |= {} if model.filters is None else {"filters": model.filters}
        with _flag_checks.blamed("filters", model.filters):
            made = kv.networks.resnet_levels(output_shape, **options)
        return dict(zip(("encoder", "decoder", "latent_dim"), made, strict=True))
    sizes = [max(_WIDEST >> place, 1) for place in range(len(model.levels))]
    encoder, decoder = kv.networks.mlp_levels(
        sizes if model.hidden is None else model.hidden,
        output_shape,
        batch_normalization=model.batch_normalization,
        layers=model.layers,
        **options,
    )
    return {"encoder": encoder, "decoder": decoder, "latent_dim": model.levels}


def _encoder_and_decoder(settings, event_shape, output_shape, options):
    """Returns the networks of one latent."""
    model = settings.model
    widened = 2 if settings.data.missing == "nan_with_mask" else 1
    seen_shape = (*event_shape[:-1], event_shape[-1] * widened)
    hidden = _HIDDEN[model.network] if model.hidden is None else model.hidden
    bias = {"output_bias": options.pop("output_bias")}
    if model.network in ("mlp", "linear"):
        # Keras numbers the draws of initial weights: in another order a run differs.
        decoder = kv.networks.mlp_decoder(hidden[::-1], output_shape, **options, **bias)
        return kv.networks.mlp_encoder(hidden, seen_shape, **options), decoder
    make_encoder = getattr(kv.networks, f"{model.network}_encoder")
    make_decoder = getattr(kv.networks, f"{model.network}_decoder")
    options |= {"hidden": hidden, "filters": model.filters}
    with _flag_checks.blamed("filters", model.filters):
        encoder = make_encoder(seen_shape, **options)
        return encoder, make_decoder(output_shape, **options, **bias)


def _mean(x, axis):
    return kv.normalization.observed_moments(x, axis)[0]


def _prior(settings, x):
    options = (
        {}
        if settings.model.prior not in _flag_checks.MIXTURES
        else {"seed": settings.fit.seed}
    )
    if settings.model.num_components is not None:
        options["num_components"] = settings.model.num_components
    if settings.model.prior == "gaussian_mixture":
        return kv.priors.GaussianMixture(**options)
    if settings.model.prior == "vamp_prior":
        if settings.model.likelihood not in _UNIT_INTERVAL:
            options["value_range"] = None
        prior = kv.priors.VampPrior(**options)
        if options.get("value_range", True) is None and prior.num_components > len(x):
            raise _settings.FlagError(
                "`--num_components` must be at most the number of training examples, "
                f"{len(x)}, from which the pseudo-inputs start. Received: "
                f"--num_components={prior.num_components}"
            )
        return prior
    return kv.priors.get(settings.model.prior)


def picture_range(data):
    """Returns the grey values that are drawn black and white."""
    return min(0.0, float(np.nanmin(data.test))), max(1.0, float(np.nanmax(data.test)))

"""All ways of balancing KL and reconstruction."""

import functools

import keras

import keras_vae as kv
from benchmarks.balancing.method import Method


def _nothing(problem):
    return {}


def _objective(make):
    return lambda problem: {"objective": make(problem)}


def _weight(make):
    """The weight of summed losses which a weight in other units stands for."""

    def parts(problem):
        weight = make(problem.train.shape[1:], problem.latent_dim)
        return {"objective": kv.ELBO(kl_weight=weight.beta)}

    return parts


def _annealed(name, schedule, note=""):
    return Method(
        name, _nothing, lambda problem: [kv.KLAnnealing(schedule())], note=note
    )


def _sigma(name, scale, note):
    return Method(
        name,
        _nothing,
        note=note,
        likelihood=lambda: kv.distributions.Normal(scale=scale),
    )


def _posterior(make):
    return lambda problem: {"posterior": make()}


def _vamp_prior(problem):
    return {
        "prior": kv.priors.VampPrior(100, seed=problem.seed),
        "objective": kv.ELBO(kl="monte_carlo"),
    }


def _flow(**parts):
    def make(problem):
        made = {name: part(problem) for name, part in parts.items()}
        return {**made, "objective": kv.ELBO(kl="monte_carlo")}

    return make


def _raised_capacity(problem):
    schedule = kv.schedules.linear("50%", end=problem.rate_target)
    return [kv.callbacks.HyperparameterScheduler("capacity", schedule)]


def _factor(problem):
    hidden = [4 * units for units in problem.hidden]
    return {
        "gamma": 6.4,
        "discriminator": kv.networks.mlp_decoder(hidden, (2,), "leaky_relu"),
    }


def _dropping_decoder(*args, **kwargs):
    decoder = kv.networks.mlp_decoder(*args, **kwargs)
    return keras.Sequential([kv.layers.InputDropout(0.2, seed=0), decoder])


METHODS = [
    # === Weights ===
    Method(
        "ELBO, beta = 1",
        _objective(lambda problem: kv.ELBO()),
        note="the bound itself: the least -ELBO of all fixed weights, up to "
        "overfitting",
    ),
    Method(
        "beta = 0.5",
        _objective(lambda problem: kv.ELBO(kl_weight=0.5)),
        note="more rate, less distortion than beta = 1",
    ),
    Method(
        "beta = 4",
        _objective(lambda problem: kv.ELBO(kl_weight=4.0)),
        note="less rate, more distortion, fewer units, and a looser bound: q(z|x) is "
        "too broad for its own decoder, so that NLL rises less than -ELBO",
    ),
    Method(
        "beta_norm = 0.1",
        _weight(lambda *sizes: kv.weighing.Weight.from_beta_norm(0.1, *sizes)),
        note="0.1 N / M, the same loss as mean BCE + 0.1 mean KL",
    ),
    Method(
        "mean BCE + mean KL",
        _weight(
            lambda *sizes: kv.weighing.Weight.from_mean_losses(
                1.0, *sizes, reconstruction="bce", kl="mean"
            )
        ),
        note="both averaged: beta = N / M, far above 1",
    ),
    Method(
        "mean BCE + KL",
        _weight(
            lambda *sizes: kv.weighing.Weight.from_mean_losses(
                1.0, *sizes, reconstruction="bce"
            )
        ),
        note="the reconstruction alone averaged: beta = N, full collapse",
    ),
    # === Schedules ===
    _annealed("linear annealing", lambda: kv.schedules.linear("50%")),
    _annealed("sigmoid annealing", lambda: kv.schedules.sigmoid("50%")),
    _annealed("cosine annealing", lambda: kv.schedules.cosine("50%")),
    _annealed("cyclical annealing", lambda: kv.schedules.cyclical("100%")),
    _annealed(
        "monotone annealing",
        lambda: kv.schedules.cyclical("100%", num_cycles=1, ratio=0.25),
        note="the cyclical one with a single cycle, as its authors compare",
    ),
    # === Floors and capacities ===
    Method(
        "capacity, gamma = 10",
        _objective(lambda p: kv.objectives.Capacity(p.rate_target, gamma=10.0)),
        target="rate",
        note="at the distortion of ControlVAE, were it not for the kink, whose sign "
        "changes shake the weights by gamma",
    ),
    Method(
        "capacity, gamma = 100",
        _objective(lambda p: kv.objectives.Capacity(p.rate_target, gamma=100.0)),
        target="rate",
        note="the gamma of most repositories: the same rate, shaken more",
    ),
    Method(
        "capacity, raised, gamma = 10",
        _objective(lambda problem: kv.objectives.Capacity(0.0, gamma=10.0)),
        _raised_capacity,
        target="rate",
        note="from 0 over the first half",
    ),
    Method(
        "free bits, units over the batch",
        _objective(lambda problem: kv.objectives.FreeBits(0.25)),
        note="0.25 nats a unit; no unit collapses",
    ),
    Method(
        "free bits, groups over the batch",
        _objective(lambda problem: kv.objectives.FreeBits(1.0, group_size=4)),
        note="1 nat per group of 4 units",
    ),
    Method(
        "free bits, units of each example",
        _objective(lambda problem: kv.objectives.FreeBits(0.25, over="example")),
        note="0.25 nats a unit; holds the rate higher than over the batch",
    ),
    Method(
        "delta-VAE",
        _posterior(lambda: kv.distributions.CommittedNormal(0.1)),
        note="at least 0.1 nats a unit; its variances lie between 0.49 and 1.77, so "
        "that no posterior is sharp",
    ),
    Method(
        "BN-VAE",
        _posterior(lambda: kv.distributions.BatchNormalizedNormal(0.5)),
        note="at least gamma^2 / 2 = 0.125 nats a unit, and all are active; with means "
        "of spread 0.5 the aggregate posterior is narrower than the prior, which costs "
        "rate",
    ),
    # === Targets ===
    Method(
        "ControlVAE",
        _objective(lambda p: kv.objectives.RateTarget(p.rate_target)),
        target="rate",
        note="the least distortion at its rate",
    ),
    Method(
        "GECO",
        _objective(
            lambda p: kv.objectives.DistortionTarget(p.distortion_target, speed=0.1)
        ),
        target="distortion",
        note="the target, but not the least rate: while the first distortions are "
        "large the multiplier overshoots, all units are taken up, and these steps do "
        "not suffice to give them back. `speed` 0.1, since the default of 0.02 is too "
        "slow for so few",
    ),
    Method(
        "GECO, multiplier at most 3",
        _objective(
            lambda p: kv.objectives.DistortionTarget(
                p.distortion_target, speed=0.1, max_multiplier=3.0
            )
        ),
        target="distortion",
        note="less rate at the same distortion",
    ),
    # === Learned noise ===
    _sigma("sigma-VAE, shared", "shared", "one learned scale"),
    _sigma("sigma-VAE, optimal", "optimal", "one scale, in closed form"),
    _sigma(
        "sigma-VAE, per pixel",
        "per_output",
        "pixels that never vary drive their scale to its minimum",
    ),
    # === Other divergences and priors ===
    Method(
        "InfoVAE, RBF",
        _objective(
            lambda problem: kv.objectives.MaximumMeanDiscrepancy(
                4.5, kernel="rbf", kl_weight=0.5
            )
        ),
        note="alpha = 0.5, lambda = 5: hardly more than beta = 0.5, for so small a "
        "multiple of an MMD weighs little beside nats",
    ),
    Method(
        "InfoVAE, IMQ",
        _objective(
            lambda problem: kv.objectives.MaximumMeanDiscrepancy(4.5, kl_weight=0.5)
        ),
        note="alpha = 0.5, lambda = 5: hardly more than beta = 0.5, for so small a "
        "multiple of an MMD weighs little beside nats",
    ),
    Method(
        "WAE-MMD, IMQ",
        _objective(
            lambda problem: kv.objectives.MaximumMeanDiscrepancy(100.0, kl_weight=0.0)
        ),
        note="no KL in the loss: an autoencoder, whose rate is not bounded",
    ),
    Method(
        "beta-TCVAE, weighted",
        _objective(
            lambda problem: kv.objectives.TotalCorrelation(len(problem.train), 6.0)
        ),
        note="a small batch sees little of q(z) but the example itself, which makes "
        "the penalty one on all of the KL, nearly beta = 6",
    ),
    Method(
        "beta-TCVAE, stratified",
        _objective(
            lambda problem: kv.objectives.TotalCorrelation(
                len(problem.train), 6.0, sampling="stratified"
            )
        ),
        note="likewise, but less so",
    ),
    Method(
        "DIP-VAE I",
        _objective(lambda problem: kv.objectives.DisentangledInferredPrior("i", 1.0)),
        note="pulls the variances of the means to 1: all units are active",
    ),
    Method(
        "DIP-VAE II",
        _objective(lambda problem: kv.objectives.DisentangledInferredPrior("ii", 1.0)),
        note="pulls the variances of z to 1, which collapsed units have already",
    ),
    Method(
        "FactorVAE, gamma = 6.4",
        _factor,
        note="the total correlation by a discriminator instead of the batch",
        model=kv.FactorVAE,
    ),
    Method(
        "skew Jensen-Shannon, 0.5",
        _objective(lambda problem: kv.objectives.SkewJensenShannon(0.5)),
        note="means cost a fourth of their KL and sharp posteriors more than theirs, "
        "so that information comes by large means: much rate for its distortion",
    ),
    Method(
        "IWAE, k = 5",
        _objective(lambda problem: kv.ImportanceWeighted(5)),
        note="a tighter bound on log p(x): NLL falls while the ELBO need not",
    ),
    Method("VampPrior, K = 100", _vamp_prior, note="a prior that follows q(z)"),
    Method(
        "flow prior",
        _flow(prior=lambda problem: kv.priors.Flow(seed=problem.seed)),
        note="the same by masked autoregressive flows",
    ),
    Method(
        "IAF posterior",
        _flow(posterior=lambda problem: kv.distributions.InverseAutoregressive()),
        note="a q(z|x) whose units depend on each other",
    ),
    # === Other steps and networks ===
    Method(
        "aggressive encoder",
        lambda problem: {"max_steps": 10},
        lambda problem: [kv.callbacks.AggressiveStopping(problem.validation)],
        note="at most 10 steps of the encoder for each of the decoder, until the "
        "mutual information of validation data falls; fewer steps of the decoder "
        "within the budget",
        model=kv.AggressiveVAE,
    ),
    Method(
        "skip connections",
        _nothing,
        note="every layer of the decoder sees z",
        decoder=functools.partial(kv.networks.mlp_decoder, skip_connections=True),
    ),
    Method(
        "input dropout 0.2",
        _nothing,
        note="drops units of z in training, which a decoder without other inputs "
        "only loses by",
        decoder=_dropping_decoder,
    ),
]


def chosen(names):
    """Returns the methods of these names, all where there are none.

    Raises:
        ValueError: If there is no such method.
    """
    known = {method.name: method for method in METHODS}
    # Names may hold commas, at which a list flag is split.
    unknown = [name for name in names if not any(name in key for key in known)]
    if unknown:
        raise ValueError(
            f"`--methods` must be parts of {sorted(known)}. Received: {unknown}"
        )
    return [m for m in METHODS if not names or any(name in m.name for name in names)]

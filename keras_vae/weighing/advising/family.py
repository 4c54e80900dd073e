"""The models of a curve: one that has them all, or one for each weight."""

import numpy as np

from keras_vae.models import VAE
from keras_vae.weighing.curve import beta_of
from keras_vae.weighing.curve import betas_between
from keras_vae.weighing.curve import check_different
from keras_vae.weighing.curve import check_vae
from keras_vae.weighing.curve import rate_distortion


class Family:
    """Models by weight.

    Args:
        models: A Multi-Rate VAE; a list of `VAE`s, whose objectives say their weights;
            or a dict, weight to `VAE`.

    Attributes:
        is_continuous: Boolean, whether there is a model of every weight in a range.
        betas: List of floats, the weights, of a continuous family those that a curve
            is measured at by default.
    """

    def __init__(self, models):
        self._multi, self._models = None, {}
        if isinstance(models, VAE) and models.beta_range is not None:
            self._multi = models
            self.betas = betas_between(*models.beta_range)
        else:
            if not isinstance(models, dict):
                several = models if isinstance(models, list | tuple) else [models]
                pairs = [(beta_of(check_vae(model)), model) for model in several]
                check_different([beta for beta, _ in pairs])
                models = dict(pairs)
            self._models = {beta: check_vae(model) for beta, model in models.items()}
            self.betas = sorted(self._models)
        self.is_continuous = self._multi is not None

    def nearest(self, beta):
        """Returns the weight next to `beta` of which there is a model."""
        if self.is_continuous:
            low, high = self._multi.beta_range
            return min(max(beta, low), high)
        return min(self._models, key=lambda other: abs(np.log(other / beta)))

    def at(self, beta):
        """Returns the `VAE` of a weight."""
        if self.is_continuous and beta not in self._models:
            self._models[beta] = self._multi.at(beta)
        return self._models[beta]

    def measure(self, data, betas=None, **settings):
        """Returns the curve of some weights; see `rate_distortion`."""
        betas = self.betas if betas is None else betas
        if not self.is_continuous:
            return rate_distortion(self._models, data, betas, **settings)
        return rate_distortion({b: self.at(b) for b in betas}, data, **settings)

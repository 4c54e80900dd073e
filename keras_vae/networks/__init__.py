"""Encoders and decoders: plain functions that return Keras models.

An encoder maps (batch, *input_shape) to features (batch, units). The VAE adds the head
that turns features into the parameters of the posterior. A decoder maps (batch, latent)
to the unconstrained parameters of the likelihood (batch, *output_shape): logits for a
Bernoulli. Any other Keras model with such inputs and outputs can be used too. A decoder
may also read the target.
"""

from keras_vae.networks.causal import CausalSequential
from keras_vae.networks.causal import causal_decoder
from keras_vae.networks.conditional import ConditionalSequential
from keras_vae.networks.conditional import JoinConditions
from keras_vae.networks.conv import conv_decoder
from keras_vae.networks.conv import conv_encoder
from keras_vae.networks.levels import mlp_levels
from keras_vae.networks.levels import resnet_levels
from keras_vae.networks.mlp import mlp_decoder
from keras_vae.networks.mlp import mlp_encoder
from keras_vae.networks.resnet import resnet_decoder
from keras_vae.networks.resnet import resnet_encoder
from keras_vae.networks.skip import SkipSequential

__all__ = [
    "CausalSequential",
    "ConditionalSequential",
    "JoinConditions",
    "SkipSequential",
    "causal_decoder",
    "conv_decoder",
    "conv_encoder",
    "mlp_decoder",
    "mlp_encoder",
    "mlp_levels",
    "resnet_decoder",
    "resnet_encoder",
    "resnet_levels",
]

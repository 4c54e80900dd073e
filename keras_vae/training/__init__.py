"""How `fit` runs a model: step by step, or in blocks that XLA compiles."""

from keras_vae.training.blocks import BlockTraining

__all__ = ["BlockTraining"]

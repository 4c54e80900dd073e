"""Models."""

from keras_vae.models.aggressive_sentence_vae import AggressiveSentenceVAE
from keras_vae.models.aggressive_vae import AggressiveVAE
from keras_vae.models.factor_vae import FactorVAE
from keras_vae.models.hierarchical_vae import HierarchicalVAE
from keras_vae.models.original_units import in_original_units
from keras_vae.models.pretraining import copy_encoder
from keras_vae.models.pretraining import with_new_decoder
from keras_vae.models.semi_supervised_vae import SemiSupervisedVAE
from keras_vae.models.sentence_vae import SentenceVAE
from keras_vae.models.vae import VAE

__all__ = [
    "VAE",
    "AggressiveSentenceVAE",
    "AggressiveVAE",
    "FactorVAE",
    "HierarchicalVAE",
    "SemiSupervisedVAE",
    "SentenceVAE",
    "copy_encoder",
    "in_original_units",
    "with_new_decoder",
]

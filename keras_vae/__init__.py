"""Variational autoencoders in Keras, with the balance of KL and reconstruction."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "keras_vae runs on Keras's TensorFlow backend. Received: "
        f"{keras.backend.backend()!r}. Set the environment variable "
        "KERAS_BACKEND=tensorflow, or the entry 'backend' of ~/.keras/keras.json, "
        "before Keras is imported."
    )

from keras_vae import callbacks
from keras_vae import datasets
from keras_vae import distributions
from keras_vae import evaluation
from keras_vae import figures
from keras_vae import files
from keras_vae import imputation
from keras_vae import layers
from keras_vae import learning_rates
from keras_vae import linear
from keras_vae import losses
from keras_vae import metrics
from keras_vae import models
from keras_vae import multi_rate
from keras_vae import networks
from keras_vae import normalization
from keras_vae import objectives
from keras_vae import optimizers
from keras_vae import priors
from keras_vae import random
from keras_vae import replicas
from keras_vae import schedules
from keras_vae import snapshot
from keras_vae import training
from keras_vae import weighing
from keras_vae import weights

# === Models ===
from keras_vae.models import AggressiveVAE
from keras_vae.models import FactorVAE
from keras_vae.models import HierarchicalVAE
from keras_vae.models import SemiSupervisedVAE
from keras_vae.models import SentenceVAE
from keras_vae.models import VAE
from keras_vae.models import in_original_units
from keras_vae.multi_rate import MultiRateVAE

# === Objectives ===
from keras_vae.objectives import ELBO
from keras_vae.objectives import ImportanceWeighted

# === Callbacks ===
from keras_vae.callbacks import AggressiveStopping
from keras_vae.callbacks import CollapseMonitor
from keras_vae.callbacks import DivergenceGuard
from keras_vae.callbacks import EarlyStopping
from keras_vae.callbacks import KLAnnealing
from keras_vae.callbacks import ModelCheckpoint
from keras_vae.callbacks import TensorBoard

# === The balance of KL and reconstruction ===
from keras_vae.weighing import advise
from keras_vae.weighing import audit
from keras_vae.weighing import baselines
from keras_vae.weighing import diagnose
from keras_vae.weighing import linear_forecast
from keras_vae.weighing import rate_distortion
from keras_vae.weighing import sentence_baselines

# === Parts for custom methods ===
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.training import BlockTraining

__version__ = "0.1.0"

"""Callbacks for `fit`."""

from keras_vae.callbacks.aggressive_stopping import AggressiveStopping
from keras_vae.callbacks.collapse_monitor import CollapseMonitor
from keras_vae.callbacks.curve_loss import CurveLoss
from keras_vae.callbacks.divergence_guard import DivergenceError
from keras_vae.callbacks.divergence_guard import DivergenceGuard
from keras_vae.callbacks.early_stopping import EarlyStopping
from keras_vae.callbacks.hyperparameter_scheduler import HyperparameterScheduler
from keras_vae.callbacks.hyperparameter_scheduler import KLAnnealing
from keras_vae.callbacks.model_checkpoint import ModelCheckpoint
from keras_vae.callbacks.step_history import StepHistory
from keras_vae.callbacks.tensorboard import TensorBoard

__all__ = [
    "AggressiveStopping",
    "CollapseMonitor",
    "CurveLoss",
    "DivergenceError",
    "DivergenceGuard",
    "EarlyStopping",
    "HyperparameterScheduler",
    "KLAnnealing",
    "ModelCheckpoint",
    "StepHistory",
    "TensorBoard",
]

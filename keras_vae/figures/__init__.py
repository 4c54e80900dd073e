"""Pictures of a trained model, drawn without a display or global state."""

from keras_vae.figures.annealing import annealing
from keras_vae.figures.drawing import pixels
from keras_vae.figures.paths import rate_distortion_path
from keras_vae.figures.reports import by_weight
from keras_vae.figures.reports import training_report
from keras_vae.figures.tiles import image_grid
from keras_vae.figures.tiles import is_image
from keras_vae.figures.traversals import traversal
from keras_vae.figures.unit_rates import unit_rates
from keras_vae.figures.weight_curves import rate_distortion

__all__ = [
    "annealing",
    "by_weight",
    "image_grid",
    "is_image",
    "pixels",
    "rate_distortion",
    "rate_distortion_path",
    "training_report",
    "traversal",
    "unit_rates",
]

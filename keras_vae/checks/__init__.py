"""Checks of arguments and data, all of which run before the first training step."""

from keras_vae.arguments import check_count
from keras_vae.checks.arrays import NO_LABELS
from keras_vae.checks.arrays import check_array
from keras_vae.checks.arrays import check_examples
from keras_vae.checks.arrays import check_input
from keras_vae.checks.arrays import check_read_target
from keras_vae.checks.arrays import check_support
from keras_vae.checks.arrays import check_target
from keras_vae.checks.arrays import check_weights
from keras_vae.checks.arrays import with_nan
from keras_vae.checks.batches import Batches
from keras_vae.checks.batches import check_has_end
from keras_vae.checks.conditions import check_conditions
from keras_vae.checks.conditions import check_declared
from keras_vae.checks.conditions import check_names
from keras_vae.checks.conditions import split_inputs
from keras_vae.checks.data import check_batch
from keras_vae.checks.data import check_data
from keras_vae.checks.data import check_inputs
from keras_vae.checks.data import check_validation_data
from keras_vae.checks.data import peek
from keras_vae.checks.data import peek_generator
from keras_vae.checks.data import unpack
from keras_vae.checks.kinds import as_array
from keras_vae.checks.kinds import dense
from keras_vae.checks.networks import build_network
from keras_vae.checks.networks import check_closed_form
from keras_vae.checks.networks import check_network
from keras_vae.checks.networks import check_no_activation
from keras_vae.checks.networks import check_output_activation
from keras_vae.checks.networks import check_params_shape
from keras_vae.checks.networks import check_reader
from keras_vae.checks.settings import check_compile
from keras_vae.checks.settings import check_counts
from keras_vae.checks.settings import check_fit
from keras_vae.checks.settings import check_seed
from keras_vae.checks.shapes import is_shape
from keras_vae.checks.shapes import shape_text

__all__ = [
    "NO_LABELS",
    "Batches",
    "as_array",
    "build_network",
    "check_array",
    "check_batch",
    "check_closed_form",
    "check_compile",
    "check_conditions",
    "check_count",
    "check_counts",
    "check_data",
    "check_declared",
    "check_examples",
    "check_fit",
    "check_has_end",
    "check_input",
    "check_names",
    "check_inputs",
    "check_network",
    "check_no_activation",
    "check_output_activation",
    "check_params_shape",
    "check_read_target",
    "check_reader",
    "check_seed",
    "check_support",
    "check_target",
    "check_validation_data",
    "check_weights",
    "dense",
    "is_shape",
    "peek",
    "peek_generator",
    "shape_text",
    "split_inputs",
    "unpack",
    "with_nan",
]

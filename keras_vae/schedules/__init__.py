"""Schedules: pure functions from an optimizer step to a weight.

A schedule can be evaluated anywhere: in Python, in a `tf.function`, under XLA and
inside loops. One formula in float64 serves all of them, so a weight depends on the step
alone. Durations are given in one of these forms:

* `1000` or `"1000 steps"`: optimizer steps;
* `"10 epochs"`: epochs; they need the number of steps per epoch;
* `"50%"`: a fraction of the run; it needs the number of steps of the run.

The last two are unknown until training starts. `Schedule.resolve` converts them to
steps and rounds halves up: "50%" of 41 steps are 21 steps.
"""

from keras_vae.schedules.combinations import custom
from keras_vae.schedules.combinations import delay
from keras_vae.schedules.combinations import get
from keras_vae.schedules.combinations import join
from keras_vae.schedules.combinations import piecewise
from keras_vae.schedules.cycles import cyclical
from keras_vae.schedules.cycles import repeat
from keras_vae.schedules.cycles import restart
from keras_vae.schedules.ramps import constant
from keras_vae.schedules.ramps import cosine
from keras_vae.schedules.ramps import exponential
from keras_vae.schedules.ramps import linear
from keras_vae.schedules.ramps import sigmoid
from keras_vae.schedules.schedule import Schedule

__all__ = [
    "Schedule",
    "constant",
    "cosine",
    "custom",
    "cyclical",
    "delay",
    "exponential",
    "get",
    "join",
    "linear",
    "piecewise",
    "repeat",
    "restart",
    "sigmoid",
]

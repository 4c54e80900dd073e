"""Schedules: pure functions from an optimiser step to a weight.

A schedule is evaluated wherever the step is known: in Python, in a `tf.function`, under
XLA and inside loops. One formula in float64 serves all of them, so that a weight is a
function of the step alone. Durations are given in one of four ways:

* `1000` or `"1000 steps"`: optimiser steps;
* `"10 epochs"`: epochs, which need the number of steps per epoch;
* `"50%"`: a fraction of the run, which needs the number of steps of the run.

The last two are unknown until training starts; `Schedule.resolve` turns them into
steps, rounding halves up: "50%" of 41 steps are 21.
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

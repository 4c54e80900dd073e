"""Says which weight of the KL serves which purpose, in the units of one's own code.

Lowest first: `own_noise` and `family` give the models, `translation` the units,
`report` holds the advice, and `advisor` holds `advise`. The rules that choose a weight
stand in `curve`.
"""

from keras_vae.weighing.advising.advisor import advise
from keras_vae.weighing.advising.own_noise import with_own_noise
from keras_vae.weighing.advising.report import Advice
from keras_vae.weighing.advising.report import AdviceReport
from keras_vae.weighing.advising.translation import Units

__all__ = ["Advice", "AdviceReport", "Units", "advise", "with_own_noise"]

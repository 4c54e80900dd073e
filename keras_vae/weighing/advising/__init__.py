"""Says which weight of the KL serves which purpose, in the units of one's own code.

Lowest first: `family` gives the models, `translation` the units, `report` holds the
advice, and `advisor` holds `advise`. The rules that choose a weight stand in `curve`.
"""

from keras_vae.weighing.advising.advisor import advise
from keras_vae.weighing.advising.report import Advice
from keras_vae.weighing.advising.report import AdviceReport
from keras_vae.weighing.advising.translation import Units

__all__ = ["Advice", "AdviceReport", "Units", "advise"]

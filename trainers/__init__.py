"""Programs that train models and report on them, run as `python -m trainers.train`."""

from trainers import _quiet

_quiet.import_tensorflow()

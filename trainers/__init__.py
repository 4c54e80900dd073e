"""Programs that train models and report on them, run as `python -m trainers.train`."""

import os

# Read when TensorFlow is imported: on a machine without a GPU it reports the missing
# driver as an error.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

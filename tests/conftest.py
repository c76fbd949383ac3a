"""Settings of all tests."""

import os

from hypothesis import settings

# As in the command line: BLAS threads on busy cores wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# How long an example takes says how busy the machine is.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

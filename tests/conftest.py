"""Settings of all tests."""

import os

# As in the command line: BLAS threads on busy cores wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

"""Tests of neuralfx. They run side by side, so that libraries must not start threads for all cores in each."""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

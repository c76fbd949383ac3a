"""Imported by Python when it starts: this process's clock is wrong by `CLOCK_OFFSET` seconds, if there is such."""

import os
import time

if "CLOCK_OFFSET" in os.environ:
    offset = float(os.environ["CLOCK_OFFSET"])
    right = time.time
    right_ns = time.time_ns
    time.time = lambda: right() + offset
    time.time_ns = lambda: right_ns() + int(offset * 10**9)

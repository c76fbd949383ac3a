"""The limit: how fast this machine multiplies float32 matrices, one thread of BLAS on every core at once."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from rounds import asked, say

SIZE, REPEATS = 1024, 20
cores = len(os.sched_getaffinity(0))
a = np.random.default_rng(0).random((SIZE, SIZE), np.float32)
out = [np.empty_like(a) for _ in range(cores)]


def multiply(core: int) -> None:
    for _ in range(REPEATS):
        np.matmul(a, a, out=out[core])


say(ready=True)
with ThreadPoolExecutor(cores) as pool:
    while asked():
        start = time.perf_counter()
        list(pool.map(multiply, range(cores)))
        seconds = time.perf_counter() - start
        say(seconds=seconds, gflops=2e-9 * SIZE**3 * REPEATS * cores / seconds)
        say()

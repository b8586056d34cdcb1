import numpy as np


def work():
    return float(np.random.default_rng(1).normal(size=1_000_000)[-1])

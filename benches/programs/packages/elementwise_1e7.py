import numpy as np

a = np.random.default_rng(1).random(10_000_000)


def work():
    return round(float((a * 2.0 + 1.0).max()), 9)

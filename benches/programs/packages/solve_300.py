import numpy as np

g = np.random.default_rng(1)
a, b = g.random((300, 300)), g.random(300)


def work():
    return round(float(np.linalg.solve(a, b).sum()), 6)

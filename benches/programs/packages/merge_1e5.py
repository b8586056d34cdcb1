import numpy as np
import pandas as pd

g = np.random.default_rng(1)
n = 100_000
t = pd.DataFrame({"k": g.integers(0, 1000, n), "x": g.random(n), "y": g.random(n)})
other = pd.DataFrame({"k": np.arange(1000), "z": g.random(1000)})


def work():
    return round(float(t.merge(other, on="k")["z"].sum()), 6)

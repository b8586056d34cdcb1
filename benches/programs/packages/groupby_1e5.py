import numpy as np
import pandas as pd

g = np.random.default_rng(1)
n = 100_000
t = pd.DataFrame({"k": g.integers(0, 1000, n), "x": g.random(n), "y": g.random(n)})


def work():
    return round(float(t.groupby("k").mean()["x"].sum()), 6)

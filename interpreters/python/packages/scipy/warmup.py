"""SciPy in the image: the parts that cells import, which takes seconds, and those of their paths that cache something."""

import numpy
import scipy.cluster.hierarchy
import scipy.fft
import scipy.integrate
import scipy.interpolate
import scipy.linalg
import scipy.ndimage
import scipy.optimize
import scipy.signal
import scipy.sparse.csgraph
import scipy.sparse.linalg
import scipy.spatial
import scipy.special
import scipy.stats


def warm_up():
    square = numpy.array([[4.0, 1.0], [1.0, 3.0]])
    scipy.linalg.solve(square, [1.0, 2.0]), scipy.linalg.eigh(square), scipy.linalg.inv(square)
    scipy.optimize.minimize(scipy.optimize.rosen, [1.3, 0.7]), scipy.optimize.curve_fit(lambda x, a: a * x, [1.0, 2.0], [2.0, 4.0])
    scipy.stats.ttest_ind([1.0, 2.0, 3.0], [2.0, 3.0, 4.5]), scipy.stats.linregress([1.0, 2.0, 3.0], [2.0, 3.0, 4.5])
    scipy.stats.norm.cdf(1.96), scipy.stats.norm.rvs(size=2, random_state=0), scipy.integrate.quad(numpy.sin, 0, 1)
    scipy.interpolate.CubicSpline([0.0, 1.0, 2.0], [0.0, 1.0, 4.0])(1.5), scipy.sparse.linalg.spsolve(scipy.sparse.csc_array(square), [1.0, 2.0])

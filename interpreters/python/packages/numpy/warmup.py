"""numpy in the image: imported, and its usual paths run once."""

import numpy
import numpy.ctypeslib
import numpy.fft
import numpy.lib.recfunctions
import numpy.linalg
import numpy.ma
import numpy.polynomial
import numpy.random
import numpy.testing

CELLS = [
    "import numpy as np\nnp.arange(10).sum()",
    "a = np.arange(12, dtype=float).reshape(3, 4)\na",
    "print(a.mean(axis=0), a.std(), a @ a.T)\na[a > 3][:2], np.where(a > 5)[0], np.argsort(-a, axis=1)[0]",
    "np.array([[1, 2], [3, 4]]) * 2.5",
]


def warm_up():
    generator = numpy.random.default_rng(0)
    square = generator.normal(size=(6, 6))
    numpy.linalg.solve(square, numpy.linalg.inv(square)), numpy.linalg.eigvals(square), numpy.linalg.svd(square)
    numpy.fft.ifft(numpy.fft.fft(square[0]))
    numpy.sort(square, axis=None), numpy.unique(square.round()), numpy.histogram(square), numpy.percentile(square, [5, 50])
    numpy.concatenate([square, square]), numpy.vstack([square, square]), numpy.linspace(0, 1, 5), numpy.cumsum(square)
    numpy.random.rand(3), numpy.random.randint(0, 5, 3), numpy.random.normal(size=3), numpy.random.choice([1, 2, 3], 2)
    repr(square), str(square), repr(numpy.arange(3)), repr(numpy.float64(1.5)), repr(numpy.array(["a"]))
    numpy.array(["2020-01-01"], dtype="M8[D]") + numpy.timedelta64(1, "D")
    numpy.isnan(square).any(), numpy.clip(square, 0, 1), numpy.dot(square, square), numpy.einsum("ij,jk", square, square)
    numpy.polyfit([1, 2, 3], [1, 4, 9], 2), numpy.interp(1.5, [1, 2], [3, 4]), numpy.meshgrid([1, 2], [3, 4])


def reseed():
    """The module's own generator; `default_rng()` asks the system anyway."""
    numpy.random.seed()


def touch():
    """An array, a reduction, and a number's text: 0.1 MB."""
    str(numpy.arange(10).sum())

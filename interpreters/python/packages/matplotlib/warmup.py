"""matplotlib in the image: pyplot, the list of fonts, and first figures."""

import gc
import io
import warnings

import matplotlib
import matplotlib.animation
import matplotlib.backends.backend_agg
import matplotlib.backends.backend_pdf
import matplotlib.backends.backend_svg
import matplotlib.colors
import matplotlib.dates
import matplotlib.font_manager
import matplotlib.gridspec
import matplotlib.patches
import matplotlib.pyplot as plt
import matplotlib.ticker
import mpl_toolkits.mplot3d
import numpy

CELLS = ["import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1, 2, 3], [1, 4, 9], label='a')\n"
         "ax.set_title('title')\nax.legend()\nfig.savefig('/tmp/.warm.png')\nplt.close('all')\n"
         "import os\nos.remove('/tmp/.warm.png')",
         "plt.plot([1, 2, 3])\nplt.show()",
         "plt.bar(['a', 'b'], [1, 2])\nplt.title('title')"]


def warm_up():
    with warnings.catch_warnings(action="ignore"):
        _figures()
    plt.close("all")


def _figures():
    numbers = numpy.arange(20.0)
    figure, axes = plt.subplots(2, 3, figsize=(9, 5))
    axes[0, 0].plot(numbers, numbers ** 2, "o--", label="$x^2$")
    axes[0, 0].legend()
    axes[0, 1].bar(["a", "b", "c"], [1, 2, 3])
    axes[0, 2].hist(numpy.sin(numbers), bins=5)
    axes[1, 0].scatter(numbers, numpy.cos(numbers), c=numbers)
    figure.colorbar(axes[1, 1].imshow(numpy.outer(numbers, numbers)), ax=axes[1, 1])
    axes[1, 2].contourf(numpy.outer(numbers, numbers))
    figure.suptitle("title")
    figure.tight_layout()
    for kind in ("png", "svg", "pdf"):
        figure.savefig(io.BytesIO(), format=kind)


def forget():
    plt.close("all")
    gc.collect()

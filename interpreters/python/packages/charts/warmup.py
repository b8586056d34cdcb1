"""plotly and altair in the image. Their figures come back as the data that the client's own viewer draws
(`application/vnd.plotly.v1+json`, `application/vnd.vegalite.v6+json`): plotly's other way is its whole library, 5 MB, in
each answer. `write_html` and `save` make pages of them."""

import altair
import narwhals  # noqa: F401  (both look at data through it)
import plotly.express
import plotly.graph_objects
import plotly.io

plotly.io.renderers.default = "plotly_mimetype"
altair.renderers.enable("mimetype")


def warm_up():
    data = {"x": [1, 2, 3], "y": [2.5, 1.0, 3.0], "c": ["a", "b", "a"]}
    for kind in (plotly.express.scatter, plotly.express.line, plotly.express.bar):
        plotly.io.to_json(kind(data, x="x", y="y", color="c"))
    values = [{"x": 1, "y": 2.5}, {"x": 2, "y": 1.0}]
    altair.Chart(altair.Data(values=values)).mark_bar().encode(x="x:Q", y="y:Q").to_json()

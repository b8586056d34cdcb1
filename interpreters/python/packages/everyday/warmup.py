"""The pure packages in the image: imported, since that takes up to seconds, and the slow ones used once."""

import importlib
import io
import sys

MODULES = """
arrow attr attrs bs4 cachetools certifi chardet charset_normalizer click cloudpickle dateparser dateutil.parser
dateutil.relativedelta docx email_validator faker feedparser fpdf html5lib httpx humanize jinja2 joblib jsonpath_ng
jsonschema lark loguru lxml.etree lxml.html markdown markdownify more_itertools mpmath msgpack nbformat networkx openpyxl
openpyxl.chart openpyxl.styles openpyxl.utils.dataframe patsy pptx pptx.util prettytable pydantic pydantic.dataclasses
pydantic_settings pypdf pytz qrcode regex reportlab.lib.pagesizes reportlab.lib.styles reportlab.pdfgen.canvas
reportlab.platypus requests rich.console rich.progress rich.table seaborn slugify sortedcontainers sqlalchemy sqlalchemy.orm
sqlparse sympy tabulate tenacity termcolor tomlkit toolz tqdm tqdm.auto unidecode xlrd xlsxwriter xmltodict yaml
"""

for _name in MODULES.split():
    try:
        importlib.import_module(_name)
    except ImportError as _failure:
        print(f"preload: {_failure}", file=sys.__stderr__)

import docx  # noqa: E402  (all are imported above, each on its own)
import faker.generator  # noqa: E402
import networkx  # noqa: E402
import openpyxl  # noqa: E402
import sympy  # noqa: E402
import sympy.core.random  # noqa: E402
import tqdm  # noqa: E402
import yaml  # noqa: E402

# It would try to start a thread that watches slow loops, and warn that there are none.
tqdm.tqdm.monitor_interval = 0


def warm_up():
    x = sympy.symbols("x")
    sympy.integrate(sympy.sin(x) * sympy.exp(x), x), sympy.solve(x ** 2 - 2, x)
    sympy.simplify(sympy.diff(sympy.tan(x), x)), sympy.Matrix([[1, 2], [3, 4]]).inv()
    sympy.latex(x ** 2 / 2), sympy.factor(x ** 2 - 1), sympy.N(sympy.pi, 20)
    networkx.shortest_path(networkx.path_graph(4), 0, 3)
    book = openpyxl.Workbook()
    book.active.append(["a", 1])
    room = io.BytesIO()
    book.save(room)
    openpyxl.load_workbook(io.BytesIO(room.getvalue()))
    document = docx.Document()
    document.add_paragraph("text")
    document.save(io.BytesIO())
    yaml.safe_load(yaml.safe_dump({"a": [1, 2.5, None]}))


def reseed():
    """Generators of their own; the others use that of `random`."""
    faker.generator.mod_random.seed()
    sympy.core.random.seed()

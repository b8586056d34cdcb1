"""MarkupSafe in Python, which it falls back to: its C module only makes escaping faster.

PyPI has no wheel without that.
"""

from building import modules

VERSION = "3.0.3"


def build(build, folder, context):
    source = context.sdist("markupsafe")
    modules.copy_python(source / "src/markupsafe", folder / "site/markupsafe")
    modules.metadata(source, folder / "site", "MarkupSafe", VERSION)
    del build

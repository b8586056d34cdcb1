"""lxml: etree and objectify, whose C the sdist carries. Its other modules stay Python."""

from building import modules

VERSION = "6.1.3"
LEFT_OUT = ("tests", "includes", "__pycache__")


def build(build, folder, context):
    source = context.sdist("lxml")
    code = source / "src/lxml"
    flags = ["-O2", "-DWITHOUT_THREADING", "-DCYTHON_CLINE_IN_TRACEBACK=0", f"-I{source}/src", f"-I{code}",
             f"-I{code}/includes", f"-I{context.needs['libxml2'].folder}/include"]
    compiled = [modules.Module(f"lxml.{name}", [code / f"{name}.c"], flags) for name in ("etree", "objectify")]
    modules.compile_modules(build, folder, context, compiled)
    modules.copy_python(code, folder / "site/lxml", LEFT_OUT)
    modules.metadata(source, folder / "site", "lxml", VERSION)

"""kiwisolver, matplotlib's constraint solver: one C++ module."""

import re
import zipfile

from building import modules
from shared.steps import RecipeError

NAMES = ("kiwisolver", "constraint", "expression", "solver", "strength", "term", "variable")
VERSION = "1.5.1"

# METH_NOARGS functions and getters that lack the second parameter they are called with; the number of them in a file.
SHORT = {"constraint": 4, "expression": 3, "solver": 4, "strength": 4, "term": 3, "variable": 3}
USED = re.compile(r"\( ?(?:PyCFunction|getter) ?\)(\w+), (?:METH_NOARGS|0),")
# tp_clear functions that return nothing, where the collector reads an int.
CLEARS = {"constraint": "void Constraint_clear(Constraint *self)\n{{\n    Py_CLEAR(self->expression);\n",
          "expression": "void\nExpression_clear( Expression* self )\n{{\n    Py_CLEAR( self->terms );\n",
          "term": "void\nTerm_clear( Term* self )\n{{\n\tPy_CLEAR( self->variable );\n",
          "variable": "void\nVariable_clear( Variable* self )\n{{\n\tPy_CLEAR( self->context );\n"}


def build(build, folder, context):
    source = modules.copy_source(context.sdist("kiwisolver"), folder / "src")
    for name, count in SHORT.items():
        path = source / "py/src" / f"{name}.cpp"
        path.write_text(_second_parameters(path.read_text(), name, count))
    for name, text in CLEARS.items():
        before = text.replace("{{", "{")
        modules.replace(source / "py/src" / f"{name}.cpp", (before, f"int{before[4:]}    return 0;\n"))
    with zipfile.ZipFile(next((context.sources.folder / "wheels").glob("cppy-*.whl"))) as wheel:
        wheel.extractall(folder / "cppy")
    module = modules.Module("kiwisolver._cext", [source / "py/src" / f"{name}.cpp" for name in NAMES],
                            [f"-I{source}", f"-I{folder}/cppy/cppy/include"])
    modules.compile_modules(build, folder, context, [module])
    modules.copy_python(source / "py/kiwisolver", folder / "site/kiwisolver")
    modules.metadata(source, folder / "site", "kiwisolver", VERSION)


def _second_parameters(text, name, count):
    changed = 0
    for function in dict.fromkeys(USED.findall(text)):
        definition = rf"^({function}\( ?\w+ ?\*\s?self) ?\)$"
        text, found = re.subn(definition, r"\1, void* = nullptr )", text, flags=re.MULTILINE)
        changed += found
    if changed != count:
        raise RecipeError(f"kiwisolver's {name}.cpp has {changed} functions to patch, not {count}")
    return text

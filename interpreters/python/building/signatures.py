"""Finds C functions that the interpreter would call with another number of arguments than they take.

Elsewhere an argument too many is harmless, and code relies on it; in WebAssembly the call is a trap, which ends the session.
The compiler warns of casts between function types, but a method's flags (METH_NOARGS: two arguments) and slots that are
given as void* tell it nothing. This reads the sources: tables of methods, of attributes and of slots, and the definitions of
the functions that they name.
"""

import re

from shared.steps import RecipeError

SUFFIXES = {".c", ".cc", ".cpp", ".h", ".hpp", ".inc", ".src"}

# What a method's flags mean, without those that change nothing about the call.
METHODS = {frozenset(flags.split()): count for flags, count in (
    ("VARARGS", 2), ("VARARGS KEYWORDS", 3), ("NOARGS", 2), ("O", 2), ("FASTCALL", 3), ("FASTCALL KEYWORDS", 4),
    ("METHOD FASTCALL KEYWORDS", 5))}
INDIFFERENT = {"STATIC", "CLASS", "COEXIST"}

# C's names of the types of functions, and of the slots, by the number of their arguments.
TYPES = {name: count for count, names in {
    1: "reprfunc destructor unaryfunc inquiry lenfunc hashfunc getiterfunc iternextfunc freefunc",
    2: "getattrfunc binaryfunc ssizeargfunc objobjproc visitproc getter getattrofunc allocfunc releasebufferproc",
    3: "setattrfunc richcmpfunc ternaryfunc ssizeobjargproc objobjargproc initproc newfunc descrgetfunc descrsetfunc "
       "traverseproc setter setattrofunc getbufferproc",
    4: "vectorcallfunc"}.items() for name in names.split()}
SLOTS = {name: count for count, names in {
    1: "tp_dealloc tp_repr tp_str tp_hash tp_iter tp_iternext tp_free tp_clear tp_finalize nb_negative nb_bool nb_int nb_float "
       "sq_length mp_length",
    2: "tp_alloc tp_getattro nb_add nb_subtract nb_multiply nb_true_divide sq_item sq_contains mp_subscript bf_releasebuffer",
    3: "tp_call tp_init tp_new tp_traverse tp_richcompare tp_setattro tp_descr_get tp_descr_set nb_power mp_ass_subscript "
       "sq_ass_item bf_getbuffer"}.items() for name in names.split()}

# A cast in any of the ways that are in use, and `&`.
_CAST = r"(?:\([^(){}]*\)\s*|reinterpret_cast<[^>]*>\s*\(|\w*CAST\s*\(|\(void\s*\(\*\)\(void\)\)|\s|\(|&)*"
METHOD = re.compile(r'\{\s*"[^"]+"\s*,\s*' + _CAST + r"(\w+)\s*\)*\s*,\s*((?:METH_\w+\s*\|?\s*)+)")
ATTRIBUTE = re.compile(r'\{\s*"\w+"\s*,\s*(?:\(getter\)\s*)?(\w+)\s*,\s*(?:\(setter\)\s*)?(\w+)\s*,\s*'
                       r'(?:NULL|nullptr|0|"|PyDoc_STR)')
TYPED = re.compile(r"\(\s*(" + "|".join(TYPES) + r")\s*\)\s*&?(\w+)")
SLOT = re.compile(r"(?:Py_(\w+)\s*,\s*(?:\(void\s*\*\)|void_cast\(|reinterpret_cast<void\s*\*>\()|"
                  r"\.(\w+)\s*=\s*(?:\(\w+\)\s*)?)\s*&?(\w+)")
DEFINITION = re.compile(r"(?<![\w.>])(\w+)\s*\(((?:[^(){};]|\([^(){};]*\))*)\)\s*(?:noexcept\s*)?\{")
NOTHING = {"NULL", "0", "nullptr"}


def check(build, folder, packages):
    """A step without a result, which fails when a package's sources, as they were compiled, have such a function."""
    problems = []
    for step in packages:
        source = step.folder / "src"
        if source.is_dir():
            problems += [f"{step.folder.name}: {problem}" for problem in find(source)]
    if problems:
        raise RecipeError("functions that are called with another number of arguments than they take:\n" + "\n".join(problems))


def find(folder):
    """What is wrong below a folder, a line each. A function is looked for in the file that names it, then beside it."""
    texts = {path: path.read_text("utf-8", "replace") for path in sorted(folder.rglob("*"))
             if path.suffix in SUFFIXES and path.is_file()}
    defined = {path: _definitions(text) for path, text in texts.items()}
    for path, text in texts.items():
        for name, wanted in sorted(set(_uses(text))):
            found = defined[path].get(name)
            if not found:
                found = set().union(*(there.get(name, ()) for where, there in defined.items() if where.parent == path.parent))
            if found and wanted not in found:
                yield f"{path.relative_to(folder)}: {name} takes {min(found)} and gets {wanted}"


def _uses(text):
    """The functions that tables name, and how many arguments they will be given."""
    for match in METHOD.finditer(text):
        count = METHODS.get(frozenset(re.findall(r"METH_(\w+)", match[2])) - INDIFFERENT)
        if count is not None:
            yield match[1], count
    for match in ATTRIBUTE.finditer(text):
        yield from ((name, count) for name, count in ((match[1], 2), (match[2], 3)) if name not in NOTHING)
    for match in TYPED.finditer(text):
        if match[2] not in NOTHING:
            yield match[2], TYPES[match[1]]
    for match in SLOT.finditer(text):
        slot = match[1] or match[2]
        if slot in SLOTS and match[3] not in NOTHING:
            yield match[3], SLOTS[slot]


def _definitions(text):
    """The numbers of parameters with which each function is defined."""
    found = {}
    for match in DEFINITION.finditer(text):
        found.setdefault(match[1], set()).add(_count(match[2]))
    return found


def _count(parameters):
    if parameters.strip() in ("", "void"):
        return 0
    depth, count = 0, 1
    for character in parameters:
        depth += (character in "(<[") - (character in ")>]")
        count += character == "," and depth == 0
    return count

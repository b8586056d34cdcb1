"""Fortran 77 for the guest, through f2c: no Fortran compiler makes WebAssembly objects that link with C's.

What f2c writes is changed to what C callers of Fortran declare, because a call with another signature is a trap here:
subroutines return nothing instead of an int, and there are no hidden arguments with the lengths of strings. Where a length
is asked for, the string is one that C ends with a zero: f2c writes literals so.

Not for Fortran 90, except for what people use of it in otherwise old files: see `prepare`.
"""

import re
from pathlib import Path

from shared.steps import RecipeError

# f2c's own library keeps the lengths of strings. What those functions are called, and how they are declared.
KEEPS_LENGTHS = re.compile(r"(?:s_(?:copy|cmp|cat)|i_(?:len|indx)|l_(?:ge|gt|le|lt)|do_[fl]io)$")
LENGTH = re.compile(r",\s*(?:\(\s*ftnlen\s*\)\s*\d+|ftnlen\s+\w+_len|ftnlen(?=\s*[,)])|\w+_len(?=\s*[,)]))")
FUNCTION = re.compile(r"^\s*RECURSIVE\s+FUNCTION\s+(\w+)(.*?)\)\s*RESULT\s*\((\w+)\)[ \t]*$", re.IGNORECASE | re.MULTILINE | re.DOTALL)

OPTIONS = ["-a", "-A", "-R", "-!bs"]
# Of compilers' warnings only: f2c writes C of 1989, whose functions without a prototype take any arguments.
CFLAGS = ["-std=gnu89", "-Wno-everything", "-fno-strict-aliasing"]


def translate(build, folder, f2c, sources, changes=None):
    """The C files, in `folder`, of the Fortran `sources`, by name. `f2c` is the step with the translator.

    `changes(path, text)`, if given, may change a source before; it gets what `prepare` has made of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = {}

    def one(source):
        text = prepare(source.read_text("latin-1"))
        if changes:
            text = changes(source, text)
        copy = folder / f"{source.stem}.f"
        copy.write_text(text, "latin-1")
        build.run([f2c.folder / "bin/f2c", *OPTIONS, copy.name], folder / f"{source.stem}.log", cwd=folder)
        target = folder / f"{source.stem}.c"
        target.write_text(signatures(target.read_text("latin-1")), "latin-1")
        made[source.stem] = target

    build.each(one, sources)
    return made


def prepare(text):
    """Fortran 77 of what is nearly so: RECURSIVE, RESULT, EXIT and CYCLE.

    Local variables are not static (f2c's -a), so recursion needs nothing but that f2c does not hear of it.
    """
    while found := FUNCTION.search(text):
        name, arguments, result = found.groups()
        body = text[found.end():]
        body = re.sub(rf"^\s*REAL\*8\s*::\s*{result}\s*$", "", body, count=1, flags=re.IGNORECASE | re.MULTILINE)
        body = re.sub(rf"\b{result}\b", name, body, flags=re.IGNORECASE)
        text = f"{text[:found.start()]}\n      real*8 function {name}{arguments})\n{body}"
    text = re.sub(r"^(\s+)RECURSIVE\s+(?=SUBROUTINE)", r"\1", text, flags=re.IGNORECASE | re.MULTILINE)
    text = re.sub(r"^\s+RECURSIVE\s*$", "", text, flags=re.IGNORECASE | re.MULTILINE)
    if re.search(r"^[^*cC!].*\b(?:EXIT|CYCLE)\s*$", text, re.IGNORECASE | re.MULTILINE):
        text = _jumps(text)
    return text


def _jumps(text):
    """EXIT and CYCLE of DO ... END DO, as GO TO."""
    lines, open_loops, label = [], [], 99000
    for line in text.splitlines():
        code = line[6:].strip().upper() if line[:1] not in ("*", "c", "C", "!") else ""
        if re.match(r"DO\s+(?:WHILE\b|\w+\s*=)", code):
            label += 2
            open_loops.append({"first": label, "EXIT": False, "CYCLE": False})
        elif found := re.search(r"\b(EXIT|CYCLE)$", code):
            loop = open_loops[-1]
            loop[found[1]] = True
            target = loop["first"] + (found[1] == "EXIT")
            line = re.sub(r"\b(?:EXIT|CYCLE)\s*$", f"GO TO {target}", line, flags=re.IGNORECASE)
        elif re.fullmatch(r"END\s*DO", code):
            loop = open_loops.pop()
            if loop["CYCLE"]:
                lines.append(f"{loop['first']} CONTINUE")
            lines.append(line)
            if loop["EXIT"]:
                lines.append(f"{loop['first'] + 1} CONTINUE")
            continue
        lines.append(line)
    return "\n".join(lines) + "\n"


def signatures(text):
    """f2c's output with the signatures that C callers declare: see above."""
    text = re.sub(r"/\* Subroutine \*/ int\b", "/* Subroutine */ void", text)
    text = re.sub(r"^(\s+)return 0;$", r"\1return;", text, flags=re.MULTILINE)
    return _lengths(LENGTH.sub(lambda found: found[0] if _keeps(text, found.start()) else "", text))


def _keeps(text, position):
    """Whether the argument at `position` is one of f2c's own library."""
    depth = 0
    for place in range(position - 1, -1, -1):
        if text[place] == ")":
            depth += 1
        elif text[place] == "(":
            if depth == 0:
                name = re.search(r"(\w+)\s*$", text[max(0, place - 80):place])
                return bool(name and KEEPS_LENGTHS.match(name[1]))
            depth -= 1
    raise RecipeError(f"f2c wrote an argument outside of a call: {text[position:position + 40]!r}")


def _lengths(text):
    """Lengths that a function asks for although it is no longer given them."""
    parts = re.split(r"^(\{)$", text, flags=re.MULTILINE)
    for place in range(2, len(parts), 2):
        names = sorted(set(re.findall(r"\b(\w+)_len\b", parts[place])) - {"i", "s"})
        # f2c adds underscores to arguments whose names mean something in C.
        spelled = {name: f"{name}__" if re.search(rf"\bchar\s*\*\s*{name}__", parts[place - 2]) else name for name in names}
        declared = "".join(f"\n    ftnlen {name}_len = (ftnlen)__builtin_strlen({spelled[name]});" for name in names)
        parts[place] = declared + parts[place]
    return "".join(parts)


DEFINITION = re.compile(r"^(?:/\*[^*]*\*/ )?\w+ (\w+)_\(((?:[^()]|\([^()]*\))*)\)\s*\n\{", re.MULTILINE)
DECLARATION = re.compile(r"^extern \w+ F_FUNC\((\w+),\w+\)\((.*)\);$", re.MULTILINE)


def arguments(sources):
    """How many arguments each function has that `translate` has made: `{"dgemm": 13}`."""
    return {name: _count(found) for path in sources for name, found in DEFINITION.findall(path.read_text("latin-1"))}


def check_calls(generated, known):
    """Stop when the wrappers that f2py has `generated` call a function with other arguments than the `known` number.

    They call through pointers, which the linker does not look at.
    """
    for name, declared in DECLARATION.findall(generated.read_text()):
        if name in known and known[name] != _count(declared):
            raise RecipeError(f"{generated.name} calls {name} with {_count(declared)} arguments instead of {known[name]}: patch it")


def _count(arguments):
    """How many there are, of a C declaration: commas in the types of functions do not count."""
    while (flat := re.sub(r"\([^()]*\)", "", arguments)) != arguments:
        arguments = flat
    return arguments.count(",") + 1 if arguments.strip() else 0


def flags(f2c):
    """The compiler's options for what `translate` has made."""
    return [*CFLAGS, f"-I{Path(f2c.folder) / 'include'}"]

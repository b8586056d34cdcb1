"""The reference BLAS and LAPACK: `lib/liblapack.a`, with the functions' names as Fortran compilers give them, `dgemm_`.

They are called as C declares them: see building/fortran.py. Complex functions return their result through a first argument,
which is what WebAssembly makes of a function that returns C's complex numbers, too.

Leaves `dev/arguments.json`, how many arguments each function has.
"""

import json
import re
import shutil
from pathlib import Path

from building import fortran

HERE = Path(__file__).resolve().parent

# What SciPy does not call: extra-precise refinement, and factorisations newer than its interface (two-stage, tall and skinny,
# Aasen's and the rook's), which LAPACK itself does not call either.
LEFT_OUT = re.compile(r"la_|.(?:[a-z]{2}rfsx|[a-z]{2}svxx|.*_extended|.*_rook|.*_r[ks]|.*_aa|.*_aa_.*|.*_2stage|.*_3|.*sy_sb|.*he_hb|.*hr_col.*"
                      r"|.*tsqr.*|.*tsls|.*swlq|.*qr2?p?_row|bdsvdx|gesvdx|gelq|geqr|gemqr|gemlq|gesvdq)$")
# Written in C here: they ask the compiler about the machine's numbers, or print.
IN_C = {"dlamch", "slamch", "disnan", "sisnan", "dlaisnan", "slaisnan", "xerbla", "xerbla_array"}


def build(build, folder, context):
    source = context.crate("openblas-src") / "source/lapack-netlib"
    f2c = context.needs["f2c"]
    files = [*(source / "SRC").glob("*.f"), *(source / "BLAS/SRC").glob("*.f"), source / "INSTALL/lsame.f", source / "INSTALL/ilaver.f"]
    chosen = {path.stem: path for path in sorted(files) if path.stem not in IN_C and not LEFT_OUT.match(path.stem)}
    build.say("f2c")
    made = fortran.translate(build, folder / "c", f2c, list(chosen.values()), _changes)
    blas = {path.stem for path in (source / "BLAS/SRC").glob("*.f")}
    for name, level in (("lapack", "-O2"), ("blas", "-O3")):
        build.say(f"compiling {name}")
        sources = [path for stem, path in sorted(made.items()) if (stem in blas) == (name == "blas")]
        context.compiler.archive(folder, f"lib{name}.a", sources, [*fortran.flags(f2c), level])
        shutil.rmtree(folder / "obj")
    context.compiler.archive(folder, "liblapack-c.a", [HERE / "machine.c"], [])
    (folder / "dev").mkdir()
    (folder / "dev/arguments.json").write_text(json.dumps(fortran.arguments(sorted(made.values())), indent=1) + "\n")
    shutil.rmtree(folder / "c")


def _changes(path, text):
    """What f2c does not take of Fortran 90."""
    if path.stem.startswith("z"):
        # One name for all precisions: f2c's is the single one's.
        text = re.sub(r"\bAIMAG\b", "DIMAG", text)
    if path.stem[1:] in ("pstrf", "pstf2"):
        kind = "s" if path.stem[0] in "sc" else "d"
        text = re.sub(r",\s*MAXLOC[ \t]*$", "", text, flags=re.MULTILINE)
        text = text.replace("MAXLOC( WORK( (N+J):(2*N) ), 1 )", f"{kind.upper()}MAXLC( N-J+1, WORK( N+J ) )")
        text = text.replace("MAXLOC( WORK( 1:N ), 1 )", f"{kind.upper()}MAXLC( N, WORK )")
        text = re.sub(r"^(      EXTERNAL\s)", rf"      INTEGER            {kind.upper()}MAXLC\n\1 {kind.upper()}MAXLC,", text, count=1, flags=re.MULTILINE)
    return re.sub(r"^(\s+)(\w+)\(1:(\d)\) = 0$",
                  lambda found: "\n".join(f"{found[1]}{found[2]}({number}) = 0" for number in range(1, int(found[3]) + 1)),
                  text, flags=re.MULTILINE)

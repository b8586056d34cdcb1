"""Qhull, the reentrant library: lib/libqhull_r.a and include/libqhull_r/."""

import shutil

from building import cxx, modules


def build(build, folder, context):
    source = modules.unpack(context.debian("qhull"), folder) / "src"
    context.compiler.archive(folder, "libqhull_r.a", sorted((source / "libqhull_r").glob("*.c")),
                             [f"-I{source}", "-Wno-deprecated-non-prototype", *cxx.SETJMP])
    shutil.copytree(source / "libqhull_r", folder / "include/libqhull_r", ignore=shutil.ignore_patterns("*.c"))
    shutil.rmtree(folder / "src")
    del build

"""libwebp with its muxer and demuxer: lib/libwebp.a and include/. Code for other machines leaves itself out."""

import shutil

ROOMS = ("src/dec", "src/demux", "src/dsp", "src/enc", "src/mux", "src/utils", "sharpyuv")


def build(build, folder, context):
    source = context.crate("libwebp-sys") / "vendor"
    files = [path for room in ROOMS for path in sorted((source / room).glob("*.c"))]
    context.compiler.archive(folder, "libwebp.a", files, [f"-I{source}", f"-I{source}/src"])
    shutil.copytree(source / "src/webp", folder / "include/webp")
    del build

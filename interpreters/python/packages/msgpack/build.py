"""msgpack: one C module, which its sdist carries ready-made."""

from building import modules

VERSION = "1.2.4"


def build(build, folder, context):
    source = context.sdist("msgpack")
    # Its inline functions in headers must not be called like wasi-libc's.
    module = modules.Module("msgpack._cmsgpack", [source / "msgpack/_cmsgpack.c"], [f"-I{source}"])
    modules.compile_modules(build, folder, context, [module])
    modules.copy_python(source / "msgpack", folder / "site/msgpack")
    modules.metadata(source, folder / "site", "msgpack", VERSION)

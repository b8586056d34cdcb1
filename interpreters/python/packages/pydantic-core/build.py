"""pydantic-core: a Rust module, and the Python around it."""

from building import modules, rust

VERSION = "2.50.4"


def build(build, folder, context):
    rust.compile_module(build, folder, context, package="pydantic-core", name="pydantic_core._pydantic_core",
                        crate="_pydantic_core")
    source = context.sdist("pydantic-core")
    modules.copy_python(source / "python/pydantic_core", folder / "site/pydantic_core")
    modules.metadata(source, folder / "site", "pydantic-core", VERSION)

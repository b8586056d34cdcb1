"""rpds-py, jsonschema's persistent maps: a Rust module and nothing else."""

from building import modules, rust

VERSION = "2026.9.1"


def build(build, folder, context):
    rust.compile_module(build, folder, context, package="rpds-py", name="rpds", crate="rpds")
    modules.metadata(context.sdist("rpds-py"), folder / "site", "rpds-py", VERSION)

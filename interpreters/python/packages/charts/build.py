"""Nothing to build; see package.toml."""


def build(build, folder, context):
    del build, folder, context

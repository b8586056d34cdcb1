// Deliberately empty: only the vendored C sources of the dependencies are used.

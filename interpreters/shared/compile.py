"""Compiling and linking for the guest: the compiler's command line, the same for every interpreter."""

from pathlib import Path

# -O3 pays in the interpreter loop; SIMD and bulk memory are in every wasmtime.
CFLAGS = ["-O3", "-DNDEBUG", "-msimd128", "-mbulk-memory", "-g0"]

# wasi-libc's stand-ins for what WASI lacks; each -D goes with a -l when linking.
EMULATION = ["-D_WASI_EMULATED_SIGNAL", "-D_WASI_EMULATED_GETPID", "-D_WASI_EMULATED_PROCESS_CLOCKS"]
EMULATION_LIBRARIES = ["-lwasi-emulated-signal", "-lwasi-emulated-getpid", "-lwasi-emulated-process-clocks", "-lm"]

# What the linker would not export of itself.
DATA_EXPORTS = ["__stack_pointer", "sandpool_abi", "sandpool_interrupt_cell"]


class Compiler:
    """The unpacked clang, pointed at the unpacked wasi-libc."""

    def __init__(self, build, toolchain, sysroot):
        self.build = build
        self.key = [toolchain.key, sysroot.key, CFLAGS, EMULATION]
        self.bin = toolchain.folder / "bin"
        self.target = ["--target=wasm32-wasip1", f"--sysroot={sysroot.folder}/usr",
                       # Paths of the building machine stay out of the module.
                       *(f"-ffile-prefix-map={folder}=/build" for folder in (build.shared, build.work))]

    @property
    def cc(self):
        return [self.bin / "clang", *self.target]

    @property
    def make(self):
        private = self.bin / "make"
        return private if private.exists() else "make"

    def archive(self, folder, name, sources, flags):
        """Compile C sources to `folder/lib/name`."""
        objects = self.objects(folder, sources, flags)
        (folder / "lib").mkdir(exist_ok=True)
        self.build.run([self.bin / "llvm-ar", "rcsD", folder / "lib" / name, *objects], folder / "log")

    def objects(self, folder, sources, flags):
        """Compile C sources into `folder/obj`; the objects, in the order of the sources."""
        (folder / "obj").mkdir(exist_ok=True)
        pairs = [(source, folder / "obj" / f"{number:03}-{Path(source).stem}.o")
                 for number, source in enumerate(sources)]

        def compile_one(pair):
            command = [*self.cc, *CFLAGS, *EMULATION, *flags, "-c", pair[0], "-o", pair[1]]
            self.build.run(command, folder / "log")

        self.build.each(compile_one, pairs)
        return [target for _, target in pairs]

    def reactor(self, folder, objects, libraries, stack_bytes):
        """Link `folder/module.wasm`: a core module that exports the guest ABI (../README.md).

        `libraries` are archives and further options of the linker. The stack lies below the data, so that an overflow
        traps instead of overwriting it.
        """
        linker = [f"-z,stack-size={stack_bytes}", "--stack-first", "--strip-debug",
                  *(f"--export={name}" for name in DATA_EXPORTS)]
        command = [*self.cc, "-O3", "-mexec-model=reactor", *objects, *libraries, *EMULATION_LIBRARIES,
                   *(f"-Wl,{option}" for option in linker), "-o", folder / "module.wasm"]
        self.build.run(command, folder / "log")

//! A guest that makes any WASI call a test asks for, on the gateway's functions or on wasmtime-wasi's.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use sandpool::files::Tree;
use sandpool::sandbox::Output;
use sandpool::sandbox::wasm::wasi::{self, WasiState};
use wasmtime::{Engine, Instance, Linker, Memory, Module, Store, Val};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::filesystem::FsPerms;
use wasmtime_wasi::p1::WasiP1Ctx;

const FORWARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/guests/wasi_forward.wat");

/// Where the driver puts arguments and results in the guest's memory.
const OUT: u32 = 0;
const LIST: u32 = 128;
const PATH: u32 = 1 << 10;
const OTHER_PATH: u32 = 1 << 14;
pub const BYTES: u32 = 1 << 16;
const BYTES_LEN: u32 = 1 << 16;

pub const CREATE: u32 = 1;
pub const DIRECTORY: u32 = 2;
pub const EXCLUSIVE: u32 = 4;
pub const TRUNCATE: u32 = 8;
pub const READ: u64 = 1 << 1;
pub const WRITE: u64 = 1 << 6;
pub const APPEND: u32 = 1;

/// An error number, as the guest gets it.
pub type Errno = u32;

/// A live guest; `T` is which functions it calls.
pub struct Guest<T: 'static> {
    pub store: Store<T>,
    instance: Instance,
    memory: Memory,
    runtime: tokio::runtime::Runtime,
}

/// What `fd_filestat_get` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filestat {
    pub inode: u64,
    pub filetype: u8,
    pub links: u64,
    pub size: u64,
    pub modified: u64,
}

pub struct Dirent {
    pub next: u64,
    pub filetype: u8,
    pub name: String,
}

/// Compiled once for all tests.
fn module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| {
        let text = std::fs::read(FORWARD).unwrap();
        Module::new(&Engine::default(), wat::parse_bytes(&text).unwrap()).unwrap()
    })
}

/// A guest on a session's tree.
pub fn ours(tree: Tree) -> Guest<WasiState> {
    let module = module();
    let engine = module.engine();
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker, |state: &mut WasiState| state).unwrap();
    let environment = Arc::from([("HOME".to_owned(), "/home/user".to_owned()), ("A".to_owned(), String::new())]);
    Guest::new(Store::new(engine, WasiState::new(tree, environment)), &linker, module)
}

/// A guest on the host's directory `root`.
pub fn theirs(root: &Path) -> Guest<WasiP1Ctx> {
    let module = module();
    let engine = module.engine();
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state: &mut WasiP1Ctx| state).unwrap();
    let state = WasiCtxBuilder::new()
        .preopened_dir(root, "/", FsPerms::ReadWrite)
        .unwrap()
        .allow_blocking_current_thread(true)
        .build_p1();
    Guest::new(Store::new(engine, state), &linker, module)
}

impl Guest<WasiState> {
    /// Polls for one subscription without blocking the thread.
    pub async fn asleep(mut self, subscription: Vec<u8>) {
        self.put(BYTES, &subscription);
        let poll = self.instance.get_typed_func::<(u32, u32, u32, u32), u32>(&mut self.store, "poll_oneoff").unwrap();
        assert_eq!(poll.call_async(&mut self.store, (BYTES, 1024, 1, OUT)).await.unwrap(), 0);
        // A runtime must not be dropped within another.
        self.runtime.shutdown_background();
    }

    /// Collects what is written to descriptors 1 and 2.
    pub fn collect_output(&mut self) -> Arc<Output> {
        let output = Arc::new(Output::new(1 << 20));
        self.store.data_mut().set_output(Some(output.clone()));
        output
    }
}

impl<T: Send + 'static> Guest<T> {
    fn new(mut store: Store<T>, linker: &Linker<T>, module: &Module) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let instance = runtime.block_on(linker.instantiate_async(&mut store, module)).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        Self { store, instance, memory, runtime }
    }

    /// Any call. An integer is passed as its parameter's type wants it.
    pub fn call(&mut self, name: &str, arguments: &[u64]) -> wasmtime::Result<Errno> {
        let function = self.instance.get_func(&mut self.store, name).unwrap();
        let types = function.ty(&self.store);
        let arguments: Vec<_> = types
            .params()
            .zip(arguments)
            .map(|(kind, value)| if kind.is_i32() { Val::I32(*value as u32 as i32) } else { Val::I64(*value as i64) })
            .collect();
        let mut results = vec![Val::I32(0); types.results().len()];
        self.runtime.block_on(function.call_async(&mut self.store, &arguments, &mut results))?;
        Ok(results.first().and_then(Val::i32).unwrap_or_default() as u32)
    }

    /// Makes the memory larger, by pages of 64 KiB.
    pub fn grow(&mut self, pages: u64) {
        self.memory.grow(&mut self.store, pages).unwrap();
    }

    /// How many parameters a function has.
    pub fn parameters(&mut self, name: &str) -> usize {
        self.instance.get_func(&mut self.store, name).unwrap().ty(&self.store).params().len()
    }

    /// A call that must come back with an error number.
    fn ask(&mut self, name: &str, arguments: &[u64]) -> Result<(), Errno> {
        match self.call(name, arguments).unwrap_or_else(|error| panic!("{name} trapped: {error:?}")) {
            0 => Ok(()),
            errno => Err(errno),
        }
    }

    pub fn put(&mut self, at: u32, bytes: &[u8]) {
        self.memory.write(&mut self.store, at as usize, bytes).unwrap();
    }

    pub fn get(&self, at: u32, len: u32) -> Vec<u8> {
        self.memory.data(&self.store)[at as usize..(at + len) as usize].to_vec()
    }

    fn get_u32(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.get(at, 4).try_into().unwrap())
    }

    pub fn get_u64(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.get(at, 8).try_into().unwrap())
    }

    /// A path's address and length as arguments.
    fn path(&mut self, at: u32, path: &str) -> [u64; 2] {
        self.put(at, path.as_bytes());
        [u64::from(at), path.len() as u64]
    }

    pub fn open(&mut self, fd: u32, path: &str, how: u32, rights: u64, flags: u32) -> Result<u32, Errno> {
        self.open_with(fd, 1, path, how, rights, flags)
    }

    pub fn open_with(
        &mut self,
        fd: u32,
        lookup: u32,
        path: &str,
        how: u32,
        rights: u64,
        flags: u32,
    ) -> Result<u32, Errno> {
        let [at, len] = self.path(PATH, path);
        let arguments = [fd.into(), lookup.into(), at, len, how.into(), rights, rights, flags.into(), OUT.into()];
        self.ask("path_open", &arguments)?;
        Ok(self.get_u32(OUT))
    }

    pub fn close(&mut self, fd: u32) -> Result<(), Errno> {
        self.ask("fd_close", &[fd.into()])
    }

    fn buffer(&mut self, len: u32) -> [u64; 2] {
        self.put(LIST, &[BYTES.to_le_bytes(), len.to_le_bytes()].concat());
        [LIST.into(), 1]
    }

    pub fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<u32, Errno> {
        self.put(BYTES, bytes);
        let [list, count] = self.buffer(bytes.len() as u32);
        self.ask("fd_write", &[fd.into(), list, count, OUT.into()])?;
        Ok(self.get_u32(OUT))
    }

    pub fn pwrite(&mut self, fd: u32, bytes: &[u8], offset: u64) -> Result<u32, Errno> {
        self.put(BYTES, bytes);
        let [list, count] = self.buffer(bytes.len() as u32);
        self.ask("fd_pwrite", &[fd.into(), list, count, offset, OUT.into()])?;
        Ok(self.get_u32(OUT))
    }

    pub fn read(&mut self, fd: u32, len: u32) -> Result<Vec<u8>, Errno> {
        let [list, count] = self.buffer(len);
        self.ask("fd_read", &[fd.into(), list, count, OUT.into()])?;
        Ok(self.get(BYTES, self.get_u32(OUT)))
    }

    pub fn pread(&mut self, fd: u32, len: u32, offset: u64) -> Result<Vec<u8>, Errno> {
        let [list, count] = self.buffer(len);
        self.ask("fd_pread", &[fd.into(), list, count, offset, OUT.into()])?;
        Ok(self.get(BYTES, self.get_u32(OUT)))
    }

    pub fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Result<u64, Errno> {
        self.ask("fd_seek", &[fd.into(), offset as u64, whence.into(), OUT.into()])?;
        Ok(self.get_u64(OUT))
    }

    pub fn tell(&mut self, fd: u32) -> Result<u64, Errno> {
        self.ask("fd_tell", &[fd.into(), OUT.into()])?;
        Ok(self.get_u64(OUT))
    }

    pub fn set_size(&mut self, fd: u32, size: u64) -> Result<(), Errno> {
        self.ask("fd_filestat_set_size", &[fd.into(), size])
    }

    pub fn allocate(&mut self, fd: u32, offset: u64, len: u64) -> Result<(), Errno> {
        self.ask("fd_allocate", &[fd.into(), offset, len])
    }

    pub fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.ask("fd_renumber", &[from.into(), to.into()])
    }

    pub fn set_flags(&mut self, fd: u32, flags: u32) -> Result<(), Errno> {
        self.ask("fd_fdstat_set_flags", &[fd.into(), flags.into()])
    }

    /// File type and flags.
    pub fn fdstat(&mut self, fd: u32) -> Result<(u8, u16), Errno> {
        self.ask("fd_fdstat_get", &[fd.into(), OUT.into()])?;
        Ok((self.get(OUT, 1)[0], self.get_u32(OUT + 2) as u16))
    }

    fn filestat(&self) -> Filestat {
        Filestat {
            inode: self.get_u64(OUT + 8),
            filetype: self.get(OUT + 16, 1)[0],
            links: self.get_u64(OUT + 24),
            size: self.get_u64(OUT + 32),
            modified: self.get_u64(OUT + 48),
        }
    }

    pub fn stat(&mut self, fd: u32) -> Result<Filestat, Errno> {
        self.ask("fd_filestat_get", &[fd.into(), OUT.into()])?;
        Ok(self.filestat())
    }

    pub fn stat_at(&mut self, fd: u32, path: &str, follow: bool) -> Result<Filestat, Errno> {
        let [at, len] = self.path(PATH, path);
        self.ask("path_filestat_get", &[fd.into(), follow.into(), at, len, OUT.into()])?;
        Ok(self.filestat())
    }

    pub fn set_times(&mut self, fd: u32, modified: u64, flags: u32) -> Result<(), Errno> {
        self.ask("fd_filestat_set_times", &[fd.into(), modified, modified, flags.into()])
    }

    pub fn set_times_at(&mut self, fd: u32, path: &str, follow: bool, modified: u64, flags: u32) -> Result<(), Errno> {
        let [at, len] = self.path(PATH, path);
        self.ask("path_filestat_set_times", &[fd.into(), follow.into(), at, len, modified, modified, flags.into()])
    }

    pub fn create_directory(&mut self, fd: u32, path: &str) -> Result<(), Errno> {
        let [at, len] = self.path(PATH, path);
        self.ask("path_create_directory", &[fd.into(), at, len])
    }

    pub fn remove_directory(&mut self, fd: u32, path: &str) -> Result<(), Errno> {
        let [at, len] = self.path(PATH, path);
        self.ask("path_remove_directory", &[fd.into(), at, len])
    }

    pub fn unlink(&mut self, fd: u32, path: &str) -> Result<(), Errno> {
        let [at, len] = self.path(PATH, path);
        self.ask("path_unlink_file", &[fd.into(), at, len])
    }

    pub fn rename(&mut self, fd: u32, from: &str, to_fd: u32, to: &str) -> Result<(), Errno> {
        let [at, len] = self.path(PATH, from);
        let [to_at, to_len] = self.path(OTHER_PATH, to);
        self.ask("path_rename", &[fd.into(), at, len, to_fd.into(), to_at, to_len])
    }

    pub fn link(&mut self, fd: u32, from: &str, to_fd: u32, to: &str) -> Result<(), Errno> {
        let [at, len] = self.path(PATH, from);
        let [to_at, to_len] = self.path(OTHER_PATH, to);
        self.ask("path_link", &[fd.into(), 0, at, len, to_fd.into(), to_at, to_len])
    }

    pub fn symlink(&mut self, target: &str, fd: u32, path: &str) -> Result<(), Errno> {
        let [at, len] = self.path(PATH, target);
        let [to_at, to_len] = self.path(OTHER_PATH, path);
        self.ask("path_symlink", &[at, len, fd.into(), to_at, to_len])
    }

    pub fn read_link(&mut self, fd: u32, path: &str) -> Result<String, Errno> {
        let [at, len] = self.path(PATH, path);
        self.ask("path_readlink", &[fd.into(), at, len, BYTES.into(), BYTES_LEN.into(), OUT.into()])?;
        Ok(String::from_utf8(self.get(BYTES, self.get_u32(OUT))).unwrap())
    }

    /// The entries that one call with a buffer of `len` bytes tells; one that is cut is left out.
    pub fn read_directory(&mut self, fd: u32, len: u32, cookie: u64) -> Result<Vec<Dirent>, Errno> {
        self.ask("fd_readdir", &[fd.into(), BYTES.into(), len.into(), cookie, OUT.into()])?;
        let used = self.get_u32(OUT);
        let mut entries = Vec::new();
        let mut at = 0;
        while at + 24 <= used {
            let name_len = self.get_u32(BYTES + at + 16);
            if at + 24 + name_len > used {
                break;
            }
            let name = String::from_utf8(self.get(BYTES + at + 24, name_len)).unwrap();
            let filetype = self.get(BYTES + at + 20, 1)[0];
            entries.push(Dirent { next: self.get_u64(BYTES + at), filetype, name });
            at += 24 + name_len;
        }
        Ok(entries)
    }
}

//! The gateway's WASI functions against wasmtime-wasi on a real directory: the same calls, the same errors and results.
//!
//! Where they may differ, and why:
//!
//! 1. `..` above the directory that a path starts at, and absolute paths and links: wasmtime-wasi refuses them (EPERM),
//!    ours resolves them within the session's tree, whose root is its own parent ([`agree`]).
//! 2. `fd_allocate`, the CPU clocks and following a link in `path_link` work here and are refused there: not compared.
//! 3. Reads and writes use all buffers here, the first one there: compared with one buffer.
//! 4. Inodes, sizes of directories, link counts of directories, access times: not compared ([`shown`]).
//! 5. Descriptor numbers: the lowest free one here, the last freed one there: compared by who opened what.
//! 6. An address outside of the memory is EFAULT here and a trap there: `wasi_hostile.rs`.
//! 7. Unknown flags and enum values are EINVAL here and a trap there: `wasi_hostile.rs`.
//! 8. wasmtime-wasi opens for writing whatever it creates or truncates, refuses to remove a directory whose path ends
//!    with a slash, does not follow a link before `/` or `/.` when asked not to follow, and seeks beyond what an offset can
//!    be; ours does as Linux does. Such calls are left out ([`is_compared`]).
//! 9. The errors in [`same_refusal`], each with its reason.

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use sandpool::files::BaseLayer;
use sandpool::sandbox::wasm::wasi::{Errno as E, WasiState};
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::files::tree_over;
use crate::wasi_guest::{APPEND, CREATE, DIRECTORY, EXCLUSIVE, Filestat, Guest, READ, TRUNCATE, WRITE, ours, theirs};

/// What a call gives, without what may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// A new descriptor, known by its place in the table of both.
    Opened,
    Number(u64),
    Bytes(Vec<u8>),
    Text(String),
    /// Type, links, size and modification time, as far as they must agree.
    Stat(u8, Option<u64>, Option<u64>, Option<u64>),
    Names(Vec<(String, u8)>),
}

type Answer = Result<Seen, u32>;

#[derive(Debug, Clone)]
enum Call {
    Open { at: usize, path: String, lookup: u32, how: u32, rights: u64, flags: u32 },
    Close { fd: usize },
    Renumber { from: usize, to: usize },
    Read { fd: usize, len: u32 },
    Pread { fd: usize, len: u32, offset: u64 },
    Write { fd: usize, bytes: Vec<u8> },
    Pwrite { fd: usize, bytes: Vec<u8>, offset: u64 },
    Seek { fd: usize, offset: i64, whence: u32 },
    Tell { fd: usize },
    SetSize { fd: usize, size: u64 },
    SetFlags { fd: usize, flags: u32 },
    Fdstat { fd: usize },
    Stat { fd: usize },
    StatAt { at: usize, path: String, follow: bool },
    SetTimes { fd: usize, time: u64, flags: u32 },
    SetTimesAt { at: usize, path: String, follow: bool, time: u64, flags: u32 },
    MakeDirectory { at: usize, path: String },
    RemoveDirectory { at: usize, path: String },
    Unlink { at: usize, path: String },
    Rename { at: usize, from: String, to_at: usize, to: String },
    Link { at: usize, from: String, to_at: usize, to: String },
    Symlink { target: String, at: usize, path: String },
    ReadLink { at: usize, path: String },
    List { fd: usize },
}

/// Names of what no call has set differ by the clock; what a call has set agrees.
const A_TIME: u64 = 1_234_567_890_000_000_000;

fn shown(stat: Filestat) -> Seen {
    let directory = stat.filetype == 3;
    let time = (stat.modified == A_TIME).then_some(A_TIME);
    Seen::Stat(stat.filetype, (!directory).then_some(stat.links), (!directory).then_some(stat.size), time)
}

/// Makes a call on one side, where `fds` says what its descriptors are. A number that is not open is 999.
fn make<T: Send + 'static>(guest: &mut Guest<T>, fds: &[u32], call: &Call) -> (Answer, Option<u32>) {
    let fd = |n: usize| fds.get(n).copied().unwrap_or(999);
    let nothing = |()| Seen::Nothing;
    let answer = match call {
        Call::Open { at, path, lookup, how, rights, flags } => {
            let opened = guest.open_with(fd(*at), *lookup, path, *how, *rights, *flags);
            return (opened.map(|_| Seen::Opened), opened.ok());
        }
        Call::Close { fd: n } => guest.close(fd(*n)).map(nothing),
        Call::Renumber { from, to } => guest.renumber(fd(*from), fd(*to)).map(nothing),
        Call::Read { fd: n, len } => guest.read(fd(*n), *len).map(Seen::Bytes),
        Call::Pread { fd: n, len, offset } => guest.pread(fd(*n), *len, *offset).map(Seen::Bytes),
        Call::Write { fd: n, bytes } => guest.write(fd(*n), bytes).map(|len| Seen::Number(len.into())),
        Call::Pwrite { fd: n, bytes, offset } => {
            guest.pwrite(fd(*n), bytes, *offset).map(|len| Seen::Number(len.into()))
        }
        Call::Seek { fd: n, offset, whence } => guest.seek(fd(*n), *offset, *whence).map(Seen::Number),
        Call::Tell { fd: n } => guest.tell(fd(*n)).map(Seen::Number),
        Call::SetSize { fd: n, size } => guest.set_size(fd(*n), *size).map(nothing),
        Call::SetFlags { fd: n, flags } => guest.set_flags(fd(*n), *flags).map(nothing),
        Call::Fdstat { fd: n } => guest.fdstat(fd(*n)).map(|(kind, flags)| Seen::Bytes(vec![kind, flags as u8])),
        Call::Stat { fd: n } => guest.stat(fd(*n)).map(shown),
        Call::StatAt { at, path, follow } => guest.stat_at(fd(*at), path, *follow).map(shown),
        Call::SetTimes { fd: n, time, flags } => guest.set_times(fd(*n), *time, *flags).map(nothing),
        Call::SetTimesAt { at, path, follow, time, flags } => {
            guest.set_times_at(fd(*at), path, *follow, *time, *flags).map(nothing)
        }
        Call::MakeDirectory { at, path } => guest.create_directory(fd(*at), path).map(nothing),
        Call::RemoveDirectory { at, path } => guest.remove_directory(fd(*at), path).map(nothing),
        Call::Unlink { at, path } => guest.unlink(fd(*at), path).map(nothing),
        Call::Rename { at, from, to_at, to } => guest.rename(fd(*at), from, fd(*to_at), to).map(nothing),
        Call::Link { at, from, to_at, to } => guest.link(fd(*at), from, fd(*to_at), to).map(nothing),
        Call::Symlink { target, at, path } => guest.symlink(target, fd(*at), path).map(nothing),
        Call::ReadLink { at, path } => guest.read_link(fd(*at), path).map(Seen::Text),
        Call::List { fd: n } => guest.read_directory(fd(*n), 1 << 16, 0).map(|entries| {
            let mut names: Vec<_> = entries.into_iter().map(|entry| (entry.name, entry.filetype)).collect();
            names.sort();
            Seen::Names(names)
        }),
    };
    (answer, None)
}

/// Both sides, with the same things open under the same places.
struct Pair {
    ours: Guest<WasiState>,
    theirs: Guest<WasiP1Ctx>,
    our_fds: Vec<u32>,
    their_fds: Vec<u32>,
    _directory: tempfile::TempDir,
}

impl Pair {
    /// Place 0 is the directory `/mnt/data`, empty on both sides.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("mnt/data")).unwrap();
        let mut ours = ours(tree_over(BaseLayer::empty()));
        let mut theirs = theirs(directory.path());
        let our_fds = vec![ours.open(3, "mnt/data", DIRECTORY, READ, 0).unwrap()];
        let their_fds = vec![theirs.open(3, "mnt/data", DIRECTORY, READ, 0).unwrap()];
        Self { ours, theirs, our_fds, their_fds, _directory: directory }
    }

    /// Makes a call on both; Err tells how they differ.
    fn call(&mut self, call: &Call) -> Result<(), String> {
        if !is_compared(call) {
            return Ok(());
        }
        let (our, our_fd) = make(&mut self.ours, &self.our_fds, call);
        let (their, their_fd) = make(&mut self.theirs, &self.their_fds, call);
        match (our_fd, their_fd) {
            (Some(our), Some(their)) => {
                self.our_fds.push(our);
                self.their_fds.push(their);
            }
            (Some(our), None) => self.ours.close(our).unwrap(),
            (None, Some(their)) => self.theirs.close(their).unwrap(),
            (None, None) => {}
        }
        match (call, &our) {
            (Call::Close { fd }, Ok(_)) => {
                self.our_fds.remove(*fd);
                self.their_fds.remove(*fd);
            }
            (Call::Renumber { from, to }, Ok(_)) if from != to => {
                self.our_fds.remove(*from);
                self.their_fds.remove(*from);
            }
            _ => {}
        }
        if agree(call, &our, &their) { Ok(()) } else { Err(format!("{call:?}\n  ours {our:?}\n  theirs {their:?}")) }
    }

    fn calls(&mut self, calls: &[Call]) {
        let differences: Vec<_> = calls.iter().filter_map(|call| self.call(call).err()).collect();
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

/// Whether both are meant to do the same (difference 8).
fn is_compared(call: &Call) -> bool {
    match call {
        Call::Open { how, rights, .. } => how & (CREATE | TRUNCATE) == 0 || rights & WRITE != 0,
        Call::RemoveDirectory { path, .. } => !path.ends_with('/'),
        Call::StatAt { path, follow, .. } | Call::SetTimesAt { path, follow, .. } => {
            *follow || !(path.ends_with('/') || path.ends_with("/."))
        }
        _ => true,
    }
}

fn agree(call: &Call, our: &Answer, their: &Answer) -> bool {
    match (our, their) {
        // Difference 1. What ours then does is for the tests of the resolver.
        (_, Err(errno)) if *errno == E::Perm as u32 && may_escape(call) => true,
        (Err(our), Err(their)) => our == their || same_refusal(call, *our, *their),
        (our, their) => our == their,
    }
}

/// Whether a path of the call, or a link on its way, may lead above its start.
fn may_escape(call: &Call) -> bool {
    !matches!(
        call,
        Call::Close { .. } | Call::Read { .. } | Call::Write { .. } | Call::Pread { .. } | Call::Pwrite { .. }
    )
}

/// Refused by both with different words. In all of these ours says what Linux says.
fn same_refusal(call: &Call, our: u32, their: u32) -> bool {
    let is = |ours: E, theirs: E| our == ours as u32 && their == theirs as u32;
    let slash = |path: &String| path.ends_with('/');
    match call {
        // A path that starts at a file.
        _ if is(E::Notdir, E::Badf) => true,
        // Flags that exclude each other are found before the path is looked at.
        Call::Open { how, .. } if how & DIRECTORY != 0 && how & CREATE != 0 => our == E::Inval as u32,
        // A link that may not be followed where only a directory will do.
        Call::Open { .. } if is(E::Notdir, E::Loop) => true,
        // `d/..`
        Call::RemoveDirectory { .. } => is(E::Notempty, E::Inval),
        // The old path, or an empty target, is looked at before the new path.
        Call::Link { .. } | Call::Symlink { .. } if our == E::Noent as u32 => true,
        // A slash after what is no directory (a file, a link, nothing): which of the reasons is told.
        Call::Open { path, .. } | Call::Unlink { path, .. } | Call::Symlink { path, .. } => slash(path),
        Call::Link { from, to, .. } => slash(from) || slash(to),
        _ => false,
    }
}

fn open(path: &str, how: u32, rights: u64) -> Call {
    Call::Open { at: 0, path: path.into(), lookup: 1, how, rights, flags: 0 }
}

fn write(fd: usize, bytes: &[u8]) -> Call {
    Call::Write { fd, bytes: bytes.to_vec() }
}

#[test]
fn a_file_is_written_read_and_cut_alike() {
    let mut pair = Pair::new();
    pair.calls(&[
        open("f", CREATE | EXCLUSIVE, READ | WRITE),
        write(1, b"hello world"),
        Call::Tell { fd: 1 },
        Call::Seek { fd: 1, offset: -5, whence: 1 },
        Call::Read { fd: 1, len: 100 },
        Call::Read { fd: 1, len: 100 },
        Call::Seek { fd: 1, offset: -1, whence: 0 },
        Call::Seek { fd: 1, offset: -12, whence: 2 },
        Call::Seek { fd: 1, offset: 9, whence: 2 },
        write(1, b"!"),
        Call::Stat { fd: 1 },
        Call::Pread { fd: 1, len: 100, offset: 8 },
        Call::Pread { fd: 1, len: 100, offset: 100 },
        Call::Pwrite { fd: 1, bytes: b"HELLO".to_vec(), offset: 0 },
        Call::SetSize { fd: 1, size: 7 },
        Call::Pread { fd: 1, len: 100, offset: 0 },
        Call::SetSize { fd: 1, size: 9 },
        Call::Pread { fd: 1, len: 100, offset: 0 },
        Call::Tell { fd: 1 },
        write(1, b""),
        Call::Read { fd: 1, len: 0 },
        Call::Fdstat { fd: 1 },
        Call::Close { fd: 1 },
        open("f", 0, WRITE),
        Call::Read { fd: 1, len: 1 },
        Call::Pread { fd: 1, len: 1, offset: 0 },
        Call::Fdstat { fd: 1 },
        open("f", 0, READ),
        write(2, b"x"),
        Call::SetSize { fd: 2, size: 0 },
        open("f", TRUNCATE, WRITE),
        Call::Stat { fd: 3 },
        Call::SetSize { fd: 3, size: 3 },
        write(3, b"x"),
        open("f", CREATE | EXCLUSIVE, WRITE),
        open("f", CREATE | DIRECTORY, READ),
        open("f", DIRECTORY, READ),
        open("f/", 0, READ),
        open("f/", CREATE, WRITE),
        open("f/x", CREATE, WRITE),
        open("new/", CREATE, WRITE),
        open("missing", 0, WRITE),
        open("missing/x", CREATE, WRITE),
        open("f", 0, 0),
        Call::Read { fd: 4, len: 1 },
        write(4, b"x"),
    ]);
}

#[test]
fn appending_is_alike() {
    let append = Call::Open { at: 0, path: "f".into(), lookup: 1, how: CREATE, rights: WRITE | READ, flags: APPEND };
    Pair::new().calls(&[
        append,
        write(1, b"abc"),
        Call::Seek { fd: 1, offset: 0, whence: 0 },
        write(1, b"def"),
        Call::Tell { fd: 1 },
        Call::Pwrite { fd: 1, bytes: b"X".to_vec(), offset: 0 },
        Call::Tell { fd: 1 },
        Call::Pread { fd: 1, len: 100, offset: 0 },
        Call::Fdstat { fd: 1 },
        Call::SetFlags { fd: 1, flags: 0 },
        Call::Pwrite { fd: 1, bytes: b"Y".to_vec(), offset: 0 },
        Call::Pread { fd: 1, len: 100, offset: 0 },
        Call::SetFlags { fd: 1, flags: 4 },
        Call::Fdstat { fd: 1 },
        Call::SetFlags { fd: 1, flags: 2 },
        Call::SetFlags { fd: 0, flags: 0 },
    ]);
}

fn directory(path: &str) -> Call {
    Call::MakeDirectory { at: 0, path: path.into() }
}

fn rename(from: &str, to: &str) -> Call {
    Call::Rename { at: 0, from: from.into(), to_at: 0, to: to.into() }
}

fn unlink(path: &str) -> Call {
    Call::Unlink { at: 0, path: path.into() }
}

fn remove_directory(path: &str) -> Call {
    Call::RemoveDirectory { at: 0, path: path.into() }
}

fn stat(path: &str, follow: bool) -> Call {
    Call::StatAt { at: 0, path: path.into(), follow }
}

fn symlink(target: &str, path: &str) -> Call {
    Call::Symlink { target: target.into(), at: 0, path: path.into() }
}

fn link(from: &str, to: &str) -> Call {
    Call::Link { at: 0, from: from.into(), to_at: 0, to: to.into() }
}

#[test]
fn directories_are_alike() {
    Pair::new().calls(&[
        directory("d"),
        directory("d"),
        directory("d/e/"),
        directory("d/./e/../f"),
        directory("missing/x"),
        directory(""),
        directory("."),
        open("d", 0, READ),
        open("d", 0, WRITE),
        open("d", CREATE, READ),
        open("d", TRUNCATE, WRITE),
        open("d/", DIRECTORY, READ),
        Call::List { fd: 1 },
        Call::List { fd: 0 },
        Call::Fdstat { fd: 1 },
        Call::Stat { fd: 1 },
        Call::Read { fd: 1, len: 1 },
        write(1, b"x"),
        Call::Seek { fd: 1, offset: 0, whence: 0 },
        Call::Tell { fd: 1 },
        Call::SetSize { fd: 1, size: 0 },
        remove_directory("d"),
        remove_directory("d/."),
        remove_directory("d/e/.."),
        unlink("d"),
        unlink("d/e/"),
        remove_directory("d/e"),
        remove_directory("d/f"),
        remove_directory("d"),
        remove_directory("d"),
        Call::List { fd: 1 },
        Call::Open { at: 1, path: "x".into(), lookup: 1, how: CREATE, rights: WRITE, flags: 0 },
        open("f", CREATE, WRITE),
        remove_directory("f"),
        directory("f"),
        directory("f/x"),
        Call::List { fd: 3 },
        stat(".", true),
        stat("./f/", true),
        stat("f/.", true),
        Call::Open { at: 3, path: "x".into(), lookup: 1, how: 0, rights: READ, flags: 0 },
        Call::Open { at: 99, path: "x".into(), lookup: 1, how: 0, rights: READ, flags: 0 },
    ]);
}

#[test]
fn renaming_is_alike() {
    Pair::new().calls(&[
        open("a", CREATE, WRITE),
        write(1, b"a"),
        open("b", CREATE, WRITE),
        rename("a", "b"),
        stat("b", true),
        rename("a", "c"),
        rename("b", "b"),
        directory("d"),
        directory("d/e"),
        directory("empty"),
        rename("d", "d/e/x"),
        rename("d", "d"),
        rename("d/e", "d"),
        rename("b", "d"),
        rename("d", "b"),
        rename("empty", "d"),
        rename("d", "empty"),
        rename("empty/e", "moved"),
        rename("b", "moved/"),
        rename("b/", "x"),
        rename("b", "new/"),
        rename("moved", "newdir/"),
        rename("moved/", "newdir"),
        rename("newdir/.", "x"),
        rename("newdir", "."),
        rename("b", "missing/x"),
        rename("b", "newdir/b"),
        Call::List { fd: 0 },
        link("newdir/b", "again"),
        rename("again", "newdir/b"),
        stat("newdir/b", true),
        rename("", "x"),
        rename("newdir/b", ""),
    ]);
}

#[test]
fn links_are_alike() {
    Pair::new().calls(&[
        open("f", CREATE, WRITE),
        write(1, b"content"),
        link("f", "hard"),
        stat("hard", true),
        link("f", "hard"),
        link("missing", "x"),
        link("f", "x/"),
        link("f/", "x"),
        directory("d"),
        link("d", "x"),
        symlink("f", "soft"),
        symlink("../f", "d/up"),
        symlink("d", "dir"),
        symlink("d/", "slash"),
        symlink("missing", "dangling"),
        symlink("self", "self"),
        symlink("", "empty"),
        symlink("x", ""),
        symlink("x", "new/"),
        symlink("x", "f"),
        symlink("f/", "wrong"),
        stat("soft", true),
        stat("soft", false),
        stat("dir/up", false),
        stat("dir/", false),
        stat("dir", false),
        stat("slash", false),
        stat("slash", true),
        stat("dangling", true),
        stat("self", true),
        stat("self", false),
        stat("wrong", true),
        stat("wrong", false),
        stat("soft/", true),
        stat("soft/x", true),
        Call::ReadLink { at: 0, path: "soft".into() },
        Call::ReadLink { at: 0, path: "f".into() },
        Call::ReadLink { at: 0, path: "d".into() },
        Call::ReadLink { at: 0, path: "missing".into() },
        open("soft", 0, READ),
        Call::Read { fd: 2, len: 9 },
        Call::Open { at: 0, path: "soft".into(), lookup: 0, how: 0, rights: READ, flags: 0 },
        Call::Open { at: 0, path: "dir".into(), lookup: 0, how: DIRECTORY, rights: READ, flags: 0 },
        Call::Open { at: 0, path: "dir".into(), lookup: 1, how: DIRECTORY, rights: READ, flags: 0 },
        open("soft", CREATE | EXCLUSIVE, WRITE),
        open("dangling", CREATE | EXCLUSIVE, WRITE),
        open("dangling", CREATE, WRITE),
        stat("missing", false),
        link("soft", "soft2"),
        stat("soft2", false),
        rename("soft", "soft3"),
        rename("soft3", "soft2"),
        remove_directory("dir"),
        remove_directory("dir/"),
        unlink("dir/"),
        unlink("dir"),
        unlink("self"),
        unlink("f"),
        unlink("f"),
        stat("hard", true),
        directory("dangling"),
        Call::List { fd: 0 },
    ]);
}

#[test]
fn an_unlinked_file_lives_while_it_is_open_alike() {
    Pair::new().calls(&[
        open("f", CREATE, WRITE | READ),
        write(1, b"abc"),
        unlink("f"),
        open("f", 0, READ),
        write(1, b"def"),
        Call::Pread { fd: 1, len: 9, offset: 0 },
        Call::Stat { fd: 1 },
        open("f", CREATE, WRITE | READ),
        write(2, b"other"),
        Call::Pread { fd: 1, len: 9, offset: 0 },
        Call::Renumber { from: 1, to: 2 },
        Call::Pread { fd: 1, len: 9, offset: 0 },
        Call::Renumber { from: 1, to: 1 },
        Call::Renumber { from: 1, to: 50 },
        Call::Renumber { from: 50, to: 1 },
        Call::Close { fd: 1 },
        Call::Close { fd: 50 },
    ]);
}

#[test]
fn times_are_set_alike() {
    Pair::new().calls(&[
        open("f", CREATE, WRITE),
        Call::SetTimes { fd: 1, time: A_TIME, flags: 5 },
        Call::Stat { fd: 1 },
        write(1, b"x"),
        Call::Stat { fd: 1 },
        Call::SetTimesAt { at: 0, path: "f".into(), follow: true, time: A_TIME, flags: 4 },
        stat("f", true),
        Call::SetTimesAt { at: 0, path: "f".into(), follow: true, time: 0, flags: 8 },
        stat("f", true),
        Call::SetTimes { fd: 1, time: A_TIME, flags: 12 },
        Call::SetTimes { fd: 1, time: A_TIME, flags: 3 },
        symlink("f", "l"),
        Call::SetTimesAt { at: 0, path: "l".into(), follow: false, time: A_TIME, flags: 5 },
        stat("l", false),
        stat("l", true),
        Call::SetTimesAt { at: 0, path: "missing".into(), follow: true, time: 0, flags: 5 },
        directory("d"),
        Call::SetTimesAt { at: 0, path: "d".into(), follow: true, time: A_TIME, flags: 5 },
        stat("d", true),
        open("d/x", CREATE, WRITE),
        stat("d", true),
    ]);
}

/// Paths that meet each other.
fn path() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a",
        "b",
        "d",
        "d/a",
        "d/b",
        "d/d",
        "d/d/a",
        "l",
        "l/a",
        "d/l",
        "a/",
        "d/",
        "./a",
        "d/../a",
        "d/.",
        "d/d/..",
        "missing/a",
        "",
        ".",
        "l/",
        "d//a",
    ])
    .prop_map(str::to_owned)
}

fn call() -> impl Strategy<Value = Call> {
    let fd = || 0..6_usize;
    // Mostly the directory itself, at times whatever is open there.
    let at = || prop_oneof![6 => Just(0_usize), 1 => 0..6_usize];
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let how = prop::sample::select(vec![
        0,
        0,
        CREATE,
        CREATE,
        CREATE | EXCLUSIVE,
        CREATE | TRUNCATE,
        TRUNCATE,
        DIRECTORY,
        DIRECTORY | CREATE,
    ]);
    let rights = prop::sample::select(vec![READ, WRITE, READ | WRITE, READ | WRITE]);
    let flags = prop::sample::select(vec![0, 0, 0, APPEND]);
    let offset = || prop_oneof![0..60_u64, Just(70_000_u64)];
    prop_oneof![
        8 => (at(), path(), 0..2_u32, how, rights, flags)
            .prop_map(|(at, path, lookup, how, rights, flags)| Call::Open { at, path, lookup, how, rights, flags }),
        2 => (1..6_usize).prop_map(|fd| Call::Close { fd }),
        1 => (1..6_usize, 1..6_usize).prop_map(|(from, to)| Call::Renumber { from, to }),
        3 => (fd(), 0..100_u32).prop_map(|(fd, len)| Call::Read { fd, len }),
        2 => (fd(), 0..100_u32, offset()).prop_map(|(fd, len, offset)| Call::Pread { fd, len, offset }),
        4 => (fd(), bytes()).prop_map(|(fd, bytes)| Call::Write { fd, bytes }),
        2 => (fd(), bytes(), offset()).prop_map(|(fd, bytes, offset)| Call::Pwrite { fd, bytes, offset }),
        2 => (fd(), -50..100_i64, 0..3_u32).prop_map(|(fd, offset, whence)| Call::Seek { fd, offset, whence }),
        1 => fd().prop_map(|fd| Call::Tell { fd }),
        2 => (fd(), offset()).prop_map(|(fd, size)| Call::SetSize { fd, size }),
        1 => (fd(), prop::sample::select(vec![0, APPEND, 4])).prop_map(|(fd, flags)| Call::SetFlags { fd, flags }),
        1 => fd().prop_map(|fd| Call::Fdstat { fd }),
        2 => fd().prop_map(|fd| Call::Stat { fd }),
        3 => (at(), path(), any::<bool>()).prop_map(|(at, path, follow)| Call::StatAt { at, path, follow }),
        1 => (fd(), prop::sample::select(vec![0_u32, 4, 5, 12])).prop_map(|(fd, flags)| Call::SetTimes { fd, time: A_TIME, flags }),
        1 => (at(), path(), any::<bool>())
            .prop_map(|(at, path, follow)| Call::SetTimesAt { at, path, follow, time: A_TIME, flags: 5 }),
        4 => (at(), path()).prop_map(|(at, path)| Call::MakeDirectory { at, path }),
        2 => (at(), path()).prop_map(|(at, path)| Call::RemoveDirectory { at, path }),
        3 => (at(), path()).prop_map(|(at, path)| Call::Unlink { at, path }),
        5 => (at(), path(), at(), path()).prop_map(|(at, from, to_at, to)| Call::Rename { at, from, to_at, to }),
        2 => (at(), path(), at(), path()).prop_map(|(at, from, to_at, to)| Call::Link { at, from, to_at, to }),
        2 => (path(), at(), path()).prop_map(|(target, at, path)| Call::Symlink { target, at, path }),
        1 => (at(), path()).prop_map(|(at, path)| Call::ReadLink { at, path }),
        2 => fd().prop_map(|fd| Call::List { fd }),
    ]
}

#[test]
fn random_calls_are_answered_alike() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(150);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    // The same calls at every run.
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let result = TestRunner::new_with_rng(config, random).run(&prop::collection::vec(call(), 1..80), |calls| {
        let mut pair = Pair::new();
        for call in &calls {
            if let Err(difference) = pair.call(call) {
                return Err(TestCaseError::fail(difference));
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

//! A guest that passes nonsense: every function with every argument at its worst. Each call comes back with an error
//! number (or ends the guest, for `proc_exit`), and the session works as before.

use sandpool::files::BaseLayer;
use sandpool::sandbox::wasm::wasi::{Errno as E, GuestExit, MAX_RANDOM_BYTES, MAX_TRANSFER_BYTES, WasiState};

use crate::archive::{Body, tar};
use crate::files::tree_over;
use crate::wasi_guest::{BYTES, CREATE, DIRECTORY, Guest, READ, WRITE, ours};

/// Every function, as the forwarding guest exports them.
const FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

fn guest() -> Guest<WasiState> {
    let mut guest = ours(tree_over(BaseLayer::from_bytes(tar(&[("usr/x", Body::File(b"x"))])).unwrap()));
    assert_eq!(guest.open(3, "tmp/f", CREATE, READ | WRITE, 0), Ok(4));
    assert_eq!(guest.open(3, "tmp", DIRECTORY, READ, 0), Ok(5));
    assert_eq!(guest.open(3, "dev/null", 0, READ | WRITE, 0), Ok(6));
    guest
}

/// Calls, and takes what may come: an error number of WASI, or the end by `proc_exit`.
fn hit(guest: &mut Guest<WasiState>, name: &str, arguments: &[u64]) -> u32 {
    match guest.call(name, arguments) {
        Ok(errno) => {
            assert!(errno <= 76, "{name} {arguments:?}: {errno}");
            errno
        }
        Err(error) if name == "proc_exit" && error.is::<GuestExit>() => 0,
        Err(error) => panic!("{name} {arguments:?}: {error:?}"),
    }
}

#[test]
fn the_worst_arguments_in_every_place_are_answered() {
    let memory = 4 * 65536;
    let worst = [
        0,
        1,
        3,
        4,
        7,
        memory - 1,
        memory,
        1 << 31,
        u64::from(u32::MAX) - 7,
        u64::from(u32::MAX),
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];
    for name in FUNCTIONS {
        let mut guest = guest();
        let count = guest.parameters(name);
        for value in worst {
            // A clock subscription full of nonsense could sleep for a century.
            if name != "poll_oneoff" || value >= memory {
                hit(&mut guest, name, &vec![value; count]);
            }
        }
        for fd in [0, 1, 3, 4, 5, 6] {
            for at in 1..count {
                for value in worst {
                    let mut arguments = vec![BYTES.into(); count];
                    arguments[0] = fd;
                    arguments[at] = value;
                    hit(&mut guest, name, &arguments);
                }
            }
        }
    }
}

#[test]
fn random_arguments_are_answered() {
    // A generator of our own: the same calls at every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut guest = guest();
    for round in 0..60_000 {
        let name = FUNCTIONS[(next() % 46) as usize];
        if name == "proc_exit" || name == "poll_oneoff" {
            continue;
        }
        let arguments: Vec<_> = (0..guest.parameters(name))
            .map(|_| match next() % 6 {
                0 => next() % 16,
                1 => next() % 300_000,
                2 => u64::from(BYTES),
                3 => next(),
                4 => u64::from(u32::MAX) - next() % 16,
                _ => 1 << (next() % 64),
            })
            .collect();
        if next() % 4 == 0 {
            let noise: Vec<u8> = (0..32).flat_map(|_| (next() % 300_000).to_le_bytes()).collect();
            guest.put(BYTES, &noise);
        }
        hit(&mut guest, name, &arguments);
        if round % 1000 == 0 {
            guest = self::guest();
        }
    }
    assert_eq!(guest.call("fd_fdstat_get", &[3, 0]).unwrap() & !8, 0, "the session still answers");
}

#[test]
fn buffer_lists_are_checked_before_they_are_used() {
    let mut guest = guest();
    for call in ["fd_read", "fd_write"] {
        assert_eq!(hit(&mut guest, call, &[4, BYTES.into(), 1025, 0]), E::Inval as u32);
        assert_eq!(hit(&mut guest, call, &[4, BYTES.into(), u32::MAX.into(), 0]), E::Inval as u32);
        assert_eq!(hit(&mut guest, call, &[4, u64::from(u32::MAX) - 3, 1, 0]), E::Fault as u32);
        guest.put(BYTES, &[0xff; 16]);
        assert_eq!(hit(&mut guest, call, &[4, BYTES.into(), 1, 0]), E::Fault as u32);
        // A good buffer before a bad one: nothing is moved.
        guest.put(BYTES, &[0, 0, 1, 0, 4, 0, 0, 0, 0, 0, 0xff, 0xff, 4, 0, 0, 0]);
        assert_eq!(hit(&mut guest, call, &[4, BYTES.into(), 2, 0]), E::Fault as u32);
        guest.put(BYTES, &[0, 0, 1, 0, 4, 0, 0, 0]);
        assert_eq!(hit(&mut guest, call, &[4, BYTES.into(), 1, u32::MAX.into()]), E::Fault as u32);
    }
    assert_eq!(guest.stat(4).unwrap().size, 0);
}

#[test]
fn a_call_that_cannot_answer_changes_nothing() {
    let mut guest = guest();
    guest.put(BYTES, b"tmp/new");
    let nowhere = u64::from(u32::MAX);
    assert_eq!(hit(&mut guest, "path_open", &[3, 0, BYTES.into(), 7, 1, WRITE, 0, 0, nowhere]), E::Fault as u32);
    assert_eq!(guest.stat_at(3, "tmp/new", true).map(drop), Err(E::Noent as u32));
    assert_eq!(hit(&mut guest, "fd_seek", &[4, 10, 0, nowhere]), E::Fault as u32);
    assert_eq!(guest.tell(4), Ok(0));
}

#[test]
fn randomness_is_capped_before_it_is_made() {
    let mut guest = guest();
    assert_eq!(hit(&mut guest, "random_get", &[BYTES.into(), 1000]), 0);
    assert!(guest.get(BYTES, 1000).iter().any(|byte| *byte != 0));
    assert_eq!(hit(&mut guest, "random_get", &[0, u64::from(MAX_RANDOM_BYTES) + 1]), E::Fault as u32);
    guest.grow(260);
    assert_eq!(hit(&mut guest, "random_get", &[0, u64::from(MAX_RANDOM_BYTES) + 1]), E::Inval as u32);
    assert_eq!(hit(&mut guest, "random_get", &[0, MAX_RANDOM_BYTES.into()]), 0);
    assert_eq!(hit(&mut guest, "random_get", &[0, u32::MAX.into()]), E::Fault as u32);
}

#[test]
fn one_read_moves_a_capped_amount() {
    let mut guest = guest();
    guest.grow(260);
    let zero = guest.open(3, "dev/zero", 0, READ, 0).unwrap();
    guest.put(128, &[BYTES.to_le_bytes(), (MAX_TRANSFER_BYTES + 10).to_le_bytes()].concat());
    assert_eq!(hit(&mut guest, "fd_read", &[zero.into(), 128, 1, 0]), 0);
    assert_eq!(guest.get(0, 4), MAX_TRANSFER_BYTES.to_le_bytes());
}

#[test]
fn names_must_be_utf8() {
    let mut guest = guest();
    guest.put(BYTES, b"tmp/\xff");
    assert_eq!(hit(&mut guest, "path_create_directory", &[3, BYTES.into(), 5]), E::Ilseq as u32);
}

//! WASI calls of a guest on a session's tree.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sandpool::files::{BaseLayer, BlobStore, FileUsage, Tree};
use sandpool::sandbox::Event;
use sandpool::sandbox::limits::FileLimits;
use sandpool::sandbox::wasm::wasi::{Errno as E, GuestExit, MAX_DESCRIPTORS, WasiState};

use crate::archive::{Body, tar};
use crate::files::tree_over;
use crate::wasi_guest::{APPEND, BYTES, CREATE, DIRECTORY, EXCLUSIVE, Guest, READ, TRUNCATE, WRITE, ours};

const ROOT: u32 = 3;

fn guest() -> Guest<WasiState> {
    let archive = tar(&[("usr/secret", Body::File(b"base")), ("usr/lib/x.py", Body::File(b"import"))]);
    ours(tree_over(BaseLayer::from_bytes(archive).unwrap()))
}

fn guest_within(limits: FileLimits) -> Guest<WasiState> {
    ours(Tree::new(BaseLayer::empty(), limits, BlobStore::new("/nowhere", u64::MAX)))
}

fn errno<V>(errno: E) -> Result<V, u32> {
    Err(errno as u32)
}

#[test]
fn the_root_is_preopened_as_descriptor_3() {
    let mut guest = guest();
    assert_eq!(guest.call("fd_prestat_get", &[3, 0]).unwrap(), 0);
    assert_eq!(guest.get(0, 8), [0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(guest.call("fd_prestat_dir_name", &[3, 0, 1]).unwrap(), 0);
    assert_eq!(guest.get(0, 1), b"/");
    assert_eq!(guest.call("fd_prestat_get", &[4, 0]).unwrap(), E::Badf as u32);
    assert_eq!(guest.open(ROOT, "usr", DIRECTORY, READ, 0), Ok(4));
    assert_eq!(guest.call("fd_prestat_get", &[4, 0]).unwrap(), E::Badf as u32);
}

#[test]
fn no_path_leaves_the_tree() {
    let mut guest = guest();
    for escape in [
        "../../etc/passwd",
        "/etc/passwd",
        "usr/../../../../etc/passwd",
        "tmp/../../../proc/self/environ",
        "./.././../etc/passwd",
        "//etc//passwd",
    ] {
        assert_eq!(guest.open(ROOT, escape, 0, READ, 0), errno(E::Noent), "{escape}");
    }
    // The root above all is the tree's own, so these lead back into it.
    for inside in ["../../usr/secret", "/usr/secret", "usr/lib/../../../usr/secret"] {
        let fd = guest.open(ROOT, inside, 0, READ, 0).unwrap();
        assert_eq!(guest.read(fd, 10).unwrap(), b"base", "{inside}");
        guest.close(fd).unwrap();
    }
    for (link, target) in [("a", "/etc/passwd"), ("b", "../../../../../etc/passwd"), ("c", "a"), ("d", "/proc")] {
        guest.symlink(target, ROOT, &format!("tmp/{link}")).unwrap();
    }
    for path in ["tmp/a", "tmp/b", "tmp/c", "tmp/d/self/environ", "tmp/a/"] {
        assert_eq!(guest.open(ROOT, path, 0, READ, 0), errno(E::Noent), "{path}");
        assert_eq!(guest.stat_at(ROOT, path, true).map(drop), errno(E::Noent), "{path}");
    }
    assert_eq!(guest.open(ROOT, "tmp/a", CREATE, WRITE, 0), errno(E::Noent), "there is no /etc to make it in");
    assert_eq!(guest.open(ROOT, "tmp/a\0b", CREATE, WRITE, 0), errno(E::Inval));
    assert_eq!(guest.open(ROOT, "", 0, READ, 0), errno(E::Noent));
    assert_eq!(guest.open(ROOT, &"x".repeat(256), 0, READ, 0), errno(E::Nametoolong));
    assert_eq!(guest.open(ROOT, &"x/".repeat(2049), 0, READ, 0), errno(E::Nametoolong));
}

#[test]
fn a_loop_of_links_is_eloop_and_forty_links_are_not() {
    let mut guest = guest();
    guest.symlink("loop2", ROOT, "tmp/loop1").unwrap();
    guest.symlink("loop1", ROOT, "tmp/loop2").unwrap();
    guest.symlink("self/self", ROOT, "tmp/self").unwrap();
    for path in ["tmp/loop1", "tmp/loop2/x", "tmp/self"] {
        assert_eq!(guest.open(ROOT, path, CREATE, WRITE, 0), errno(E::Loop), "{path}");
    }
    guest.symlink("/usr/secret", ROOT, "tmp/l0").unwrap();
    for n in 1..=40 {
        guest.symlink(&format!("l{}", n - 1), ROOT, &format!("tmp/l{n}")).unwrap();
    }
    assert!(guest.open(ROOT, "tmp/l39", 0, READ, 0).is_ok());
    assert_eq!(guest.open(ROOT, "tmp/l40", 0, READ, 0), errno(E::Loop));
    assert_eq!(guest.open_with(ROOT, 0, "tmp/l0", 0, READ, 0), errno(E::Loop));
    // Doubling links take exponential time where the hops are not counted.
    guest.symlink(&"d/".repeat(500), ROOT, "tmp/d").unwrap();
    assert_eq!(guest.open(ROOT, "tmp/d", 0, READ, 0), errno(E::Loop));
}

#[test]
fn the_read_only_part_is_erofs() {
    let mut guest = guest();
    assert_eq!(guest.open(ROOT, "usr/secret", 0, WRITE, 0), errno(E::Rofs));
    assert_eq!(guest.open(ROOT, "usr/secret", TRUNCATE, READ, 0), errno(E::Rofs));
    assert_eq!(guest.open(ROOT, "usr/new", CREATE, WRITE, 0), errno(E::Rofs));
    assert_eq!(guest.create_directory(ROOT, "new"), errno(E::Rofs));
    assert_eq!(guest.create_directory(ROOT, "usr"), errno(E::Exist));
    assert_eq!(guest.unlink(ROOT, "usr/secret"), errno(E::Rofs));
    assert_eq!(guest.rename(ROOT, "usr/secret", ROOT, "tmp/x"), errno(E::Rofs));
    assert_eq!(guest.link(ROOT, "usr/secret", ROOT, "tmp/x"), errno(E::Xdev));
    assert_eq!(guest.set_times_at(ROOT, "usr/secret", true, 1, 5), errno(E::Rofs));
    let fd = guest.open(ROOT, "usr/secret", CREATE, READ, 0).unwrap();
    assert_eq!(guest.write(fd, b"x"), errno(E::Badf));
    assert_eq!(guest.set_size(fd, 0), errno(E::Inval));
}

#[test]
fn writing_needs_the_right_to_write() {
    let mut guest = guest();
    let write_only = guest.open(ROOT, "tmp/f", CREATE | EXCLUSIVE, WRITE, 0).unwrap();
    assert_eq!(guest.write(write_only, b"abc"), Ok(3));
    assert_eq!(guest.pread(write_only, 3, 0), errno(E::Badf));
    assert_eq!(guest.open(ROOT, "tmp/f", CREATE | EXCLUSIVE, WRITE, 0), errno(E::Exist));
    let read_only = guest.open(ROOT, "tmp/f", 0, READ, 0).unwrap();
    assert_eq!(guest.read(read_only, 9), Ok(b"abc".to_vec()));
    assert_eq!(guest.write(read_only, b"x"), errno(E::Badf));
    assert_eq!(guest.allocate(read_only, 0, 100), errno(E::Badf));
    assert_eq!(guest.allocate(write_only, 1, 99), Ok(()));
    assert_eq!(guest.stat(read_only).unwrap().size, 100);
}

#[test]
fn quotas_reach_the_guest_as_errors() {
    let mut guest = guest_within(FileLimits { total_bytes: 1000, file_bytes: 800, count: 3 });
    let a = guest.open(ROOT, "tmp/a", CREATE, WRITE, 0).unwrap();
    assert_eq!(guest.pwrite(a, &[1; 801], 0), errno(E::Fbig));
    assert_eq!(guest.pwrite(a, &[1; 1], i64::MAX as u64), errno(E::Fbig));
    assert_eq!(guest.pwrite(a, &[1; 1], u64::MAX), errno(E::Inval));
    assert_eq!(guest.set_size(a, 801), errno(E::Fbig));
    assert_eq!(guest.allocate(a, 0, 801), errno(E::Fbig));
    assert_eq!(guest.allocate(a, u64::MAX, 2), errno(E::Fbig));
    assert_eq!(guest.set_size(a, 800), Ok(()));
    let b = guest.open(ROOT, "tmp/b", CREATE, WRITE, 0).unwrap();
    assert_eq!(guest.write(b, &[1; 201]), errno(E::Dquot));
    assert_eq!(guest.write(b, &[1; 200]), Ok(200));
    assert_eq!(guest.create_directory(ROOT, "tmp/c"), Ok(()));
    assert_eq!(guest.create_directory(ROOT, "tmp/d"), errno(E::Dquot));
    assert_eq!(guest.open(ROOT, "tmp/d", CREATE, WRITE, 0), errno(E::Dquot));
    guest.unlink(ROOT, "tmp/a").unwrap();
    assert_eq!(guest.pwrite(b, &[1; 1], 200), errno(E::Dquot), "the unlinked file is still open");
    guest.close(a).unwrap();
    assert_eq!(guest.pwrite(b, &[1; 1], 200), Ok(1));
    let tree = guest.store.data().tree().clone();
    assert_eq!(tree.usage(), FileUsage { bytes: 201, count: 2 });
}

#[test]
fn a_session_that_ends_gives_back_what_it_had_open() {
    let tree = tree_over(BaseLayer::empty());
    let mut guest = ours(tree.clone());
    let fd = guest.open(ROOT, "tmp/f", CREATE, WRITE, 0).unwrap();
    guest.write(fd, b"abc").unwrap();
    guest.unlink(ROOT, "tmp/f").unwrap();
    assert_eq!(tree.usage().bytes, 3);
    drop(guest);
    assert_eq!(tree.usage(), FileUsage::default());
}

#[test]
fn descriptors_are_capped_and_reused_from_the_lowest() {
    let mut guest = guest();
    for fd in 4..MAX_DESCRIPTORS as u32 {
        assert_eq!(guest.open(ROOT, "usr/secret", 0, READ, 0), Ok(fd));
    }
    assert_eq!(guest.open(ROOT, "tmp/new", CREATE, WRITE, 0), errno(E::Mfile));
    assert_eq!(guest.stat_at(ROOT, "tmp/new", true).map(drop), errno(E::Noent), "and nothing was made");
    guest.close(700).unwrap();
    guest.close(50).unwrap();
    assert_eq!(guest.open(ROOT, "usr/secret", 0, READ, 0), Ok(50));
    assert_eq!(guest.renumber(60, 61), Ok(()));
    assert_eq!(guest.renumber(60, 61), errno(E::Badf));
    assert_eq!(guest.renumber(u32::MAX, 61), errno(E::Badf));
    assert_eq!(guest.open(ROOT, "usr/secret", 0, READ, 0), Ok(60));
}

#[test]
fn standard_streams_lead_to_the_output() {
    let mut guest = guest();
    assert_eq!(guest.write(1, b"dropped"), Ok(7));
    let output = guest.collect_output();
    assert_eq!(guest.write(1, b"out"), Ok(3));
    assert_eq!(guest.write(2, b"err"), Ok(3));
    assert_eq!(guest.write(0, b"in"), errno(E::Badf));
    assert_eq!(guest.read(0, 10), Ok(vec![]));
    assert_eq!(guest.read(1, 10), errno(E::Badf));
    assert_eq!(guest.seek(1, 0, 1), errno(E::Spipe));
    let events = [Event::Stdout { text: "out".into() }, Event::Stderr { text: "err".into() }];
    assert_eq!(output.take().0, events);
    let file = guest.open(ROOT, "tmp/log", CREATE, WRITE | READ, 0).unwrap();
    guest.renumber(file, 1).unwrap();
    assert_eq!(guest.write(1, b"into the file"), Ok(13));
    assert_eq!(guest.pread(1, 4, 0), Ok(b"into".to_vec()));
    assert!(output.take().0.is_empty());
}

#[test]
fn devices_are_the_gateways_own() {
    let mut guest = guest();
    let null = guest.open(ROOT, "dev/null", 0, READ | WRITE, 0).unwrap();
    assert_eq!(guest.write(null, b"gone"), Ok(4));
    assert_eq!(guest.read(null, 10), Ok(vec![]));
    assert_eq!(guest.fdstat(null).unwrap().0, 2);
    let zero = guest.open(ROOT, "dev/zero", TRUNCATE, READ | WRITE, 0).unwrap();
    assert_eq!(guest.read(zero, 5), Ok(vec![0; 5]));
    let random = guest.open(ROOT, "dev/urandom", 0, READ, 0).unwrap();
    assert_ne!(guest.read(random, 32).unwrap(), guest.read(random, 32).unwrap());
    assert_eq!(guest.set_size(zero, 10), errno(E::Inval));
    let names: Vec<_> = {
        let dev = guest.open(ROOT, "dev", DIRECTORY, READ, 0).unwrap();
        guest.read_directory(dev, 4096, 0).unwrap().into_iter().map(|entry| entry.name).collect()
    };
    assert_eq!(names, [".", "..", "null", "random", "urandom", "zero"]);
}

#[test]
fn a_listing_goes_on_while_entries_come_and_go() {
    let mut guest = guest();
    for n in 0..200 {
        guest.open(ROOT, &format!("tmp/file{n:03}"), CREATE, WRITE, 0).and_then(|fd| guest.close(fd)).unwrap();
    }
    let tmp = guest.open(ROOT, "tmp", DIRECTORY, READ, 0).unwrap();
    let mut seen = Vec::new();
    let mut cookie = 0;
    loop {
        let entries = guest.read_directory(tmp, 500, cookie).unwrap();
        let Some(last) = entries.last() else { break };
        cookie = last.next;
        for entry in entries.into_iter().filter(|entry| entry.filetype == 4) {
            // Removed and renamed under the listing's feet, as `shutil.rmtree` and a renaming loop do.
            let to = format!("tmp/renamed{}", entry.name);
            if seen.len() % 2 == 0 {
                guest.unlink(ROOT, &format!("tmp/{}", entry.name)).unwrap();
            } else {
                guest.rename(ROOT, &format!("tmp/{}", entry.name), ROOT, &to).unwrap();
            }
            seen.push(entry.name);
        }
    }
    seen.sort();
    let wanted: Vec<_> = (0..200).map(|n| format!("file{n:03}")).collect();
    assert_eq!(seen, wanted, "each was seen once");
    assert_eq!(guest.read_directory(tmp, 20_000, 0).unwrap().len(), 102);
}

#[test]
fn a_listing_of_the_base_layer_can_be_cut_anywhere() {
    let names: Vec<_> = (0..50).map(|n| format!("usr/n{n:02}")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), Body::File(b""))).collect();
    let mut guest = ours(tree_over(BaseLayer::from_bytes(tar(&entries)).unwrap()));
    let usr = guest.open(ROOT, "usr", DIRECTORY, READ, 0).unwrap();
    for len in [27, 30, 60, 100, 4096] {
        let (mut seen, mut cookie) = (Vec::new(), 0);
        while let Some(entry) = guest.read_directory(usr, len, cookie).unwrap().into_iter().next() {
            cookie = entry.next;
            seen.push(entry.name);
        }
        assert_eq!(seen.len(), 52, "{len}");
    }
    assert!(guest.read_directory(usr, 4096, u64::MAX).is_ok());
    assert!(guest.read_directory(usr, 4096, 1 << 63).is_ok());
    let file = guest.open(usr, "n00", 0, READ, 0).unwrap();
    assert_eq!(guest.read_directory(file, 4096, 0).map(drop), errno(E::Badf));
}

#[test]
fn a_directory_that_is_removed_while_open_takes_no_new_files() {
    let mut guest = guest();
    guest.create_directory(ROOT, "tmp/d").unwrap();
    let d = guest.open(ROOT, "tmp/d", DIRECTORY, READ, 0).unwrap();
    guest.remove_directory(ROOT, "tmp/d").unwrap();
    assert_eq!(guest.open(d, "x", CREATE, WRITE, 0), errno(E::Noent));
    assert_eq!(guest.create_directory(d, "x"), errno(E::Noent));
    assert_eq!(guest.symlink("x", d, "x"), errno(E::Noent));
    assert_eq!(guest.stat(d).unwrap().links, 0);
    assert_eq!(guest.read_directory(d, 4096, 0).unwrap().len(), 2);
    guest.close(d).unwrap();
    assert_eq!(guest.store.data().tree().usage(), FileUsage::default());
}

#[test]
fn reading_and_writing_use_all_buffers() {
    let mut guest = guest();
    let fd = guest.open(ROOT, "tmp/f", CREATE, READ | WRITE, 0).unwrap();
    guest.put(BYTES, b"abcdef");
    let list: Vec<u8> = [(BYTES, 2_u32), (BYTES + 100, 0), (BYTES + 2, 4)]
        .iter()
        .flat_map(|(at, len)| [at.to_le_bytes(), len.to_le_bytes()].concat())
        .collect();
    guest.put(128, &list);
    assert_eq!(guest.call("fd_write", &[fd.into(), 128, 3, 0]).unwrap(), 0);
    assert_eq!((guest.get(0, 4), guest.tell(fd)), (vec![6, 0, 0, 0], Ok(6)));
    guest.seek(fd, 0, 0).unwrap();
    guest.put(BYTES, &[0; 8]);
    assert_eq!(guest.call("fd_read", &[fd.into(), 128, 3, 0]).unwrap(), 0);
    assert_eq!(guest.get(BYTES, 6), b"abcdef");
}

#[test]
fn appending_goes_to_the_end_whatever_the_offset() {
    let mut guest = guest();
    let one = guest.open(ROOT, "tmp/log", CREATE, WRITE, APPEND).unwrap();
    let other = guest.open(ROOT, "tmp/log", 0, WRITE | READ, 0).unwrap();
    guest.write(one, b"one ").unwrap();
    guest.seek(other, 0, 2).unwrap();
    guest.write(other, b"two ").unwrap();
    guest.write(one, b"three").unwrap();
    assert_eq!((guest.pread(other, 50, 0), guest.tell(one)), (Ok(b"one two three".to_vec()), Ok(13)));
    assert_eq!(guest.set_flags(one, 0), Ok(()));
    assert_eq!(guest.pwrite(one, b"ONE", 0), Ok(3));
    assert_eq!(guest.pread(other, 3, 0), Ok(b"ONE".to_vec()));
    assert_eq!(guest.set_flags(one, 2), errno(E::Inval));
}

#[test]
fn the_environment_is_what_was_given_and_there_are_no_arguments() {
    let mut guest = guest();
    assert_eq!(guest.call("environ_sizes_get", &[0, 4]).unwrap(), 0);
    assert_eq!(guest.get(0, 8), [2, 0, 0, 0, 19, 0, 0, 0]);
    assert_eq!(guest.call("environ_get", &[0, 100]).unwrap(), 0);
    assert_eq!(guest.get(100, 19), b"HOME=/home/user\0A=\0");
    assert_eq!(guest.get(0, 8), [100, 0, 0, 0, 116, 0, 0, 0]);
    assert_eq!(guest.call("args_sizes_get", &[0, 4]).unwrap(), 0);
    assert_eq!(guest.get(0, 8), [0; 8]);
}

#[test]
fn exit_is_an_error_that_tells_its_code() {
    for code in [0_u32, 1, 125, 300, u32::MAX] {
        let error = guest().call("proc_exit", &[code.into()]).unwrap_err();
        assert_eq!(error.downcast_ref::<GuestExit>(), Some(&GuestExit(code as i32)));
    }
}

#[test]
fn there_are_no_sockets_and_no_signals() {
    let mut guest = guest();
    for (name, arguments) in [
        ("sock_accept", vec![3, 0, 0]),
        ("sock_recv", vec![3, 0, 0, 0, 0, 0]),
        ("sock_send", vec![3, 0, 0, 0, 0]),
        ("sock_shutdown", vec![3, 0]),
    ] {
        assert_eq!(guest.call(name, &arguments).unwrap(), E::Notsock as u32, "{name}");
        let closed = [&[99], &arguments[1..]].concat();
        assert_eq!(guest.call(name, &closed).unwrap(), E::Badf as u32, "{name}");
    }
    assert_eq!(guest.call("proc_raise", &[9]).unwrap(), E::Notsup as u32);
    assert_eq!(guest.call("sched_yield", &[]).unwrap(), 0);
}

#[test]
fn clocks_advance() {
    let mut guest = guest();
    let now = |guest: &mut Guest<WasiState>, id: u64| {
        assert_eq!(guest.call("clock_time_get", &[id, 0, 0]).unwrap(), 0);
        guest.get_u64(0)
    };
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    assert!(now(&mut guest, 0).abs_diff(since_1970) < 10_000_000_000);
    let before = now(&mut guest, 1);
    std::thread::sleep(Duration::from_millis(2));
    assert!((2_000_000..1_000_000_000).contains(&(now(&mut guest, 1) - before)));
    assert_eq!(now(&mut guest, 2), 0, "no run has begun");
    guest.collect_output();
    std::thread::sleep(Duration::from_millis(2));
    assert!(now(&mut guest, 3) >= 2_000_000);
    assert_eq!(guest.call("clock_time_get", &[4, 0, 0]).unwrap(), E::Inval as u32);
    assert_eq!(guest.call("clock_res_get", &[1, 0]).unwrap(), 0);
}

/// A subscription to a clock.
fn sleep(user_data: u64, clock: u32, nanoseconds: u64, absolute: bool) -> Vec<u8> {
    let mut subscription = vec![0; 48];
    subscription[..8].copy_from_slice(&user_data.to_le_bytes());
    subscription[16..20].copy_from_slice(&clock.to_le_bytes());
    subscription[24..32].copy_from_slice(&nanoseconds.to_le_bytes());
    subscription[40] = absolute.into();
    subscription
}

/// A subscription to a descriptor: 1 is reading, 2 writing.
fn ready(user_data: u64, kind: u8, fd: u32) -> Vec<u8> {
    let mut subscription = vec![0; 48];
    subscription[..8].copy_from_slice(&user_data.to_le_bytes());
    subscription[8] = kind;
    subscription[16..20].copy_from_slice(&fd.to_le_bytes());
    subscription
}

/// User data, error number and type of every event.
fn poll(guest: &mut Guest<WasiState>, subscriptions: &[Vec<u8>]) -> Result<Vec<(u64, u16, u8)>, u32> {
    guest.put(BYTES, &subscriptions.concat());
    let count = subscriptions.len() as u64;
    match guest.call("poll_oneoff", &[BYTES.into(), 1024, count, 0]).unwrap() {
        0 => {}
        errno => return Err(errno),
    }
    let events = u64::from(guest.get(0, 4)[0]);
    Ok((0..events as u32)
        .map(|n| {
            let event = guest.get(1024 + n * 32, 32);
            (event[0].into(), u16::from_le_bytes([event[8], event[9]]), event[10])
        })
        .collect())
}

#[test]
fn polling_sleeps_until_the_first_time_has_come() {
    let mut guest = guest();
    let started = Instant::now();
    let events = poll(&mut guest, &[sleep(1, 1, 3_600_000_000_000, false), sleep(2, 0, 20_000_000, false)]);
    assert_eq!(events, Ok(vec![(2, 0, 0)]));
    assert!((20..1000).contains(&started.elapsed().as_millis()));
    let past = poll(&mut guest, &[sleep(1, 0, 1_000, true), sleep(2, 1, 1, true), sleep(3, 1, 0, false)]);
    assert_eq!(past, Ok(vec![(1, 0, 0), (2, 0, 0), (3, 0, 0)]));
}

#[test]
fn descriptors_are_ready_at_once() {
    let mut guest = guest();
    let file = guest.open(ROOT, "usr/secret", 0, READ, 0).unwrap();
    let asked = [sleep(1, 1, u64::MAX, false), ready(2, 1, file), ready(3, 2, 1), ready(4, 1, 0), ready(5, 1, 99)];
    let events = poll(&mut guest, &asked);
    assert_eq!(events, Ok(vec![(2, 0, 1), (3, 0, 2), (4, 0, 1), (5, E::Badf as u16, 1)]));
}

#[test]
fn polling_for_nothing_or_too_much_is_refused() {
    let mut guest = guest();
    assert_eq!(poll(&mut guest, &[]), errno(E::Inval));
    assert_eq!(poll(&mut guest, &vec![sleep(1, 1, 0, false); 65]), errno(E::Inval));
    assert_eq!(poll(&mut guest, &[sleep(1, 2, 0, false)]), errno(E::Inval));
    assert_eq!(poll(&mut guest, &[ready(1, 9, 0)]), errno(E::Inval));
}

#[test]
fn a_sleeping_guest_is_woken_by_its_host_and_a_late_wake_is_forgotten() {
    let mut guest = guest();
    let wake = guest.store.data().wake();
    let waker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        wake.notify_one();
    });
    let started = Instant::now();
    let events = poll(&mut guest, &[sleep(7, 1, 3_600_000_000_000, false), sleep(8, 0, 3_600_000_000_000, false)]);
    assert_eq!(events, Ok(vec![(7, 0, 0), (8, 0, 0)]), "as if the time had come");
    assert!(started.elapsed() < Duration::from_secs(5));
    waker.join().unwrap();
    guest.store.data().wake().notify_one();
    guest.collect_output();
    let started = Instant::now();
    poll(&mut guest, &[sleep(7, 1, 20_000_000, false)]).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(20), "the next run sleeps its time");
}

#[test]
fn a_sleeping_guest_holds_no_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guests: Vec<_> = (0..50).map(|_| guest()).collect();
    let started = Instant::now();
    runtime.block_on(async {
        let sleeping = guests.into_iter().map(|guest| guest.asleep(sleep(1, 1, 100_000_000, false)));
        futures_util::future::join_all(sleeping).await;
    });
    assert!(started.elapsed() < Duration::from_secs(4), "fifty sleep at the same time: {:?}", started.elapsed());
}

#[test]
fn a_guest_without_a_memory_is_ended() {
    let engine = wasmtime::Engine::default();
    let mut linker = wasmtime::Linker::new(&engine);
    sandpool::sandbox::wasm::wasi::add_to_linker(&mut linker, |state: &mut WasiState| state).unwrap();
    let module = r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func $f (result i32)))
        (func (export "go") (result i32) call $f))"#;
    let module = wasmtime::Module::new(&engine, wat::parse_str(module).unwrap()).unwrap();
    let state = WasiState::new(tree_over(BaseLayer::empty()), Arc::from([]));
    let mut store = wasmtime::Store::new(&engine, state);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(async {
        let instance = linker.instantiate_async(&mut store, &module).await.unwrap();
        let go = instance.get_typed_func::<(), i32>(&mut store, "go").unwrap();
        go.call_async(&mut store, ()).await.unwrap_err()
    });
    assert!(format!("{error:?}").contains("memory"));
}

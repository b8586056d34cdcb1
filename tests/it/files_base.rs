//! Base layers: what archives are taken, and how they look through a tree.

use sandpool::files::{BaseError, BaseLayer, FileKind, TarError};

use crate::archive::{Body, header, padded, tar, with_sum};
use crate::files::{read, tree_over};

fn refused(archive: Vec<u8>) -> BaseError {
    BaseLayer::from_bytes(archive).expect_err("the archive should be refused")
}

#[test]
fn an_archive_is_seen_through_a_tree() {
    let archive = tar(&[
        ("./", Body::Directory),
        ("./usr/", Body::Directory),
        ("usr/lib/python/os.py", Body::File(b"import sys\n")),
        ("usr/lib/alias.py", Body::Link("python/os.py")),
        ("usr/lib/empty", Body::File(b"")),
    ]);
    let tree = tree_over(BaseLayer::from_bytes(archive).unwrap());
    assert_eq!(read(&tree, "/usr/lib/python/os.py"), b"import sys\n");
    assert_eq!(read(&tree, "/usr/lib/alias.py"), b"import sys\n");
    assert_eq!(read(&tree, "/usr/lib/empty"), b"");
    let entries = tree.list("/usr/lib", true).unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.path.as_str(), entry.kind, entry.size_bytes)).collect();
    assert_eq!(
        seen,
        [
            ("usr/lib/alias.py", FileKind::Link, 12),
            ("usr/lib/empty", FileKind::File, 0),
            ("usr/lib/python", FileKind::Directory, 0),
            ("usr/lib/python/os.py", FileKind::File, 11),
        ]
    );
    assert_eq!(entries[3].modified_at.unix_timestamp(), 1_000_000_000);
}

#[test]
fn a_mapped_file_is_the_same_as_bytes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), tar(&[("a/b", Body::File(&[7; 2000]))])).unwrap();
    let tree = tree_over(BaseLayer::open(file.path()).unwrap());
    assert_eq!(read(&tree, "/a/b"), [7; 2000]);
    let empty = tempfile::NamedTempFile::new().unwrap();
    assert!(BaseLayer::open(empty.path()).is_ok());
}

#[test]
fn long_names_of_both_kinds_are_read() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let mut gnu = header("././@LongLink", b'L', long.len() + 1, "");
    gnu.extend(padded(format!("{long}\0").as_bytes()));
    gnu.extend(header("cut", b'0', 3, ""));
    gnu.extend(padded(b"abc"));
    let record = |key: &str, value: &str| {
        let body = format!(" {key}={value}\n");
        let length = body.len() + 3;
        format!("{length}{body}")
    };
    let records = record("path", &long) + &record("mtime", &format!("12.25{}", "0".repeat(90)));
    let mut pax = header("PaxHeaders/x", b'x', records.len(), "");
    pax.extend(padded(records.as_bytes()));
    pax.extend(header("cut", b'0', 3, ""));
    pax.extend(padded(b"abc"));
    for archive in [gnu, pax] {
        let tree = tree_over(BaseLayer::from_bytes(archive).unwrap());
        assert_eq!(read(&tree, &format!("/{long}")), b"abc");
    }
    let mut prefixed = header("name", b'0', 0, "");
    prefixed[345..350].copy_from_slice(b"x/y/z");
    let tree = tree_over(BaseLayer::from_bytes(with_sum(prefixed)).unwrap());
    assert!(tree.metadata("/x/y/z/name").is_ok());
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["../x", "a/../../x", "/etc/passwd", ".."] {
        let error = refused(tar(&[(name, Body::File(b""))]));
        assert!(matches!(error, BaseError::Archive(TarError::Name { offset: 0 })), "{name}: {error}");
    }
    assert!(matches!(refused(tar(&[("a", Body::Link(""))])), BaseError::Archive(TarError::Name { .. })));
}

#[test]
fn what_a_tree_cannot_hold_is_refused() {
    for kind in *b"1346SDMV" {
        let error = refused(header("x", kind, 0, "y"));
        assert!(matches!(error, BaseError::Archive(TarError::Kind { .. })), "{}: {error}", char::from(kind));
    }
}

#[test]
fn a_name_may_come_twice_only_for_directories() {
    let file = || Body::File(b"");
    assert!(BaseLayer::from_bytes(tar(&[("a", Body::Directory), ("a/", Body::Directory)])).is_ok());
    for entries in [
        [("a", file()), ("a", file())],
        [("a", file()), ("a", Body::Directory)],
        [("a", Body::Directory), ("a", file())],
        [("a", file()), ("a/b", file())],
        [("a", Body::Link("b")), ("a/b", file())],
        [("tmp", file()), ("x", file())],
        [("mnt/data", Body::Link("/usr")), ("x", file())],
        [("dev/null", file()), ("x", file())],
    ] {
        assert!(matches!(refused(tar(&entries)), BaseError::Conflict { .. }), "{}", entries[0].0);
    }
}

#[test]
fn a_damaged_archive_is_refused_and_never_read_past_its_end() {
    let whole = tar(&[("a", Body::File(&[1; 600])), ("b", Body::Link("a"))]);
    for cut in [1, 511, 513, 1024, 1111] {
        assert!(matches!(refused(whole[..cut].to_vec()), BaseError::Archive(_)), "{cut}");
    }
    let mut sum = whole.clone();
    sum[0] = b'z';
    assert!(matches!(refused(sum), BaseError::Archive(TarError::Damaged { .. })));
    for size in [
        &b"77777777777\0"[..],
        b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let mut huge = header("a", b'0', 0, "");
        huge[124..136].copy_from_slice(size);
        assert!(matches!(refused(with_sum(huge)), BaseError::Archive(_)));
    }
    for records in ["5 a=b\n", "x a=b\n", "99 a=b\n", "0 a=b\n", "6 ab=\n6", "9 size=x\n", " "] {
        let mut pax = header("p", b'x', records.len(), "");
        pax.extend(padded(records.as_bytes()));
        assert!(BaseLayer::from_bytes(pax).is_err() || records == "5 a=b\n", "{records:?}");
    }
}

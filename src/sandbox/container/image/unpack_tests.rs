//! Layers as hostile registries would write them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use proptest::prelude::*;
use tar::EntryType;
use tempfile::TempDir;

use super::*;

const LIMITS: ImageLimits = ImageLimits { bytes: 1 << 20, entries: 100, layers: 10 };

/// An entry that no honest tool would write: the names stand in the header as they are.
struct Raw<'a> {
    kind: EntryType,
    path: &'a str,
    link: &'a str,
    content: &'a [u8],
    owner: u64,
}

fn raw<'a>(kind: EntryType, path: &'a str, link: &'a str, content: &'a [u8]) -> Raw<'a> {
    // Tests do not run as root everywhere; giving files to themselves is allowed to all.
    let owner = rustix::process::geteuid().as_raw().into();
    Raw { kind, path, link, content, owner }
}

fn file<'a>(path: &'a str, content: &'a str) -> Raw<'a> {
    raw(EntryType::Regular, path, "", content.as_bytes())
}

fn folder(path: &str) -> Raw<'_> {
    raw(EntryType::Directory, path, "", b"")
}

fn link<'a>(path: &'a str, to: &'a str) -> Raw<'a> {
    raw(EntryType::Symlink, path, to, b"")
}

fn hard<'a>(path: &'a str, to: &'a str) -> Raw<'a> {
    raw(EntryType::Link, path, to, b"")
}

fn archive(entries: &[Raw<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        let fields = header.as_ustar_mut().unwrap();
        fields.name[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
        fields.linkname[..entry.link.len()].copy_from_slice(entry.link.as_bytes());
        header.set_entry_type(entry.kind);
        header.set_mode(0o750);
        header.set_uid(entry.owner);
        header.set_gid(entry.owner);
        header.set_mtime(1_600_000_000);
        header.set_size(entry.content.len() as u64);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(entry.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A folder to unpack into, beside one that must stay as it is.
struct Ground {
    folder: TempDir,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("image")).unwrap();
        fs::create_dir_all(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/canary"), "alive").unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("image").join(name)
    }

    fn unpack(&self, layers: &[&[Raw<'_>]]) -> Result<(), UnpackError> {
        let mut unpacker = Unpacker::new(&self.path(""), LIMITS)?;
        layers.iter().try_for_each(|layer| unpacker.layer(archive(layer).as_slice()))
    }

    fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    fn outside_is_as_it_was(&self) -> bool {
        let names: Vec<_> = fs::read_dir(self.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        let outside: Vec<_> = fs::read_dir(self.folder.path().join("outside")).unwrap().collect();
        names.len() == 2
            && outside.len() == 1
            && fs::read_to_string(self.folder.path().join("outside/canary")).is_ok_and(|text| text == "alive")
    }
}

#[test]
fn files_folders_and_links_come_out_as_they_are() {
    let ground = Ground::new();
    let layer = [folder("d"), file("d/f", "text"), link("d/l", "/d/f"), hard("h", "d/f"), file("new/deep/f", "x")];
    ground.unpack(&[&layer]).unwrap();
    assert_eq!(ground.text("d/f").as_deref(), Some("text"));
    assert_eq!(fs::read_link(ground.path("d/l")).unwrap().to_str(), Some("/d/f"));
    let (one, other) = (fs::metadata(ground.path("d/f")).unwrap(), fs::metadata(ground.path("h")).unwrap());
    assert_eq!((one.ino(), one.mtime(), one.permissions().mode() & 0o7777), (other.ino(), 1_600_000_000, 0o750));
    assert_eq!(ground.text("new/deep/f").as_deref(), Some("x"));
}

#[test]
fn no_path_leads_out() {
    for path in ["../outside/x", "d/../../outside/x", "/../outside/x", "..", "d/.."] {
        let ground = Ground::new();
        assert!(matches!(ground.unpack(&[&[file(path, "evil")]]), Err(UnpackError::Path(_))), "{path}");
        assert!(ground.outside_is_as_it_was(), "{path}");
    }
    let ground = Ground::new();
    ground.unpack(&[&[file("/etc/x", "here")]]).unwrap();
    assert_eq!(ground.text("etc/x").as_deref(), Some("here"));
}

#[test]
fn no_link_leads_out() {
    let ground = Ground::new();
    let absolute = ground.folder.path().join("outside");
    let absolute = absolute.to_str().unwrap();
    for to in [absolute, "../outside", "/proc/self/root", "../../../../../../../../../../../../tmp"] {
        let ground = Ground::new();
        // A link on the way is followed as a process in the container would: from the image's own root.
        let _ = ground.unpack(&[&[link("way", to)], &[file("way/canary", "evil"), file("way/new", "evil")]]);
        assert!(ground.outside_is_as_it_was(), "{to}");
    }
    // A link that stands where a file comes is replaced, and not written through.
    let canary = format!("{absolute}/canary");
    ground.unpack(&[&[link("f", &canary)], &[file("f", "own")]]).unwrap();
    assert_eq!(ground.text("f").as_deref(), Some("own"));
    ground.unpack(&[&[link("g", absolute)], &[folder("g"), file("g/canary", "own")]]).unwrap();
    assert_eq!(ground.text("g/canary").as_deref(), Some("own"));
    assert!(ground.outside_is_as_it_was());
}

#[test]
fn no_hard_link_takes_hold_of_what_is_outside() {
    let ground = Ground::new();
    symlink(ground.folder.path().join("outside"), ground.path("way")).unwrap();
    for to in ["../outside/canary", "way/canary", "/etc/passwd", "", "d", "/proc/self/exe"] {
        assert!(ground.unpack(&[&[folder("d"), hard("h", to)]]).is_err(), "{to}");
        assert!(!ground.path("h").exists(), "{to}");
    }
    assert!(ground.outside_is_as_it_was());
}

#[test]
fn whiteouts_take_away_what_lower_layers_have() {
    let ground = Ground::new();
    let lower = [file("a", "1"), file("d/x", "1"), file("d/y", "1"), file("e/f/g", "1")];
    let upper =
        [file(".wh.a", ""), file("d/new", "2"), file("d/.wh..wh..opq", ""), file(".wh.e", ""), file(".wh.gone", "")];
    ground.unpack(&[&lower, &upper]).unwrap();
    assert!(!ground.path("a").exists() && !ground.path("e").exists());
    assert!(!ground.path("d/x").exists() && !ground.path("d/y").exists());
    assert_eq!(ground.text("d/new").as_deref(), Some("2"));
    for strange in [".wh.", ".wh...", ".wh.."] {
        assert!(ground.unpack(&[&[file(strange, "")]]).is_err(), "{strange}");
    }
    assert!(ground.outside_is_as_it_was());
}

#[test]
fn devices_and_strange_entries_are_refused() {
    for kind in [EntryType::Char, EntryType::Block] {
        let device = Ground::new().unpack(&[&[raw(kind, "dev/x", "", b"")]]);
        assert!(matches!(device, Err(UnpackError::Device(_))), "{kind:?}");
    }
    for kind in [EntryType::GNUSparse, EntryType::new(b'Z')] {
        assert!(Ground::new().unpack(&[&[raw(kind, "x", "", b"")]]).is_err(), "{kind:?}");
    }
    let stranger = Raw { owner: 70_000, ..file("x", "") };
    assert!(Ground::new().unpack(&[&[stranger]]).is_err(), "an owner beyond a session's numbers");
    let sizes = raw(EntryType::XHeader, "pax", "", b"14 size=99999\n");
    assert!(Ground::new().unpack(&[&[sizes, file("x", "short")]]).is_err(), "two sizes");
}

#[test]
fn long_names_are_read_and_endless_ones_refused() {
    let ground = Ground::new();
    let long = format!("{}/file", ["a".repeat(200), "b".repeat(200)].join("/"));
    let record = format!("path={long}\n");
    let pax = format!("{} {record}", record.len() + 4);
    assert_eq!(pax.len().to_string().len(), 3);
    let gnu = format!("{long}2\0");
    let entries = [
        raw(EntryType::XHeader, "pax", "", pax.as_bytes()),
        file("short", "1"),
        raw(EntryType::GNULongName, "gnu", "", gnu.as_bytes()),
        file("short", "2"),
    ];
    ground.unpack(&[&entries]).unwrap();
    assert_eq!(ground.text(&long).as_deref(), Some("1"));
    assert_eq!(ground.text(&format!("{long}2")).as_deref(), Some("2"));
    let endless = vec![b'a'; 2 << 20];
    for kind in [EntryType::XHeader, EntryType::GNULongName, EntryType::XGlobalHeader] {
        assert!(Ground::new().unpack(&[&[raw(kind, "x", "", &endless), file("f", "")]]).is_err(), "{kind:?}");
    }
    let name = vec![b'a'; 5000];
    assert!(Ground::new().unpack(&[&[raw(EntryType::GNULongName, "x", "", &name), file("f", "")]]).is_err());
}

#[test]
fn bytes_and_entries_are_counted() {
    let large = "x".repeat(600 << 10);
    let bytes = Ground::new().unpack(&[&[file("a", &large)], &[file("a", &large)]]);
    assert!(matches!(bytes, Err(UnpackError::Limit { what: "bytes", .. })));
    let many: Vec<_> = (0..101).map(|_| file("same", "")).collect();
    assert!(matches!(Ground::new().unpack(&[&many]), Err(UnpackError::Limit { what: "entries", .. })));
}

#[test]
fn what_ends_early_is_damaged() {
    let whole = archive(&[file("f", &"x".repeat(2000))]);
    let ground = Ground::new();
    let mut unpacker = Unpacker::new(&ground.path(""), LIMITS).unwrap();
    assert!(unpacker.layer(&whole[..1500]).is_err());
    let mut flipped = whole;
    flipped[3] ^= 1;
    assert!(unpacker.layer(flipped.as_slice()).is_err());
}

fn any_name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just(".."),
        Just("."),
        Just(""),
        Just(".wh.a"),
        Just(".wh..wh..opq"),
        Just("outside")
    ];
    proptest::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn any_kind() -> impl Strategy<Value = EntryType> {
    prop_oneof![
        Just(EntryType::Regular),
        Just(EntryType::Directory),
        Just(EntryType::Symlink),
        Just(EntryType::Link),
        Just(EntryType::Fifo),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Whatever entries come in whatever order, what is outside stays as it was.
    #[test]
    fn no_layer_reaches_outside(entries in proptest::collection::vec((any_kind(), any_name(), any_name()), 1..12)) {
        let ground = Ground::new();
        let entries: Vec<_> = entries.iter().map(|(kind, path, to)| raw(*kind, path, to, b"")).collect();
        let mut unpacker = Unpacker::new(&ground.path(""), LIMITS).unwrap();
        for entry in entries {
            let _ = unpacker.layer(archive(&[entry]).as_slice());
        }
        prop_assert!(ground.outside_is_as_it_was());
    }

    /// Bytes that are no archive are refused, or unpack to something; nothing panics.
    #[test]
    fn no_bytes_break_it(at in 0_usize..2048, with: u8) {
        let ground = Ground::new();
        let mut bytes = archive(&[folder("d"), link("d/l", "../x"), hard("h", "d/l"), file("f", "text")]);
        let at = at % bytes.len();
        bytes[at] ^= with;
        let _ = Unpacker::new(&ground.path(""), LIMITS).unwrap().layer(bytes.as_slice());
        prop_assert!(ground.outside_is_as_it_was());
    }
}

//! Archives for tests, made byte by byte so that they can also be wrong.

/// What an entry is.
pub enum Body<'a> {
    Directory,
    File(&'a [u8]),
    Link(&'a str),
}

/// A ustar archive of these entries.
pub fn tar(entries: &[(&str, Body<'_>)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, body) in entries {
        match body {
            Body::Directory => archive.extend(header(path, b'5', 0, "")),
            Body::Link(target) => archive.extend(header(path, b'2', 0, target)),
            Body::File(content) => {
                archive.extend(header(path, b'0', content.len(), ""));
                archive.extend(padded(content));
            }
        }
    }
    archive.extend([0; 1024]);
    archive
}

/// One header block; its modification time is 1,000,000,000 seconds after 1970.
pub fn header(path: &str, kind: u8, size: usize, link: &str) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, path.as_bytes());
    put(100, b"0000644\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"07346545000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    with_sum(header)
}

/// The header with its checksum set.
pub fn with_sum(mut header: Vec<u8>) -> Vec<u8> {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// `content`, filled up to whole blocks.
pub fn padded(content: &[u8]) -> Vec<u8> {
    let mut padded = content.to_vec();
    padded.resize(content.len().div_ceil(512) * 512, 0);
    padded
}

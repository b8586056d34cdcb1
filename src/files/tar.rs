//! Reads a plain ustar/pax archive that lies in memory, without copying content. GNU long names are understood; sparse
//! files, hard links, devices and archives within archives are refused. Nothing is written anywhere.

use super::path::{MAX_NAME_BYTES, MAX_PATH_BYTES};

const BLOCK: usize = 512;
/// More entries than any interpreter's base layer has (CPython with the scientific packages: about 9,000).
const MAX_ENTRIES: usize = 1 << 20;

/// Why an archive cannot be a base layer. `offset` is that of the entry's header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    #[error("the archive ends within the entry at byte {offset}")]
    Truncated { offset: usize },
    #[error("the header at byte {offset} is damaged: {what}")]
    Damaged { offset: usize, what: &'static str },
    #[error("the entry at byte {offset} has an unusable name")]
    Name { offset: usize },
    #[error(
        "the entry at byte {offset} is of type {kind:?}; only directories, regular files and symbolic links are taken"
    )]
    Kind { offset: usize, kind: char },
    #[error("the archive holds more than {limit} entries")]
    TooMany { limit: usize },
}

/// One entry. `names` are the path's names, none of them empty, `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TarEntry {
    pub names: Vec<String>,
    pub body: TarBody,
    /// Nanoseconds since 1970.
    pub modified: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TarBody {
    Directory,
    /// Where the content lies in the archive; always within it.
    File {
        offset: usize,
        len: usize,
    },
    Link(String),
}

/// What extension headers say about the entry that follows them.
#[derive(Default)]
struct Extension {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
    modified: Option<u64>,
}

/// All entries of `archive`, in its order.
pub(super) fn entries(archive: &[u8]) -> Result<Vec<TarEntry>, TarError> {
    let mut entries = Vec::new();
    let mut extension = Extension::default();
    let mut offset: usize = 0;
    while let Some(header) = archive.get(offset..offset.saturating_add(BLOCK)) {
        if header.iter().all(|byte| *byte == 0) {
            return Ok(entries);
        }
        check_sum(header, offset)?;
        let kind = header[156];
        let size = match (kind, extension.size) {
            (b'0' | 0 | b'7', Some(size)) => size,
            _ => number(&header[124..136], offset)?,
        };
        let size = usize::try_from(size).map_err(|_| TarError::Truncated { offset })?;
        let start = offset + BLOCK;
        let body =
            start.checked_add(size).and_then(|end| archive.get(start..end)).ok_or(TarError::Truncated { offset })?;
        match kind {
            b'x' => extension.read_pax(body, offset)?,
            b'g' => {}
            b'L' => extension.path = Some(text(until_zero(body), offset)?),
            b'K' => extension.link = Some(text(until_zero(body), offset)?),
            _ => {
                if entries.len() == MAX_ENTRIES {
                    return Err(TarError::TooMany { limit: MAX_ENTRIES });
                }
                entries.push(entry(header, std::mem::take(&mut extension), start, size, offset)?);
            }
        }
        // Only the last entry's padding may be missing: the loop then ends at the archive's end.
        offset = start + size.div_ceil(BLOCK) * BLOCK;
    }
    if offset >= archive.len() { Ok(entries) } else { Err(TarError::Truncated { offset }) }
}

fn entry(header: &[u8], extension: Extension, start: usize, size: usize, offset: usize) -> Result<TarEntry, TarError> {
    let path = match extension.path {
        Some(path) => path,
        None => header_path(header, offset)?,
    };
    let names = names(&path, offset)?;
    let modified = match extension.modified {
        Some(modified) => modified,
        None => number(&header[136..148], offset)?.saturating_mul(1_000_000_000),
    };
    let body = match header[156] {
        b'0' | 0 | b'7' if path.ends_with('/') => TarBody::Directory,
        b'0' | 0 | b'7' => TarBody::File { offset: start, len: size },
        b'5' => TarBody::Directory,
        b'2' => TarBody::Link(match extension.link {
            Some(link) => link,
            None => text(until_zero(&header[157..257]), offset)?,
        }),
        kind => {
            return Err(TarError::Kind { offset, kind: char::from(kind) });
        }
    };
    if let TarBody::Link(target) = &body
        && (target.is_empty() || target.len() > MAX_PATH_BYTES || target.contains('\0'))
    {
        return Err(TarError::Name { offset });
    }
    Ok(TarEntry { names, body, modified })
}

fn header_path(header: &[u8], offset: usize) -> Result<String, TarError> {
    let name = text(until_zero(&header[..100]), offset)?;
    // GNU archives use the prefix field for other things and have another magic.
    let prefix = if header[257..263] == *b"ustar\0" { until_zero(&header[345..500]) } else { &[] };
    Ok(if prefix.is_empty() { name } else { format!("{}/{name}", text(prefix, offset)?) })
}

/// The names of a path; empty for the root itself.
fn names(path: &str, offset: usize) -> Result<Vec<String>, TarError> {
    let refused = TarError::Name { offset };
    if path.starts_with('/') || path.is_empty() || path.len() > MAX_PATH_BYTES || path.contains('\0') {
        return Err(refused);
    }
    let names: Vec<String> =
        path.split('/').filter(|name| !name.is_empty() && *name != ".").map(str::to_owned).collect();
    if names.iter().any(|name| name == ".." || name.len() > MAX_NAME_BYTES) { Err(refused) } else { Ok(names) }
}

impl Extension {
    /// Records of the form `LENGTH KEY=VALUE\n`, where the length counts the whole record.
    fn read_pax(&mut self, mut body: &[u8], offset: usize) -> Result<(), TarError> {
        let damaged = || TarError::Damaged { offset, what: "pax record" };
        while !body.is_empty() && body[0] != 0 {
            let space = body.iter().position(|byte| *byte == b' ').ok_or_else(damaged)?;
            let length: usize =
                std::str::from_utf8(&body[..space]).ok().and_then(|digits| digits.parse().ok()).ok_or_else(damaged)?;
            let record = body.get(space + 1..length).ok_or_else(damaged)?;
            let record = record.strip_suffix(b"\n").ok_or_else(damaged)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(damaged)?;
            let value = &record[equals + 1..];
            match &record[..equals] {
                b"path" => self.path = Some(text(value, offset)?),
                b"linkpath" => self.link = Some(text(value, offset)?),
                b"size" => self.size = Some(text(value, offset)?.parse().map_err(|_| damaged())?),
                b"mtime" => self.modified = Some(seconds(&text(value, offset)?).ok_or_else(damaged)?),
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(TarError::Kind { offset, kind: 'S' });
                }
                _ => {}
            }
            body = &body[length..];
        }
        Ok(())
    }
}

/// Decimal seconds as nanoseconds; moments before 1970 become 1970.
fn seconds(text: &str) -> Option<u64> {
    if text.starts_with('-') {
        return Some(0);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: u64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(whole.parse::<u64>().ok()?.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}

/// The sum of all header bytes, its own field taken as spaces. Without it a few damaged bytes would shift everything.
fn check_sum(header: &[u8], offset: usize) -> Result<(), TarError> {
    let wanted = number(&header[148..156], offset)?;
    let bytes = header.iter().enumerate();
    let sum: u64 = bytes.map(|(at, byte)| u64::from(if (148..156).contains(&at) { b' ' } else { *byte })).sum();
    if sum == wanted { Ok(()) } else { Err(TarError::Damaged { offset, what: "checksum" }) }
}

/// An octal number, or GNU's big-endian binary one when the first bit is set.
fn number(field: &[u8], offset: usize) -> Result<u64, TarError> {
    let damaged = TarError::Damaged { offset, what: "number" };
    if let Some((first, bytes)) = field.split_first()
        && first & 0x80 != 0
    {
        // The short fields have seven bytes beside the first, the long ones more than a number has here.
        let (high, low) = bytes.split_at(bytes.len().saturating_sub(8));
        if *first != 0x80 || high.iter().any(|byte| *byte != 0) {
            return Err(damaged);
        }
        return Ok(low.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).map_err(|_| damaged.clone())?;
    match text.trim_matches([' ', '\0']) {
        "" => Ok(0),
        digits => u64::from_str_radix(digits, 8).map_err(|_| damaged),
    }
}

fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn text(bytes: &[u8], offset: usize) -> Result<String, TarError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| TarError::Name { offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary_whatever_the_field_is_long() {
        assert_eq!(number(b"0000644\0", 0).unwrap(), 0o644);
        assert_eq!(number(b"        ", 0).unwrap(), 0);
        // The fields of eight bytes have no room for all of a number.
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 2], 0).unwrap(), 258);
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2], 0).unwrap(), 258);
        for bad in
            [&[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[0xff; 8], &[0x81; 12], b"9", b"-1", &[0x80 | b'7'; 1]]
        {
            assert!(number(bad, 0).is_err(), "{bad:?}");
        }
    }
}

//! `Content-Disposition` of a part: its name and its file name, as real clients write them.
//!
//! Whether the file name is one that the tree takes is for `files::ClientPath` to say.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The two parameters that matter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Disposition {
    pub name: Option<String>,
    pub filename: Option<String>,
}

impl Disposition {
    /// Reads `form-data; name="file"; filename="a.txt"; filename*=UTF-8''a.txt`. Parameters may come in any order and
    /// without quotes; `filename*` wins, as RFC 6266 has it. Bytes that are no UTF-8 become replacement characters.
    pub(super) fn read(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value);
        let (mut name, mut filename, mut extended) = (None, None, None);
        for (key, value) in Parameters(&text) {
            match key.to_ascii_lowercase().as_str() {
                "name" => name = Some(value.into_owned()),
                "filename" => filename = Some(plain(&value)),
                "filename*" => extended = decode_extended(&value),
                _ => {}
            }
        }
        Self { name, filename: extended.or(filename) }
    }
}

/// A plain file name. Browsers and urllib3 write `"` as `%22` and line ends so too; aiohttp (AutoGen) writes *every*
/// special character so. A name in which only unreserved characters and escapes stand comes from such a client, and
/// is decoded; any other keeps its `%` signs.
fn plain(value: &str) -> String {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'%');
    if value.contains('%') && value.bytes().all(unreserved) {
        return percent_decode_str(value).decode_utf8().map_or_else(|_| value.to_owned(), Cow::into_owned);
    }
    value.replace("%22", "\"")
}

/// `UTF-8''percent%20encoded` (RFC 8187); other character sets are not taken.
fn decode_extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    percent_decode_str(encoded).decode_utf8().ok().map(Cow::into_owned)
}

/// The `key=value` pairs after the first word.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let (_, rest) = self.0.split_once(';')?;
        let (key, rest) = rest.split_once('=')?;
        let (value, rest) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = rest.find(';').unwrap_or(rest.len());
                (Cow::Borrowed(rest[..end].trim()), &rest[end..])
            }
        };
        self.0 = rest;
        Some((key.trim(), value))
    }
}

/// The text up to the closing quote, and what follows. A backslash escapes a quote or a backslash, nothing else: some
/// clients send Windows paths as they are.
fn unquote(text: &str) -> (Cow<'_, str>, &str) {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => {
                let inner = &text[..at];
                let plain = if inner.contains('\\') {
                    inner.replace("\\\"", "\"").replace("\\\\", "\\").into()
                } else {
                    inner.into()
                };
                return (plain, &text[at + 1..]);
            }
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    (Cow::Borrowed(text), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_read_as_clients_write_them() {
        for (value, filename) in [
            (r#"form-data; name="file"; filename="dir/a b.txt""#, "dir/a b.txt"),
            (r#"form-data; name="file"; filename="/mnt/data/a.txt""#, "/mnt/data/a.txt"),
            (r#"form-data; filename="é;x=y.txt"; name="file""#, "é;x=y.txt"),
            (r#"form-data; name=file; filename=a.txt"#, "a.txt"),
            (r#"form-data; name="file"; filename="say \"hi\".txt""#, "say \"hi\".txt"),
            (r#"form-data; name="file"; filename="say %22hi%22 é.txt""#, "say \"hi\" é.txt"),
            (r#"form-data; name="file"; filename="dir%2Fa%20b.txt""#, "dir/a b.txt"),
            (r#"form-data; name="file"; filename="100% sure.txt""#, "100% sure.txt"),
            (r#"form-data; name="file"; filename="x"; filename*=utf-8''%C3%A9.txt"#, "é.txt"),
            (r#"form-data; name="file"; filename*=UTF-8'en'a%20b"#, "a b"),
            (r#"form-data ;  NAME = "file" ; FileName = "a.txt""#, "a.txt"),
        ] {
            let read = Disposition::read(value.as_bytes());
            assert_eq!((read.name.as_deref(), read.filename.as_deref()), (Some("file"), Some(filename)), "{value}");
        }
    }

    #[test]
    fn what_is_absent_or_broken_is_none() {
        assert_eq!(Disposition::read(b"form-data"), Disposition { name: None, filename: None });
        assert_eq!(Disposition::read(b"form-data; name=\"file\"").filename, None);
        assert_eq!(Disposition::read(b"form-data; name=\"file\"; filename*=latin1''x").filename, None);
        assert_eq!(Disposition::read(b"form-data; name=\"open").name.as_deref(), Some("open"));
        Disposition::read(b"\xff;=;\"=\"\\");
    }
}

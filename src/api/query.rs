//! The query string: `identifier`, `api-version` and the few options, decoded leniently.
//!
//! It knows nothing of what the values are for, but for the choice of a file generation by `api-version`.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::error::Failure;
use crate::session::Identifier;
use crate::snapshot::store::SnapshotId;

/// What must be encoded in a component of a URL that we write.
pub(super) const COMPONENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'/')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A query string, as sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a>(&'a str);

/// The shape of an answer about files: the one thing that `api-version` decides, because both generations share the
/// paths `/files` and `/files/{name}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    /// Up to 2024-08-02-preview: `{"properties":{"filename",…}}`.
    Old,
    /// From the draft 2024-09-01 on: `{"name",…}`.
    New,
    /// No version, or none that we can read: both in one entry.
    Both,
}

impl<'a> Query<'a> {
    pub(super) fn new(text: Option<&'a str>) -> Self {
        Self(text.unwrap_or_default())
    }

    /// The first value of `key`, decoded; keys are compared without case, as the service does.
    ///
    /// `+` is a space, as in every HTML form and in the service's framework: `requests` and `aiohttp` write a space so, and
    /// whoever means a plus and encodes at all writes `%2B`.
    pub(super) fn get(&self, key: &'static str) -> Result<Option<Cow<'a, str>>, Failure> {
        let pairs = self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let Some((_, raw)) = pairs.into_iter().find(|(k, _)| k.eq_ignore_ascii_case(key)) else {
            return Ok(None);
        };
        decode(raw).map(Some).ok_or_else(|| Failure::query(key, "is not UTF-8"))
    }

    /// All that it holds, as sent.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.0.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    pub(super) fn identifier(&self) -> Result<Option<Identifier>, Failure> {
        self.get("identifier")?.map(|text| Identifier::new(text).map_err(Failure::Identifier)).transpose()
    }

    pub(super) fn path(&self) -> Result<Option<Cow<'a, str>>, Failure> {
        self.get("path")
    }

    /// The audience that a token is asked for.
    pub(super) fn resource(&self) -> Result<Option<Cow<'a, str>>, Failure> {
        self.get("resource")
    }

    pub(super) fn recursive(&self) -> Result<bool, Failure> {
        match self.get("recursive")?.as_deref() {
            None => Ok(false),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(Failure::query("recursive", "must be true or false")),
        }
    }

    /// Sessions to pass over in a list, as many as the contract says.
    pub(super) fn skip(&self) -> Result<usize, Failure> {
        match self.get("skip")? {
            None => Ok(0),
            Some(text) => match text.parse::<i32>().map(usize::try_from) {
                Ok(Ok(skip)) => Ok(skip),
                _ => Err(Failure::query("skip", "must be a whole number from 0 to 2147483647")),
            },
        }
    }

    /// A snapshot's number.
    pub(super) fn snapshot(&self) -> Result<Option<SnapshotId>, Failure> {
        let parsed = self.get("snapshot")?.map(|text| snapshot_id(&text)).transpose();
        parsed.map_err(|()| Failure::query("snapshot", "must be the number of a snapshot"))
    }

    /// Any version is taken, none too (the spec's checklist, row 2).
    pub(super) fn generation(&self) -> Result<Generation, Failure> {
        Ok(self.get("api-version")?.map_or(Generation::Both, |version| Generation::of(&version)))
    }

    /// `api-version` as sent, for links.
    pub(super) fn raw_version(&self) -> Option<&'a str> {
        self.0
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(k, _)| k.eq_ignore_ascii_case("api-version"))
            .map(|(_, v)| v)
    }
}

/// A snapshot's number, as a caller writes it.
pub(super) fn snapshot_id(text: &str) -> Result<SnapshotId, ()> {
    text.parse().ok().filter(|id: &i64| *id > 0).map(SnapshotId).ok_or(())
}

impl Generation {
    fn of(version: &str) -> Self {
        let Some(day) = version.get(..10).filter(|day| is_day(day)) else {
            return Self::Both;
        };
        // ISO dates sort as text.
        if day < "2024-09-01" { Self::Old } else { Self::New }
    }
}

fn is_day(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, b)| if matches!(at, 4 | 7) { b == b'-' } else { b.is_ascii_digit() })
}

/// None when the bytes are no UTF-8. A lone `%` stands for itself, since two clients do not encode at all.
fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.bytes().any(|b| matches!(b, b'%' | b'+')) {
        return Some(Cow::Borrowed(raw));
    }
    let spaced = raw.replace('+', " ");
    Some(Cow::Owned(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned()))
}

/// `text` as a component of a URL.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifier(query: &str) -> String {
        Query::new(Some(query)).identifier().unwrap().unwrap().as_str().to_owned()
    }

    #[test]
    fn identifiers_arrive_as_clients_send_them() {
        assert_eq!(identifier("identifier=user%201/%C3%A9&api-version=x"), "user 1/é");
        assert_eq!(identifier("api-version=2024-02-02-preview&identifier=user/é"), "user/é");
        assert_eq!(identifier("Identifier=a+b%2Bc"), "a b+c");
        assert_eq!(identifier("identifier=100%&x"), "100%");
        assert_eq!(identifier("identifier=a=b=c"), "a=b=c");
        assert_eq!(identifier("identifier=first&identifier=second"), "first");
    }

    #[test]
    fn an_absent_identifier_is_none_and_a_broken_one_is_refused() {
        assert!(Query::new(None).identifier().unwrap().is_none());
        assert!(Query::new(Some("identifiers=abcd")).identifier().unwrap().is_none());
        assert!(Query::new(Some("identifier=abc")).identifier().is_err());
        assert!(Query::new(Some("identifier=")).identifier().is_err());
        assert!(Query::new(Some("identifier=ab%FFcd")).identifier().is_err());
    }

    #[test]
    fn the_version_chooses_the_generation() {
        for (version, generation) in [
            ("2024-02-02-preview", Generation::Old),
            ("2023-08-01-preview", Generation::Old),
            ("2024-08-02-preview", Generation::Old),
            ("2024-09-01", Generation::New),
            ("2025-10-02-preview", Generation::New),
            ("2031-01-01", Generation::New),
            ("latest", Generation::Both),
            ("", Generation::Both),
            ("é024-02-02", Generation::Both),
        ] {
            assert_eq!(Generation::of(version), generation, "{version}");
        }
        assert_eq!(Query::new(None).generation().unwrap(), Generation::Both);
    }
}

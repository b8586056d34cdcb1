//! Uploads: multipart bodies, streamed into the session's files.
//!
//! Nothing is stored before the whole body has arrived and is well-formed: a half-sent upload leaves no file. No more
//! than a few pieces of a file are in memory here; where the bytes wait is the shelf's business.

use std::fmt;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use multer::{Constraints, Field, Multipart, SizeLimit};
use serde::Serialize;

use super::call::{Answer, Call, json};
use super::disposition::Disposition;
use super::entry::{Entry, FileList};
use super::error::Failure;
use super::files::folder;
use super::payload::Payload;
use super::query::Generation;
use super::shelf::{Incoming, Shelf, Uploads};
use crate::files::{ClientPath, FileEntry};

/// Room in a body beside the files: boundaries, part headers, small parts that are not files.
const SLACK_BYTES: u64 = 64 * 1024;

/// The longest boundary (RFC 2046), with the dashes and the line end around it.
const BOUNDARY_LINE_BYTES: usize = 2 + 70 + 2;

/// `POST /files/upload`, answered in the old shape.
pub(super) async fn old<P: Uploads>(call: Call<'_, P>) -> Answer {
    let folder = folder(&call.query)?;
    let stored = store(call).await?;
    Ok(json(StatusCode::OK, &FileList::of(&stored, &folder, Generation::Old)))
}

/// `POST /files` and `/files:uploadFile`, answered with the file; with several, the first and a list of all.
pub(super) async fn new<P: Uploads>(call: Call<'_, P>) -> Answer {
    let folder = folder(&call.query)?;
    let stored = store(call).await?;
    let entry = |file| Entry::of(file, &folder, Generation::New);
    let first = entry(stored.first().expect("an upload without files was refused"));
    let value = (stored.len() > 1).then(|| stored.iter().map(entry).collect());
    Ok(json(StatusCode::OK, &Uploaded { first, value }))
}

#[derive(Serialize)]
struct Uploaded<'a> {
    #[serde(flatten)]
    first: Entry<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Vec<Entry<'a>>>,
}

/// Takes in every file of the body, then stores them all.
async fn store<P: Uploads>(call: Call<'_, P>) -> Result<Vec<FileEntry>, Failure> {
    let identifier = call.identifier()?;
    let limit = call.pool.upload_bytes();
    if call.payload.announced().is_some_and(|length| length > limit.saturating_add(SLACK_BYTES)) {
        return Err(Failure::BodyTooLarge { limit });
    }
    let path = call.query.path()?;
    let (boundary, start) = boundary(call.headers.get(CONTENT_TYPE).map(|v| v.as_bytes()), call.payload).await?;
    let _claim = call.claim(&identifier)?;
    let shelf = call.pool.shelf(&identifier).await?;
    let mut parts = parts(call.payload, boundary, start, limit);
    let mut staged = Vec::new();
    let mut left = limit;
    while let Some(mut part) = parts.next_field().await.map_err(refusal)? {
        if let Some(target) = target(&part, path.as_deref())? {
            if staged.len() == P::Shelf::MOST {
                return Err(Failure::Multipart(format!("more than {} files", P::Shelf::MOST)));
            }
            staged.push(stage(&shelf, target, &mut part, &mut left, limit).await?);
        }
    }
    if staged.is_empty() {
        return Err(Failure::Multipart("no part is named 'file'".into()));
    }
    let mut stored = Vec::with_capacity(staged.len());
    for file in staged {
        stored.push(file.commit().await?);
    }
    call.pool.keep(&identifier, &shelf).await?;
    Ok(stored)
}

/// Writes one part; `left` is what all parts together may still hold.
async fn stage<'a, S: Shelf>(
    shelf: &'a S,
    target: ClientPath,
    part: &mut Field<'_>,
    left: &mut u64,
    limit: u64,
) -> Result<Box<dyn Incoming + 'a>, Failure> {
    let mut staged = shelf.begin(target).await?;
    while let Some(piece) = part.chunk().await.map_err(refusal)? {
        *left = left.checked_sub(piece.len() as u64).ok_or(Failure::BodyTooLarge { limit })?;
        staged.write(&piece).await?;
    }
    Ok(staged)
}

/// Where a part is to be stored; None for a part that is not named `file`.
fn target(part: &Field<'_>, folder: Option<&str>) -> Result<Option<ClientPath>, Failure> {
    let disposition = part.headers().get(CONTENT_DISPOSITION).map(|value| Disposition::read(value.as_bytes()));
    let Some(disposition) = disposition.filter(|d| d.name.as_deref() == Some("file")) else {
        return Ok(None);
    };
    let filename = disposition.filename.ok_or_else(|| Failure::Multipart("the part 'file' has no file name".into()))?;
    Ok(Some(ClientPath::new(&filename, folder)?))
}

/// The body's parts, and `start` as what was read of it already. The size limit stops a body of endless small parts.
fn parts<'a>(payload: &'a mut Payload, boundary: String, start: Bytes, limit: u64) -> Multipart<'a> {
    let whole = limit.saturating_add(SLACK_BYTES);
    let constraints = Constraints::new().size_limit(SizeLimit::new().whole_stream(whole));
    Multipart::with_constraints(pieces(payload, start), boundary, constraints)
}

fn pieces(payload: &mut Payload, start: Bytes) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    stream::try_unfold((payload, Some(start)), |(payload, start)| async move {
        let piece = match start {
            Some(start) => Some(start),
            None => payload.next().await.map_err(|failure| Broken(failure.into()))?,
        };
        Ok(piece.map(|piece| (piece, (payload, None))))
    })
}

/// A failure on its way through the multipart reader, which wants an error that can be shown.
#[derive(Debug)]
struct Broken(Box<Failure>);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Broken {}

fn refusal(error: multer::Error) -> Failure {
    match error {
        multer::Error::StreamSizeExceeded { limit } | multer::Error::FieldSizeExceeded { limit, .. } => {
            Failure::BodyTooLarge { limit: limit - SLACK_BYTES }
        }
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<Broken>() {
            Ok(broken) => *broken.0,
            Err(_) => Failure::BodyBroken,
        },
        multer::Error::IncompleteStream
        | multer::Error::IncompleteFieldData { .. }
        | multer::Error::IncompleteHeaders => Failure::Multipart("the body ends within a part".into()),
        other => Failure::Multipart(other.to_string()),
    }
}

/// The boundary, and what of the body was read to find it.
///
/// Semantic Kernel sends uploads with `Content-Type: application/json` once it has run code; so where the header names
/// no multipart but the body starts like one, its first line is the boundary.
async fn boundary(content_type: Option<&[u8]>, payload: &mut Payload) -> Result<(String, Bytes), Failure> {
    let stated = content_type.and_then(|value| std::str::from_utf8(value).ok());
    if let Some(boundary) = stated.and_then(|value| multer::parse_boundary(value).ok()) {
        return Ok((boundary, Bytes::new()));
    }
    let mut start = BytesMut::new();
    while start.len() < BOUNDARY_LINE_BYTES && !start.contains(&b'\n') {
        let Some(more) = payload.next().await? else {
            break;
        };
        start.extend_from_slice(&more);
    }
    let first_line = start[..].split(|b| *b == b'\n').next().unwrap_or_default();
    let boundary = first_line.strip_prefix(b"--").map(<[u8]>::trim_ascii_end).filter(|b| (1..=70).contains(&b.len()));
    let boundary = boundary.and_then(|b| std::str::from_utf8(b).ok()).map(str::to_owned);
    let boundary =
        boundary.ok_or_else(|| Failure::Multipart("the body must be multipart/form-data with a part 'file'".into()))?;
    Ok((boundary, start.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::HeaderMap;

    async fn sniffed(content_type: Option<&str>, pieces: &[&'static str]) -> Result<(String, Bytes), Failure> {
        let pieces: Vec<Result<_, std::io::Error>> =
            pieces.iter().map(|p| Ok(Bytes::from_static(p.as_bytes()))).collect();
        let mut payload = Payload::new(Body::from_stream(stream::iter(pieces)), &HeaderMap::new());
        boundary(content_type.map(str::as_bytes), &mut payload).await
    }

    #[tokio::test]
    async fn a_stated_boundary_is_taken_without_reading() {
        let found = sniffed(Some("multipart/form-data; boundary=\"x y\""), &["--x y\r\n"]).await.unwrap();
        assert_eq!(found, ("x y".to_owned(), Bytes::new()));
    }

    #[tokio::test]
    async fn another_content_type_gives_way_to_the_first_line() {
        for content_type in [None, Some("application/json"), Some("multipart/form-data")] {
            let (boundary, start) = sniffed(content_type, &["-", "-abc\r", "\nContent"]).await.unwrap();
            assert_eq!((boundary.as_str(), &start[..]), ("abc", &b"--abc\r\nContent"[..]));
        }
    }

    #[tokio::test]
    async fn a_body_that_is_no_multipart_is_refused() {
        for body in [
            &[][..],
            &["{\"a\":1}"],
            &["--\r\n"],
            &["--", "x", "y"],
            &["no newline ", "in a very long first line of a body that never seems to end at all", "read no more"],
        ] {
            let sniffed = sniffed(Some("application/json"), body).await;
            assert!(sniffed.is_err() || body == ["--", "x", "y"], "{body:?}");
        }
    }
}

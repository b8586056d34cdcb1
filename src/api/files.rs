//! The files of a session: list, metadata, content, deletion. Uploads are in `upload.rs`.
//!
//! Only uploads make a session: for the rest, no session is no files.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde_json::json as value;

use super::call::{Answer, Call, json, no_content};
use super::entry::{DATA, Entry, FileList};
use super::error::Failure;
use super::query::{Generation, Query};
use crate::files::{ClientPath, Content, FileError, FileKind};
use crate::gateway::SessionPool;
use crate::session::Files;

/// Bytes read at once for an answer; a multiple of three, so that pieces can be encoded as base64 one by one.
const PIECE_BYTES: usize = 96 * 1024;

/// `GET /files`: the old generation lists every file under its whole name, since it has no folders; the later one
/// lists a folder.
pub(super) async fn list(call: Call<'_>) -> Answer {
    let identifier = call.identifier()?;
    let (generation, folder) = (call.query.generation()?, folder(&call.query)?);
    let old = generation == Generation::Old;
    let recursive = call.query.recursive()? || old;
    let mut entries = match call.pool.files(&identifier).await? {
        Some(tree) => tree.list(&folder, recursive)?,
        None => Vec::new(),
    };
    if old {
        entries.retain(|entry| entry.kind != FileKind::Directory);
    }
    Ok(json(StatusCode::OK, &FileList::of(&entries, &folder, generation)))
}

/// `GET /files/{name}`.
pub(super) async fn read(call: Call<'_>, name: &str) -> Answer {
    let (tree, path) = find(&call.pool, &call.query, name).await?;
    let folder = folder(&call.query)?;
    let entry = tree.metadata(path.as_str()).map_err(Failure::of_file(name))?;
    let generation = call.query.generation()?;
    Ok(match generation {
        Generation::Old => json(StatusCode::OK, &FileList::of(&[entry], &folder, generation)),
        Generation::New | Generation::Both => json(StatusCode::OK, &Entry::of(&entry, &folder, generation)),
    })
}

/// `DELETE /files/{name}`.
pub(super) async fn delete(call: Call<'_>, name: &str) -> Answer {
    let (tree, path) = find(&call.pool, &call.query, name).await?;
    tree.remove(path.as_str()).map_err(Failure::of_file(name))?;
    let identifier = call.identifier()?;
    call.pool.keep_files(&identifier, &tree).await?;
    Ok(match call.query.generation()? {
        Generation::Old => json(StatusCode::OK, &value!({"message": "file deleted successfully"})),
        Generation::New | Generation::Both => no_content(),
    })
}

/// `GET /files/content/{name}` and `/files/{name}/content`: the bytes, read piece by piece.
pub(super) async fn content(call: Call<'_>, name: &str) -> Answer {
    let (tree, path) = find(&call.pool, &call.query, name).await?;
    let content = tree.read(path.as_str()).map_err(Failure::of_file(name))?;
    let length = content.len();
    Ok(streamed("application/octet-stream", length, pieces(content)))
}

/// `POST /files/{name}:downloadFile`: `{"content": base64}`, encoded piece by piece.
pub(super) async fn content_in_json(call: Call<'_>, name: &str) -> Answer {
    let (tree, path) = find(&call.pool, &call.query, name).await?;
    let content = tree.read(path.as_str()).map_err(Failure::of_file(name))?;
    let (head, tail) = (Bytes::from_static(br#"{"content":""#), Bytes::from_static(br#""}"#));
    let length = content.len().div_ceil(3) * 4 + (head.len() + tail.len()) as u64;
    let encoded = pieces(content).map(|piece| piece.map(|piece| Bytes::from(STANDARD.encode(piece))));
    let whole = stream::iter([Ok(head)]).chain(encoded).chain(stream::iter([Ok(tail)]));
    Ok(streamed("application/json", length, whole))
}

/// The session's tree and the path that `name` and the query's `path` mean in it.
async fn find(pool: &SessionPool, query: &Query<'_>, name: &str) -> Result<(Files, ClientPath), Failure> {
    let identifier = query.identifier()?.ok_or(Failure::IdentifierMissing)?;
    let path = ClientPath::new(name, query.path()?.as_deref())?;
    let tree = pool.files(&identifier).await?.ok_or_else(|| Failure::NoFile { name: name.to_owned() })?;
    Ok((tree, path))
}

/// The folder that the query asks for, as a guest path.
pub(super) fn folder(query: &Query<'_>) -> Result<Cow<'static, str>, Failure> {
    let asked = query.path()?.unwrap_or_default();
    let trimmed = asked.trim_end_matches('/');
    if matches!(trimmed, "" | "." | DATA) {
        return Ok(Cow::Borrowed(DATA));
    }
    Ok(Cow::Owned(ClientPath::new(trimmed, None)?.as_str().to_owned()))
}

/// The content in pieces. Reading never waits for anything but memory or a local disk.
fn pieces(content: Content) -> impl Stream<Item = Result<Bytes, FileError>> + Send + 'static {
    stream::unfold((content, 0), |(content, offset)| async move {
        let left = usize::try_from(content.len() - offset).unwrap_or(usize::MAX);
        if left == 0 {
            return None;
        }
        let mut piece = vec![0; left.min(PIECE_BYTES)];
        // A failure breaks the answer off, short of its length: the client sees that it is not whole.
        let read = content.read_at(offset, &mut piece);
        Some((read.map(|_| Bytes::from(piece)), (content, offset + left.min(PIECE_BYTES) as u64)))
    })
}

/// A body of a known length, as it comes.
pub(super) fn streamed<E: std::error::Error + Send + Sync + 'static>(
    kind: &'static str,
    length: u64,
    body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

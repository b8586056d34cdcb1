//! The files of a session in a container: list, metadata, content, deletion.
//!
//! Only uploads make a session: for the rest, no session is no files.

use axum::http::StatusCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use serde_json::json as value;

use crate::api::call::{Answer, Call, json, no_content};
use crate::api::entry::{Entry, FileList};
use crate::api::error::Failure;
use crate::api::files::{folder, streamed};
use crate::api::query::{Generation, Query};
use crate::files::{ClientPath, FileKind};
use crate::gateway::{ContainedFiles, InterpretedPool};
use crate::sandbox::container::agent::Content;

type Asked<'a> = Call<'a, InterpretedPool>;

/// `GET /files`.
pub(super) async fn list(call: Asked<'_>) -> Answer {
    let identifier = call.identifier()?;
    let (generation, shown) = (call.query.generation()?, folder(&call.query)?);
    let old = generation == Generation::Old;
    let recursive = call.query.recursive()? || old;
    let asked = ClientPath::folder(Some(&shown))?;
    let mut entries = match call.pool.files(&identifier).await? {
        Some(files) => files.agent().list(&asked, recursive).await?,
        None => Vec::new(),
    };
    if old {
        entries.retain(|entry| entry.kind != FileKind::Directory);
    }
    Ok(json(StatusCode::OK, &FileList::of(&entries, &shown, generation)))
}

/// `GET /files/{name}`.
pub(super) async fn read(call: Asked<'_>, name: &str) -> Answer {
    let (files, path) = find(&call.pool, &call.query, name).await?;
    let folder = folder(&call.query)?;
    let entry = files.agent().metadata(&path).await.map_err(Failure::of_agent(name))?;
    let generation = call.query.generation()?;
    Ok(match generation {
        Generation::Old => json(StatusCode::OK, &FileList::of(&[entry], &folder, generation)),
        Generation::New | Generation::Both => json(StatusCode::OK, &Entry::of(&entry, &folder, generation)),
    })
}

/// `DELETE /files/{name}`.
pub(super) async fn delete(call: Asked<'_>, name: &str) -> Answer {
    let (files, path) = find(&call.pool, &call.query, name).await?;
    files.agent().remove(&path).await.map_err(Failure::of_agent(name))?;
    Ok(match call.query.generation()? {
        Generation::Old => json(StatusCode::OK, &value!({"message": "file deleted successfully"})),
        Generation::New | Generation::Both => no_content(),
    })
}

/// `GET /files/content/{name}` and `/files/{name}/content`: the bytes, as they come.
pub(super) async fn content(call: Asked<'_>, name: &str) -> Answer {
    let (files, path) = find(&call.pool, &call.query, name).await?;
    let content = files.agent().read(&path).await.map_err(Failure::of_agent(name))?;
    let length = content.len();
    Ok(streamed("application/octet-stream", length, pieces(content, files)))
}

/// `POST /files/{name}:downloadFile`: `{"content": base64}`, encoded as it comes.
pub(super) async fn content_in_json(call: Asked<'_>, name: &str) -> Answer {
    let (files, path) = find(&call.pool, &call.query, name).await?;
    let content = files.agent().read(&path).await.map_err(Failure::of_agent(name))?;
    let (head, tail) = (Bytes::from_static(br#"{"content":""#), Bytes::from_static(br#""}"#));
    let length = content.len().div_ceil(3) * 4 + (head.len() + tail.len()) as u64;
    let encoded = in_threes(pieces(content, files)).map(|piece| piece.map(|piece| Bytes::from(STANDARD.encode(piece))));
    let whole = stream::iter([Ok(head)]).chain(encoded).chain(stream::iter([Ok(tail)]));
    Ok(streamed("application/json", length, whole))
}

/// The session's files, and the path that `name` and the query's `path` mean among them.
async fn find(pool: &InterpretedPool, query: &Query<'_>, name: &str) -> Result<(ContainedFiles, ClientPath), Failure> {
    let identifier = query.identifier()?.ok_or(Failure::IdentifierMissing)?;
    let path = ClientPath::new(name, query.path()?.as_deref())?;
    let files = pool.files(&identifier).await?.ok_or_else(|| Failure::NoFile { name: name.to_owned() })?;
    Ok((files, path))
}

/// The content in pieces; the session is in use as long as they come. A failure breaks the answer off, short of its length.
fn pieces(
    content: Content,
    files: ContainedFiles,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    stream::unfold(Some((content, files)), |state| async move {
        let (mut content, files) = state?;
        match content.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some((content, files)))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// The same bytes in pieces whose length is a multiple of three, but for the last, so that each can be encoded by itself.
fn in_threes(
    pieces: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let state = Some((Box::pin(pieces), BytesMut::new()));
    stream::unfold(state, |state| async move {
        let (mut pieces, mut rest) = state?;
        loop {
            match pieces.next().await {
                Some(Ok(piece)) => {
                    rest.extend_from_slice(&piece);
                    let whole = rest.len() - rest.len() % 3;
                    if whole > 0 {
                        let ready = rest.split_to(whole).freeze();
                        return Some((Ok(ready), Some((pieces, rest))));
                    }
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None if rest.is_empty() => return None,
                None => return Some((Ok(rest.freeze()), None)),
            }
        }
    })
}

//! Files in a container, below `/mnt/data`.

use std::io::{self, ErrorKind};

use bytes::Bytes;
use time::{Duration, OffsetDateTime};

use super::connection::Connection;
use super::protocol::{
    COMMIT, DATA, DELETE, DIRECTORY, DONE, ENTRY, FAILED, FILE, FRAME_BYTES, Fields, GET, LINK, LIST, PUT, Reader, STAT,
};
use super::{Agent, AgentError};
use crate::files::{ClientPath, FileEntry, FileKind, MAX_PATH_BYTES};

/// Entries of one list.
pub(super) const MAX_ENTRIES: u64 = 50_000;
/// All their paths together; as many entries have a tenth of it where nobody means harm.
const MAX_LIST_BYTES: usize = 32 << 20;

impl<'a> Agent<'a> {
    /// What is in a folder, and with `recursive` in those below it, ordered by path.
    ///
    /// # Errors
    /// When there is no such folder, or the agent is broken.
    pub async fn list(&self, folder: &ClientPath, recursive: bool) -> Result<Vec<FileEntry>, AgentError> {
        let fields = Fields::default().number(MAX_ENTRIES).byte(recursive.into()).bytes(folder.relative().as_bytes());
        let mut connection = self.ask(LIST, &fields.0).await?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(found) = self.entry(&mut connection).await? {
            bytes += found.path.len();
            if entries.len() as u64 == MAX_ENTRIES || bytes > MAX_LIST_BYTES {
                return Err(AgentError::TooMany { limit: MAX_ENTRIES });
            }
            entries.push(found);
        }
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// # Errors
    /// When there is no such file, or the agent is broken.
    pub async fn metadata(&self, path: &ClientPath) -> Result<FileEntry, AgentError> {
        let mut connection = self.ask(STAT, path.relative().as_bytes()).await?;
        self.named(&mut connection, path).await
    }

    /// The content of a file, to be read piece by piece.
    ///
    /// # Errors
    /// When there is no such file, or the agent is broken.
    pub async fn read(&self, path: &ClientPath) -> Result<Content, AgentError> {
        let mut connection = self.ask(GET, path.relative().as_bytes()).await?;
        let entry = self.named(&mut connection, path).await?;
        Ok(Content { connection, bytes: entry.size_bytes, left: entry.size_bytes })
    }

    /// Begins an upload to a path; it takes its place with [`Upload::commit`].
    ///
    /// # Errors
    /// When the agent is broken.
    pub async fn begin_write(&self, path: ClientPath) -> Result<Upload<'a>, AgentError> {
        let connection = self.ask(PUT, path.relative().as_bytes()).await?;
        Ok(Upload { agent: *self, connection, path })
    }

    /// Removes a file, or an empty folder.
    ///
    /// # Errors
    /// When there is none, or the agent is broken.
    pub async fn remove(&self, path: &ClientPath) -> Result<(), AgentError> {
        let mut connection = self.ask(DELETE, path.relative().as_bytes()).await?;
        match self.entry(&mut connection).await? {
            None => Ok(()),
            Some(_) => Err(AgentError::Broken(ErrorKind::InvalidData.into())),
        }
    }

    /// The next entry; None at the end.
    async fn entry(&self, connection: &mut Connection) -> Result<Option<FileEntry>, AgentError> {
        loop {
            match connection.soon().await? {
                (ENTRY, fields) => match entry(&fields) {
                    // One that no caller could name is none to them.
                    None => continue,
                    found => return Ok(found),
                },
                (DONE, _) => return Ok(None),
                (FAILED, fields) => return Err(self.failure(Reader(&fields).number().unwrap_or(0))),
                _ => return Err(AgentError::Broken(ErrorKind::InvalidData.into())),
            }
        }
    }

    /// The entry of the file that was asked for, under the name that was asked for.
    async fn named(&self, connection: &mut Connection, path: &ClientPath) -> Result<FileEntry, AgentError> {
        let found = self.entry(connection).await?.ok_or(AgentError::Broken(ErrorKind::InvalidData.into()))?;
        Ok(FileEntry { path: path.relative().to_owned(), ..found })
    }
}

/// An entry, as an agent tells it; None for what makes no sense, and for a name that no caller could send.
pub(super) fn entry(fields: &[u8]) -> Option<FileEntry> {
    let mut fields = Reader(fields);
    let kind = match fields.byte()? {
        FILE => FileKind::File,
        DIRECTORY => FileKind::Directory,
        LINK => FileKind::Link,
        _ => return None,
    };
    let (size_bytes, seconds, nanoseconds) = (fields.number()?, fields.number()?, fields.number()?);
    let path = std::str::from_utf8(fields.bytes()?).ok().filter(|path| path.len() < MAX_PATH_BYTES)?;
    let path = ClientPath::new(path, None).ok().filter(|checked| checked.relative() == path)?;
    let modified_at = OffsetDateTime::from_unix_timestamp(seconds.cast_signed())
        .ok()
        .and_then(|at| at.checked_add(Duration::nanoseconds(i64::try_from(nanoseconds).ok()?)));
    // Somebody may set any time; what no calendar holds is the beginning.
    let modified_at = modified_at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    // More than JSON holds is nobody's size.
    let size_bytes = size_bytes.min(1 << 53);
    Some(FileEntry { path: path.relative().to_owned(), kind, size_bytes, modified_at })
}

/// The content of a file, as it comes.
pub struct Content {
    connection: Connection,
    bytes: u64,
    left: u64,
}

impl Content {
    /// Bytes of the file, all of them.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The next piece; None at the end.
    ///
    /// # Errors
    /// When it is not whole.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        match self.connection.soon().await? {
            (DATA, piece) if !piece.is_empty() && piece.len() as u64 <= self.left => {
                self.left -= piece.len() as u64;
                Ok(Some(piece))
            }
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }
}

/// A file being uploaded. Dropping it leaves nothing behind.
pub struct Upload<'a> {
    agent: Agent<'a>,
    connection: Connection,
    path: ClientPath,
}

impl Upload<'_> {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// When the agent has no room for it, or is broken.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), AgentError> {
        for piece in bytes.chunks(FRAME_BYTES) {
            if let Err(error) = self.connection.send(DATA, piece).await {
                return Err(self.refused(error).await);
            }
        }
        Ok(())
    }

    /// Puts the file at its path, making the folders above it and replacing a file or link of that name at once.
    ///
    /// # Errors
    /// When the agent has no room for it, it is a folder, or the agent is broken.
    pub async fn commit(mut self) -> Result<FileEntry, AgentError> {
        if let Err(error) = self.connection.send(COMMIT, &[]).await {
            return Err(self.refused(error).await);
        }
        self.agent.named(&mut self.connection, &self.path).await
    }

    /// Why the agent hung up: it may have said so before.
    async fn refused(&mut self, error: io::Error) -> AgentError {
        match self.agent.entry(&mut self.connection).await {
            Err(refused @ AgentError::File(_)) => refused,
            _ => AgentError::Broken(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: u8, size: u64, seconds: i64, path: &[u8]) -> Option<FileEntry> {
        entry(&Fields::default().byte(kind).number(size).number(seconds.cast_unsigned()).number(5).bytes(path).0)
    }

    #[test]
    fn an_entry_is_what_a_caller_could_name() {
        let found = told(FILE, 3, 1_700_000_000, "dir/a b é.csv".as_bytes()).unwrap();
        assert_eq!((found.path.as_str(), found.size_bytes), ("dir/a b é.csv", 3));
        for path in [&b"../a"[..], b"/a", b"a//b", b"", b"a/./b", b"a\nb", b"\xff"] {
            assert_eq!(told(FILE, 3, 0, path), None, "{path:?}");
        }
        assert_eq!(told(9, 3, 0, b"a"), None);
        assert_eq!(entry(b"\0short"), None);
        let odd = told(DIRECTORY, u64::MAX, i64::MAX, b"a").unwrap();
        assert_eq!((odd.size_bytes, odd.modified_at), (1 << 53, OffsetDateTime::UNIX_EPOCH));
    }
}

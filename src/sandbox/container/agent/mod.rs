//! The gateway's agent in a container, and what can be asked of it: to run a command, and for files below `/mnt/data`.
//!
//! The agent (`program/`, a small static program that this binary holds) is the first process of containers that
//! are asked for it. It listens on the container's loopback, where the code that it runs can reach it too, and may stand in for
//! it; so everything that it says is a guest's word: lengths, names, figures are checked here, and waits end.
//!
//! | file | holds |
//! |---|---|
//! | `connection.rs` | frames, with caps and patience |
//! | `command.rs` | one command, from its start to its end |
//! | `files.rs` | files: list, metadata, content, upload, removal |

mod command;
mod connection;
mod files;
#[path = "program/protocol.rs"]
mod protocol;

use std::io;

pub use command::{Command, Ran};
pub use files::{Content, Upload};
pub use protocol::PORT;

use super::Container;
use crate::files::FileError;
use connection::{Connection, PATIENCE};

/// The program, for whoever puts it into a container.
pub static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/agent"));
/// Where it lies in a container.
pub const PATH: &str = "/.sandpool/agent";
/// The folder that it hands files in and out of; the image's user can write there.
pub const DATA: &str = "/mnt/data";

/// Why the agent did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("there are more than {limit} entries; list a folder below, or one without those in it (recursive)")]
    TooMany { limit: u64 },
    /// It is not there, does not answer, or says what makes no sense.
    #[error("the container's agent does not answer")]
    Broken(#[from] io::Error),
}

/// The agent of a container.
#[derive(Clone, Copy)]
pub struct Agent<'a> {
    container: &'a dyn Container,
    /// What the container may write to its files.
    disk_bytes: u64,
}

impl<'a> Agent<'a> {
    pub fn of(container: &'a dyn Container, disk_bytes: u64) -> Self {
        Self { container, disk_bytes }
    }

    /// A connection on which `request` was made.
    async fn ask(&self, request: u8, fields: &[u8]) -> io::Result<Connection> {
        // One whose queue is full takes no connection.
        let stream = tokio::time::timeout(PATIENCE, self.container.connect(PORT)).await;
        let stream = stream.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let mut connection = Connection::new(stream);
        connection.send(request, fields).await?;
        Ok(connection)
    }

    /// What an error number means to a caller.
    fn failure(&self, number: u64) -> AgentError {
        let number = i32::try_from(number).unwrap_or(0);
        AgentError::File(match number {
            libc::ENOENT => FileError::NotFound,
            libc::EISDIR => FileError::NotAFile,
            libc::ENOTDIR => FileError::NotADirectory,
            libc::EEXIST => FileError::AlreadyExists,
            libc::ENOTEMPTY => FileError::DirectoryNotEmpty,
            libc::EROFS => FileError::ReadOnly,
            libc::ENAMETOOLONG => FileError::NameTooLong,
            libc::ELOOP => FileError::TooManyLinks,
            // A link that leads out of the folder.
            libc::EXDEV | libc::EACCES | libc::EPERM => FileError::NotPermitted,
            libc::ENOSPC | libc::EDQUOT => FileError::QuotaBytes { limit: self.disk_bytes },
            libc::EFBIG => FileError::QuotaFileBytes { limit: self.disk_bytes },
            libc::EINVAL => FileError::InvalidPath,
            libc::EMFILE => return AgentError::TooMany { limit: files::MAX_ENTRIES },
            other => return AgentError::Broken(io::Error::from_raw_os_error(other)),
        })
    }
}

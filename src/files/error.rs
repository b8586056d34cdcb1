//! Why a file operation was refused, as facts. It does not know errnos or status codes.

/// Why a file operation was refused. All but [`FileError::Spill`] are the doing of whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("no such file or directory")]
    NotFound,
    #[error("is a directory")]
    NotAFile,
    #[error("not a directory")]
    NotADirectory,
    #[error("already exists")]
    AlreadyExists,
    #[error("directory is not empty")]
    DirectoryNotEmpty,
    #[error("this part of the file tree is read-only")]
    ReadOnly,
    #[error("not a valid path")]
    InvalidPath,
    #[error("an argument makes no sense for this file")]
    InvalidArgument,
    #[error("the path, or a name in it, is too long")]
    NameTooLong,
    #[error("too many symbolic links on the way")]
    TooManyLinks,
    /// A directory that must always be there.
    #[error("in use")]
    Busy,
    /// A hard link from the read-only part to the writable one.
    #[error("not in the same part of the file tree")]
    CrossesLayers,
    #[error("not permitted")]
    NotPermitted,
    #[error("the session's files may hold {limit} bytes together")]
    QuotaBytes { limit: u64 },
    #[error("a file may hold {limit} bytes")]
    QuotaFileBytes { limit: u64 },
    #[error("the session may have {limit} files and directories")]
    QuotaCount { limit: u64 },
    /// The gateway's disk failed, most often because it is full.
    #[error("the file could not be kept on disk")]
    Spill(#[from] std::io::Error),
}

//! The error numbers of WASI preview 1, and which of them a refused file operation becomes.

use crate::files::FileError;

/// An error number as guests get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Errno {
    Badf = 8,
    Busy = 10,
    Dquot = 19,
    Exist = 20,
    Fault = 21,
    Fbig = 22,
    Ilseq = 25,
    Inval = 28,
    Io = 29,
    Isdir = 31,
    Loop = 32,
    Mfile = 33,
    Nametoolong = 37,
    Noent = 44,
    Nospc = 51,
    Notdir = 54,
    Notempty = 55,
    Notsock = 57,
    Notsup = 58,
    Overflow = 61,
    Perm = 63,
    Rofs = 69,
    Spipe = 70,
    Xdev = 75,
}

impl From<FileError> for Errno {
    fn from(error: FileError) -> Self {
        match error {
            FileError::NotFound => Errno::Noent,
            FileError::NotAFile => Errno::Isdir,
            FileError::NotADirectory => Errno::Notdir,
            FileError::AlreadyExists => Errno::Exist,
            FileError::DirectoryNotEmpty => Errno::Notempty,
            FileError::ReadOnly => Errno::Rofs,
            FileError::InvalidPath | FileError::InvalidArgument => Errno::Inval,
            FileError::NameTooLong => Errno::Nametoolong,
            FileError::TooManyLinks => Errno::Loop,
            FileError::Busy => Errno::Busy,
            FileError::CrossesLayers => Errno::Xdev,
            FileError::NotPermitted => Errno::Perm,
            FileError::QuotaBytes { .. } | FileError::QuotaCount { .. } => Errno::Dquot,
            FileError::QuotaFileBytes { .. } => Errno::Fbig,
            FileError::Spill(error) if error.kind() == std::io::ErrorKind::StorageFull => Errno::Nospc,
            FileError::Spill(error) => {
                tracing::error!(%error, "a session's file could not be kept on disk");
                Errno::Io
            }
        }
    }
}

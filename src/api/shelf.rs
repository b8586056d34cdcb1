//! Where uploads go: the gateway's own tree of a session's files, or a container's.

use futures_util::future::BoxFuture;

use super::error::Failure;
use super::served::Served;
use crate::files::{ClientPath, FileEntry, Staged};
use crate::gateway::{ContainedFiles, InterpretedPool, SessionPool};
use crate::sandbox::container::agent::Upload;
use crate::session::{Files, Identifier};

type Done<'a, T> = BoxFuture<'a, Result<T, Failure>>;

/// A pool whose sessions take uploads.
pub(super) trait Uploads: Served {
    type Shelf: Shelf + Send + Sync;

    /// The files of a session, which is made when there is none.
    fn shelf<'a>(&'a self, identifier: &'a Identifier) -> Done<'a, Self::Shelf>;
    /// Comes back when what was stored is as safe as the pool promises.
    fn keep<'a>(&'a self, identifier: &'a Identifier, shelf: &'a Self::Shelf) -> Done<'a, ()>;
}

/// The files of a session, for somebody who adds some.
pub(super) trait Shelf {
    /// Files that one request may bring: each is held until all are whole.
    const MOST: usize;

    fn begin(&self, target: ClientPath) -> Done<'_, Box<dyn Incoming + '_>>;
}

/// A file on its way. It takes its place when it is whole; dropped before, it leaves nothing behind.
pub(super) trait Incoming: Send {
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> Done<'a, ()>;
    fn commit<'a>(self: Box<Self>) -> Done<'a, FileEntry>
    where
        Self: 'a;
}

impl Uploads for SessionPool {
    type Shelf = Files;

    fn shelf<'a>(&'a self, identifier: &'a Identifier) -> Done<'a, Files> {
        Box::pin(async move { Ok(self.files_or_create(identifier).await?) })
    }

    fn keep<'a>(&'a self, identifier: &'a Identifier, shelf: &'a Files) -> Done<'a, ()> {
        Box::pin(async move { Ok(self.keep_files(identifier, shelf).await?) })
    }
}

impl Shelf for Files {
    const MOST: usize = 1000;

    fn begin(&self, target: ClientPath) -> Done<'_, Box<dyn Incoming + '_>> {
        Box::pin(async move { Ok(Box::new((self.begin_write(), target)) as Box<dyn Incoming>) })
    }
}

impl Incoming for (Staged, ClientPath) {
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> Done<'a, ()> {
        Box::pin(async move { Ok(self.0.write(bytes)?) })
    }

    fn commit<'a>(self: Box<Self>) -> Done<'a, FileEntry>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let (staged, target) = *self;
            Ok(staged.commit(target.as_str())?)
        })
    }
}

impl Uploads for InterpretedPool {
    type Shelf = ContainedFiles;

    fn shelf<'a>(&'a self, identifier: &'a Identifier) -> Done<'a, ContainedFiles> {
        Box::pin(async move { Ok(self.files_or_create(identifier).await?) })
    }

    /// They last as long as their container.
    fn keep<'a>(&'a self, _: &'a Identifier, _: &'a ContainedFiles) -> Done<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl Shelf for ContainedFiles {
    // Each is a connection to the container.
    const MOST: usize = 8;

    fn begin(&self, target: ClientPath) -> Done<'_, Box<dyn Incoming + '_>> {
        Box::pin(async move { Ok(Box::new(self.agent().begin_write(target).await?) as Box<dyn Incoming>) })
    }
}

impl Incoming for Upload<'_> {
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> Done<'a, ()> {
        Box::pin(async move { Ok(self.write(bytes).await?) })
    }

    fn commit<'a>(self: Box<Self>) -> Done<'a, FileEntry>
    where
        Self: 'a,
    {
        Box::pin(async move { Ok((*self).commit().await?) })
    }
}

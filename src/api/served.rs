//! What a pool is to the handlers of executions and sessions, whether an interpreter runs in the gateway or in containers.

use futures_util::future::BoxFuture;

use super::dialect::request::Expected;
use super::error::Failure;
use crate::execution::{Execution, ExecutionError, ExecutionId, ExecutionRequest};
use crate::gateway::{InterpretedPool, Launch, SessionPool};
use crate::pool::PoolName;
use crate::pool::container::Language;
use crate::session::{Identifier, SessionPage, SessionView};

/// A pool that runs what callers send.
pub(super) trait Served: Sync {
    fn name(&self) -> &PoolName;
    /// What an execution's request carries.
    fn expected(&self) -> Expected;
    /// The code of one execution.
    fn code_bytes(&self) -> usize;
    /// One upload.
    fn upload_bytes(&self) -> u64;

    fn session(&self, identifier: &Identifier) -> Option<SessionView>;
    fn sessions(&self, skip: usize, top: usize) -> SessionPage;
    /// False when there was none.
    fn end_session<'a>(&'a self, identifier: &'a Identifier) -> BoxFuture<'a, Result<bool, Failure>>;

    fn launch(&self, request: ExecutionRequest) -> Result<Launch, ExecutionError>;
    fn execution(&self, identifier: &Identifier, id: &ExecutionId) -> Option<Execution>;
}

impl Served for SessionPool {
    fn name(&self) -> &PoolName {
        self.name()
    }

    fn expected(&self) -> Expected {
        Expected::Code
    }

    fn code_bytes(&self) -> usize {
        self.specification().limits.code_bytes
    }

    fn upload_bytes(&self) -> u64 {
        self.specification().limits.upload_bytes
    }

    fn session(&self, identifier: &Identifier) -> Option<SessionView> {
        self.session(identifier)
    }

    fn sessions(&self, skip: usize, top: usize) -> SessionPage {
        self.sessions(skip, top)
    }

    fn end_session<'a>(&'a self, identifier: &'a Identifier) -> BoxFuture<'a, Result<bool, Failure>> {
        Box::pin(async move { Ok(self.end_session(identifier).await?) })
    }

    fn launch(&self, request: ExecutionRequest) -> Result<Launch, ExecutionError> {
        self.launch(request)
    }

    fn execution(&self, identifier: &Identifier, id: &ExecutionId) -> Option<Execution> {
        self.execution(identifier, id)
    }
}

impl Served for InterpretedPool {
    fn name(&self) -> &PoolName {
        self.name()
    }

    fn expected(&self) -> Expected {
        match self.interpreter().language {
            Language::Shell => Expected::ShellCommand,
            Language::Code => Expected::Code,
        }
    }

    fn code_bytes(&self) -> usize {
        self.interpreter().limits.code_bytes
    }

    fn upload_bytes(&self) -> u64 {
        self.interpreter().limits.upload_bytes
    }

    fn session(&self, identifier: &Identifier) -> Option<SessionView> {
        self.session(identifier)
    }

    fn sessions(&self, skip: usize, top: usize) -> SessionPage {
        self.sessions(skip, top)
    }

    fn end_session<'a>(&'a self, identifier: &'a Identifier) -> BoxFuture<'a, Result<bool, Failure>> {
        Box::pin(async move { Ok(self.end_session(identifier)) })
    }

    fn launch(&self, request: ExecutionRequest) -> Result<Launch, ExecutionError> {
        self.launch(request)
    }

    fn execution(&self, identifier: &Identifier, id: &ExecutionId) -> Option<Execution> {
        self.execution(identifier, id)
    }
}

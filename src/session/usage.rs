//! The files of a session in the hands of a caller who does not run anything.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use super::Session;
use super::state::State;
use crate::files::Tree;

/// A session's files. As long as somebody holds this the session does not hibernate: what is written stays in sight.
pub struct Files {
    tree: Tree,
    session: Arc<Session>,
}

impl Session {
    /// The session's files; touching them is a use of the session. None while it hibernates.
    pub fn files(self: &Arc<Self>) -> Option<Files> {
        let mut record = self.record();
        let tree = record.awake.as_ref()?.tree.clone();
        record.used();
        record.users += 1;
        if let State::Idle { .. } = record.state {
            record.state = State::idle(Instant::now(), self.lifetimes.cooldown);
        }
        drop(record);
        Some(Files { tree, session: self.clone() })
    }
}

impl Deref for Files {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.tree
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.session.record().users -= 1;
    }
}

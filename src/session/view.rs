//! What a session looks like from outside.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::state::State;
use super::{Identifier, Session};

/// A session as it stands.
#[derive(Debug, Clone)]
pub struct SessionView {
    pub identifier: Identifier,
    pub created_at: OffsetDateTime,
    pub last_accessed_at: OffsetDateTime,
    /// When it ends, or hibernates in pools where it does, if nobody uses it. While an execution has it: the cooldown from now.
    pub expires_at: OffsetDateTime,
    /// Changes with every use.
    pub etag: String,
    pub state: SessionState,
    /// How long the execution that has it has had it.
    pub running_for: Option<Duration>,
}

/// Where a session stands, for those outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    Idle,
    Running,
    /// On disk; the next call wakes it.
    Hibernated,
}

/// Some sessions of a pool, ordered by creation.
#[derive(Debug, Clone)]
pub struct SessionPage {
    pub sessions: Vec<SessionView>,
    /// Sessions in the pool.
    pub total: usize,
}

impl Session {
    pub fn view(&self) -> SessionView {
        let record = self.record();
        let left = match record.state {
            State::Idle { expires_at } | State::Hibernated { expires_at } => {
                expires_at.saturating_duration_since(Instant::now())
            }
            State::Running | State::Ending | State::Ended => self.lifetimes.cooldown,
        };
        SessionView {
            identifier: self.identifier.clone(),
            created_at: self.created_at,
            last_accessed_at: record.last_accessed_at,
            expires_at: OffsetDateTime::now_utc() + left,
            etag: format!("{:x}-{:x}", self.number, record.uses),
            state: match record.state {
                State::Idle { .. } | State::Ended => SessionState::Idle,
                State::Running | State::Ending => SessionState::Running,
                State::Hibernated { .. } => SessionState::Hibernated,
            },
            running_for: record.running_for(),
        }
    }
}

//! The life of a session as a pure machine: no clock, no lock.
//!
//! ```text
//!              Lease                Settle
//!   Idle ---------------> Running ---------> Idle
//!    |  End                  |  \  Poison
//!    |  Expire, once due     |   `---------> Ended
//!    v                       | End
//!   Ended <--------------- Ending
//!            Settle, Poison
//! ```

use std::time::{Duration, Instant};

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody uses it; it ends when the cooldown is over.
    Idle { expires_at: Instant },
    /// One execution has it.
    Running,
    /// One execution has it, and somebody wants it ended: the execution is being interrupted.
    Ending,
    /// Over. The identifier is free; its next call starts fresh.
    Ended,
}

/// What can happen to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An execution wants it.
    Lease,
    /// The execution came to a clean end.
    Settle,
    /// The execution left the guest broken, or did not come back.
    Poison,
    /// Somebody wants the session ended.
    End,
    /// The reaper asks whether the cooldown is over.
    Expire,
}

/// Why an event does not fit the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// An execution has it.
    Busy,
    /// No execution has it.
    NotLeased,
    /// The cooldown is not over.
    TooEarly,
    /// It is over.
    Ended,
}

impl State {
    /// A session that was just made, or used.
    pub fn idle(now: Instant, cooldown: Duration) -> Self {
        Self::Idle { expires_at: now + cooldown }
    }

    /// The state after `event` at `now`; every use restarts the cooldown.
    pub fn after(self, event: Event, now: Instant, cooldown: Duration) -> Result<Self, Denied> {
        match (self, event) {
            (Self::Idle { .. }, Event::Lease) => Ok(Self::Running),
            (Self::Idle { .. }, Event::End) => Ok(Self::Ended),
            (Self::Idle { expires_at }, Event::Expire) if now >= expires_at => Ok(Self::Ended),
            (Self::Idle { .. }, Event::Expire) => Err(Denied::TooEarly),
            (Self::Idle { .. }, Event::Settle | Event::Poison) => Err(Denied::NotLeased),

            (Self::Running, Event::Settle) => Ok(Self::idle(now, cooldown)),
            (Self::Running, Event::Poison) => Ok(Self::Ended),
            (Self::Running, Event::End) => Ok(Self::Ending),
            (Self::Running, Event::Lease | Event::Expire) => Err(Denied::Busy),

            (Self::Ending, Event::Settle | Event::Poison) => Ok(Self::Ended),
            (Self::Ending, Event::End) => Ok(Self::Ending),
            (Self::Ending, Event::Lease | Event::Expire) => Err(Denied::Busy),

            (Self::Ended, _) => Err(Denied::Ended),
        }
    }

    /// When it ends if nobody uses it; none while an execution has it.
    pub fn expires_at(self) -> Option<Instant> {
        if let Self::Idle { expires_at } = self { Some(expires_at) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOLDOWN: Duration = Duration::from_secs(300);
    const EVENTS: [Event; 5] = [Event::Lease, Event::Settle, Event::Poison, Event::End, Event::Expire];

    /// The whole table: every state, every event, before and after the cooldown.
    #[test]
    fn every_transition() {
        use Denied::{Busy, NotLeased, TooEarly};
        let start = Instant::now();
        let idle = State::idle(start, COOLDOWN);
        for late in [false, true] {
            let now = if late { start + COOLDOWN } else { start };
            let fresh = Ok(State::idle(now, COOLDOWN));
            let expire = if late { Ok(State::Ended) } else { Err(TooEarly) };
            let table = [
                (idle, [Ok(State::Running), Err(NotLeased), Err(NotLeased), Ok(State::Ended), expire]),
                (State::Running, [Err(Busy), fresh, Ok(State::Ended), Ok(State::Ending), Err(Busy)]),
                (State::Ending, [Err(Busy), Ok(State::Ended), Ok(State::Ended), Ok(State::Ending), Err(Busy)]),
                (State::Ended, [Err(Denied::Ended); 5]),
            ];
            for (state, expected) in table {
                for (event, expected) in EVENTS.into_iter().zip(expected) {
                    assert_eq!(state.after(event, now, COOLDOWN), expected, "{state:?} {event:?} late={late}");
                }
            }
        }
    }

    /// All histories of six events: what must hold whatever happens.
    #[test]
    fn no_history_breaks_the_rules() {
        let start = Instant::now();
        for mut history in 0..EVENTS.len().pow(6) {
            let (mut state, mut now) = (State::idle(start, COOLDOWN), start);
            for _ in 0..6 {
                let event = EVENTS[history % EVENTS.len()];
                history /= EVENTS.len();
                now += Duration::from_secs(100);
                let before = state;
                if let Ok(after) = state.after(event, now, COOLDOWN) {
                    state = after;
                }
                assert!(before != State::Ended || state == State::Ended, "the dead stay dead");
                assert!(before != State::Ending || matches!(state, State::Ending | State::Ended), "an end is an end");
                let leased = |s| matches!(s, State::Running | State::Ending);
                if leased(before) && !leased(state) {
                    assert!(matches!(event, Event::Settle | Event::Poison), "only its execution lets go of a session");
                }
            }
        }
    }
}

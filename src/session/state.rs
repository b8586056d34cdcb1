//! The life of a session as a pure machine: no clock, no lock.
//!
//! ```text
//!                 Lease                Settle
//!     Idle ---------------> Running ---------> Idle
//!    |   ^ Settle            |  |  \  Poison
//!    |   `-------------------'  |   `---------> Ended
//!    |  End                     | Sleep
//!    |  Expire, once due        v       Lease
//!    |                      Hibernated -------> Running
//!    v                          | End, Expire once due
//!   Ended <---------------------'
//!     ^    Settle, Poison, Sleep      End
//!     `------------------------ Ending <----- Running
//! ```
//!
//! Whoever takes a session to put it to disk, or to wake it, has it as an execution has it: nobody else comes between.

use std::time::{Duration, Instant};

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody uses it; its time is over when the cooldown is.
    Idle { expires_at: Instant },
    /// One execution has it.
    Running,
    /// It is on disk alone; it ends when the retention is over.
    Hibernated { expires_at: Instant },
    /// One execution has it, and somebody wants it ended: the execution is being interrupted.
    Ending,
    /// Over. The identifier is free; its next call starts fresh.
    Ended,
}

/// How long a session stays when nobody uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// In memory.
    pub cooldown: Duration,
    /// On disk.
    pub retention: Duration,
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
    /// Whoever had it has put it to disk.
    Sleep,
    /// Somebody wants the session ended.
    End,
    /// The reaper asks whether its time is over.
    Expire,
}

/// Why an event does not fit the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// An execution has it.
    Busy,
    /// No execution has it.
    NotLeased,
    /// Its time is not over.
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
    pub fn after(self, event: Event, now: Instant, times: Lifetimes) -> Result<Self, Denied> {
        match (self, event) {
            (Self::Idle { .. } | Self::Hibernated { .. }, Event::Lease) => Ok(Self::Running),
            (Self::Idle { .. } | Self::Hibernated { .. }, Event::End) => Ok(Self::Ended),
            (Self::Idle { expires_at } | Self::Hibernated { expires_at }, Event::Expire) => {
                if now >= expires_at {
                    Ok(Self::Ended)
                } else {
                    Err(Denied::TooEarly)
                }
            }
            (Self::Idle { .. } | Self::Hibernated { .. }, Event::Settle | Event::Poison | Event::Sleep) => {
                Err(Denied::NotLeased)
            }

            (Self::Running, Event::Settle) => Ok(Self::idle(now, times.cooldown)),
            (Self::Running, Event::Sleep) => Ok(Self::hibernated(now, times.retention)),
            (Self::Running, Event::Poison) => Ok(Self::Ended),
            (Self::Running, Event::End) => Ok(Self::Ending),
            (Self::Running, Event::Lease | Event::Expire) => Err(Denied::Busy),

            (Self::Ending, Event::Settle | Event::Poison | Event::Sleep) => Ok(Self::Ended),
            (Self::Ending, Event::End) => Ok(Self::Ending),
            (Self::Ending, Event::Lease | Event::Expire) => Err(Denied::Busy),

            (Self::Ended, _) => Err(Denied::Ended),
        }
    }

    /// A session that was just put to disk.
    pub fn hibernated(now: Instant, retention: Duration) -> Self {
        Self::Hibernated { expires_at: now + retention }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Lifetimes = Lifetimes { cooldown: Duration::from_secs(300), retention: Duration::from_secs(3000) };
    const EVENTS: [Event; 6] = [Event::Lease, Event::Settle, Event::Poison, Event::Sleep, Event::End, Event::Expire];

    /// The whole table: every state, every event, before and after its time.
    #[test]
    fn every_transition() {
        use Denied::{Busy, NotLeased, TooEarly};
        let start = Instant::now();
        let (idle, asleep) = (State::idle(start, TIMES.cooldown), State::hibernated(start, TIMES.retention));
        for late in [false, true] {
            let now = if late { start + TIMES.retention } else { start };
            let (settled, slept) = (Ok(State::idle(now, TIMES.cooldown)), Ok(State::hibernated(now, TIMES.retention)));
            let (over, running) = (Ok(State::Ended), Ok(State::Running));
            let ending = Ok(State::Ending);
            let expire = if late { over } else { Err(TooEarly) };
            let not = Err(NotLeased);
            let table = [
                (idle, [running, not, not, not, over, expire]),
                (asleep, [running, not, not, not, over, expire]),
                (State::Running, [Err(Busy), settled, over, slept, ending, Err(Busy)]),
                (State::Ending, [Err(Busy), over, over, over, ending, Err(Busy)]),
                (State::Ended, [Err(Denied::Ended); 6]),
            ];
            for (state, expected) in table {
                for (event, expected) in EVENTS.into_iter().zip(expected) {
                    assert_eq!(state.after(event, now, TIMES), expected, "{state:?} {event:?} late={late}");
                }
            }
        }
        assert_eq!(idle.after(Event::Expire, start + TIMES.cooldown, TIMES), Ok(State::Ended));
        assert_eq!(asleep.after(Event::Expire, start + TIMES.cooldown, TIMES), Err(TooEarly));
    }

    /// All histories of six events: what must hold whatever happens.
    #[test]
    fn no_history_breaks_the_rules() {
        let start = Instant::now();
        for mut history in 0..EVENTS.len().pow(6) {
            let (mut state, mut now) = (State::idle(start, TIMES.cooldown), start);
            for _ in 0..6 {
                let event = EVENTS[history % EVENTS.len()];
                history /= EVENTS.len();
                now += Duration::from_secs(100);
                let before = state;
                if let Ok(after) = state.after(event, now, TIMES) {
                    state = after;
                }
                assert!(before != State::Ended || state == State::Ended, "the dead stay dead");
                assert!(before != State::Ending || matches!(state, State::Ending | State::Ended), "an end is an end");
                let leased = |s| matches!(s, State::Running | State::Ending);
                if leased(before) && !leased(state) {
                    let lets_go = matches!(event, Event::Settle | Event::Poison | Event::Sleep);
                    assert!(lets_go, "only who has a session lets go of it");
                }
                let asleep = |s| matches!(s, State::Hibernated { .. });
                assert!(
                    !asleep(state) || asleep(before) || event == Event::Sleep,
                    "none sleeps that was not put to disk"
                );
            }
        }
    }
}

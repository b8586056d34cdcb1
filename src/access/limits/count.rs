//! What a caller has running, and what it used in the last 24 hours.
//!
//! A day begins with the first use and ends 24 hours later, for each caller alone. `ledger.rs` keeps it over a restart; what
//! runs, and sessions that count for somebody, are kept in memory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::nanos::Nanos;

use super::ledger::Day;
use super::settings::Allowance;
use crate::pool::PoolName;
use crate::session::Identifier;

const DAY: Duration = Duration::from_secs(86_400);

/// What ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub what: &'static str,
    pub limit: u64,
    pub retry_after: Duration,
}

/// One caller's counts.
#[derive(Default)]
pub(super) struct Count(Mutex<Figures>);

#[derive(Default)]
struct Figures {
    running: u32,
    /// Sessions that it made, and how many calls are under way that may be making each.
    sessions: HashMap<(PoolName, Identifier), u32>,
    day_ends: Option<Nanos>,
    used: Use,
    /// Whether `used` is not on disk.
    changed: bool,
}

/// What an execution or a call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Use {
    pub bytes: u64,
    pub cpu: Duration,
    pub fuel: u64,
}

impl Count {
    /// Whether the day's figures leave room.
    pub fn check_day(&self, allowance: &Allowance, now: Nanos) -> Result<(), Spent> {
        let mut figures = self.lock();
        let left = figures.day_left(now);
        let spent = |what, limit: Option<u64>, used: u64| match limit {
            Some(limit) if used >= limit => Err(Spent { what, limit, retry_after: left }),
            _ => Ok(()),
        };
        spent("bytes_per_day", allowance.bytes_per_day, figures.used.bytes)?;
        spent("cpu_seconds_per_day", allowance.cpu_seconds_per_day, figures.used.cpu.as_secs())?;
        spent("fuel_per_day", allowance.fuel_per_day, figures.used.fuel)
    }

    pub fn add(&self, used: Use, now: Nanos) {
        let mut figures = self.lock();
        figures.day_left(now);
        let so_far = figures.used;
        figures.used = Use {
            bytes: so_far.bytes.saturating_add(used.bytes),
            cpu: so_far.cpu.saturating_add(used.cpu),
            fuel: so_far.fuel.saturating_add(used.fuel),
        };
        figures.changed = true;
    }

    /// The day, if it is to be put on disk. From now on it counts as being there.
    pub fn take_change(&self, now: Nanos) -> Option<Day> {
        let mut figures = self.lock();
        std::mem::take(&mut figures.changed).then(|| Day { left: figures.day_left(now), used: figures.used })
    }

    /// What [`Count::take_change`] gave is not on disk after all.
    pub fn keep_change(&self) {
        self.lock().changed = true;
    }

    /// The day goes on as it was before a restart.
    pub fn go_on(&self, day: Day, now: Nanos) {
        let mut figures = self.lock();
        // Never longer than a day, whatever the machine's clock was set to meanwhile.
        figures.day_ends = Some((Duration::from(now) + day.left.min(DAY)).into());
        figures.used = day.used;
    }

    pub fn begin(&self, allowance: &Allowance) -> Result<(), Spent> {
        let mut figures = self.lock();
        if let Some(limit) = allowance.concurrent_executions
            && figures.running >= limit
        {
            let retry_after = Duration::from_secs(1);
            return Err(Spent { what: "concurrent_executions", limit: limit.into(), retry_after });
        }
        figures.running += 1;
        Ok(())
    }

    pub fn end(&self) {
        self.lock().running -= 1;
    }

    /// A call that may make this session. `lives` tells of others whether they are still there.
    pub fn claim(
        &self,
        allowance: &Allowance,
        session: &(PoolName, Identifier),
        lives: impl Fn(&PoolName, &Identifier) -> bool,
    ) -> Result<(), Spent> {
        let Some(limit) = allowance.sessions else { return Ok(()) };
        let mut figures = self.lock();
        if !figures.sessions.contains_key(session) && figures.sessions.len() >= limit {
            // Only now: looking at all of them at each call would cost more than it tells.
            figures.sessions.retain(|(pool, identifier), under_way| *under_way > 0 || lives(pool, identifier));
            if figures.sessions.len() >= limit {
                return Err(Spent { what: "sessions", limit: limit as u64, retry_after: Duration::from_secs(5) });
            }
        }
        *figures.sessions.entry(session.clone()).or_default() += 1;
        Ok(())
    }

    /// The call is over.
    pub fn unclaim(&self, session: &(PoolName, Identifier)) {
        if let Some(under_way) = self.lock().sessions.get_mut(session) {
            *under_way = under_way.saturating_sub(1);
        }
    }

    pub fn is_idle(&self, now: Nanos) -> bool {
        let figures = self.lock();
        let day_over = figures.day_ends.is_none_or(|ends| ends <= now);
        figures.running == 0 && figures.sessions.is_empty() && day_over
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Figures {
    /// Time until the day is over; begins a new one where it is.
    fn day_left(&mut self, now: Nanos) -> Duration {
        let left = self.day_ends.map(|ends| Duration::from(ends).saturating_sub(now.into()));
        match left.filter(|left| !left.is_zero()) {
            Some(left) => left,
            None => {
                (self.day_ends, self.used) = (Some((Duration::from(now) + DAY).into()), Use::default());
                DAY
            }
        }
    }
}

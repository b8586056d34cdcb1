//! How much callers may use: by key (or token's subject), by tenant, by pool. Decided before any work is done.
//!
//! The narrowest is asked first, so that a caller at its own limit takes nothing of what it shares with others.

mod count;
mod ledger;
mod rate;
mod settings;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::time::OffsetDateTime;
use governor::clock::Clock as _;

pub use count::Use;
pub use ledger::Ledger;
pub use rate::{Standing, Time};
pub use settings::{Allowance, LimitSettings};

use super::Caller;
use crate::database::DatabaseError;
use crate::pool::PoolName;
use crate::session::Identifier;
use count::{Count, Spent};
use ledger::Entry;
use rate::Rate;

/// Why a call is not let in now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this {scope} is at its limit of {limit} {what}")]
pub struct Refused {
    /// `key`, `tenant` or `pool`.
    pub scope: &'static str,
    /// As in the settings.
    pub what: &'static str,
    pub limit: u64,
    pub retry_after: Duration,
}

/// All limits of a gateway.
pub struct Limits {
    scopes: Vec<Scope>,
    time: Time,
    /// None: a day ends with the process.
    ledger: Option<Ledger>,
}

struct Scope {
    kind: Kind,
    allowance: Allowance,
    requests: Option<Rate>,
    executions: Option<Rate>,
    counts: Mutex<HashMap<Arc<str>, Arc<Count>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Key,
    Tenant,
    Pool,
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Tenant => "tenant",
            Self::Pool => "pool",
        }
    }

    /// Whom a call counts for.
    fn of(self, caller: &Caller, pool: Option<&PoolName>) -> Option<Arc<str>> {
        match self {
            Self::Key => Some(caller.id.clone()),
            Self::Tenant => caller.tenant.clone(),
            Self::Pool => pool.map(|pool| pool.as_str().into()),
        }
    }
}

impl Limits {
    pub fn new(settings: LimitSettings, time: Time) -> Arc<Self> {
        Arc::new(Self::with(settings, time, None))
    }

    /// Limits whose days go on as they stand in `ledger`; [`Limits::save`] is to be called now and then. Blocks.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn kept(settings: LimitSettings, time: Time, ledger: Ledger) -> Result<Arc<Self>, DatabaseError> {
        let entries = ledger.read(OffsetDateTime::now_utc())?;
        let limits = Self::with(settings, time, Some(ledger));
        for Entry { scope, whom, day } in entries {
            // What the settings limit no more is forgotten when its day is over.
            let scopes = limits.scopes.iter().filter(|known| known.has_day() && known.kind.text() == scope);
            scopes.for_each(|known| known.count(&whom.as_str().into()).go_on(day, limits.time.now()));
        }
        Ok(Arc::new(limits))
    }

    fn with(settings: LimitSettings, time: Time, ledger: Option<Ledger>) -> Self {
        let scopes = [(Kind::Key, settings.key), (Kind::Tenant, settings.tenant), (Kind::Pool, settings.pool)];
        let limited = scopes.into_iter().filter(|(_, allowance)| !allowance.is_off());
        let scopes = limited.map(|(kind, allowance)| Scope::new(kind, allowance, &time)).collect();
        Self { scopes, time, ledger }
    }

    /// No limits.
    pub fn none() -> Arc<Self> {
        Self::new(LimitSettings::default(), Time::real())
    }

    /// A request. How the caller itself stands, where its requests are limited.
    ///
    /// # Errors
    /// When one of its limits is reached.
    pub fn request(&self, caller: &Caller, pool: Option<&PoolName>) -> Result<Option<Standing>, Refused> {
        let mut standing = None;
        for (scope, whom) in self.of(caller, pool) {
            if let Some(rate) = &scope.requests {
                let now = rate.take(&whom);
                let now = now.map_err(|wait| scope.refused("requests_per_second", rate.limit(), wait))?;
                standing = standing.or(Some(now));
            }
            if scope.has_day() {
                scope.count(&whom).check_day(&scope.allowance, self.time.now()).map_err(|spent| scope.spent(spent))?;
            }
        }
        Ok(standing)
    }

    /// An execution. What it holds is given back when the permit is dropped.
    ///
    /// # Errors
    /// When one of the caller's limits is reached.
    pub fn execution(self: &Arc<Self>, caller: &Caller, pool: &PoolName) -> Result<Permit, Refused> {
        let mut permit = Permit { limits: self.clone(), counts: Vec::new(), claim: None };
        for (scope, whom) in self.of(caller, Some(pool)) {
            if let Some(rate) = &scope.executions {
                rate.take(&whom).map_err(|wait| scope.refused("executions_per_minute", rate.limit(), wait))?;
            }
            let count = scope.count(&whom);
            count.begin(&scope.allowance).map_err(|spent| scope.spent(spent))?;
            permit.counts.push(count);
        }
        Ok(permit)
    }

    /// A call that may make a session. `lives` tells whether a session is there.
    ///
    /// # Errors
    /// When the caller has its most sessions, and this is none of them.
    pub fn session(
        &self,
        caller: &Caller,
        pool: &PoolName,
        identifier: &Identifier,
        lives: impl Fn(&PoolName, &Identifier) -> bool,
    ) -> Result<Claim, Refused> {
        let session = (pool.clone(), identifier.clone());
        let mut claim = Claim { session, counts: Vec::new() };
        let limited = self.of(caller, Some(pool)).filter(|(scope, _)| scope.allowance.sessions.is_some());
        for (scope, whom) in limited {
            let count = scope.count(&whom);
            count.claim(&scope.allowance, &claim.session, &lives).map_err(|spent| scope.spent(spent))?;
            claim.counts.push(count);
        }
        Ok(claim)
    }

    /// Counts bytes of bodies.
    pub fn charge_bytes(&self, caller: &Caller, pool: Option<&PoolName>, bytes: u64) {
        for (scope, whom) in self.of(caller, pool).filter(|(scope, _)| scope.has_day()) {
            scope.count(&whom).add(Use { bytes, ..Use::default() }, self.time.now());
        }
    }

    /// Puts the day's figures that have changed on disk. Blocks; to be called about once a second, and at the end.
    ///
    /// # Errors
    /// When they cannot be written; the next call tries again.
    pub fn save(&self) -> Result<(), DatabaseError> {
        let Some(ledger) = &self.ledger else { return Ok(()) };
        let now = self.time.now();
        let mut changed = Vec::new();
        for scope in self.scopes.iter().filter(|scope| scope.has_day()) {
            let counts: Vec<_> = scope.lock().iter().map(|(whom, count)| (whom.clone(), count.clone())).collect();
            let changes = counts.into_iter().filter_map(|(whom, count)| {
                let day = count.take_change(now)?;
                Some((count, Entry { scope: scope.kind.text().into(), whom: whom.to_string(), day }))
            });
            changed.extend(changes);
        }
        if changed.is_empty() {
            return Ok(());
        }
        let (counts, entries): (Vec<_>, Vec<_>) = changed.into_iter().unzip();
        let written = ledger.write(&entries, OffsetDateTime::now_utc());
        written.inspect_err(|_| counts.iter().for_each(|count| count.keep_change())).map_err(DatabaseError::from)
    }

    /// Forgets callers that have nothing running and used nothing lately. To be called now and then.
    pub fn forget_idle(&self) {
        for scope in &self.scopes {
            scope.requests.iter().chain(&scope.executions).for_each(Rate::forget_idle);
            scope.lock().retain(|_, count| Arc::strong_count(count) > 1 || !count.is_idle(self.time.now()));
        }
    }

    fn of(&self, caller: &Caller, pool: Option<&PoolName>) -> impl Iterator<Item = (&Scope, Arc<str>)> {
        self.scopes.iter().filter_map(move |scope| Some((scope, scope.kind.of(caller, pool)?)))
    }
}

impl Scope {
    fn new(kind: Kind, allowance: Allowance, time: &Time) -> Self {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let rate = |count: Option<_>, period, burst| count.map(|count| Rate::new(count, period, burst, time.clone()));
        Self {
            kind,
            requests: rate(allowance.requests_per_second, second, allowance.request_burst),
            executions: rate(allowance.executions_per_minute, minute, allowance.execution_burst),
            allowance,
            counts: Mutex::default(),
        }
    }

    fn has_day(&self) -> bool {
        self.allowance.has_day()
    }

    fn count(&self, whom: &Arc<str>) -> Arc<Count> {
        self.lock().entry(whom.clone()).or_default().clone()
    }

    fn refused(&self, what: &'static str, limit: u64, retry_after: Duration) -> Refused {
        Refused { scope: self.kind.text(), what, limit, retry_after }
    }

    fn spent(&self, spent: Spent) -> Refused {
        self.refused(spent.what, spent.limit, spent.retry_after)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Count>>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to run one execution.
pub struct Permit {
    limits: Arc<Limits>,
    counts: Vec<Arc<Count>>,
    claim: Option<Claim>,
}

impl Permit {
    /// Holds on to the session that the execution may make.
    pub fn with_claim(mut self, claim: Option<Claim>) -> Self {
        self.claim = claim;
        self
    }

    /// Counts what the execution used.
    pub fn charge(&self, used: Use) {
        let now = self.limits.time.now();
        self.counts.iter().for_each(|count| count.add(used, now));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.counts.iter().for_each(|count| count.end());
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit")
    }
}

/// A session that a call may make. It counts while the call runs, and then as long as it lives.
pub struct Claim {
    session: (PoolName, Identifier),
    counts: Vec<Arc<Count>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.counts.iter().for_each(|count| count.unclaim(&self.session));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use governor::clock::FakeRelativeClock;

    use super::*;
    use crate::access::{Grant, Proof};

    struct Bench {
        limits: Arc<Limits>,
        clock: FakeRelativeClock,
        pool: PoolName,
    }

    fn bench(settings: &str) -> Bench {
        let clock = FakeRelativeClock::default();
        let settings: LimitSettings = toml::from_str(settings).unwrap();
        assert_eq!(settings.problems(), Vec::<String>::new());
        let limits = Limits::new(settings, Time::Paused(clock.clone()));
        Bench { limits, clock, pool: PoolName::new("p").unwrap() }
    }

    fn caller(id: &str, tenant: Option<&str>) -> Caller {
        Caller::new(Proof::Key, id, tenant, [Grant::all()].into())
    }

    impl Bench {
        /// Requests that are let in of `count` now.
        fn requests(&self, caller: &Caller, count: usize) -> usize {
            (0..count).filter(|_| self.limits.request(caller, Some(&self.pool)).is_ok()).count()
        }
    }

    #[test]
    fn requests_are_let_in_to_the_exact_count() {
        let bench = bench("key = { requests_per_second = 10, request_burst = 25 }");
        let (a, b) = (caller("a", None), caller("b", None));
        assert_eq!(bench.requests(&a, 100), 25);
        assert_eq!(bench.requests(&b, 100), 25, "each key has its own");
        let refused = bench.limits.request(&a, None).unwrap_err();
        assert_eq!((refused.scope, refused.what), ("key", "requests_per_second"));
        assert_eq!(refused.retry_after, Duration::from_millis(100));
        bench.clock.advance(Duration::from_millis(99));
        assert_eq!(bench.requests(&a, 5), 0);
        bench.clock.advance(Duration::from_millis(1));
        assert_eq!(bench.requests(&a, 5), 1);
        bench.clock.advance(Duration::from_secs(1));
        assert_eq!(bench.requests(&a, 100), 10);
        bench.clock.advance(Duration::from_secs(1000));
        assert_eq!(bench.requests(&a, 100), 25);
    }

    #[test]
    fn the_standing_counts_down() {
        let bench = bench("key = { requests_per_second = 2, request_burst = 4 }");
        let a = caller("a", None);
        let standings: Vec<_> = (0..4).map(|_| bench.limits.request(&a, None).unwrap().unwrap()).collect();
        assert_eq!(standings.iter().map(|standing| standing.remaining).collect::<Vec<_>>(), [3, 2, 1, 0]);
        assert_eq!((standings[3].limit, standings[3].reset), (4, Duration::from_secs(2)));
    }

    #[test]
    fn a_caller_at_its_own_limit_takes_nothing_of_what_it_shares() {
        let bench = bench("key = { requests_per_second = 5 }\ntenant = { requests_per_second = 12 }");
        let callers = ["a", "b", "c"].map(|id| caller(id, Some("t")));
        assert_eq!(bench.requests(&callers[0], 1000), 5);
        assert_eq!(bench.requests(&callers[1], 1000), 5);
        assert_eq!(bench.requests(&callers[2], 1000), 2, "the tenant's share");
        assert_eq!(bench.limits.request(&caller("e", Some("t")), None).unwrap_err().scope, "tenant");
        assert_eq!(bench.requests(&caller("d", None), 1000), 5, "without a tenant, none counts");
    }

    #[test]
    fn executions_are_counted_while_they_run() {
        let bench = bench("key = { concurrent_executions = 2 }\npool = { concurrent_executions = 3 }");
        let (a, b) = (caller("a", None), caller("b", None));
        let mut running: Vec<_> = (0..10).filter_map(|_| bench.limits.execution(&a, &bench.pool).ok()).collect();
        assert_eq!(running.len(), 2);
        let other = bench.limits.execution(&b, &bench.pool).unwrap();
        let refused = bench.limits.execution(&b, &bench.pool).unwrap_err();
        assert_eq!((refused.scope, refused.what, refused.limit), ("pool", "concurrent_executions", 3));
        running.pop();
        let another = bench.limits.execution(&b, &bench.pool).unwrap();
        assert_eq!(bench.limits.execution(&b, &bench.pool).unwrap_err().scope, "key", "the refused one gave back");
        drop((other, another, running));
        assert_eq!((0..10).filter_map(|_| bench.limits.execution(&a, &bench.pool).ok()).collect::<Vec<_>>().len(), 2);
    }

    #[test]
    fn executions_have_a_rate() {
        let bench = bench("key = { executions_per_minute = 6, execution_burst = 1 }");
        let a = caller("a", None);
        let mut ran = 0;
        for _ in 0..600 {
            ran += usize::from(bench.limits.execution(&a, &bench.pool).is_ok());
            bench.clock.advance(Duration::from_millis(100));
        }
        assert_eq!(ran, 6);
    }

    #[test]
    fn a_days_use_ends_with_the_day() {
        let bench = bench("key = { cpu_seconds_per_day = 10, fuel_per_day = 1000, bytes_per_day = 500 }");
        let uses: [Use; 2] =
            [Use { cpu: Duration::from_secs(10), ..Use::default() }, Use { fuel: 1000, ..Use::default() }];
        for (id, used) in [("a", uses[0]), ("b", uses[1])] {
            let caller = caller(id, None);
            bench.limits.request(&caller, None).unwrap();
            bench.clock.advance(Duration::from_secs(3600));
            bench.limits.execution(&caller, &bench.pool).unwrap().charge(used);
            let refused = bench.limits.request(&caller, None).unwrap_err();
            assert_eq!(refused.retry_after, Duration::from_secs(23 * 3600), "{}", refused.what);
            bench.clock.advance(refused.retry_after);
            assert!(bench.limits.request(&caller, None).is_ok());
        }
        let c = caller("c", None);
        bench.limits.charge_bytes(&c, None, 499);
        assert!(bench.limits.request(&c, None).is_ok());
        bench.limits.charge_bytes(&c, None, 1);
        assert_eq!(bench.limits.request(&c, None).unwrap_err().what, "bytes_per_day");
    }

    #[test]
    fn a_day_goes_on_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let clock = FakeRelativeClock::default();
        let open = |settings: &str| {
            let settings: LimitSettings = toml::from_str(settings).unwrap();
            Limits::kept(settings, Time::Paused(clock.clone()), Ledger::open(folder.path()).unwrap()).unwrap()
        };
        let pool = PoolName::new("p").unwrap();
        let both = "key = { bytes_per_day = 500, cpu_seconds_per_day = 9 }\ntenant = { fuel_per_day = 70 }";
        let (a, b) = (caller("a", Some("t")), caller("b", None));
        let first = open(both);
        first.charge_bytes(&a, None, 500);
        first.execution(&b, &pool).unwrap().charge(Use { cpu: Duration::from_millis(8900), ..Use::default() });
        first.save().unwrap();
        // Lost with the process: less than a second's.
        first.execution(&b, &pool).unwrap().charge(Use { cpu: Duration::from_secs(1), ..Use::default() });
        drop(first);
        let second = open(both);
        let refused = second.request(&a, None).unwrap_err();
        assert_eq!((refused.scope, refused.what), ("key", "bytes_per_day"));
        assert!(
            refused.retry_after <= Duration::from_secs(86_400) && refused.retry_after > Duration::from_secs(86_000)
        );
        assert!(second.request(&b, None).is_ok());
        let used = Use { cpu: Duration::from_millis(100), fuel: 70, ..Use::default() };
        second.execution(&a, &pool).unwrap().charge(used);
        second.execution(&b, &pool).unwrap().charge(used);
        assert_eq!(second.request(&b, None).unwrap_err().what, "cpu_seconds_per_day");
        second.save().unwrap();
        second.save().unwrap();
        drop(second);
        // Settings may change meanwhile.
        let third = open("tenant = { fuel_per_day = 70 }\nkey = { requests_per_second = 1 }");
        assert_eq!(third.request(&a, None).unwrap_err().what, "fuel_per_day");
        assert!(third.request(&b, None).is_ok());
        clock.advance(Duration::from_secs(86_400));
        assert!(third.request(&a, None).is_ok());
    }

    #[test]
    fn sessions_count_while_they_live() {
        let bench = bench("key = { sessions = 2 }");
        let a = caller("a", None);
        let living = RefCell::new(BTreeSet::new());
        let use_session = |name: &str| {
            let identifier = Identifier::new(name).unwrap();
            let lives = |_: &PoolName, identifier: &Identifier| living.borrow().contains(identifier.as_str());
            let claim = bench.limits.session(&a, &bench.pool, &identifier, lives);
            claim.map(|claim| drop((living.borrow_mut().insert(name.to_owned()), claim)))
        };
        assert!(use_session("session-1").is_ok() && use_session("session-2").is_ok());
        assert_eq!(use_session("session-3").unwrap_err().what, "sessions");
        assert!(use_session("session-1").is_ok(), "its own go on");
        living.borrow_mut().remove("session-1");
        assert!(use_session("session-3").is_ok());
        assert!(use_session("session-1").is_err());
    }

    #[test]
    fn a_session_that_is_being_made_counts() {
        let bench = bench("key = { sessions = 1 }");
        let a = caller("a", None);
        let [one, two] = ["session-1", "session-2"].map(|name| Identifier::new(name).unwrap());
        let nobody = |_: &PoolName, _: &Identifier| false;
        let making = bench.limits.session(&a, &bench.pool, &one, nobody).unwrap();
        assert!(bench.limits.session(&a, &bench.pool, &two, nobody).is_err());
        drop(making);
        assert!(bench.limits.session(&a, &bench.pool, &two, nobody).is_ok());
    }

    #[test]
    fn idle_callers_are_forgotten() {
        let bench = bench("key = { requests_per_second = 1, bytes_per_day = 10, concurrent_executions = 1 }");
        let a = caller("a", None);
        bench.limits.request(&a, None).unwrap();
        let running = bench.limits.execution(&a, &bench.pool).unwrap();
        bench.clock.advance(DAYS);
        bench.limits.forget_idle();
        assert!(bench.limits.execution(&a, &bench.pool).is_err(), "what runs is not forgotten");
        drop(running);
        bench.limits.forget_idle();
        assert!(bench.limits.scopes[0].lock().is_empty());
    }

    const DAYS: Duration = Duration::from_secs(3 * 86_400);
}

//! Rates, by `governor` (GCRA): smooth, a few bytes for each caller, exact under any number of threads.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::{Clock, FakeRelativeClock};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

type Limiter = RateLimiter<Arc<str>, HashMapStateStore<Arc<str>>, Time, StateInformationMiddleware>;

/// The machine's monotonic clock; in tests one that stands still until it is told to go on.
#[derive(Debug, Clone)]
pub enum Time {
    Real(Instant),
    Paused(FakeRelativeClock),
}

impl Time {
    pub fn real() -> Self {
        Self::Real(Instant::now())
    }
}

impl Clock for Time {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        match self {
            Self::Real(start) => start.elapsed().into(),
            Self::Paused(clock) => clock.now(),
        }
    }
}

/// How a caller stands after a request that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests at once.
    pub limit: u32,
    /// Requests that would be let in now.
    pub remaining: u32,
    /// Until `remaining` is `limit` again.
    pub reset: Duration,
}

/// One rate, for any number of callers.
pub(super) struct Rate {
    limiter: Limiter,
    burst: u32,
    each: Duration,
    time: Time,
}

impl Rate {
    /// `count` in `period`, and `burst` at once.
    pub fn new(count: NonZeroU32, period: Duration, burst: Option<NonZeroU32>, time: Time) -> Self {
        let burst = burst.unwrap_or(count);
        let each = period / count.get();
        let quota = Quota::with_period(each).expect("a period of a second or more, by a u32, is not zero");
        let limiter = RateLimiter::hashmap_with_clock(quota.allow_burst(burst), time.clone()).with_middleware();
        Self { limiter, burst: burst.get(), each, time }
    }

    /// Lets one in, or says how long to wait.
    pub fn take(&self, caller: &Arc<str>) -> Result<Standing, Duration> {
        match self.limiter.check_key(caller) {
            Ok(snapshot) => {
                let remaining = snapshot.remaining_burst_capacity();
                let reset = self.each * self.burst.saturating_sub(remaining);
                Ok(Standing { limit: self.burst, remaining, reset })
            }
            Err(not_until) => Err(not_until.wait_time_from(self.time.now())),
        }
    }

    pub fn limit(&self) -> u64 {
        self.burst.into()
    }

    /// Forgets callers that have their whole burst again.
    pub fn forget_idle(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

//! What callers may use, as the configuration file says it. None of it is limited unless it stands there.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// `[limits]`: the same figures for each key (or token's subject), each tenant and each pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    pub key: Allowance,
    pub tenant: Allowance,
    pub pool: Allowance,
}

/// What one key, tenant or pool may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allowance {
    pub requests_per_second: Option<NonZeroU32>,
    /// Requests at once after a pause. By default those of a second.
    pub request_burst: Option<NonZeroU32>,
    pub executions_per_minute: Option<NonZeroU32>,
    /// Executions at once after a pause. By default those of a minute.
    pub execution_burst: Option<NonZeroU32>,
    /// Executions that run or wait.
    pub concurrent_executions: Option<u32>,
    /// Sessions that it made and that live.
    pub sessions: Option<usize>,
    /// Bytes of request and answer bodies in 24 hours.
    pub bytes_per_day: Option<u64>,
    /// Time on guest threads in 24 hours.
    pub cpu_seconds_per_day: Option<u64>,
    /// Fuel in 24 hours; only metered pools use any.
    pub fuel_per_day: Option<u64>,
}

impl LimitSettings {
    /// Whether anything of a day is limited.
    pub fn has_day(&self) -> bool {
        [&self.key, &self.tenant, &self.pool].into_iter().any(Allowance::has_day)
    }

    /// Everything that makes no sense in it.
    pub fn problems(&self) -> Vec<String> {
        [("key", &self.key), ("tenant", &self.tenant), ("pool", &self.pool)]
            .into_iter()
            .flat_map(|(scope, allowance)| {
                allowance.problems().map(move |problem| format!("limits.{scope}: {problem}"))
            })
            .collect()
    }
}

impl Allowance {
    pub(super) fn is_off(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn has_day(&self) -> bool {
        self.bytes_per_day.or(self.cpu_seconds_per_day).or(self.fuel_per_day).is_some()
    }

    fn problems(&self) -> impl Iterator<Item = &'static str> {
        let bursts = [
            (self.request_burst.is_some() && self.requests_per_second.is_none())
                .then_some("request_burst needs requests_per_second"),
            (self.execution_burst.is_some() && self.executions_per_minute.is_none())
                .then_some("execution_burst needs executions_per_minute"),
        ];
        bursts.into_iter().flatten()
    }
}

//! What a pool offers: its interpreter, how many sessions it holds, and what each may use.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::PoolName;
use crate::egress::EgressPolicy;
use crate::interpreter::Additions;
use crate::sandbox::limits::{FileLimits, SessionLimits};
use crate::session::Lifetimes;

/// One pool's settings, as they stand in the configuration file. Every figure has its unit in its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSpecification {
    pub name: PoolName,
    /// A folder of `interpreters/`.
    #[serde(default = "default_interpreter")]
    pub interpreter: String,
    /// An edition of the interpreter. None: the one that has the most, and until it is built the first one.
    #[serde(default)]
    pub edition: Option<String>,
    /// Pure packages beyond those of the edition: requirements as pip takes them, or absolute paths of wheels. They are in
    /// the image, which is built when the pool is opened for the first time.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Code that runs once when that image is taken: what it imports need not be imported in a session.
    #[serde(default)]
    pub preload: Option<String>,
    /// Sessions at once; a further identifier is refused with 429.
    #[serde(default = "defaults::max_concurrent_sessions")]
    pub max_concurrent_sessions: usize,
    /// Prepared sandboxes kept for new identifiers: their first execution costs what a later one does.
    #[serde(default = "defaults::ready_session_instances")]
    pub ready_session_instances: usize,
    /// A session ends so long after its last use.
    #[serde(default = "defaults::cooldown_seconds")]
    pub cooldown_seconds: u64,
    /// Executions that may wait for one session.
    #[serde(default = "defaults::queue_length")]
    pub queue_length: usize,
    /// What is kept to roll a broken session back to.
    #[serde(default)]
    pub snapshot: SnapshotPolicy,
    /// What becomes of a session when its cooldown is over.
    #[serde(default)]
    pub on_cooldown: OnCooldown,
    /// Every execution, upload and deletion is on disk before it is answered, and is there after a crash. It brings what
    /// `snapshot = "after-each"` does.
    #[serde(default)]
    pub durable: bool,
    /// Snapshots of a session that are kept on disk beside its latest.
    #[serde(default)]
    pub history: usize,
    /// How long sessions stay on disk, and how much of it they may have.
    #[serde(default)]
    pub retention: Retention,
    #[serde(default)]
    pub limits: PoolLimits,
    /// What code may ask of the outside. Nothing by default.
    #[serde(default)]
    pub egress: EgressPolicy,
    /// Whom its use is charged to, in words of the operator's.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whether what its sessions write is kept in the records.
    #[serde(default = "defaults::console_log")]
    pub console_log: bool,
}

/// When a pool takes snapshots of its sessions by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotPolicy {
    /// A session whose guest breaks is discarded.
    #[default]
    Never,
    /// After each execution: a session whose guest breaks goes on as it was before.
    AfterEach,
    /// When it hibernates: a session that its first execution after that breaks goes on as it was before.
    OnHibernate,
}

/// What becomes of a session when its cooldown is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnCooldown {
    /// It ends, as in the hosted service.
    #[default]
    Destroy,
    /// It goes to disk, and its next call wakes it. It does so too when the pool is full or memory is short.
    Hibernate,
}

/// What hibernated sessions of a pool may have of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// A session ends so long after it hibernated.
    pub seconds: u64,
    /// All of them together; the earliest used end first.
    pub bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        // A month: longer than a conversation is forgotten. Small sessions have some 30 KB.
        Self { seconds: 30 * 86_400, bytes: 10 << 30 }
    }
}

/// What one session, and one execution in it, may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolLimits {
    /// Wall-clock time of an execution that asks for none.
    pub timeout_seconds: u64,
    /// The most wall-clock time an execution may ask for (220 in the hosted service).
    pub timeout_ceiling_seconds: u64,
    /// Time on a guest thread, by execution. None: the wall clock alone.
    pub cpu_seconds: Option<u64>,
    /// Fuel by execution, about one a WebAssembly instruction. Metering costs about a fifth of the speed, so a pool
    /// without a budget does not meter.
    pub fuel: Option<u64>,
    /// Linear memory of a session, the image's own (some 40 MiB, shared) included.
    pub memory_mebibytes: u64,
    /// Events of one execution.
    pub output_bytes: u64,
    /// All files of a session together.
    pub files_bytes: u64,
    /// One file.
    pub file_bytes: u64,
    /// Files, folders and links of a session.
    pub file_count: u64,
    /// One upload (128 MiB in the hosted service).
    pub upload_bytes: u64,
    /// The code of one execution.
    pub code_bytes: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            timeout_seconds: 60,
            timeout_ceiling_seconds: 220,
            cpu_seconds: None,
            fuel: None,
            // Enough for data frames of some hundred megabytes; a machine of 8 GiB serves a dozen such at once.
            memory_mebibytes: 1024,
            // A dozen large plots.
            output_bytes: 16 << 20,
            files_bytes: 512 << 20,
            file_bytes: 256 << 20,
            file_count: 20_000,
            upload_bytes: 128 << 20,
            // Generated code has kilobytes; a notebook pasted whole has some hundred.
            code_bytes: 4 << 20,
        }
    }
}

fn default_interpreter() -> String {
    "python".into()
}

mod defaults {
    pub const fn max_concurrent_sessions() -> usize {
        1000
    }
    /// Most of a burst of a hundred; some 40 MB.
    pub const fn ready_session_instances() -> usize {
        64
    }
    pub const fn cooldown_seconds() -> u64 {
        300
    }
    pub const fn queue_length() -> usize {
        16
    }
    pub const fn console_log() -> bool {
        true
    }
}

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pool {pool}: {setting} {problem}")]
pub struct InvalidSpecification {
    pub pool: String,
    pub setting: &'static str,
    pub problem: String,
}

impl PoolSpecification {
    /// Most sessions of one pool: a session reserves 12 GiB of the 128 TiB that a process may address, and takes a few of the
    /// kernel's 65,530 memory mappings.
    pub const MAX_SESSIONS: usize = 10_000;
    /// WebAssembly's 4 GiB, halved: the address space is reserved for every slot.
    pub const MAX_MEMORY_MEBIBYTES: u64 = 2048;

    /// A pool called `name` with the defaults.
    pub fn named(name: PoolName) -> Self {
        Self {
            name,
            interpreter: default_interpreter(),
            edition: None,
            packages: Vec::new(),
            preload: None,
            max_concurrent_sessions: defaults::max_concurrent_sessions(),
            ready_session_instances: defaults::ready_session_instances(),
            cooldown_seconds: defaults::cooldown_seconds(),
            queue_length: defaults::queue_length(),
            snapshot: SnapshotPolicy::default(),
            on_cooldown: OnCooldown::default(),
            durable: false,
            history: 0,
            retention: Retention::default(),
            limits: PoolLimits::default(),
            egress: EgressPolicy::default(),
            tags: BTreeMap::new(),
            console_log: defaults::console_log(),
        }
    }

    /// Everything that makes no sense in it.
    pub fn problems(&self) -> Vec<InvalidSpecification> {
        let limits = &self.limits;
        let within = |setting, value: u64, min: u64, max: u64| {
            let problem = format!("is {value}; it must be from {min} to {max}");
            (!(min..=max).contains(&value)).then(|| self.problem(setting, problem))
        };
        let sessions = self.max_concurrent_sessions as u64;
        [
            within("max_concurrent_sessions", sessions, 1, Self::MAX_SESSIONS as u64),
            within("ready_session_instances", self.ready_session_instances as u64, 0, 1000),
            within("cooldown_seconds", self.cooldown_seconds, 1, 30 * 86_400),
            within("history", self.history as u64, 0, 1000),
            within("retention.seconds", self.retention.seconds, 1, 10 * 365 * 86_400),
            within("retention.bytes", self.retention.bytes, 1, 1 << 50),
            within("queue_length", self.queue_length as u64, 0, 10_000),
            within("limits.timeout_seconds", limits.timeout_seconds, 1, limits.timeout_ceiling_seconds),
            within("limits.timeout_ceiling_seconds", limits.timeout_ceiling_seconds, 1, 86_400),
            within("limits.memory_mebibytes", limits.memory_mebibytes, 64, Self::MAX_MEMORY_MEBIBYTES),
            within("limits.file_bytes", limits.file_bytes, 1, limits.files_bytes),
            within("limits.upload_bytes", limits.upload_bytes, 1, limits.files_bytes),
            within("limits.code_bytes", limits.code_bytes as u64, 1, 64 << 20),
            within("limits.output_bytes", limits.output_bytes, 1, 1 << 30),
            within("limits.cpu_seconds", limits.cpu_seconds.unwrap_or(1), 1, 86_400),
            within("limits.fuel", limits.fuel.unwrap_or(1), 1, u64::MAX / 2),
        ]
        .into_iter()
        .flatten()
        .chain(tags_problem(&self.tags).map(|problem| self.problem("tags", problem)))
        .chain(self.never_hibernates())
        .chain(self.additions().problem().map(|problem| self.problem("packages", problem)))
        .chain(self.egress.problems().into_iter().map(|(setting, problem)| self.problem(setting, problem)))
        .collect()
    }

    fn never_hibernates(&self) -> Option<InvalidSpecification> {
        let problem =
            || self.problem("snapshot", "is on-hibernate in a pool whose on_cooldown is not hibernate".into());
        (self.snapshot == SnapshotPolicy::OnHibernate && !self.hibernates()).then(problem)
    }

    /// Whether idle sessions go to disk.
    pub fn hibernates(&self) -> bool {
        self.on_cooldown == OnCooldown::Hibernate
    }

    /// Whether sessions are there after the gateway has ended and begun again.
    pub fn survives(&self) -> bool {
        self.durable || self.hibernates()
    }

    /// Whether anything of it goes to the store of snapshots.
    pub fn is_stored(&self) -> bool {
        self.survives() || self.history > 0
    }

    /// Whether a snapshot is taken after each execution.
    pub fn snapshots_each(&self) -> bool {
        self.durable || self.snapshot == SnapshotPolicy::AfterEach
    }

    /// Whether a session that was woken can be rolled back to what it was then.
    pub fn rolls_back_to_waking(&self) -> bool {
        self.durable || self.snapshot != SnapshotPolicy::Never
    }

    fn problem(&self, setting: &'static str, problem: String) -> InvalidSpecification {
        InvalidSpecification { pool: self.name.to_string(), setting, problem }
    }

    /// What the pool adds to its interpreter.
    pub fn additions(&self) -> Additions {
        Additions { packages: self.packages.clone(), preload: self.preload.clone() }
    }

    pub fn cooldown(&self) -> Duration {
        Duration::from_secs(self.cooldown_seconds)
    }

    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes { cooldown: self.cooldown(), retention: Duration::from_secs(self.retention.seconds) }
    }

    /// What a session may use for its whole life.
    pub fn session_limits(&self) -> SessionLimits {
        SessionLimits {
            memory_bytes: self.limits.memory_mebibytes << 20,
            files: FileLimits {
                total_bytes: self.limits.files_bytes,
                file_bytes: self.limits.file_bytes,
                count: self.limits.file_count,
            },
        }
    }
}

/// The hosted platform's limits of tags.
pub(super) fn tags_problem(tags: &BTreeMap<String, String>) -> Option<String> {
    let fits = |(name, value): (&String, &String)| (1..=512).contains(&name.len()) && value.len() <= 256;
    let fine = tags.len() <= 50 && tags.iter().all(fits);
    (!fine).then(|| "must be at most 50, with names of 1 to 512 bytes and values of at most 256".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense() {
        assert_eq!(PoolSpecification::named(PoolName::new("python").unwrap()).problems(), []);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let mut pool = PoolSpecification::named(PoolName::new("python").unwrap());
        pool.max_concurrent_sessions = 0;
        pool.limits.timeout_seconds = 1000;
        pool.snapshot = SnapshotPolicy::OnHibernate;
        let problems: Vec<_> = pool.problems().iter().map(|problem| problem.setting).collect();
        assert_eq!(problems, ["max_concurrent_sessions", "limits.timeout_seconds", "snapshot"]);
    }

    #[test]
    fn credentials_are_not_shown() {
        let text = "name = 'python'\n[egress]\npolicy = 'allow-list'\n[[egress.allow]]\nhost = 'h.example'\n\
                    headers = { Authorization = 'Bearer s3cret' }";
        let pool: PoolSpecification = toml::from_str(text).unwrap();
        assert_eq!(pool.problems(), []);
        assert!(format!("{pool:?}").contains("Authorization") && !format!("{pool:?}").contains("s3cret"));
    }
}

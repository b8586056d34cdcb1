//! What a custom-container pool offers: its image, how its containers are run and watched, how many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::interpreter::Interpreter;
use super::probe::{Probe, ProbeKind};
use super::sidecar::Sidecar;
use crate::egress::connections::{ConnectionPolicy, WayOut};
use crate::pool::specification::tags_problem;
use crate::pool::{InvalidSpecification, PoolName};
use crate::sandbox::container::{ContainerSpecification, Credentials, ImageReference, InstanceId, Resources, agent};

/// One pool's settings, as they stand in the configuration file. Every figure has its unit in its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerPoolSpecification {
    pub name: PoolName,
    /// Pools with an interpreter may do without: theirs is the gateway's own image of a shell.
    #[serde(default = "ImageReference::shell")]
    pub image: ImageReference,
    /// The pool runs what callers send, as pools of interpreters do, instead of forwarding requests.
    #[serde(default)]
    pub interpreter: Option<Interpreter>,
    /// What the image's registry is shown. None: nothing.
    #[serde(default)]
    pub registry: Option<RegistryLogin>,
    /// Instead of the image's entry point and arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// Instead of the image's arguments.
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: Vec<Variable>,
    /// Values by name, for `secret_ref`. Whoever writes a specification down does not write these.
    #[serde(default, skip_serializing)]
    pub secrets: BTreeMap<String, Secret>,
    /// Where the container listens: requests are forwarded there. None, or 0, in pools with an interpreter.
    #[serde(default)]
    pub target_port: u16,
    #[serde(default)]
    pub resources: ContainerResources,
    /// Nothing but `/tmp` and `/dev/shm` can be written.
    #[serde(default)]
    pub read_only: bool,
    /// Containers kept started for new identifiers.
    #[serde(default = "defaults::ready_session_instances")]
    pub ready_session_instances: usize,
    /// Containers at once, the ready ones included; a further identifier is refused with 429.
    #[serde(default = "defaults::max_concurrent_sessions")]
    pub max_concurrent_sessions: usize,
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// Where its containers may connect to. Nowhere unless told.
    #[serde(default)]
    pub egress: ConnectionPolicy,
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// Further containers of each session.
    #[serde(default, rename = "sidecar")]
    pub sidecars: Vec<Sidecar>,
    /// Between SIGTERM and SIGKILL when a session is ended.
    #[serde(default = "defaults::termination_grace_seconds")]
    pub termination_grace_seconds: u64,
    /// How long the first request of an identifier may wait for its container.
    #[serde(default = "defaults::allocation_timeout_seconds")]
    pub allocation_timeout_seconds: u64,
    /// Whom its use is charged to, in words of the operator's.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whether what its containers write is kept in the records.
    #[serde(default = "defaults::console_log")]
    pub console_log: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryLogin {
    pub username: String,
    /// A name of `secrets`.
    pub password_secret_ref: String,
}

/// A variable of the container's environment: a value, or the name of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    pub name: String,
    #[serde(default)]
    pub value: Option<String>,
    #[serde(default)]
    pub secret_ref: Option<String>,
}

/// A value that is not shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// What one session may use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContainerResources {
    /// Processors; fractions are shares of one.
    pub cpu: f64,
    /// Files that it writes lie in memory and count.
    pub memory_mebibytes: u64,
    /// Files that it writes. None: half the memory.
    pub disk_mebibytes: Option<u64>,
    /// Processes and threads.
    pub pids: u32,
}

impl Default for ContainerResources {
    fn default() -> Self {
        // The hosted service's smallest size but one; enough threads for a language server and its children.
        Self { cpu: 0.5, memory_mebibytes: 1024, disk_mebibytes: None, pids: 512 }
    }
}

impl ContainerResources {
    fn problems(&self) -> Vec<(&'static str, String)> {
        let within = |setting, value: u64, min: u64, max: u64| {
            (!(min..=max).contains(&value)).then(|| (setting, format!("is {value}; it must be from {min} to {max}")))
        };
        let cpu = (!(0.01..=1024.0).contains(&self.cpu))
            .then(|| ("resources.cpu", format!("is {}; it must be from 0.01 to 1024", self.cpu)));
        [
            within("resources.memory_mebibytes", self.memory_mebibytes, 8, 1 << 20),
            within("resources.disk_mebibytes", self.disk_mebibytes.unwrap_or(1), 1, 1 << 20),
            within("resources.pids", self.pids.into(), 1, 1 << 16),
            cpu,
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn of_container(&self) -> Resources {
        let memory_bytes = self.memory_mebibytes << 20;
        Resources {
            cpus: self.cpu,
            memory_bytes,
            disk_bytes: self.disk_mebibytes.map_or(memory_bytes / 2, |mebibytes| mebibytes << 20),
            pids: self.pids,
        }
    }
}

/// When a session ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Lifecycle {
    /// So long after its last request.
    Timed { cooldown_seconds: u64 },
    /// When its container exits, and so long after it began at the latest.
    OnContainerExit { max_alive_seconds: u64 },
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::Timed { cooldown_seconds: 300 }
    }
}

mod defaults {
    pub const fn ready_session_instances() -> usize {
        1
    }
    pub const fn max_concurrent_sessions() -> usize {
        10
    }
    pub const fn termination_grace_seconds() -> u64 {
        5
    }
    pub const fn allocation_timeout_seconds() -> u64 {
        60
    }
    pub const fn console_log() -> bool {
        true
    }
}

impl ContainerPoolSpecification {
    pub const MAX_SESSIONS: usize = 5000;

    /// Everything that makes no sense in it.
    pub fn problems(&self) -> Vec<InvalidSpecification> {
        let tell = |setting, problem: String| InvalidSpecification { pool: self.name.to_string(), setting, problem };
        let within = |setting, value: u64, min: u64, max: u64| {
            let problem = format!("is {value}; it must be from {min} to {max}");
            (!(min..=max).contains(&value)).then(|| tell(setting, problem))
        };
        let max = self.max_concurrent_sessions as u64;
        let (age_setting, age) = match self.lifecycle {
            Lifecycle::Timed { cooldown_seconds } => ("lifecycle.cooldown_seconds", cooldown_seconds),
            Lifecycle::OnContainerExit { max_alive_seconds } => ("lifecycle.max_alive_seconds", max_alive_seconds),
        };
        let mut problems: Vec<_> = [
            within("max_concurrent_sessions", max, 1, Self::MAX_SESSIONS as u64),
            within("ready_session_instances", self.ready_session_instances as u64, 0, max),
            within("termination_grace_seconds", self.termination_grace_seconds, 0, 3600),
            within("allocation_timeout_seconds", self.allocation_timeout_seconds, 1, 3600),
            within(age_setting, age, 1, 30 * 86_400),
        ]
        .into_iter()
        .flatten()
        .collect();
        problems.extend(self.kind_problems().into_iter().map(|(setting, problem)| tell(setting, problem)));
        problems.extend(self.resources.problems().into_iter().map(|(setting, problem)| tell(setting, problem)));
        problems.extend(self.env_problems(&self.env).into_iter().map(|problem| tell("env", problem)));
        if let Some(login) = &self.registry
            && !self.secrets.contains_key(&login.password_secret_ref)
        {
            problems
                .push(tell("registry", format!("names the secret {}, which is not there", login.password_secret_ref)));
        }
        problems.extend(probe_problems(&self.probes).into_iter().map(|problem| tell("probes", problem)));
        problems.extend(self.sidecar_problems().into_iter().map(|problem| tell("sidecar", problem)));
        problems.extend(self.egress.problems().into_iter().map(|(setting, problem)| tell(setting, problem)));
        problems.extend(tags_problem(&self.tags).map(|problem| tell("tags", problem)));
        problems
    }

    fn env_problems(&self, env: &[Variable]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut names = BTreeSet::new();
        for variable in env {
            let name = &variable.name;
            if name.is_empty() || name.contains(['=', '\0']) {
                problems.push(format!("has a variable called {name:?}"));
            }
            if !names.insert(name) {
                problems.push(format!("has {name} twice"));
            }
            match (&variable.value, &variable.secret_ref) {
                (Some(value), None) if !value.contains('\0') => {}
                (None, Some(secret)) if self.secrets.contains_key(secret) => {}
                (None, Some(secret)) => problems.push(format!("names the secret {secret}, which is not there")),
                _ => problems.push(format!("needs for {name} either a value or a secret_ref")),
            }
        }
        problems
    }

    fn sidecar_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut names = BTreeSet::new();
        if self.sidecars.len() > Sidecar::MOST {
            problems.push(format!(
                "has {} of them; at most {} go with a container",
                self.sidecars.len(),
                Sidecar::MOST
            ));
        }
        for sidecar in &self.sidecars {
            let name = &sidecar.name;
            if !sidecar.has_good_name() {
                problems.push(format!(
                    "has the name {name:?}; names have lower-case letters, digits and hyphens, at most 63"
                ));
            }
            if !names.insert(name) {
                problems.push(format!("has {name} twice"));
            }
            let resources = sidecar.resources.problems();
            let resources = resources.into_iter().map(|(setting, problem)| format!("{name}: {setting} {problem}"));
            problems.extend(resources);
            problems
                .extend(self.env_problems(&sidecar.env).into_iter().map(|problem| format!("{name}: env {problem}")));
            problems
                .extend(probe_problems(&sidecar.probes).into_iter().map(|problem| format!("{name}: probes {problem}")));
        }
        problems
    }

    /// What does not go with forwarding requests, or with running what callers send.
    fn kind_problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut tell = |setting, problem: &str| problems.push((setting, problem.to_owned()));
        let Some(interpreter) = &self.interpreter else {
            if self.target_port == 0 {
                tell("target_port", "is 0; it must be from 1 to 65535");
            }
            if self.image == ImageReference::shell() {
                tell("image", "is missing, or is that of shells, which is for pools with an interpreter");
            }
            return problems;
        };
        for (setting, given) in [
            ("target_port", self.target_port != 0),
            ("command", !self.command.is_empty()),
            ("args", !self.args.is_empty()),
            ("probes", !self.probes.is_empty()),
            ("read_only", self.read_only),
        ] {
            if given {
                tell(setting, "does not go with an interpreter, in whose containers the gateway's agent runs");
            }
        }
        problems.extend(interpreter.problems());
        problems
    }

    /// Where containers listen, once they have started.
    pub fn port(&self) -> u16 {
        if self.interpreter.is_some() { agent::PORT } else { self.target_port }
    }

    pub fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        self.probes.iter().find(|probe| probe.kind == kind)
    }

    /// Whether any of its containers is asked for its health.
    pub(super) fn has_liveness(&self) -> bool {
        let mut all = self.probes.iter().chain(self.sidecars.iter().flat_map(|sidecar| &sidecar.probes));
        all.any(|probe| probe.kind == ProbeKind::Liveness)
    }

    /// What the registry of `image` is shown: the password is for the registry of the pool's own image.
    pub fn credentials(&self, image: &ImageReference) -> Credentials {
        let login = self.registry.as_ref().filter(|_| image.registry() == self.image.registry()).and_then(|login| {
            let password = self.secrets.get(&login.password_secret_ref)?.0.clone();
            Some(Credentials::Password { username: login.username.clone(), password })
        });
        login.unwrap_or_default()
    }

    /// The images of a session: the first container's, and those of its sidecars.
    pub(super) fn images(&self) -> impl Iterator<Item = &ImageReference> {
        std::iter::once(&self.image).chain(self.sidecars.iter().map(|sidecar| &sidecar.image))
    }

    /// A further container of this pool.
    pub(super) fn container(&self, way_out: Option<Arc<WayOut>>) -> ContainerSpecification {
        ContainerSpecification {
            id: InstanceId::random(),
            command: self.command.clone(),
            args: self.args.clone(),
            environment: self.environment(&self.env),
            resources: self.resources.of_container(),
            read_only: self.read_only,
            way_out,
            agent: self.interpreter.is_some(),
        }
    }

    /// A further container of one of its sidecars.
    pub(super) fn beside(&self, sidecar: &Sidecar) -> ContainerSpecification {
        ContainerSpecification {
            id: InstanceId::random(),
            command: sidecar.command.clone(),
            args: sidecar.args.clone(),
            environment: self.environment(&sidecar.env),
            resources: sidecar.resources.of_container(),
            read_only: sidecar.read_only,
            way_out: None,
            agent: false,
        }
    }

    fn environment(&self, env: &[Variable]) -> BTreeMap<String, String> {
        let secret = |name: &String| self.secrets.get(name).map(|secret| secret.0.clone());
        let value = |variable: &Variable| {
            variable.value.clone().or_else(|| variable.secret_ref.as_ref().and_then(secret)).unwrap_or_default()
        };
        env.iter().map(|variable| (variable.name.clone(), value(variable))).collect()
    }

    /// Files that a session may write.
    pub fn disk_bytes(&self) -> u64 {
        self.resources.of_container().disk_bytes
    }

    pub(super) fn grace(&self) -> Duration {
        Duration::from_secs(self.termination_grace_seconds)
    }

    pub(super) fn allocation_timeout(&self) -> Duration {
        Duration::from_secs(self.allocation_timeout_seconds)
    }
}

fn probe_problems(probes: &[Probe]) -> Vec<String> {
    let kinds = [ProbeKind::Startup, ProbeKind::Liveness];
    let twice = kinds.into_iter().filter(|kind| probes.iter().filter(|probe| probe.kind == *kind).count() > 1);
    let mut problems: Vec<_> = twice.map(|kind| format!("has two of the type {kind:?}")).collect();
    problems.extend(probes.iter().flat_map(Probe::problems));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(more: &str) -> Vec<&'static str> {
        let text = format!("name = 'app'\nimage = 'registry.example/app:1'\n{more}");
        let pool: ContainerPoolSpecification = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
        pool.problems().iter().map(|problem| problem.setting).collect()
    }

    #[test]
    fn little_is_needed() {
        assert_eq!(problems("target_port = 80"), Vec::<&str>::new());
    }

    #[test]
    fn a_shell_needs_even_less() {
        let text = "name = 'shell'\ninterpreter = { language = 'shell' }";
        let pool: ContainerPoolSpecification = toml::from_str(text).unwrap();
        assert_eq!(pool.problems(), []);
        assert_eq!(pool.image, ImageReference::shell());
        assert!(pool.container(None).agent && pool.port() > 0);
    }

    #[test]
    fn what_an_interpreter_leaves_no_room_for() {
        let text = "interpreter = { language = 'code' }\ntarget_port = 80\ncommand = ['x']\nread_only = true";
        assert_eq!(problems(text), ["target_port", "command", "read_only", "interpreter.command"]);
        assert_eq!(problems(""), ["target_port"]);
    }

    #[test]
    fn the_documented_probes_are_taken() {
        let text = "target_port = 8080\nready_session_instances = 5\n\
            [[probes]]\ntype = 'liveness'\nhttp_get = { path = '/health', port = 8080 }\nperiod_seconds = 10\n\
            [[probes]]\ntype = 'startup'\nhttp_get = { path = '/ready', port = 8080 }\nperiod_seconds = 5\nfailure_threshold = 30";
        assert_eq!(problems(text), Vec::<&str>::new());
    }

    #[test]
    fn what_makes_no_sense_is_told_at_once() {
        let text = "target_port = 0\nready_session_instances = 11\nresources = { cpu = 0.0, memory_mebibytes = 1 }\n\
            lifecycle = { type = 'timed', cooldown_seconds = 0 }\n\
            env = [{ name = 'A=B', value = '' }, { name = 'C' }, { name = 'D', secret_ref = 'gone' }]\n\
            registry = { username = 'u', password_secret_ref = 'gone' }";
        let told = problems(text);
        for setting in [
            "target_port",
            "ready_session_instances",
            "resources.memory_mebibytes",
            "lifecycle.cooldown_seconds",
            "resources.cpu",
            "registry",
        ] {
            assert!(told.contains(&setting), "{setting}: {told:?}");
        }
        assert_eq!(told.iter().filter(|setting| **setting == "env").count(), 3);
    }

    #[test]
    fn sidecars_are_checked_like_the_first_container() {
        let sidecar =
            |more: &str| format!("target_port = 80\n[[sidecar]]\nname = 'a'\nimage = 'registry.example/b'\n{more}");
        assert_eq!(problems(&sidecar("")), Vec::<&str>::new());
        for wrong in [
            "resources = { cpu = 0.0 }",
            "resources = { memory_mebibytes = 1 }",
            "env = [{ name = 'D', secret_ref = 'gone' }]",
            "probes = [{ type = 'startup' }]",
            "[[sidecar]]\nname = 'a'\nimage = 'registry.example/c'",
            "[[sidecar]]\nname = 'A b'\nimage = 'registry.example/c'",
        ] {
            assert_eq!(problems(&sidecar(wrong)), ["sidecar"], "{wrong}");
        }
    }

    #[test]
    fn the_password_is_for_its_registry_alone() {
        let text = "name = 'app'\nimage = 'registry.example/app:1'\ntarget_port = 80\nsecrets = { r = 's3cret' }\n\
            registry = { username = 'u', password_secret_ref = 'r' }";
        let pool: ContainerPoolSpecification = toml::from_str(text).unwrap();
        let shown = |image: &str| !matches!(pool.credentials(&image.parse().unwrap()), Credentials::Anonymous);
        assert!(shown("registry.example/other:2") && !shown("other.example/app:1"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "name = 'app'\nimage = 'registry.example/app:1'\ntarget_port = 80\nsecrets = { token = 's3cret' }\n\
            env = [{ name = 'TOKEN', secret_ref = 'token' }]";
        let pool: ContainerPoolSpecification = toml::from_str(text).unwrap();
        assert_eq!(pool.container(None).environment["TOKEN"], "s3cret");
        assert!(!format!("{pool:?}{:?}", pool.container(None)).contains("s3cret"));
    }
}

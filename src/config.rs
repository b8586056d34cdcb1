//! The tree of settings, and the only place that knows environment variables.
//!
//! A setting comes from the command line, else from the file, else from its default. A bad value stops the start
//! before any port is bound, and all bad values are named at once.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::access::AccessSettings;
use crate::access::limits::LimitSettings;
use crate::access::token::{IdentitySettings, IssuerSettings};
use crate::api::serve::TlsSettings;
use crate::otlp::OtlpSettings;
use crate::pool::container::ContainerPoolSpecification;
use crate::pool::{PoolName, PoolSpecification};
use crate::records::RecordsSettings;
use crate::sandbox::container::runtime::OciSettings;
use crate::telemetry::LogFormat;

/// Everything that `sandpool serve` can be told in a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Blobs of large files, snapshots, and the records.
    pub data_dir: PathBuf,
    /// Builds of interpreters.
    pub cache_dir: PathBuf,
    /// Memory that the process may have to itself before idle sessions hibernate, in pools that do so. 0: three quarters of
    /// what the machine, or its control group, has left at the start.
    pub session_memory_bytes: u64,
    /// The most that all snapshots may have of the disk. 0: what there is.
    pub snapshots_bytes: u64,
    /// A file with the 32 bytes that snapshots are sealed with, made when it is not there. Gateways that take in each other's
    /// exported sessions share one. None: `snapshot.key` in the data directory.
    pub snapshot_key: Option<PathBuf>,
    /// Bearer keys of the callers. None: everybody who reaches the port.
    pub keys: Vec<String>,
    /// Whose tokens are taken.
    #[serde(rename = "issuer")]
    pub issuers: Vec<IssuerSettings>,
    /// The token endpoint for clients of a managed identity. None: there is none.
    pub identity: Option<IdentitySettings>,
    /// How much callers may use.
    pub limits: LimitSettings,
    /// Listen with TLS.
    pub tls: Option<TlsSettings>,
    /// Listen beyond loopback without keys.
    pub insecure: bool,
    /// How long running executions may go on after SIGTERM.
    pub grace_seconds: u64,
    /// Threads that guests run on; 0: one a processor.
    pub guest_threads: usize,
    /// A `tracing` filter, such as `info` or `sandpool=debug`.
    pub log: String,
    pub log_format: LogFormat,
    /// What is kept of what happens.
    pub records: RecordsSettings,
    /// Where telemetry is exported to; see [`Settings::otlp`].
    pub otlp: OtlpSettings,
    /// One table a pool; none: a pool called `python`.
    #[serde(rename = "pool")]
    pub pools: Vec<PoolSpecification>,
    /// One table a pool of containers. Where there is one, and no other pool, there is no `python` either.
    #[serde(rename = "container_pool")]
    pub container_pools: Vec<ContainerPoolSpecification>,
    /// How containers are run. None: only if a pool needs them.
    pub containers: Option<OciSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            data_dir: default_data_dir(),
            cache_dir: default_cache_dir(),
            session_memory_bytes: 0,
            snapshots_bytes: 0,
            snapshot_key: None,
            keys: Vec::new(),
            issuers: Vec::new(),
            identity: None,
            limits: LimitSettings::default(),
            tls: None,
            insecure: false,
            grace_seconds: 30,
            guest_threads: 0,
            log: env::var("SANDPOOL_LOG").unwrap_or_else(|_| "info".into()),
            log_format: LogFormat::Text,
            records: RecordsSettings::default(),
            otlp: OtlpSettings::default(),
            pools: vec![PoolSpecification::named(PoolName::new("python").expect("it is a name"))],
            container_pools: Vec::new(),
            containers: None,
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    #[error("{path} cannot be read: {source}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} is not a configuration file of sandpool:\n{source}", path = path.display())]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("these settings make no sense:\n  {}", .0.join("\n  "))]
    Values(Vec<String>),
}

impl Settings {
    /// Reads a configuration file (TOML).
    ///
    /// # Errors
    /// When it cannot be read, or holds a key that nothing reads.
    pub fn read(path: &Path) -> Result<Self, InvalidSettings> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| InvalidSettings::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|source| InvalidSettings::Syntax { path: path.to_owned(), source: Box::new(source) })
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let mut settings: Self = toml::from_str(text)?;
        let table: toml::Table = toml::from_str(text)?;
        if !settings.container_pools.is_empty() && !table.contains_key("pool") {
            settings.pools.clear();
        }
        Ok(settings)
    }

    /// Checks what no type checks.
    ///
    /// # Errors
    /// All that is wrong, together.
    pub fn check(&self) -> Result<(), InvalidSettings> {
        let mut wrong: Vec<String> =
            self.pools.iter().flat_map(PoolSpecification::problems).map(|problem| problem.to_string()).collect();
        wrong.extend(self.container_pools.iter().flat_map(|pool| pool.problems()).map(|problem| problem.to_string()));
        let mut names = BTreeSet::new();
        let all = self.pools.iter().map(|pool| &pool.name).chain(self.container_pools.iter().map(|pool| &pool.name));
        wrong.extend(all.filter(|name| !names.insert(*name)).map(|name| format!("pool {name}: the name is taken")));
        wrong.extend(self.containers.iter().flat_map(OciSettings::problems));
        wrong.extend(self.records.problems());
        wrong.extend(self.otlp().problems());
        if self.pools.is_empty() && self.container_pools.is_empty() {
            wrong.push("pool: there is none".into());
        }
        if self.keys.iter().any(|key| key.len() < 16) {
            wrong.push("keys: a key must have at least 16 characters".into());
        }
        wrong.extend(self.issuers.iter().flat_map(IssuerSettings::problems));
        wrong.extend(self.limits.problems());
        wrong.extend(self.identity.iter().flat_map(IdentitySettings::problems));
        if wrong.is_empty() { Ok(()) } else { Err(InvalidSettings::Values(wrong)) }
    }

    /// Checks that an open gateway is not within everybody's reach. `open`: nobody has to show anything.
    ///
    /// # Errors
    /// What to do about it.
    pub fn check_exposure(&self, open: bool) -> Result<(), InvalidSettings> {
        if self.listen.ip().is_loopback() || !open || self.insecure {
            return Ok(());
        }
        Err(InvalidSettings::Values(vec![format!(
            "listen: {} can be reached from other machines, and without keys anybody there could run code; \
             make one (sandpool key create --local), or say --insecure if something in front of it checks the callers",
            self.listen
        )]))
    }

    /// Who may call.
    pub fn access(&self) -> AccessSettings {
        AccessSettings {
            keys: self.keys.clone(),
            issuers: self.issuers.clone(),
            identity: self.identity.clone(),
            limits: self.limits.clone(),
        }
    }

    /// The file of the key of snapshots.
    pub fn snapshot_key(&self) -> PathBuf {
        self.snapshot_key.clone().unwrap_or_else(|| self.data_dir.join("snapshot.key"))
    }

    /// Where telemetry is exported to. What the file does not say is taken from OpenTelemetry's own environment variables.
    pub fn otlp(&self) -> OtlpSettings {
        let mut otlp = self.otlp.clone();
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        otlp.endpoint = otlp.endpoint.or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
        if otlp.headers.is_empty() {
            otlp.headers = set("OTEL_EXPORTER_OTLP_HEADERS").map(|text| header_list(&text)).unwrap_or_default();
        }
        if otlp.service_name == OtlpSettings::default().service_name {
            otlp.service_name = set("OTEL_SERVICE_NAME").unwrap_or(otlp.service_name);
        }
        otlp
    }

    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds)
    }

    /// Guest threads to start.
    pub fn guest_threads(&self) -> usize {
        match self.guest_threads {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            told => told,
        }
    }
}

/// `$SANDPOOL_CACHE_DIR`, else `sandpool` in the user's cache directory.
pub fn default_cache_dir() -> PathBuf {
    folder("SANDPOOL_CACHE_DIR", "XDG_CACHE_HOME", ".cache")
}

/// `$SANDPOOL_DATA_DIR`, else `sandpool` in the user's data directory.
pub fn default_data_dir() -> PathBuf {
    folder("SANDPOOL_DATA_DIR", "XDG_DATA_HOME", ".local/share")
}

/// `$SANDPOOL_URL`: the pool or gateway that the client commands call.
pub fn default_url() -> String {
    env::var("SANDPOOL_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".into())
}

/// `$SANDPOOL_KEY`: the bearer key of the client commands.
pub fn default_key() -> Option<String> {
    env::var("SANDPOOL_KEY").ok().filter(|key| !key.is_empty())
}

/// `name=value,name=value`, the values percent-encoded. What has no `=` is left out, as OpenTelemetry's libraries do.
fn header_list(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let decode = |value: &str| percent_encoding::percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
    pairs.map(|(name, value)| (name.trim().to_ascii_lowercase(), decode(value))).collect()
}

fn folder(own: &str, xdg: &str, below_home: &str) -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(own)
        .or_else(|| set(xdg).map(|folder| folder.join("sandpool")))
        .or_else(|| set("HOME").map(|home| home.join(below_home).join("sandpool")))
        .unwrap_or_else(|| env::temp_dir().join("sandpool"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        Settings::default().check().unwrap();
    }

    #[test]
    fn headers_are_read_as_open_telemetry_writes_them() {
        let read = header_list("Authorization=Basic%20abc, x-team = a=b ,nothing");
        let expected = [("authorization", "Basic abc"), ("x-team", "a=b")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn beyond_loopback_needs_keys_or_a_word() {
        let open = Settings { listen: "0.0.0.0:80".parse().unwrap(), ..Settings::default() };
        assert!(open.check_exposure(true).unwrap_err().to_string().contains("--insecure"));
        open.check_exposure(false).unwrap();
        Settings { insecure: true, ..open }.check_exposure(true).unwrap();
        Settings::default().check_exposure(true).unwrap();
    }

    #[test]
    fn a_key_that_nothing_reads_is_refused() {
        let error = toml::from_str::<Settings>("lisen = '127.0.0.1:1'").unwrap_err();
        assert!(error.to_string().contains("lisen"), "{error}");
        let pool = toml::from_str::<Settings>("[[pool]]\nname = 'a'\nlimits = { fule = 1 }").unwrap_err();
        assert!(pool.to_string().contains("fule"), "{pool}");
    }

    #[test]
    fn a_pool_of_containers_may_be_the_only_one() {
        let app = "[[container_pool]]\nname = 'app'\nimage = 'registry.example/app'\ntarget_port = 80\n";
        let settings = Settings::parse(app).unwrap();
        settings.check().unwrap();
        assert_eq!((settings.pools.len(), settings.container_pools.len()), (0, 1));
        let both = Settings::parse(&format!("[[pool]]\nname = 'app'\n{app}")).unwrap();
        assert!(both.check().unwrap_err().to_string().contains("the name is taken"));
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let text = "keys = ['short']\n[[pool]]\nname = 'a'\ncooldown_seconds = 0\n[[pool]]\nname = 'A'\n\
            [containers]\nunattended_seconds = 0\n";
        let error = toml::from_str::<Settings>(text).unwrap().check().unwrap_err().to_string();
        for part in ["cooldown_seconds", "unattended_seconds", "the name is taken", "16 characters"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

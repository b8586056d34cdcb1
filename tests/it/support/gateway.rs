//! The real binary, serving on a port of its own.
//!
//! ```no_run
//! let gateway = Gateway::start();                    // its own; ends with the variable
//! let gateway = Gateway::configured("grace_seconds = 1\n[[pool]]\nname = 'python'\nedition = 'base'");
//! let gateway = Gateway::shared();                   // one for all tests that leave the gateway as it is
//! let url = gateway.pool_url("python");              // http://127.0.0.1:PORT/pools/python
//! ```

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Pools of [`Gateway::start`] and [`Gateway::shared`]: `python` with the defaults, and `brief`, whose executions end
/// after two seconds unless they ask for more. The base edition, so that no test builds the full one. Few ready sessions, since many gateways run at once.
const POOLS: &str = "
[[pool]]
name = 'python'
edition = 'base'
ready_session_instances = 2

[[pool]]
name = 'brief'
edition = 'base'
ready_session_instances = 1
limits = { timeout_seconds = 2 }
";

/// The first start of all builds the interpreter; later ones take a second.
const START_SECONDS: u64 = 60 * 60;
/// More than any test's `grace_seconds`.
const STOP_SECONDS: u64 = 60;

/// A running gateway. Dropping it stops it: SIGTERM, and SIGKILL if that does not help.
pub struct Gateway {
    child: Mutex<Child>,
    url: String,
    log: Log,
    /// Ends with the gateway, unless it was given one.
    _folder: TempDir,
}

impl Gateway {
    /// A gateway with the pools `python` and `brief`.
    pub fn start() -> Self {
        Self::configured(POOLS)
    }

    /// A gateway with this configuration file; its address and its data folder are given.
    pub fn configured(settings: &str) -> Self {
        Self::with_environment(settings, &[])
    }

    /// The same, with further environment variables.
    pub fn with_environment(settings: &str, environment: &[(&str, &Path)]) -> Self {
        Self::run(settings, environment, None)
    }

    /// A gateway on data that another one has left there.
    pub fn on_data(settings: &str, data_dir: &Path) -> Self {
        Self::run(settings, &[], Some(data_dir))
    }

    fn run(settings: &str, environment: &[(&str, &Path)], data_dir: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().expect("the machine has room for temporary files");
        let own = folder.path().join("data");
        let file = folder.path().join("sandpool.toml");
        std::fs::write(&file, settings).expect("the folder is ours");
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
        command.arg("--data-dir").arg(data_dir.unwrap_or(&own));
        // Whoever runs the tests may export telemetry of their own.
        for name in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME"] {
            command.env_remove(name);
        }
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(command);
        let log = Log::of(child.stderr.take().expect("it is piped"));
        match ready_line(&mut child) {
            Ok(url) => Self { child: Mutex::new(child), url, log, _folder: folder },
            Err(problem) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the gateway did not start: {problem}\n{}", log.text());
            }
        }
    }

    /// The gateway of all tests that only add sessions of their own.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Gateway> = LazyLock::new(Gateway::start);
        &SHARED
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The short form of a pool's endpoint.
    pub fn pool_url(&self, pool: &str) -> String {
        format!("{}/pools/{pool}", self.url)
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Asks it to drain (SIGTERM), without waiting.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Ends it as a crash would (SIGKILL).
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
        self.wait();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it takes more than a minute.
    pub fn wait(&self) -> ExitStatus {
        self.ended(Duration::from_secs(STOP_SECONDS)).unwrap_or_else(|| panic!("it does not end:\n{}", self.log()))
    }

    fn signal(&self, signal: libc::c_int) {
        let pid = self.child.lock().expect("nothing panics with it").id();
        // SAFETY: a plain system call. The process is our child and is only reaped by `ended`, so the id is still its.
        unsafe { libc::kill(libc::pid_t::try_from(pid).expect("process ids are small"), signal) };
    }

    fn ended(&self, within: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + within;
        loop {
            let status = self.child.lock().expect("nothing panics with it").try_wait().expect("it is our child");
            if status.is_some() || Instant::now() > end {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.ended(Duration::ZERO).is_none() {
            self.signal(libc::SIGTERM);
        }
        if self.ended(Duration::from_secs(STOP_SECONDS)).is_none() {
            self.signal(libc::SIGKILL);
            self.ended(Duration::from_secs(STOP_SECONDS));
        }
        if thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log());
        }
    }
}

/// Settings of a gateway whose containers end with it, as everything ends that a test has started.
pub const ENDS_CONTAINERS: &str = "[containers]\noutlive_gateway = false\n";

/// Starts a process that does not outlive the tests, however they end: the kernel kills it when the thread that
/// started it ends (`PR_SET_PDEATHSIG`), so one thread starts all of them and never ends by itself.
fn spawn(command: Command) -> Child {
    type Order = (Command, Sender<std::io::Result<Child>>);
    static SPAWNER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
        let (orders, received): (Sender<Order>, Receiver<Order>) = mpsc::channel();
        thread::spawn(move || {
            for (mut command, answer) in received {
                // SAFETY: prctl is one system call; it allocates nothing and takes no lock.
                unsafe {
                    command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                        0 => Ok(()),
                        _ => Err(std::io::Error::last_os_error()),
                    });
                }
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, answered) = mpsc::channel();
    SPAWNER.lock().expect("nothing panics with it").send((command, answer)).expect("the spawner never ends");
    answered.recv().expect("the spawner answers").expect("the gateway's binary can be started")
}

/// Waits for `listening on http://ADDRESS` and gives the address.
fn ready_line(child: &mut Child) -> Result<String, String> {
    let stdout = child.stdout.take().expect("it is piped");
    let (sender, lines) = mpsc::channel();
    // Reads on to the end, so that the gateway never meets a full or a broken pipe.
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    match lines.recv_timeout(Duration::from_secs(START_SECONDS)) {
        Ok(line) => match line.strip_prefix("listening on ") {
            Some(url) => Ok(url.to_owned()),
            None => Err(format!("its first line is {line:?}")),
        },
        Err(RecvTimeoutError::Timeout) => Err(format!("nothing in {START_SECONDS} seconds")),
        Err(RecvTimeoutError::Disconnected) => Err(format!("it ended: {:?}", child.wait())),
    }
}

/// Collects stderr. Lines of progress (`sandpool: …`, as while the interpreter is built) are shown as they come, past
/// the test harness's capture: otherwise the first run would be silent for many minutes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn of(stderr: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let kept = log.clone();
        thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = Vec::new();
            while stderr.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                if line.starts_with(b"sandpool: ") {
                    let _ = std::io::stderr().write_all(&line);
                }
                kept.0.lock().expect("nothing panics with it").append(&mut line);
            }
        });
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nothing panics with it")).into_owned()
    }
}

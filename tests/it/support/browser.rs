//! A headless Chromium, driven over its own protocol through two pipes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than any page takes, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page. It ends when this is dropped.
pub struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    calls: u64,
    page: String,
    /// What the page complained of: exceptions, refused resources, violations of its policy.
    pub complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// None where there is no Chromium; a test that is left out says so.
    pub fn start() -> Option<Self> {
        let profile = tempfile::tempdir().expect("the machine has room for temporary files");
        let ((child_reads, to), (from, child_writes)) = (pipe(), pipe());
        let mut command = Command::new("chromium");
        // Without its own sandbox, which the tests' user (root, in CI) may not set up; it only shows our own page.
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-pipe",
        ]);
        command.args(["--no-first-run", "--disable-extensions", "--window-size=1200,800", "about:blank"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let (reads, writes) = (child_reads.as_raw_fd(), child_writes.as_raw_fd());
        // SAFETY: plain system calls, which allocate nothing. The protocol wants these two numbers. They may be taken by one
        // another, so both are first moved out of the way.
        unsafe {
            command.pre_exec(move || {
                let (reads, writes) = (libc::fcntl(reads, libc::F_DUPFD, 10), libc::fcntl(writes, libc::F_DUPFD, 10));
                let moved = libc::dup2(reads, 3) == 3 && libc::dup2(writes, 4) == 4;
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if moved { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            });
        }
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                eprintln!("left out: chromium cannot be started ({error}); install it with: apt-get install chromium");
                return None;
            }
        };
        let (to, from) = (File::from(to), BufReader::new(File::from(from)));
        let mut browser =
            Self { child, to, from, calls: 0, page: String::new(), complaints: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.page = attached["sessionId"].as_str().expect("the page has a session").to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        Some(browser)
    }

    pub fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.value(expression) != true {
            if Instant::now() > end {
                let seen = self.value("document.body.innerText");
                panic!("{expression} did not come true; the page says: {seen}; and complains of {:?}", self.complaints);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the page shows, as PNG.
    pub fn screenshot(&mut self) -> Vec<u8> {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().expect("an image")).expect("base64")
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": parameters});
        if !self.page.is_empty() {
            message["sessionId"] = self.page.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser reads");
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).expect("the browser writes");
            assert!(!bytes.is_empty(), "the browser ended");
            let answer: Value = serde_json::from_slice(&bytes[..bytes.len() - 1]).expect("it writes JSON");
            if answer["id"] == self.calls {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.hear(&answer);
        }
    }

    fn hear(&mut self, event: &Value) {
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(event["params"].to_string()),
            Some("Log.entryAdded") if event["params"]["entry"]["level"] == "error" => {
                self.complaints.push(event["params"]["entry"].to_string());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end to read from and the end to write to; neither is handed to other processes.
fn pipe() -> (OwnedFd, OwnedFd) {
    let (reads, writes) = std::io::pipe().expect("the system has pipes");
    (reads.into(), writes.into())
}

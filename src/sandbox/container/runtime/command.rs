//! The runtime's command line. Every call blocks until the runtime has ended.

use std::fs;
use std::io::{self, PipeWriter, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::gvisor;
use super::version::{self, Found};
use crate::sandbox::container::{ContainerError, InstanceId, Isolation};

/// An OCI runtime, and where it keeps its records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Runtime {
    /// `runc`, `crun`, `runsc`.
    pub engine: String,
    pub program: PathBuf,
    /// The runtime's own folder of records; nobody else's containers are in it.
    pub records: PathBuf,
}

/// More of a runtime's complaint is not read.
const MAX_COMPLAINT_BYTES: u64 = 64 * 1024;

impl Runtime {
    /// What stands between its containers and the machine.
    pub(super) fn isolation(&self) -> Isolation {
        if self.engine == "runsc" { Isolation::UserKernel } else { Isolation::Container }
    }

    /// Asks for its version.
    pub(super) fn version(&self) -> Result<Found, String> {
        let output = Command::new(&self.program).arg("--version").stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{} cannot be run: {error}", self.program.display()))?;
        version::read(&self.engine, &String::from_utf8_lossy(&output.stdout))
    }

    /// Makes the container of `bundle`; gives its process, which waits to be started. What the container writes goes to
    /// the two pipes.
    pub(super) fn create(
        &self,
        id: &InstanceId,
        bundle: &Path,
        stdout: PipeWriter,
        stderr: PipeWriter,
    ) -> Result<i32, ContainerError> {
        let pid_file = bundle.join("pid");
        let mut command = self.command(bundle);
        command.arg("create").arg("--bundle").arg(bundle).arg("--pid-file").arg(&pid_file).arg(id.as_str());
        command.stdout(stdout).stderr(stderr);
        self.run(command, bundle, "creating a container")?;
        let pid = fs::read_to_string(pid_file).map_err(ContainerError::during("reading a container's process id"))?;
        pid.trim().parse().map_err(ContainerError::during("reading a container's process id"))
    }

    pub(super) fn start(&self, id: &InstanceId, bundle: &Path) -> Result<(), ContainerError> {
        let mut command = self.command(bundle);
        command.arg("start").arg(id.as_str());
        self.run(command, bundle, "starting a container")
    }

    /// Forgets the container and kills what is left of it.
    pub(super) fn delete(&self, id: &InstanceId, bundle: &Path) -> Result<(), ContainerError> {
        let mut command = self.command(bundle);
        command.args(["delete", "--force"]).arg(id.as_str());
        let deleted = self.run(command, bundle, "deleting a container");
        if deleted.is_err() {
            // Whoever asked kills what is left by other means; records would stay.
            let _ = self.forget(id.as_str());
        }
        deleted
    }

    /// Removes what the runtime has written down about a container, without asking it: records may be half written.
    pub(super) fn forget(&self, id: &str) -> io::Result<()> {
        for entry in fs::read_dir(&self.records)? {
            let entry = entry?;
            // A folder of that name; of gVisor some files with it in theirs.
            if !entry.file_name().to_string_lossy().contains(id) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn command(&self, bundle: &Path) -> Command {
        let mut command = Command::new(&self.program);
        // The gateway's environment may hold secrets, and some variables steer the runtimes.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if self.isolation() == Isolation::UserKernel {
            command.args(gvisor::FLAGS);
        }
        command.arg("--root").arg(&self.records).arg("--log").arg(log(bundle)).args(["--log-format", "json"]);
        command
    }

    fn run(&self, mut command: Command, bundle: &Path, doing: &'static str) -> Result<(), ContainerError> {
        let status = command.status().map_err(ContainerError::during(doing))?;
        if status.success() {
            return Ok(());
        }
        Err(ContainerError::new(doing, format!("{} ended with {status}: {}", self.engine, complaint(bundle))))
    }
}

fn log(bundle: &Path) -> PathBuf {
    bundle.join("log.json")
}

/// The last message of the runtime's log.
fn complaint(bundle: &Path) -> String {
    let mut text = String::new();
    let read = fs::File::open(log(bundle)).and_then(|file| file.take(MAX_COMPLAINT_BYTES).read_to_string(&mut text));
    if read.is_err() {
        return "it left no log".into();
    }
    let mut messages = text.lines().filter_map(|line| {
        let entry: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(entry["msg"].as_str()?.to_owned())
    });
    messages.next_back().unwrap_or_else(|| "it said nothing".into())
}

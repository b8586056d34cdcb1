//! One command in a container.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::protocol::{ENTRY, EXECUTE, EXIT, FAILED, Fields, KILL, MAX_CHANGES, Reader, STDERR, STDOUT};
use super::{Agent, files};
use crate::egress::Calls;
use crate::files::FileEntry;
use crate::sandbox::output::Stream;
use crate::sandbox::{Exit, Limits, Output, Report, Usage};

/// How long a command that was told to end may take: the agent kills it after a second.
const GRACE: Duration = Duration::from_secs(10);
/// How long the end of a container takes to be known, once its agent is gone.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Exit codes as shells have them: by a signal, not found, not to be run.
const KILLED: i32 = 128 + libc::SIGKILL;
const INTERRUPTED: i32 = 128 + libc::SIGINT;
/// As `timeout` of coreutils tells it.
const TIMED_OUT: i32 = 124;
const NOT_FOUND: i32 = 127;
const NOT_RUN: i32 = 126;

/// What to run.
pub struct Command {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// Its standard input.
    pub input: Vec<u8>,
}

/// The end of a command.
pub struct Ran {
    pub report: Report,
    /// As shells have it: 128 and the number of a signal that ended it.
    pub code: i32,
    /// Files below `/mnt/data` that changed while it ran.
    pub files: Vec<FileEntry>,
}

/// How it went, as far as the agent has told.
struct Told {
    files: Vec<FileEntry>,
    code: i32,
    cpu: Duration,
    dropped_bytes: u64,
}

impl Agent<'_> {
    /// Runs a command to its end, or until `limits` or `stop` end it with its whole process group. Whatever happens in the
    /// container is a [`Ran`]; the container is not to be used again when it is not alive.
    pub async fn run(&self, command: Command, limits: Limits, output: &Output, stop: &CancellationToken) -> Ran {
        let began = Instant::now();
        let mut cut = None;
        let told = self.follow(command, limits, output, stop, &mut cut).await;
        let wall = began.elapsed();
        let (exit, code, alive) = match (&told, cut) {
            (Ok(_), Some(Exit::TimedOut)) => (Exit::TimedOut, TIMED_OUT, true),
            (Ok(_), Some(cut)) => (cut, INTERRUPTED, true),
            (Ok(told), None) if told.code == 0 => (Exit::Finished, 0, true),
            (Ok(told), None) => (Exit::Raised, told.code, true),
            (Err(error), _) => {
                tracing::debug!(%error, "a container did not finish an execution");
                (self.broken(cut).await, KILLED, false)
            }
        };
        let told = told.unwrap_or_else(|_| Told { files: Vec::new(), code, cpu: Duration::ZERO, dropped_bytes: 0 });
        output.dropped(told.dropped_bytes);
        // Its own word; nobody computes for longer than this.
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        let cpu = told.cpu.min(wall * processors);
        let usage = Usage { wall, cpu, fuel: None, memory_bytes: 0, output_bytes: output.emitted_bytes() };
        Ran { report: Report { exit, usage, alive, network: Calls::default() }, code, files: told.files }
    }

    /// Why there is no answer.
    async fn broken(&self, cut: Option<Exit>) -> Exit {
        let ended = tokio::time::timeout(LAST_WORDS, self.container.exited()).await;
        match (ended, cut) {
            (Ok(exit), _) if exit.out_of_memory => Exit::OutOfMemory,
            (_, Some(cut)) => cut,
            _ => Exit::Trapped,
        }
    }

    async fn follow(
        &self,
        command: Command,
        limits: Limits,
        output: &Output,
        stop: &CancellationToken,
        cut: &mut Option<Exit>,
    ) -> io::Result<Told> {
        let fields = Fields::default().number(limits.output_bytes).bytes(&command.input);
        let fields = command.arguments.iter().fold(fields, |fields, argument| fields.bytes(argument.as_bytes()));
        let mut end = tokio::time::Instant::now() + limits.wall;
        let mut connection = self.ask(EXECUTE, &fields.0).await?;
        let mut files = Vec::new();
        loop {
            let (kind, fields) = tokio::select! {
                biased;
                () = sleep_until(end) => {
                    end = interrupt(&mut connection, cut, Exit::TimedOut).await?;
                    continue;
                }
                () = stop.cancelled(), if cut.is_none() => {
                    end = interrupt(&mut connection, cut, Exit::Stopped).await?;
                    continue;
                }
                frame = connection.next() => frame?,
            };
            match kind {
                STDOUT => output.text(Stream::Stdout, &fields),
                STDERR => output.text(Stream::Stderr, &fields),
                ENTRY if files.len() < MAX_CHANGES => files.extend(files::entry(&fields)),
                EXIT => return exit(&fields, files).ok_or(ErrorKind::InvalidData.into()),
                FAILED => return Ok(not_started(Reader(&fields).number(), output)),
                _ => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }
}

/// Has the command ended, and says until when that is waited for.
///
/// # Errors
/// When it was told before.
async fn interrupt(connection: &mut Connection, cut: &mut Option<Exit>, why: Exit) -> io::Result<tokio::time::Instant> {
    if cut.is_some() {
        return Err(ErrorKind::TimedOut.into());
    }
    *cut = Some(why);
    connection.send(KILL, &[]).await?;
    Ok(tokio::time::Instant::now() + GRACE)
}

fn exit(fields: &[u8], files: Vec<FileEntry>) -> Option<Told> {
    let mut fields = Reader(fields);
    let (code, dropped_bytes, cpu) = (fields.number()?, fields.number()?, fields.number()?);
    let code = i32::try_from(code).ok().filter(|code| (0..256).contains(code))?;
    Some(Told { files, code, cpu: Duration::from_micros(cpu), dropped_bytes })
}

/// The command could not be started: what a shell would say.
fn not_started(number: Option<u64>, output: &Output) -> Told {
    let error = io::Error::from_raw_os_error(number.and_then(|number| i32::try_from(number).ok()).unwrap_or(0));
    output.text(Stream::Stderr, format!("the pool's command cannot be run in its container: {error}\n").as_bytes());
    let code = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN };
    Told { files: Vec::new(), code, cpu: Duration::ZERO, dropped_bytes: 0 }
}

//! One command: its process group, its output as it comes, its end. And the ends of everything else, since the first process
//! of a container is the parent of all orphans.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::files::{self, ROOT};
use crate::protocol::{EXIT, FAILED, FRAME_BYTES, Fields, KILL, Reader, STDERR, STDOUT};
use crate::system::{self, POLLIN, PollFd, SIGKILL, SIGTERM};
use crate::{read_frame, write_frame};

/// Between the request to end and the end.
const GRACE: Duration = Duration::from_secs(1);
/// Output that is still taken once the command has ended; what it left running in the background may write on.
const LAST_BYTES: usize = 1 << 20;

/// The commands that run.
pub struct Running {
    commands: Mutex<HashMap<i32, Watched>>,
    begun: Condvar,
}

struct Watched {
    /// Its whole group is to end with it.
    killed: bool,
    /// Told how it ended.
    tell: UnixStream,
}

pub static RUNNING: std::sync::LazyLock<Running> =
    std::sync::LazyLock::new(|| Running { commands: Mutex::default(), begun: Condvar::new() });

impl Running {
    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Watched>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Collects every process that ends.
    pub fn collect(&self) -> ! {
        loop {
            let Some(pid) = system::next_ended() else {
                // Orphans come from commands: without those there is nobody to wait for.
                let commands = self.lock();
                if commands.is_empty() {
                    drop(self.begun.wait(commands));
                }
                continue;
            };
            // While it is held no command is being started: what std waits for itself is std's.
            let mut commands = self.lock();
            if commands.get(&pid).is_some_and(|watched| watched.killed) {
                // As long as it is not collected, its number is nobody else's.
                system::signal_group(pid, SIGKILL);
            }
            let Some((code, cpu)) = system::collect(pid) else { continue };
            if let Some(mut watched) = commands.remove(&pid) {
                let _ = watched.tell.write_all(&Fields::default().number(code as u64).number(cpu).0);
            }
        }
    }

    fn start(&self, command: &mut Command, tell: UnixStream) -> io::Result<(i32, [Box<dyn Source>; 2])> {
        let mut commands = self.lock();
        let mut child = command.spawn()?;
        let pid = child.id() as i32;
        commands.insert(pid, Watched { killed: false, tell });
        self.begun.notify_all();
        // Where memory is short, the command goes and not its container.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "500");
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (out, err) = (out.ok_or(ErrorKind::BrokenPipe)?, err.ok_or(ErrorKind::BrokenPipe)?);
        Ok((pid, [Box::new(out), Box::new(err)]))
    }

    /// Signals the group of a command, if it has not ended.
    fn signal(&self, pid: i32, number: i32) {
        if let Some(watched) = self.lock().get_mut(&pid) {
            watched.killed = true;
            system::signal_group(pid, number);
        }
    }
}

/// A pipe.
trait Source: Read + AsRawFd {}
impl<T: Read + AsRawFd> Source for T {}

/// What a request asks for.
struct Asked<'a> {
    /// Bytes of output that may be sent.
    most: u64,
    input: &'a [u8],
    arguments: Vec<&'a [u8]>,
}

impl<'a> Asked<'a> {
    fn read(fields: &'a [u8]) -> Option<Self> {
        let mut fields = Reader(fields);
        let (most, input, mut arguments) = (fields.number()?, fields.bytes()?, Vec::new());
        while !fields.0.is_empty() {
            arguments.push(fields.bytes()?);
        }
        Some(Self { most, input, arguments })
    }
}

/// Answers `EXECUTE`.
pub fn execute(stream: &mut TcpStream, fields: &[u8]) -> io::Result<()> {
    let Asked { most, input, arguments } = Asked::read(fields).ok_or(ErrorKind::InvalidData)?;
    let (mut end, tell) = UnixStream::pair()?;
    let began = system::file_clock();
    let (pid, sources) = match command(input, &arguments).and_then(|mut command| RUNNING.start(&mut command, tell)) {
        Ok(started) => started,
        Err(error) => {
            let number = error.raw_os_error().unwrap_or(system::EINVAL);
            return write_frame(stream, FAILED, &Fields::default().number(number as u64).0);
        }
    };
    let mut outputs = Outputs::new(sources, most);
    let ended = follow(stream, pid, &mut end, &mut outputs);
    if ended.is_err() {
        RUNNING.signal(pid, SIGKILL);
    }
    let (code, cpu) = ended?;
    outputs.drain(stream)?;
    files::changed_since(stream, began)?;
    let fields = Fields::default().number(code).number(outputs.dropped).number(cpu);
    write_frame(stream, EXIT, &fields.0)
}

fn command(input: &[u8], arguments: &[&[u8]]) -> io::Result<Command> {
    let (program, arguments) = arguments.split_first().ok_or(ErrorKind::InvalidInput)?;
    let mut command = Command::new(std::ffi::OsStr::from_bytes(program));
    let stdin = if input.is_empty() {
        Stdio::null()
    } else {
        let mut file = system::memory_file()?;
        file.write_all(input)?;
        file.rewind()?;
        file.into()
    };
    command.args(arguments.iter().map(|argument| std::ffi::OsStr::from_bytes(argument)));
    command.current_dir(ROOT).process_group(0).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// Sends output until the command has ended: its exit code and its processor time.
fn follow(stream: &mut TcpStream, pid: i32, end: &mut UnixStream, outputs: &mut Outputs) -> io::Result<(u64, u64)> {
    let mut kill_at: Option<Instant> = None;
    loop {
        let watch = |fd| PollFd { fd, events: POLLIN, revents: 0 };
        let [out, err] = outputs.descriptors();
        let mut fds = [watch(stream.as_raw_fd()), watch(end.as_raw_fd()), watch(out), watch(err)];
        let left = kill_at.map(|at| at.saturating_duration_since(Instant::now()).as_millis() as i32 + 1);
        system::wait_readable(&mut fds, left.unwrap_or(-1));
        if kill_at.is_some_and(|at| at <= Instant::now()) {
            RUNNING.signal(pid, SIGKILL);
            kill_at = None;
        }
        for (at, fd) in fds[2..].iter().enumerate().filter(|(_, fd)| fd.revents != 0) {
            debug_assert!(fd.fd >= 0);
            outputs.pass(stream, at)?;
        }
        if fds[1].revents != 0 {
            let mut told = [0; 16];
            end.read_exact(&mut told)?;
            let mut told = Reader(&told);
            return told.number().zip(told.number()).ok_or(ErrorKind::InvalidData.into());
        }
        if fds[0].revents != 0 {
            match read_frame(stream)? {
                (KILL, _) => {
                    RUNNING.signal(pid, SIGTERM);
                    kill_at = Some(Instant::now() + GRACE);
                }
                _ => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }
}

/// Standard output and error of a command.
struct Outputs {
    sources: [Option<Box<dyn Source>>; 2],
    /// Bytes that may still be sent.
    left: u64,
    dropped: u64,
    buffer: Vec<u8>,
}

impl Outputs {
    fn new(sources: [Box<dyn Source>; 2], most: u64) -> Self {
        sources.iter().for_each(|source| system::set_nonblocking(source.as_raw_fd()));
        Self { sources: sources.map(Some), left: most, dropped: 0, buffer: vec![0; FRAME_BYTES] }
    }

    /// Those that have not ended; -1 in the place of one that has.
    fn descriptors(&self) -> [i32; 2] {
        self.sources.each_ref().map(|source| source.as_ref().map_or(-1, |source| source.as_raw_fd()))
    }

    /// Sends what one of them has now; how much that was.
    fn pass(&mut self, stream: &mut TcpStream, at: usize) -> io::Result<usize> {
        let Some(source) = &mut self.sources[at] else { return Ok(0) };
        let read = match source.read(&mut self.buffer) {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(0),
            Err(_) => 0,
        };
        if read == 0 {
            self.sources[at] = None;
            return Ok(0);
        }
        let sent = read.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= sent as u64;
        self.dropped += (read - sent) as u64;
        if sent > 0 {
            write_frame(stream, [STDOUT, STDERR][at], &self.buffer[..sent])?;
        }
        Ok(read)
    }

    /// What was written before the end.
    fn drain(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        for at in 0..2 {
            let mut drained = 0;
            while drained < LAST_BYTES {
                match self.pass(stream, at)? {
                    0 => break,
                    read => drained += read,
                }
            }
        }
        Ok(())
    }
}

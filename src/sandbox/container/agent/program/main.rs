//! The gateway's agent in a container: the first process of one, which runs commands and hands files in and out for the
//! gateway. See `protocol.rs` for what is said, and the folder above for the other side.
//!
//! It guards nothing: whatever reaches it is in the container anyway, and may do there what the agent may. It needs the
//! standard library alone and is linked statically, so that it runs in any image of Linux.

mod files;
mod protocol;
mod run;
mod system;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;

use protocol::{DELETE, EXECUTE, FAILED, Fields, GET, HEAD_BYTES, LIST, PORT, PUT, STAT, head, parse_head};

/// Requests at a time. The threads are there from the start: commands that use up all processes do not keep the agent from
/// answering.
const WORKERS: usize = 32;
/// They do little, and their stacks count as the container's memory where it is counted in advance.
const STACK_BYTES: usize = 256 * 1024;

/// The most bytes of one frame from the gateway, without its head: programs come in one.
const REQUEST_BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    system::end_on_sigterm();
    files::begin();
    match serve() {
        Ok(never) => never,
        Err(error) => {
            eprintln!("the agent of the gateway cannot serve: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<ExitCode> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port()))?;
    for _ in 0..WORKERS {
        let listener = listener.try_clone()?;
        let work = move || {
            loop {
                if let Ok((stream, _)) = listener.accept() {
                    let _ = answer(stream);
                }
            }
        };
        thread::Builder::new().stack_size(STACK_BYTES).spawn(work)?;
    }
    run::RUNNING.collect()
}

/// Where to listen; another one is for tests of the agent alone.
fn port() -> u16 {
    std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(PORT)
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (kind, fields) = read_frame(&mut stream)?;
    let answered = match kind {
        EXECUTE => run::execute(&mut stream, &fields),
        LIST => files::list(&mut stream, &fields),
        STAT => files::stat(&mut stream, &fields),
        GET => files::get(&mut stream, &fields),
        PUT => files::put(&mut stream, &fields),
        DELETE => files::delete(&mut stream, &fields),
        _ => return Err(ErrorKind::InvalidData.into()),
    };
    match answered.as_ref().err().and_then(io::Error::raw_os_error) {
        Some(number) => write_frame(&mut stream, FAILED, &Fields::default().number(number as u64).0),
        None => answered,
    }
}

/// One frame from the gateway.
fn read_frame(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut bytes = [0; HEAD_BYTES];
    stream.read_exact(&mut bytes)?;
    let (kind, length) = parse_head(bytes);
    if length > REQUEST_BYTES {
        return Err(ErrorKind::InvalidData.into());
    }
    // Memory comes as the bytes do, whatever was announced.
    let mut fields = Vec::new();
    stream.take(length as u64).read_to_end(&mut fields)?;
    if fields.len() < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok((kind, fields)) }
}

fn write_frame(stream: &mut TcpStream, kind: u8, fields: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(HEAD_BYTES + fields.len());
    frame.extend_from_slice(&head(kind, fields.len()));
    frame.extend_from_slice(fields);
    stream.write_all(&frame)
}

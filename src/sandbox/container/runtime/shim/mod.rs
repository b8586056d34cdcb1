//! A process beside each container: the gateway's own program again, small and with one thread. It is the container's parent, so
//! it learns how the container ended; it has the other ends of its pipes, so that what it writes has somebody to go to; and it
//! outlives the gateway. The next gateway connects to it.
//!
//! ```text
//! gateway --starts--> shim --starts--> runc create --leaves--> container
//!    ^                 |  <------------ stdout, stderr, end -----|
//!    '--- a socket in the container's folder: what it wrote, how it ended
//! ```
//!
//! A shim that no gateway has been connected to for too long takes its container away, whole, and ends; so it does when the
//! session's own time is over meanwhile. Nothing stays for good because nobody came back.
//!
//! | file | holds |
//! |---|---|
//! | `process.rs` | the shim itself |
//! | `kept.rs` | what it keeps of the container's output |
//! | `frame.rs` | what is said on the socket |
//! | `link.rs` | the gateway's end |

mod frame;
mod kept;
mod link;
mod process;

pub(super) use link::{Arrived, Link, launch};
pub use process::run;

/// The name of the subcommand that is a shim.
pub const COMMAND: &str = "shim";
/// Where it listens, in the folder of the container's state.
const SOCKET: &str = "socket";

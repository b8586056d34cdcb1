//! `sandpool shim`: the process beside a container. The gateway starts it; people do not.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::sandbox::container::runtime::shim::{COMMAND, run};

/// Carries the command out if it is this one. It is no subcommand like the others: there is one of it beside each container, which
/// shall have neither the time nor the memory that the parser of the command line takes.
pub fn asked(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.nth(1)? != COMMAND {
        return None;
    }
    let folder = arguments.next()?;
    // What went wrong was told to the gateway.
    Some(run(Path::new(&folder)).map_or(ExitCode::from(2), |()| ExitCode::SUCCESS))
}

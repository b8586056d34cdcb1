//! Parse the command line, hand over to `cli`.

use std::process::ExitCode;

use clap::Parser as _;
use sandpool::cli::{Command, shim};

fn main() -> ExitCode {
    shim::asked(std::env::args_os()).unwrap_or_else(|| Command::parse().run())
}

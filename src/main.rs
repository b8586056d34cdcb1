//! Parse the command line, hand over to `cli`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    sandpool::cli::Command::parse().run()
}

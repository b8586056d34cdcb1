//! What a caller reads as standard error: what the guest wrote, its traceback, and what happened to it.

use crate::execution::Outcome;
use crate::sandbox::Exit;

/// The line that the service was measured to write; clients look for it.
const TIMED_OUT: &str = "Request timed out waiting for code execution to complete";

/// Standard error, then the traceback, then what we have to say; how the run ended comes last.
pub(super) fn stderr(outcome: &Outcome) -> String {
    let mut text = outcome.stderr();
    if let Some(error) = outcome.error() {
        for line in &error.traceback {
            push_line(&mut text, line);
        }
        if error.traceback.is_empty() {
            push_line(&mut text, &format!("{}: {}", error.name, error.value));
        }
    }
    if outcome.dropped_bytes > 0 {
        push_line(&mut text, &format!("Output was cut: {} bytes beyond the limit were dropped", outcome.dropped_bytes));
    }
    if outcome.session_discarded {
        push_line(&mut text, "The session ended; its variables and files are gone, and the next call starts fresh");
    }
    if outcome.session_rolled_back {
        push_line(
            &mut text,
            "The session was rolled back: its variables and files are as they were before this execution",
        );
    }
    if outcome.session_kept == Some(false) {
        push_line(
            &mut text,
            "The session could not be put on disk: it goes on in memory, and a crash of the gateway would undo this execution",
        );
    }
    for line in ending(outcome.exit) {
        push_line(&mut text, line);
    }
    text
}

/// How the run ended, where the traceback does not tell.
pub(super) fn ending(exit: Exit) -> &'static [&'static str] {
    match exit {
        Exit::Finished | Exit::Raised => &[],
        Exit::TimedOut => &[TIMED_OUT],
        Exit::OutOfCpu => &["Execution stopped: the CPU time limit was reached"],
        Exit::OutOfFuel => &["Execution stopped: the fuel budget was used up"],
        // The second line, alone, is what the service was measured to write.
        Exit::OutOfMemory => &["The session ran out of memory", "Execution aborted"],
        Exit::Stopped => &["Execution stopped on request"],
        Exit::Trapped => &["The interpreter ended abnormally", "Execution aborted"],
    }
}

fn push_line(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{outcome, raised};
    use super::*;
    use crate::sandbox::Event;

    #[test]
    fn a_traceback_follows_what_the_guest_wrote() {
        let written = Event::Stderr { text: "warning".into() };
        assert_eq!(
            stderr(&outcome(Exit::Raised, vec![written, raised()])),
            "warning\nTraceback (most recent call last):\nZeroDivisionError: division by zero"
        );
    }

    #[test]
    fn a_clean_end_adds_nothing() {
        assert_eq!(stderr(&outcome(Exit::Finished, vec![])), "");
    }

    #[test]
    fn how_it_ended_is_the_last_line() {
        for (exit, last) in [
            (Exit::TimedOut, TIMED_OUT),
            (Exit::OutOfMemory, "Execution aborted"),
            (Exit::Stopped, "Execution stopped on request"),
        ] {
            let mut ended = outcome(exit, vec![raised()]);
            ended.dropped_bytes = 7;
            ended.session_discarded = true;
            let text = stderr(&ended);
            assert!(text.ends_with(last) && text.contains("7 bytes") && text.contains("The session ended"), "{text}");
        }
    }
}

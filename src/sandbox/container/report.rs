//! What a backend says about itself and about the end of a container.

use serde::{Deserialize, Serialize};

/// How far a container is from the machine it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// The machine's kernel, behind namespaces and a system-call filter. Not what a virtual machine is.
    Container,
    /// A kernel in user space (gVisor).
    UserKernel,
    /// A virtual machine.
    VirtualMachine,
}

/// What is enforced on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    pub memory: bool,
    pub cpu: bool,
    pub pids: bool,
    pub disk: bool,
    /// Nothing of the network can be reached from inside, unless a way out is given.
    pub egress: bool,
    /// A way out can be given, and nothing passes by it.
    pub way_out: bool,
    /// Its root is nobody outside.
    pub user_namespace: bool,
    pub seccomp: bool,
    /// An idle container can be kept off the processors.
    pub freeze: bool,
}

/// A backend, as it is on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendReport {
    pub engine: String,
    pub version: String,
    pub isolation: Isolation,
    pub enforced: Enforced,
    /// What an operator should know, in sentences.
    pub warnings: Vec<String>,
}

/// The end of a container's first process, and so of the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// None when a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The kernel killed something in it for want of memory.
    pub out_of_memory: bool,
}

impl Exit {
    /// Of an engine that tells an end by one number, as shells do: above 128 it is a signal's. A process that ends by itself
    /// with such a number cannot be told apart.
    pub(super) fn of_number(number: i64, out_of_memory: bool) -> Self {
        let code = i32::try_from(number).ok();
        let signal = code.map(|code| code - 128).filter(|signal| (1..=64).contains(signal));
        Self { code: code.filter(|_| signal.is_none()), signal, out_of_memory }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "it exited with code {code}")?,
            (None, Some(signal)) => write!(f, "signal {signal} ended it")?,
            (None, None) => write!(f, "it ended")?,
        }
        if self.out_of_memory { write!(f, ", out of memory") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_above_128_are_signals() {
        for (number, expected) in [
            (0, (Some(0), None)),
            (7, (Some(7), None)),
            (128, (Some(128), None)),
            (137, (None, Some(9))),
            (143, (None, Some(15))),
            (255, (Some(255), None)),
            (i64::MAX, (None, None)),
        ] {
            let exit = Exit::of_number(number, false);
            assert_eq!((exit.code, exit.signal), expected, "{number}");
        }
    }
}

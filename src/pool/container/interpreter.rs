//! Pools of containers that run code for their callers: what a request carries, how it is run, and what it may use.

use serde::{Deserialize, Serialize};

use crate::pool::PoolLimits;
use crate::sandbox::container::agent::Command;

/// How the containers of a pool run what callers send. The gateway's agent is their first process, and nothing is forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interpreter {
    pub language: Language,
    /// What runs it, with its arguments: a program takes its code as standard input, a shell the command as its last argument.
    /// None: for commands, the image's `bash`, or else its `sh`.
    #[serde(default)]
    pub command: Vec<String>,
    /// Executions that may wait for one session.
    #[serde(default = "default_queue_length")]
    pub queue_length: usize,
    #[serde(default)]
    pub limits: ExecutionLimits,
}

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// A command of a shell (`shellCommand`). Its exit code stands in the place of an execution's status.
    Shell,
    /// A program (`code`).
    Code,
}

/// What one execution may use. What the session may use for its whole life are the container's resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutionLimits {
    /// Wall-clock time of an execution that asks for none.
    pub timeout_seconds: u64,
    /// The most wall-clock time an execution may ask for.
    pub timeout_ceiling_seconds: u64,
    /// Output of one execution.
    pub output_bytes: u64,
    /// One upload (128 MiB in the hosted service).
    pub upload_bytes: u64,
    /// The code, or the command, of one execution.
    pub code_bytes: usize,
}

impl Default for ExecutionLimits {
    fn default() -> Self {
        Self {
            timeout_seconds: 60,
            // Documentation of the hosted service asks for so much in its shells.
            timeout_ceiling_seconds: 600,
            output_bytes: 16 << 20,
            upload_bytes: 128 << 20,
            code_bytes: MAX_ARGUMENT_BYTES,
        }
    }
}

/// The longest argument that Linux hands to a program (`MAX_ARG_STRLEN`, less the zero at its end).
const MAX_ARGUMENT_BYTES: usize = 128 * 1024 - 1;
/// A program of more is a file.
const MAX_CODE_BYTES: usize = 16 << 20;

const fn default_queue_length() -> usize {
    16
}

impl Interpreter {
    /// What makes no sense: the setting, and why.
    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
        let limits = &self.limits;
        let longest = match self.language {
            Language::Shell => MAX_ARGUMENT_BYTES,
            Language::Code => MAX_CODE_BYTES,
        };
        let within = |setting, value: u64, min: u64, max: u64| {
            let problem = format!("is {value}; it must be from {min} to {max}");
            (!(min..=max).contains(&value)).then_some((setting, problem))
        };
        let ceiling = limits.timeout_ceiling_seconds;
        let mut problems: Vec<_> = [
            within("interpreter.queue_length", self.queue_length as u64, 0, 10_000),
            within("interpreter.limits.timeout_ceiling_seconds", ceiling, 1, 86_400),
            within("interpreter.limits.timeout_seconds", limits.timeout_seconds, 1, ceiling.max(1)),
            within("interpreter.limits.output_bytes", limits.output_bytes, 0, 1 << 30),
            within("interpreter.limits.upload_bytes", limits.upload_bytes, 1, 1 << 40),
            within("interpreter.limits.code_bytes", limits.code_bytes as u64, 1, longest as u64),
        ]
        .into_iter()
        .flatten()
        .collect();
        if self.language == Language::Code && self.command.is_empty() {
            problems.push((
                "interpreter.command",
                "is missing: it says what runs code, such as [\"python3\", \"-\"]".into(),
            ));
        }
        if self.command.iter().any(|part| part.contains('\0')) {
            problems.push(("interpreter.command", "holds a zero byte".into()));
        }
        problems
    }

    /// The limits, in the words of every other pool.
    pub fn offered(&self) -> PoolLimits {
        let own = &self.limits;
        PoolLimits {
            timeout_seconds: own.timeout_seconds,
            timeout_ceiling_seconds: own.timeout_ceiling_seconds,
            output_bytes: own.output_bytes,
            upload_bytes: own.upload_bytes,
            code_bytes: own.code_bytes,
            ..PoolLimits::default()
        }
    }

    /// What is run for `code`.
    pub fn command(&self, code: String) -> Command {
        let given = self.command.iter().cloned();
        match self.language {
            Language::Code => Command { arguments: given.collect(), input: code.into_bytes() },
            Language::Shell if self.command.is_empty() => {
                let arguments = ["/bin/sh", "-c", EITHER_SHELL].map(str::to_owned);
                Command { arguments: arguments.into_iter().chain([code]).collect(), input: Vec::new() }
            }
            Language::Shell => Command { arguments: given.chain([code]).collect(), input: Vec::new() },
        }
    }
}

/// What is generated for shells is mostly written for `bash`; small images have none. The command is `$0` here.
const EITHER_SHELL: &str =
    "if [ -x /bin/bash ]; then exec /bin/bash -c \"$0\" bash; else exec /bin/sh -c \"$0\" sh; fi";

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(text: &str) -> Interpreter {
        toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_command_is_an_argument_and_a_program_is_input() {
        let shell = interpreter("language = 'shell'").command("echo hi".into());
        assert_eq!((shell.arguments.last().unwrap().as_str(), shell.input.len()), ("echo hi", 0));
        let own = interpreter("language = 'shell'\ncommand = ['/bin/zsh', '-c']").command("x".into());
        assert_eq!(own.arguments, ["/bin/zsh", "-c", "x"]);
        let code = interpreter("language = 'code'\ncommand = ['python3', '-']").command("print(1)".into());
        assert_eq!((code.arguments.len(), code.input.as_slice()), (2, &b"print(1)"[..]));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let told =
            |text: &str| interpreter(text).problems().into_iter().map(|(setting, _)| setting).collect::<Vec<_>>();
        assert_eq!(told("language = 'shell'"), Vec::<&str>::new());
        assert_eq!(told("language = 'code'"), ["interpreter.command"]);
        assert_eq!(told("language = 'shell'\nlimits = { code_bytes = 200000 }"), ["interpreter.limits.code_bytes"]);
        assert_eq!(
            told("language = 'shell'\nlimits = { timeout_seconds = 700 }"),
            ["interpreter.limits.timeout_seconds"]
        );
    }
}

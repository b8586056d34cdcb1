//! Why a container did not become one that takes sessions.

use crate::sandbox::container::ContainerError;

/// The most of a failure's text that is kept: a registry may answer at length.
const PROBLEM_CHARS: usize = 500;

/// What went wrong, in a sentence for the pool's operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotStarted {
    pub kind: StartFailure,
    pub problem: String,
}

/// At which step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartFailure {
    /// The image could not be had, or not be used.
    Image,
    /// The engine did not make the container, or did not start it.
    Engine,
    /// Its process ended before it had started.
    Crashed,
    /// It did not answer as its startup probe wants it.
    NotReady,
}

impl NotStarted {
    pub(super) fn new(kind: StartFailure, problem: &str) -> Self {
        Self { kind, problem: problem.chars().take(PROBLEM_CHARS).collect() }
    }

    /// A failure of the engine. What it says about an image is the image's.
    pub(super) fn of_engine(error: &ContainerError) -> Self {
        let kind = match error {
            ContainerError::Image { .. } => StartFailure::Image,
            ContainerError::Unsupported(_) | ContainerError::Ended | ContainerError::Failed { .. } => {
                StartFailure::Engine
            }
        };
        Self::new(kind, &error.told())
    }
}

impl StartFailure {
    /// The name of the event in the records.
    pub(super) fn event(self) -> &'static str {
        match self {
            Self::Image => "ImagePullFailed",
            Self::Engine => "ContainerNotStarted",
            Self::Crashed => "ContainerCrashed",
            Self::NotReady => "StartupProbeFailed",
        }
    }
}

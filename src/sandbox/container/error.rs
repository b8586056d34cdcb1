//! Why a backend did not do what it was asked.

use std::error::Error;

/// A failure of a backend. What the code in a container does is never one.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The image, its registry or the credentials: for whoever wrote the pool's settings.
    #[error("the image {image} cannot be used: {problem}")]
    Image { image: String, problem: String },
    /// The specification asks for what this machine, image or engine cannot give.
    #[error("{0}")]
    Unsupported(String),
    /// There is no container to do it to.
    #[error("the container has ended")]
    Ended,
    #[error("{doing} failed")]
    Failed {
        /// What was being done, for the log.
        doing: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ContainerError {
    /// An error while `doing`, caused by `source`.
    pub fn new(doing: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed { doing, source: source.into() }
    }

    /// The same as a function, for `map_err`.
    pub fn during<E: Into<Box<dyn Error + Send + Sync>>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::new(doing, source)
    }

    /// With its causes, for operators.
    pub fn told(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

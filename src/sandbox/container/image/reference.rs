//! How a pool names its image: in a registry, or in a folder of this machine.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use oci_client::Reference;
use serde::{Deserialize, Serialize};

/// An image.
///
/// `registry.example/app:1.2`, `registry.example/app@sha256:…`, or with a word in front a folder that holds one:
/// `oci:/srv/images/app` (an OCI image layout; `:TAG` after it chooses one of several), `docker-archive:/srv/images/app`
/// (an unpacked `docker save`), `builtin:shell` (made by a recipe of this binary, see `builtin.rs`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ImageReference {
    Registry(Reference),
    Layout {
        folder: PathBuf,
        tag: Option<String>,
    },
    DockerArchive {
        folder: PathBuf,
    },
    /// The name is one of [`BUILT_IN`].
    BuiltIn(String),
}

/// Images that this binary has recipes for.
pub const BUILT_IN: [&str; 1] = ["shell"];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no image: {problem}")]
pub struct InvalidReference {
    text: String,
    problem: String,
}

impl ImageReference {
    /// The image of shells.
    pub fn shell() -> Self {
        Self::BuiltIn(BUILT_IN[0].into())
    }

    /// Whether it is in a registry, and not a folder of this machine, which only the machine's operator may name.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Registry(_))
    }

    /// The registry it is in, `host` or `host:port`.
    pub fn registry(&self) -> Option<&str> {
        match self {
            Self::Registry(reference) => Some(reference.registry()),
            Self::Layout { .. } | Self::DockerArchive { .. } | Self::BuiltIn(_) => None,
        }
    }
}

impl FromStr for ImageReference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let invalid = |problem: String| InvalidReference { text: text.to_owned(), problem };
        let folder = |path: &str| {
            let path = PathBuf::from(path);
            if path.is_absolute() { Ok(path) } else { Err(invalid("the folder's path is not absolute".into())) }
        };
        if let Some(rest) = text.strip_prefix("oci:") {
            let (path, tag) = match rest.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
                _ => (rest, None),
            };
            return Ok(Self::Layout { folder: folder(path)?, tag });
        }
        if let Some(path) = text.strip_prefix("docker-archive:") {
            return Ok(Self::DockerArchive { folder: folder(path)? });
        }
        if let Some(name) = text.strip_prefix("builtin:") {
            let known = BUILT_IN.into_iter().find(|known| *known == name);
            return known
                .map(|known| Self::BuiltIn(known.into()))
                .ok_or_else(|| invalid(format!("there are: {}", BUILT_IN.join(", "))));
        }
        text.parse().map(Self::Registry).map_err(|error: oci_client::ParseError| invalid(error.to_string()))
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "{reference}"),
            Self::Layout { folder, tag: None } => write!(f, "oci:{}", folder.display()),
            Self::Layout { folder, tag: Some(tag) } => write!(f, "oci:{}:{tag}", folder.display()),
            Self::BuiltIn(name) => write!(f, "builtin:{name}"),
            Self::DockerArchive { folder } => write!(f, "docker-archive:{}", folder.display()),
        }
    }
}

impl TryFrom<String> for ImageReference {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, InvalidReference> {
        text.parse()
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> Self {
        reference.to_string()
    }
}

/// What a registry is shown. A registry that answers with a token service (Bearer) gets its token there for them.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    Anonymous,
    Password {
        username: String,
        password: String,
    },
}

/// Secrets stay out of logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password(hidden)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_in_registries_and_folders() {
        for (text, shown) in [
            ("127.0.0.1:5000/app:1", "127.0.0.1:5000/app:1"),
            ("oci:/srv/app", "oci:/srv/app"),
            ("oci:/srv/app:v1", "oci:/srv/app:v1"),
            ("oci:/srv/a:b/app", "oci:/srv/a:b/app"),
            ("docker-archive:/srv/app", "docker-archive:/srv/app"),
        ] {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), shown);
        }
        assert!("127.0.0.1:5000/app".parse::<ImageReference>().unwrap().is_remote());
        assert!(!"oci:/srv/app".parse::<ImageReference>().unwrap().is_remote());
        for text in ["", "oci:", "oci:srv/app", "docker-archive:../x", "a b", "app@sha256:12"] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
    }
}

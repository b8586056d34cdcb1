//! Which images those may run who make pools through the API.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::ImageReference;

/// Beginnings of references. None: everything in registries, and no folder of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AllowedImages(Option<Vec<String>>);

impl AllowedImages {
    /// Whether an image may be run; the error says why not.
    pub fn check(&self, image: &ImageReference) -> Result<(), String> {
        if matches!(image, ImageReference::BuiltIn(_)) {
            // It holds what this gateway's own recipe put there.
            return Ok(());
        }
        let Some(beginnings) = &self.0 else {
            let problem = "names a folder of the gateway's machine; name an image in a registry";
            return if image.is_remote() { Ok(()) } else { Err(problem.into()) };
        };
        if is_sound(image) && beginnings.iter().any(|beginning| begins(&image.to_string(), beginning)) {
            return Ok(());
        }
        Err("is none of the images that this gateway's operator allows (allowed_images)".into())
    }
}

/// A path that leads upwards could lead out of an allowed folder.
fn is_sound(image: &ImageReference) -> bool {
    let straight = |folder: &Path| folder.components().all(|part| !matches!(part, Component::ParentDir));
    match image {
        ImageReference::Registry(_) | ImageReference::BuiltIn(_) => true,
        ImageReference::Layout { folder, .. } | ImageReference::DockerArchive { folder } => straight(folder),
    }
}

/// Whether `text` is `beginning`, or goes on below it: `registry.example/team` does not allow `registry.example/teams`.
fn begins(text: &str, beginning: &str) -> bool {
    text.strip_prefix(beginning)
        .is_some_and(|rest| rest.is_empty() || beginning.ends_with('/') || rest.starts_with(['/', ':', '@']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(allowed: &str, image: &str) -> bool {
        let allowed: AllowedImages = serde_json::from_str(allowed).unwrap();
        allowed.check(&image.parse().unwrap()).is_ok()
    }

    #[test]
    fn folders_of_the_machine_are_not_for_everybody() {
        assert!(allows("null", "registry.example/team/app:1"));
        assert!(!allows("null", "oci:/srv/images/app"));
        assert!(!allows("null", "docker-archive:/srv/images/app"));
    }

    #[test]
    fn what_is_allowed_is_allowed_and_nothing_beside_it() {
        let allowed = r#"["registry.example/team", "registry.example:5000/", "oci:/srv/images", "r.example/app:1"]"#;
        for (image, expected) in [
            ("registry.example/team/app:1", true),
            ("registry.example/team:1", true),
            ("registry.example/teams/app:1", false),
            ("registry.example.evil.example/team/app", false),
            ("registry.example:5000/any/app", true),
            ("other.example/team/app", false),
            ("oci:/srv/images/app", true),
            ("oci:/srv/images", true),
            ("oci:/srv/images-of-others/app", false),
            ("oci:/srv/images/../secret", false),
            ("docker-archive:/srv/images/app", false),
            ("r.example/app:1", true),
            ("r.example/app:10", false),
        ] {
            assert_eq!(allows(allowed, image), expected, "{image}");
        }
        assert!(!allows("[]", "registry.example/team/app:1"));
    }
}

//! Images from a real registry (Debian's `docker-registry`) on this machine, with Basic authentication and with tokens, for
//! the gateway itself and for the engines.

use std::fs;

use sandpool::sandbox::container::image::{ImageLimits, ImageStore};
use sandpool::sandbox::container::{ContainerError, Credentials};
use tempfile::TempDir;

use crate::support::containers::Backend;
use crate::support::engines::{self, Engine};
use crate::support::images::Recipe;
use crate::support::registry::Registry;
use crate::support::registry_tokens::PASSWORD;

fn alice(password: &str) -> Credentials {
    Credentials::Password { username: "alice".into(), password: password.into() }
}

struct Puller {
    store: ImageStore,
    _folder: TempDir,
}

impl Puller {
    fn new(limits: ImageLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (images, built_in) = (folder.path().join("images"), folder.path().join("built-in"));
        Self { store: ImageStore::open(images, limits, Vec::new(), built_in).unwrap(), _folder: folder }
    }

    /// The digest of what was pulled, or why it was not.
    async fn pull(&self, reference: &str, credentials: &Credentials) -> Result<String, String> {
        let pulled = self.store.prepare(&reference.parse().unwrap(), credentials).await;
        pulled.map(|image| image.digest.clone()).map_err(|error| match error {
            ContainerError::Image { problem, .. } => problem,
            other => panic!("{}", other.told()),
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_come_from_a_registry_by_tag_and_by_digest_for_who_may() {
    let Some(registry) = Registry::start() else { return };
    let digest = registry.push(&Recipe::app(&["serve"]), "team/app", "1");
    let puller = Puller::new(ImageLimits::default());
    let image = format!("{}/team/app", registry.address);
    for credentials in [Credentials::Anonymous, alice("wrong")] {
        let refused = puller.pull(&format!("{image}:1"), &credentials).await.unwrap_err();
        assert!(refused.to_lowercase().contains("authorized"), "{refused}");
        assert!(!refused.contains("wrong"), "{refused}");
    }
    assert_eq!(puller.pull(&format!("{image}:1"), &alice("s3cret")).await, Ok(digest.clone()));
    assert_eq!(puller.pull(&format!("{image}@{digest}"), &alice("s3cret")).await, Ok(digest.clone()));
    for missing in [format!("{image}:2"), format!("{image}@sha256:{}", "0".repeat(64))] {
        assert!(puller.pull(&missing, &alice("s3cret")).await.is_err(), "{missing}");
    }
    // A tag that was moved is another image.
    let moved = registry.push(&Recipe::app(&["sleep"]), "team/app", "1");
    assert_ne!(moved, digest);
    assert_eq!(puller.pull(&format!("{image}:1"), &alice("s3cret")).await, Ok(moved));
    // One that is here needs no registry, by digest.
    drop(registry);
    assert_eq!(puller.pull(&format!("{image}@{digest}"), &alice("s3cret")).await, Ok(digest));
    assert!(puller.pull(&format!("{image}:1"), &alice("s3cret")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_sends_is_checked_and_counted() {
    let Some(registry) = Registry::start() else { return };
    let recipe = Recipe::app(&["serve"]);
    registry.push(&recipe, "app", "1");
    let image = format!("{}/app:1", registry.address);
    let small = Puller::new(ImageLimits { bytes: 10_000, ..ImageLimits::default() });
    let large = small.pull(&image, &alice("s3cret")).await.unwrap_err();
    assert!(large.contains("larger") || large.contains("more than"), "{large}");
    let flat = Puller::new(ImageLimits { layers: 0, ..ImageLimits::default() });
    assert!(flat.pull(&image, &alice("s3cret")).await.unwrap_err().contains("layers"));
    // The layer, as somebody changed it on the registry's disk.
    let (blobs, _) = recipe.blobs();
    let layer = blobs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap().0.trim_start_matches("sha256:");
    let stored = registry.folder.path().join("storage/docker/registry/v2/blobs/sha256");
    let stored = stored.join(&layer[..2]).join(layer).join("data");
    let mut bytes = fs::read(&stored).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&stored, bytes).unwrap();
    let puller = Puller::new(ImageLimits::default());
    let damaged = puller.pull(&image, &alice("s3cret")).await.unwrap_err();
    assert!(damaged.to_lowercase().contains("digest"), "{damaged}");
}

/// Who may what is asked of the registry's token service, and whatever is wrong there is told.
async fn tokens_open_what_they_name(
    registry: &Registry,
    pull: impl AsyncFn(&str, Credentials) -> Result<String, String>,
) {
    let (open, closed) = (Recipe::app(&["serve"]), Recipe::app(&["sleep"]));
    let open_digest = registry.push(&open, "public/app", "1");
    let closed_digest = registry.push(&closed, "team/app", "1");
    let user = |name: &str, password: &str| Credentials::Password { username: name.into(), password: password.into() };
    let (public, team) = (format!("{}/public/app", registry.address), format!("{}/team/app", registry.address));
    // What must fail comes first: an engine that has an image by its digest does not ask again.
    for credentials in
        [Credentials::Anonymous, user("alice", "wrong"), user("late", PASSWORD), user("narrow", PASSWORD)]
    {
        let told = pull(&format!("{team}:1"), credentials.clone()).await.expect_err("it is not for them");
        assert!(!told.contains(PASSWORD) && !told.contains("wrong") && !told.is_empty(), "{credentials:?}: {told}");
    }
    assert_eq!(pull(&format!("{public}:1"), Credentials::Anonymous).await, Ok(open_digest));
    assert_eq!(pull(&format!("{team}:1"), user("alice", PASSWORD)).await, Ok(closed_digest.clone()));
    assert_eq!(pull(&format!("{team}@{closed_digest}"), user("alice", PASSWORD)).await, Ok(closed_digest));
    assert!(pull(&format!("{team}:2"), user("alice", PASSWORD)).await.is_err(), "there is no such tag");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_got_for_whoever_may() {
    let Some(registry) = Registry::start_with_tokens() else { return };
    let puller = Puller::new(ImageLimits::default());
    tokens_open_what_they_name(&registry, async |image, credentials| puller.pull(image, &credentials).await).await;
}

/// The same, by an engine.
async fn pulled_by(backend: &Backend, registry: &Registry) {
    let pull = async |image: &str, credentials: Credentials| {
        let pulled = backend.backend.prepare_image(&image.parse().unwrap(), &credentials).await;
        pulled.map(|image| image.digest.clone()).map_err(|error| match error {
            ContainerError::Image { problem, .. } => problem,
            other => panic!("{}", other.told()),
        })
    };
    tokens_open_what_they_name(registry, pull).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_gets_tokens_for_whoever_may() {
    let Some(registry) = Registry::start_with_tokens() else { return };
    let Some(engine) = engines::engine("docker") else { return };
    pulled_by(&Backend::of_engine("docker", engine, true).await, &registry).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_gets_tokens_for_whoever_may() {
    let Some(registry) = Registry::start_with_tokens() else { return };
    // One of its own: it must be told that this registry has no TLS.
    let Some(engine) = Engine::start("podman", Some(&registry.address)) else { return };
    pulled_by(&Backend::of_engine("podman", &engine, true).await, &registry).await;
    engine.end();
}

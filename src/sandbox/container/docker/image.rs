//! Images: the engine pulls those in registries, and is given those in folders. It keeps them; what it made of them is
//! checked before anything runs.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::ImageInspect;
use bollard::query_parameters::{CreateImageOptionsBuilder, ImportImageOptionsBuilder};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::client::{during, status, told};
use crate::sandbox::container::image::{ARCHITECTURE, ImageConfig, ImageLimits, Local};
use crate::sandbox::container::{ContainerError, Credentials, Image, ImageFiles, ImageReference};

/// The longest that an engine may say nothing while it makes an image.
const SILENCE: Duration = Duration::from_secs(600);
/// Of an image that is written to the engine.
const PIECE_BYTES: usize = 256 * 1024;

/// Makes an image ready.
///
/// # Errors
/// When it cannot be had, or is more than an image may be.
pub(super) async fn prepare(
    client: &Docker,
    limits: &ImageLimits,
    reference: &ImageReference,
    credentials: &Credentials,
) -> Result<Arc<Image>, ContainerError> {
    let problem = |problem: String| ContainerError::Image { image: reference.to_string(), problem };
    let (found, digest) = match reference {
        ImageReference::Registry(remote) => {
            let repository = format!("{}/{}", remote.registry(), remote.repository());
            // A tag may have moved; a digest that is here is what it was.
            let (name, version, here) = match remote.digest() {
                Some(digest) => {
                    let name = format!("{repository}@{digest}");
                    let here = inspect(client, &name).await?;
                    (name, digest, here)
                }
                None => {
                    let tag = remote.tag().unwrap_or("latest");
                    (format!("{repository}:{tag}"), tag, None)
                }
            };
            let found = match here {
                Some(found) => Some(found),
                None => {
                    pull(client, &repository, version, credentials).await.map_err(|error| failed(error, problem))?;
                    inspect(client, &name).await?
                }
            };
            let found = found.ok_or_else(|| problem("the engine pulled it, and does not have it".into()))?;
            let digest = remote.digest().map(str::to_owned).or_else(|| pulled_digest(&found, remote.repository()));
            (found, digest)
        }
        folder => {
            let read = folder.clone();
            let local = tokio::task::spawn_blocking(move || Local::open(&read)).await;
            let local = local.map_err(ContainerError::during("reading an image"))?.map_err(&problem)?;
            if local.layers() > limits.layers {
                return Err(problem(format!("it has {} layers; {} are taken", local.layers(), limits.layers)));
            }
            let digest = local.digest().to_owned();
            // Named after what it is: what has the name already is the same.
            let name = format!("localhost/sandpool:{}", digest.trim_start_matches("sha256:"));
            let found = match inspect(client, &name).await? {
                Some(found) => Some(found),
                None => {
                    load(client, local, &name).await.map_err(|error| failed(error, problem))?;
                    inspect(client, &name).await?
                }
            };
            (found.ok_or_else(|| problem("the engine was given it, and does not have it".into()))?, Some(digest))
        }
    };
    check(&found, limits).map_err(&problem)?;
    let name = found.id.clone().ok_or_else(|| problem("the engine does not say how it calls it".into()))?;
    let digest = digest.unwrap_or_else(|| name.clone());
    Ok(Arc::new(Image { digest, files: ImageFiles::Engine(name), config: config(&found) }))
}

/// What the engine has under a name; None when that is nothing.
pub(super) async fn inspect(client: &Docker, name: &str) -> Result<Option<ImageInspect>, ContainerError> {
    match client.inspect_image(name).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(during("looking for an image")(error)),
    }
}

/// The engine's word on an image is for whoever named it; that it cannot be asked is ours.
fn failed(error: Error, problem: impl FnOnce(String) -> ContainerError) -> ContainerError {
    match error {
        Error::DockerResponseServerError { .. } | Error::DockerStreamError { .. } => problem(told(error)),
        other => during("getting an image")(other),
    }
}

async fn pull(client: &Docker, repository: &str, version: &str, credentials: &Credentials) -> Result<(), Error> {
    let options = CreateImageOptionsBuilder::default().from_image(repository).tag(version).build();
    let credentials = match credentials {
        Credentials::Anonymous => None,
        Credentials::Password { username, password } => Some(DockerCredentials {
            username: Some(username.clone()),
            password: Some(password.clone()),
            serveraddress: repository.split('/').next().map(str::to_owned),
            ..DockerCredentials::default()
        }),
    };
    through(client.create_image(Some(options), None, credentials)).await
}

/// Hears what the engine says to its end. Docker refuses with the answer's status, Podman in the middle of it.
async fn through<T>(said: impl Stream<Item = Result<T, Error>>) -> Result<(), Error> {
    let mut said = Box::pin(said);
    loop {
        match tokio::time::timeout(SILENCE, said.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(said)) => drop(said?),
            Err(_) => return Err(Error::RequestTimeoutError),
        }
    }
}

async fn load(client: &Docker, local: Local, name: &str) -> Result<(), Error> {
    let (sender, pieces) = mpsc::channel(4);
    let name = name.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut sink = Pieces { sender, piece: Vec::new() };
        if let Err(error) = local.write(&name, &mut sink) {
            // The engine then refuses the rest, which it was never given.
            let _ = sink.sender.blocking_send(Err(error));
        }
    });
    let body = stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    through(client.import_image_stream(options, body, None)).await
}

/// Hands on what is written, in pieces.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        self.sender.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The digest under which a tag was found: the engine notes it for each repository that it has the image from.
fn pulled_digest(found: &ImageInspect, repository: &str) -> Option<String> {
    let mut all = found.repo_digests.iter().flatten().filter_map(|known| known.split_once('@'));
    all.find(|(name, _)| name.ends_with(repository)).map(|(_, digest)| digest.to_owned())
}

/// What an image may be. The engine has unpacked it by now.
fn check(found: &ImageInspect, limits: &ImageLimits) -> Result<(), String> {
    let (os, architecture) =
        (found.os.as_deref().unwrap_or_default(), found.architecture.as_deref().unwrap_or_default());
    if !matches!(os, "linux" | "") || !matches!(architecture, ARCHITECTURE | "") {
        return Err(format!("it is for {os}/{architecture}, not linux/{ARCHITECTURE}"));
    }
    let bytes = found.size.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
    if bytes > limits.bytes {
        return Err(format!("it has {bytes} bytes, more than the {} that are taken", limits.bytes));
    }
    let layers = found.root_fs.as_ref().and_then(|root| root.layers.as_ref()).map_or(0, Vec::len);
    if layers > limits.layers {
        return Err(format!("it has {layers} layers; {} are taken", limits.layers));
    }
    Ok(())
}

pub(super) fn config(found: &ImageInspect) -> ImageConfig {
    let said = found.config.clone().unwrap_or_default();
    ImageConfig {
        entrypoint: said.entrypoint.unwrap_or_default(),
        cmd: said.cmd.unwrap_or_default(),
        env: said.env.unwrap_or_default(),
        working_dir: said.working_dir.unwrap_or_default(),
        user: said.user.unwrap_or_default(),
    }
}

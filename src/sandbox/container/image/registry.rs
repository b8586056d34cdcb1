//! Pulling from a registry: manifest and layers, by tag and by digest, every digest checked.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::manifest::{ImageIndexEntry, OciDescriptor};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::Credentials;
use super::export::ARCHITECTURE;
use super::store::{Layer, Manifest, Problem};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two pieces of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Manifest and configuration together: documents of some kilobytes.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// One image that is being pulled.
pub(super) struct Pull<'a> {
    client: Client,
    reference: &'a Reference,
    auth: RegistryAuth,
}

impl<'a> Pull<'a> {
    pub(super) fn new(reference: &'a Reference, credentials: &Credentials, insecure: &[String]) -> Self {
        let registry = reference.resolve_registry();
        let plain = is_loopback(registry) || insecure.iter().any(|known| known == registry);
        let protocol = if plain { ClientProtocol::Http } else { ClientProtocol::Https };
        let client = Client::new(ClientConfig {
            protocol,
            platform_resolver: Some(Box::new(for_this_machine)),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: "sandpool",
            ..ClientConfig::default()
        });
        let auth = match credentials {
            Credentials::Anonymous => RegistryAuth::Anonymous,
            Credentials::Password { username, password } => RegistryAuth::Basic(username.clone(), password.clone()),
        };
        Self { client, reference, auth }
    }

    /// The digest that the reference itself names.
    pub(super) fn digest(&self) -> Option<&str> {
        self.reference.digest()
    }

    pub(super) async fn manifest(&self) -> Result<Manifest, Problem> {
        let asked = self.client.pull_image_manifest(self.reference, &self.auth);
        let (manifest, digest) = within(MANIFEST_TIMEOUT, asked).await?;
        let mut config = Capped { sink: Vec::new(), left: MAX_CONFIG_BYTES };
        within(MANIFEST_TIMEOUT, self.client.pull_blob(self.reference, &manifest.config, &mut config)).await?;
        let layers = manifest.layers.into_iter().map(|descriptor| Layer { descriptor, file: None }).collect();
        Ok(Manifest { digest, config: config.sink, layers })
    }

    /// Writes a layer into `file`, at most `limit` bytes; gives how many.
    pub(super) async fn layer(&self, layer: &OciDescriptor, file: &Path, limit: u64) -> Result<u64, Problem> {
        if layer.urls.is_some() {
            return Err("one of its layers is to be fetched from elsewhere".into());
        }
        let file = File::create(file).await.map_err(|error| error.to_string())?;
        let mut capped = Capped { sink: file, left: limit };
        self.client.pull_blob(self.reference, layer, &mut capped).await.map_err(|error| error.to_string())?;
        capped.sink.flush().await.map_err(|error| error.to_string())?;
        Ok(limit - capped.left)
    }
}

async fn within<T>(
    time: Duration,
    asked: impl Future<Output = Result<T, oci_client::errors::OciDistributionError>>,
) -> Result<T, Problem> {
    let answer = tokio::time::timeout(time, asked).await;
    answer
        .map_err(|_| format!("its registry did not answer within {} seconds", time.as_secs()))?
        .map_err(|e| e.to_string())
}

fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn for_this_machine(manifests: &[ImageIndexEntry]) -> Option<String> {
    let fits = |entry: &&ImageIndexEntry| {
        entry.platform.as_ref().is_some_and(|platform| {
            let (os, architecture) = (platform.os.to_string(), platform.architecture.to_string());
            os == "linux" && architecture == ARCHITECTURE
        })
    };
    manifests.iter().find(fits).map(|entry| entry.digest.clone())
}

/// Takes so many bytes and no more.
struct Capped<S> {
    sink: S,
    left: u64,
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Capped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.len() as u64 > self.left {
            return Poll::Ready(Err(io::Error::other("it is larger than an image may be")));
        }
        let written = ready!(Pin::new(&mut self.sink).poll_write(cx, bytes))?;
        self.left -= written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sink).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sink).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        for host in ["127.0.0.1:5000", "localhost", "localhost:5000", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["127.0.0.1.example:5000", "registry.example", "10.0.0.1:5000", "localhost.example"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}

//! The TLS listener: rustls with ring, TLS 1.2 and 1.3, HTTP/1.1.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Where the listener's certificate is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate and those between it and the authority's, in PEM, in that order.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// Why there is no TLS listener.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("tls: {path} cannot be used: {source}", path = path.display())]
    Pem { path: PathBuf, source: pem::Error },
    #[error("tls: {path} holds no certificate", path = path.display())]
    Empty { path: PathBuf },
    #[error("tls: the certificate and the key cannot be used together: {0}")]
    Pair(#[from] rustls::Error),
}

/// A bound listener, and how connections on it begin.
pub struct Door {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
}

impl From<TcpListener> for Door {
    fn from(listener: TcpListener) -> Self {
        Self { listener, tls: None }
    }
}

impl Door {
    /// Connections begin with a TLS handshake.
    pub fn secured(listener: TcpListener, tls: Secrets) -> Self {
        Self { listener, tls: Some(TlsAcceptor::from(tls.0)) }
    }

    pub fn local_addr(&self) -> io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// A certificate with its key, read and checked.
pub struct Secrets(Arc<ServerConfig>);

impl Secrets {
    /// Reads both files.
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together.
    pub fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let pem = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Pem { path, source }
        };
        let certificates = CertificateDer::pem_file_iter(&settings.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(pem(&settings.certificate))?;
        if certificates.is_empty() {
            return Err(TlsError::Empty { path: settings.certificate.clone() });
        }
        let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(pem(&settings.key))?;
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

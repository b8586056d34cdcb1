//! Whom the command line believes to be a gateway: TLS with the machine's authorities, or one that is named.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{CertificateError, Error as TlsError};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// TLS that trusts the authorities in the file `ca`, else those of the machine.
///
/// # Errors
/// When there are none.
pub(super) fn settings(ca: Option<&Path>) -> Result<TlsConfig, Box<dyn Error>> {
    let authorities = match ca {
        Some(file) => named(file)?,
        None => machines()?,
    };
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&authorities))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build())
}

fn named(file: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let failed = |why: String| format!("{}: {why}", file.display());
    let pem = fs::read(file).map_err(|error| failed(error.to_string()))?;
    let items = parse_pem(&pem).collect::<Result<Vec<_>, _>>().map_err(|error| failed(error.to_string()))?;
    let certificate = |item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    };
    let found: Vec<_> = items.into_iter().filter_map(certificate).collect();
    if found.is_empty() { Err(failed("it holds no certificate (PEM)".into())) } else { Ok(found) }
}

fn machines() -> Result<Vec<Certificate<'static>>, String> {
    let loaded = rustls_native_certs::load_native_certs();
    if loaded.certs.is_empty() {
        let why: Vec<_> = loaded.errors.iter().map(ToString::to_string).collect();
        return Err(format!("this machine trusts no authorities ({}); name one with --ca", why.join("; ")));
    }
    Ok(loaded.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect())
}

/// A call that failed, in words that say what to change.
pub(super) fn explained(error: ureq::Error, url: &str) -> Box<dyn Error> {
    let gateway = url.split('/').nth(2).unwrap_or(url);
    let text = match tls(&error) {
        Some(TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            format!(
                "{gateway} shows a certificate of an authority that is not trusted here; \
             name the authority with --ca FILE or SANDPOOL_CA, if it is yours"
            )
        }
        Some(TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => format!("{gateway} shows a certificate for another name; call the gateway by a name that is in it"),
        Some(TlsError::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            format!("{gateway} shows a certificate that has expired")
        }
        Some(TlsError::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => format!("{gateway} shows a certificate that is not valid yet; is the clock right?"),
        Some(TlsError::InvalidMessage(_)) => {
            format!("{gateway} does not speak TLS; does the gateway listen with http?")
        }
        Some(other) => format!("{gateway}: no TLS connection: {other}"),
        None => return error.into(),
    };
    text.into()
}

/// What TLS has to say about it, where it is the cause.
fn tls(error: &ureq::Error) -> Option<&TlsError> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        // A handshake is driven by reading and writing.
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

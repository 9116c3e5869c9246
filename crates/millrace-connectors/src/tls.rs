//! TLS for what leaves over HTTP and SMTP: rustls on ring, as the store's, with the system's roots and one's own.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// Trusts the system's roots, and the certificates of this PEM file besides.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub(crate) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    // A machine without roots can still trust its own file.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let unreadable = |error: &dyn std::fmt::Display| format!("certificates in {}: {error}", path.display());
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| unreadable(&e))?;
        let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|e| unreadable(&e))?;
        if certificates.is_empty() {
            return Err(unreadable(&"there is none; PEM is wanted"));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|e| unreadable(&e))?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("tls: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_checked() {
        assert!(connector(None).is_ok());
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        assert!(connector(Some(&file)).err().expect("missing").contains("ca.pem"));
        std::fs::write(&file, "no certificate\n").expect("written");
        assert!(connector(Some(&file)).err().expect("empty").contains("there is none"));
    }
}

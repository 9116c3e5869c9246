//! TLS for what leaves over HTTP and SMTP: certificates of one's own, and what lies below the error of a library.

use std::error::Error;
use std::io;
use std::path::Path;

/// The certificates of this PEM file, which are trusted besides the system's.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub(crate) fn own_certificates(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("certificates in {}: {error}", path.display());
    let pem = std::fs::read(path).map_err(|error| unreadable(&error))?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(found) if found.is_empty() => Err(unreadable(&"there is none; PEM is wanted")),
        Ok(_) => Ok(pem),
        Err(error) => Err(unreadable(&cause(&error).text)),
    }
}

/// Why something failed, without the layers it went through.
pub(crate) struct Cause {
    pub(crate) text: String,
    /// What the other side sent is refused, such as a certificate that is not trusted: that does not mend itself.
    pub(crate) refused: bool,
}

/// The error below all others.
pub(crate) fn cause(error: &(dyn Error + 'static)) -> Cause {
    let (mut at, mut refused) = (error, false);
    loop {
        let io = at.downcast_ref::<io::Error>();
        refused |= io.is_some_and(|io| io.kind() == io::ErrorKind::InvalidData);
        // An error within an `io::Error` is not its source; the source is what lies below that.
        let below = io.and_then(io::Error::get_ref).map(|inner| inner as &(dyn Error + 'static));
        match below.or_else(|| at.source()) {
            Some(below) => at = below,
            None => return Cause { text: at.to_string(), refused },
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::sync::Arc;

    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::{ServerConfig, crypto};

    /// A file of the folder of certificates.
    pub(crate) fn file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
    }

    /// What a server on 127.0.0.1 needs; `ca.pem` is its authority.
    pub(crate) fn acceptor(protocols: &[&str]) -> TlsAcceptor {
        let certificate = CertificateDer::from_pem_file(file("server.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(file("server.key")).expect("a key");
        let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a pair");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    #[test]
    fn files_are_checked() {
        assert!(own_certificates(&file("ca.pem")).is_ok());
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("own.pem");
        assert!(own_certificates(&file).expect_err("missing").contains("own.pem"));
        std::fs::write(&file, "no certificate\n").expect("written");
        assert!(own_certificates(&file).expect_err("empty").contains("there is none"));
    }

    #[test]
    fn causes() {
        let inner = io::Error::new(io::ErrorKind::InvalidData, "unknown issuer");
        let found = cause(&io::Error::other(io::Error::other(inner)));
        assert_eq!((found.text.as_str(), found.refused), ("unknown issuer", true));
        let found = cause(&io::Error::other("hung up"));
        assert_eq!((found.text.as_str(), found.refused), ("hung up", false));
    }
}

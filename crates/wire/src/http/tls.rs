//! TLS as this program does it: aws-lc-rs, the platform's roots and the operator's.

use std::sync::Arc;

use rustls::{ClientConfig, crypto::CryptoProvider};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use rustls_platform_verifier::Verifier;

use super::SetupError;

/// Makes aws-lc-rs the default of the process, for libraries that ask for one. Calling it again
/// changes nothing.
pub fn install_crypto() {
    // An error says that there is one already.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
}

/// The client configuration: HTTP/2 if the other side has it, else HTTP/1.1.
pub(super) fn client_config(ca_pem: Option<&[u8]>) -> Result<ClientConfig, SetupError> {
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let extra = match ca_pem {
        Some(pem) => certificates(pem)?,
        None => Vec::new(),
    };
    let verifier = Verifier::new_with_extra_roots(extra, provider.clone())?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(SetupError::Ca("it holds no PEM certificate".to_owned()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(SetupError::Ca(error.to_string())),
    }
}

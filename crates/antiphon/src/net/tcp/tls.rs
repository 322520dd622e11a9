//! Whom we believe when a TURN or STUN server speaks TLS.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The certificates that vouch for servers: the platform's, and those that the application adds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    pub(crate) extra: Vec<CertificateDer<'static>>,
    pub(crate) accept_any: bool,
    /// Made when first needed: reading the platform's roots takes a while.
    pub(super) config: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Trust {
    /// The certificates of a PEM text.
    pub(crate) fn parse_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| e.to_string())?;
        if certificates.is_empty() {
            return Err("there is no certificate in the text".to_owned());
        }
        Ok(certificates)
    }

    /// TLS over `stream` with the server that `name` names.
    pub(crate) async fn connect(&self, name: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let config = match self.config.get() {
            Some(config) => config.clone()?,
            None => {
                let fresh = Self {
                    extra: self.extra.clone(),
                    accept_any: self.accept_any,
                    config: OnceLock::new(),
                };
                let made = tokio::task::spawn_blocking(move || fresh.client_config())
                    .await
                    .map_err(|e| e.to_string())?;
                self.config.get_or_init(|| made).clone()?
            }
        };
        let server = ServerName::try_from(name.to_owned()).map_err(|_| format!("{name:?} is no name for TLS"))?;
        TlsConnector::from(config)
            .connect(server, stream)
            .await
            .map_err(|e| format!("TLS with {name}: {e}"))
    }

    fn client_config(&self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?;
        if self.accept_any {
            let verifier = Arc::new(AcceptAny(provider));
            let config = builder.dangerous().with_custom_certificate_verifier(verifier);
            return Ok(Arc::new(config.with_no_client_auth()));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &self.extra {
            roots
                .add(certificate.clone())
                .map_err(|e| format!("a trusted certificate of the settings: {e}"))?;
        }
        let platform = rustls_native_certs::load_native_certs();
        for error in &platform.errors {
            tracing::warn!(%error, "trusted certificates of this machine");
        }
        // Some platforms carry certificates that no verifier takes: the others count.
        roots.add_parsable_certificates(platform.certs);
        if roots.is_empty() {
            return Err("this machine has no trusted root certificates, and the settings name none".to_owned());
        }
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }
}

/// Believes everybody: for tests against servers with made-up certificates.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

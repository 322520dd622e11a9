//! The handshake of DTLS 1.3 (RFC 9147, RFC 8446), and what goes on after it.

pub(crate) mod client;
pub(crate) mod key_schedule;
pub(crate) mod server;
#[cfg(test)]
mod tests;
pub(crate) mod traffic;

use antiphon_crypto::{NamedGroup, Secret, SignatureScheme};

use crate::certificate::{PeerKey, PublicKeyKind, is_pkcs1};
use crate::config::{CipherSuite, ProtocolVersion, Role, SrtpProfile};
use crate::error::Error;
use crate::exporter::Exporter;
use crate::handshake::hello::RANDOM_LEN;
use crate::handshake::messages::Signed;
use crate::layer::Layer;
use crate::negotiation::agreed::Agreed;
use crate::record::epoch::{APPLICATION_EPOCH, HANDSHAKE_EPOCH};
use key_schedule::{ApplicationSecrets, HandshakeSecrets, finished, protection};
use traffic::Traffic;

/// What both hellos have agreed on, and the secrets from it.
pub(crate) struct Session {
    suite: CipherSuite,
    group: NamedGroup,
    client_random: [u8; RANDOM_LEN],
    srtp: Option<SrtpProfile>,
    secrets: HandshakeSecrets,
}

impl Session {
    /// Derives the handshake's secrets. The transcript must end with ServerHello. Both directions of epoch 2 are set up.
    fn derive(
        layer: &mut Layer,
        suite: CipherSuite,
        group: NamedGroup,
        client_random: [u8; RANDOM_LEN],
        shared: &Secret,
    ) -> Result<Self, Error> {
        let provider = layer.config.provider;
        let hash = layer.transcript.hash(provider, suite.hash());
        let secrets = HandshakeSecrets::derive(provider, suite.hash(), shared, hash.as_bytes())?;
        if let Some(key_log) = &layer.config.key_log {
            key_log.write(
                "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
                &client_random,
                secrets.client.as_bytes(),
            );
            key_log.write(
                "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                &client_random,
                secrets.server.as_bytes(),
            );
        }
        let (ours, theirs) = match layer.role {
            Role::Client => (&secrets.client, &secrets.server),
            Role::Server => (&secrets.server, &secrets.client),
        };
        layer
            .epochs
            .prepare_send_in(HANDSHAKE_EPOCH, protection(provider, suite, ours)?);
        layer
            .epochs
            .receive_in(HANDSHAKE_EPOCH, protection(provider, suite, theirs)?);
        layer.enable_acks();
        Ok(Self {
            suite,
            group,
            client_random,
            srtp: None,
            secrets,
        })
    }

    /// Derives the secrets of application data. The transcript must end with the server's Finished. Both directions of
    /// epoch 3 are set up.
    fn application(&self, layer: &mut Layer) -> Result<ApplicationSecrets, Error> {
        let provider = layer.config.provider;
        let hash = layer.transcript.hash(provider, self.suite.hash());
        let secrets = self.secrets.application(hash.as_bytes())?;
        if let Some(key_log) = &layer.config.key_log {
            key_log.write(
                "CLIENT_TRAFFIC_SECRET_0",
                &self.client_random,
                secrets.client.as_bytes(),
            );
            key_log.write(
                "SERVER_TRAFFIC_SECRET_0",
                &self.client_random,
                secrets.server.as_bytes(),
            );
            key_log.write("EXPORTER_SECRET", &self.client_random, secrets.exporter.as_bytes());
        }
        let (ours, theirs) = match layer.role {
            Role::Client => (&secrets.client, &secrets.server),
            Role::Server => (&secrets.server, &secrets.client),
        };
        layer
            .epochs
            .prepare_send_in(APPLICATION_EPOCH, protection(provider, self.suite, ours)?);
        layer
            .epochs
            .receive_in(APPLICATION_EPOCH, protection(provider, self.suite, theirs)?);
        Ok(secrets)
    }

    /// The MAC of the Finished that `sender` sends now.
    fn finished(&self, layer: &Layer, sender: Role) -> Result<antiphon_crypto::Tag, Error> {
        let provider = layer.config.provider;
        let hash = layer.transcript.hash(provider, self.suite.hash());
        let secret = match sender {
            Role::Client => &self.secrets.client,
            Role::Server => &self.secrets.server,
        };
        finished(provider, self.suite.hash(), secret, hash.as_bytes())
    }

    /// Whether `body` is the Finished of `sender`.
    fn is_finished(&self, layer: &Layer, sender: Role, body: &[u8]) -> Result<bool, Error> {
        Ok(body.len() == self.suite.hash().output_len() && self.finished(layer, sender)?.verify(body))
    }

    fn agreed(self, role: Role, secrets: ApplicationSecrets) -> Agreed {
        let (local, remote) = match role {
            Role::Client => (secrets.client, secrets.server),
            Role::Server => (secrets.server, secrets.client),
        };
        Agreed {
            version: ProtocolVersion::Dtls13,
            suite: self.suite,
            group: self.group,
            srtp: self.srtp,
            exporter: Exporter::V13 {
                hash: self.suite.hash(),
                secret: secrets.exporter,
            },
            traffic: Some(Traffic::new(self.suite, local, remote)),
        }
    }
}

/// What CertificateVerify signs (RFC 8446 §4.4.3).
fn signed_content(signer: Role, transcript_hash: &[u8]) -> Vec<u8> {
    let mut content = vec![b' '; 64];
    content.extend_from_slice(match signer {
        Role::Client => b"TLS 1.3, client CertificateVerify\0",
        Role::Server => b"TLS 1.3, server CertificateVerify\0",
    });
    content.extend_from_slice(transcript_hash);
    content
}

/// Signs the transcript so far, by a scheme that the peer takes.
fn sign(layer: &Layer, suite: CipherSuite, scheme: SignatureScheme) -> Result<Signed, Error> {
    let hash = layer.transcript.hash(layer.config.provider, suite.hash());
    let key = layer.config.certificate.key();
    let signature = key
        .sign_with(scheme, &signed_content(layer.role, hash.as_bytes()))
        .map_err(|_| Error::Crypto)?;
    Ok(Signed {
        scheme: scheme.code(),
        signature,
    })
}

/// Checks the peer's signature of the transcript so far.
fn verify(layer: &Layer, suite: CipherSuite, key: &PeerKey, signed: &Signed) -> Result<(), Error> {
    let scheme = SignatureScheme::from_code(signed.scheme).ok_or(Error::NoCommonParameters)?;
    let fits = match scheme {
        // In 1.3 a scheme names its curve (RFC 8446 §4.2.3); the length of a point tells P-256 from P-384.
        SignatureScheme::EcdsaSecp256r1Sha256 => key.kind == PublicKeyKind::Ecdsa && key.key.len() == 65,
        SignatureScheme::EcdsaSecp384r1Sha384 => key.kind == PublicKeyKind::Ecdsa && key.key.len() == 97,
        // PKCS #1 v1.5 is for certificates only.
        pkcs1 if is_pkcs1(pkcs1) => false,
        other => key.kind == PublicKeyKind::of(other),
    };
    if !fits {
        return Err(Error::BadSignature);
    }
    let signer = match layer.role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    };
    let hash = layer.transcript.hash(layer.config.provider, suite.hash());
    let content = signed_content(signer, hash.as_bytes());
    let provider = layer.config.provider;
    provider
        .verify_signature(scheme, &key.key, &content, &signed.signature)
        .map_err(|_| Error::BadSignature)
}

use antiphon_crypto::{HashAlgorithm, Provider, Secret, Tag, hkdf_expand, hkdf_extract};

use crate::config::CipherSuite;
use crate::epoch::Protection;
use crate::error::Error;

/// HKDF-Expand-Label (RFC 8446 §7.1) with the prefix of DTLS (RFC 9147 §5.9).
pub(crate) fn expand_label(
    provider: Provider,
    hash: HashAlgorithm,
    secret: &[u8],
    label: &str,
    context: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    const PREFIX: &[u8] = b"dtls13";
    let length = (out.len() as u16).to_be_bytes();
    let label_len = [(PREFIX.len() + label.len()) as u8];
    let context_len = [context.len() as u8];
    let info: &[&[u8]] = &[&length, &label_len, PREFIX, label.as_bytes(), &context_len, context];
    hkdf_expand(provider, hash, secret, info, out).map_err(|_| Error::Crypto)
}

/// Derive-Secret (RFC 8446 §7.1), from the transcript's hash.
pub(crate) fn derive_secret(
    provider: Provider,
    hash: HashAlgorithm,
    secret: &[u8],
    label: &str,
    transcript_hash: &[u8],
) -> Result<Secret, Error> {
    let mut out = Secret::zeros(hash.output_len());
    expand_label(provider, hash, secret, label, transcript_hash, out.as_bytes_mut())?;
    Ok(out)
}

/// The secrets of the handshake's own epoch, and what the next come from.
pub(crate) struct HandshakeSecrets {
    provider: Provider,
    hash: HashAlgorithm,
    pub(crate) client: Secret,
    pub(crate) server: Secret,
    handshake: Secret,
}

/// The secrets of application data, and of exporters.
pub(crate) struct ApplicationSecrets {
    pub(crate) client: Secret,
    pub(crate) server: Secret,
    pub(crate) exporter: Secret,
}

impl HandshakeSecrets {
    /// From the key exchange, and the transcript from ClientHello to ServerHello.
    pub(crate) fn derive(
        provider: Provider,
        hash: HashAlgorithm,
        shared: &Secret,
        transcript_hash: &[u8],
    ) -> Result<Self, Error> {
        let zeros = [0; 64];
        let zeros = &zeros[..hash.output_len()];
        let early = hkdf_extract(provider, hash, &[], zeros);
        let derived = derived(provider, hash, &early)?;
        let handshake = hkdf_extract(provider, hash, derived.as_bytes(), shared.as_bytes());
        let traffic = |label| derive_secret(provider, hash, handshake.as_bytes(), label, transcript_hash);
        let (client, server) = (traffic("c hs traffic")?, traffic("s hs traffic")?);
        Ok(Self {
            provider,
            hash,
            client,
            server,
            handshake,
        })
    }

    /// From the transcript up to the server's Finished.
    pub(crate) fn application(&self, transcript_hash: &[u8]) -> Result<ApplicationSecrets, Error> {
        let zeros = [0; 64];
        let derived = derived(self.provider, self.hash, &self.handshake)?;
        let zeros = &zeros[..self.hash.output_len()];
        let master = hkdf_extract(self.provider, self.hash, derived.as_bytes(), zeros);
        let secret = |label| derive_secret(self.provider, self.hash, master.as_bytes(), label, transcript_hash);
        Ok(ApplicationSecrets {
            client: secret("c ap traffic")?,
            server: secret("s ap traffic")?,
            exporter: secret("exp master")?,
        })
    }
}

fn derived(provider: Provider, hash: HashAlgorithm, secret: &Secret) -> Result<Secret, Error> {
    let empty = provider.hash(hash).finish();
    derive_secret(provider, hash, secret.as_bytes(), "derived", empty.as_bytes())
}

/// The MAC of a Finished (RFC 8446 §4.4.4).
pub(crate) fn finished(
    provider: Provider,
    hash: HashAlgorithm,
    traffic_secret: &Secret,
    transcript_hash: &[u8],
) -> Result<Tag, Error> {
    let key = derive_secret(provider, hash, traffic_secret.as_bytes(), "finished", &[])?;
    Ok(provider.mac(hash, key.as_bytes()).sign(&[transcript_hash]))
}

/// The secret of the epoch after (RFC 8446 §7.2).
pub(crate) fn next_secret(provider: Provider, hash: HashAlgorithm, secret: &Secret) -> Result<Secret, Error> {
    derive_secret(provider, hash, secret.as_bytes(), "traffic upd", &[])
}

/// The keys of one direction of an epoch (RFC 8446 §7.3, RFC 9147 §4.2.3).
pub(crate) fn protection(provider: Provider, suite: CipherSuite, secret: &Secret) -> Result<Protection, Error> {
    let (hash, key_len) = (suite.hash(), suite.aead().key_len());
    let mut keys = Secret::zeros(2 * key_len);
    let (key, number_key) = keys.as_bytes_mut().split_at_mut(key_len);
    let mut iv = [0; 12];
    expand_label(provider, hash, secret.as_bytes(), "key", &[], key)?;
    expand_label(provider, hash, secret.as_bytes(), "iv", &[], &mut iv)?;
    expand_label(provider, hash, secret.as_bytes(), "sn", &[], number_key)?;
    Protection::v13(provider, suite, key, iv, number_key)
}

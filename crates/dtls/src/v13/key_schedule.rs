//! The secrets of DTLS 1.3 and how each follows from the one before (RFC 8446 §7.1).

use antiphon_crypto::{HashAlgorithm, Mac, Provider, Secret, Tag, hkdf_expand_with, hkdf_extract};

use crate::config::CipherSuite;
use crate::error::Error;
use crate::record::Protection;

/// A secret that others are derived from: as the key of an HMAC, made once for all of them.
pub(crate) struct Source {
    hash: HashAlgorithm,
    mac: Box<dyn Mac>,
}

impl Source {
    pub(crate) fn new(provider: Provider, hash: HashAlgorithm, secret: &[u8]) -> Self {
        Self {
            hash,
            mac: provider.mac(hash, secret),
        }
    }

    /// HKDF-Expand-Label (RFC 8446 §7.1) with the prefix of DTLS (RFC 9147 §5.9).
    pub(crate) fn expand_label(&self, label: &str, context: &[u8], out: &mut [u8]) -> Result<(), Error> {
        const PREFIX: &[u8] = b"dtls13";
        let length = (out.len() as u16).to_be_bytes();
        let label_len = [(PREFIX.len() + label.len()) as u8];
        let context_len = [context.len() as u8];
        let info: &[&[u8]] = &[&length, &label_len, PREFIX, label.as_bytes(), &context_len, context];
        hkdf_expand_with(&*self.mac, self.hash, info, out).map_err(|_| Error::Crypto)
    }

    /// Derive-Secret (RFC 8446 §7.1), from the transcript's hash.
    pub(crate) fn derive_secret(&self, label: &str, transcript_hash: &[u8]) -> Result<Secret, Error> {
        let mut out = Secret::zeros(self.hash.output_len());
        self.expand_label(label, transcript_hash, out.as_bytes_mut())?;
        Ok(out)
    }
}

/// The secrets of the handshake's own epoch, and what the next come from.
pub(crate) struct HandshakeSecrets {
    provider: Provider,
    hash: HashAlgorithm,
    pub(crate) client: Secret,
    pub(crate) server: Secret,
    handshake: Source,
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
        let derived = derived(provider, hash, &Source::new(provider, hash, early.as_bytes()))?;
        let handshake = hkdf_extract(provider, hash, derived.as_bytes(), shared.as_bytes());
        let handshake = Source::new(provider, hash, handshake.as_bytes());
        let client = handshake.derive_secret("c hs traffic", transcript_hash)?;
        let server = handshake.derive_secret("s hs traffic", transcript_hash)?;
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
        let master = Source::new(self.provider, self.hash, master.as_bytes());
        Ok(ApplicationSecrets {
            client: master.derive_secret("c ap traffic", transcript_hash)?,
            server: master.derive_secret("s ap traffic", transcript_hash)?,
            exporter: master.derive_secret("exp master", transcript_hash)?,
        })
    }
}

fn derived(provider: Provider, hash: HashAlgorithm, source: &Source) -> Result<Secret, Error> {
    let empty = provider.hash(hash).finish();
    source.derive_secret("derived", empty.as_bytes())
}

/// The MAC of a Finished (RFC 8446 §4.4.4).
pub(crate) fn finished(
    provider: Provider,
    hash: HashAlgorithm,
    traffic_secret: &Secret,
    transcript_hash: &[u8],
) -> Result<Tag, Error> {
    let key = Source::new(provider, hash, traffic_secret.as_bytes()).derive_secret("finished", &[])?;
    Ok(provider.mac(hash, key.as_bytes()).sign(&[transcript_hash]))
}

/// The secret of the epoch after (RFC 8446 §7.2).
pub(crate) fn next_secret(provider: Provider, hash: HashAlgorithm, secret: &Secret) -> Result<Secret, Error> {
    Source::new(provider, hash, secret.as_bytes()).derive_secret("traffic upd", &[])
}

/// The keys of one direction of an epoch (RFC 8446 §7.3, RFC 9147 §4.2.3).
pub(crate) fn protection(provider: Provider, suite: CipherSuite, secret: &Secret) -> Result<Protection, Error> {
    let (hash, key_len) = (suite.hash(), suite.aead().key_len());
    let mut keys = Secret::zeros(2 * key_len);
    let (key, number_key) = keys.as_bytes_mut().split_at_mut(key_len);
    let mut iv = [0; 12];
    let source = Source::new(provider, hash, secret.as_bytes());
    source.expand_label("key", &[], key)?;
    source.expand_label("iv", &[], &mut iv)?;
    source.expand_label("sn", &[], number_key)?;
    Protection::v13(provider, suite, key, iv, number_key)
}

//! The handshake of DTLS 1.2 (RFC 6347, RFC 5246), with the extended master secret (RFC 7627) and ECDHE (RFC 8422).

pub(crate) mod client;
pub(crate) mod server;

use antiphon_crypto::{Digest, Mac, NamedGroup, Provider, Secret, SignatureScheme, tls12_prf, tls12_prf_with};

use crate::certificate::{PeerKey, PublicKeyKind};
use crate::config::{CipherSuite, ProtocolVersion, Role, SrtpProfile};
use crate::error::Error;
use crate::exporter::Exporter;
use crate::handshake::hello::RANDOM_LEN;
use crate::handshake::messages::Signed;
use crate::layer::Layer;
use crate::negotiation::agreed::Agreed;
use crate::record::Protection;

/// The epoch of everything protected: there is no renegotiation, so there is no other.
pub(crate) const EPOCH: u16 = 1;
const MASTER_LEN: usize = 48;
const VERIFY_DATA_LEN: usize = 12;

/// What both hellos have agreed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Params {
    suite: CipherSuite,
    client_random: [u8; RANDOM_LEN],
    server_random: [u8; RANDOM_LEN],
    srtp: Option<SrtpProfile>,
}

/// The secrets of a session.
pub(crate) struct Session {
    params: Params,
    group: NamedGroup,
    master: Secret,
    /// HMAC with the master secret: made once for all that comes from it.
    mac: Box<dyn Mac>,
}

impl Session {
    /// Derives the master secret. The transcript must end with ClientKeyExchange (RFC 7627 §4).
    fn derive(layer: &Layer, params: Params, group: NamedGroup, pre_master: &Secret) -> Self {
        let provider = layer.config.provider;
        let session_hash = layer.transcript.hash(provider, params.suite.hash());
        let mut master = Secret::zeros(MASTER_LEN);
        let label = b"extended master secret";
        let seed: &[&[u8]] = &[session_hash.as_bytes()];
        tls12_prf(
            provider,
            params.suite.hash(),
            pre_master.as_bytes(),
            label,
            seed,
            master.as_bytes_mut(),
        );
        if let Some(key_log) = &layer.config.key_log {
            key_log.write("CLIENT_RANDOM", &params.client_random, master.as_bytes());
        }
        let mac = provider.mac(params.suite.hash(), master.as_bytes());
        Self {
            params,
            group,
            master,
            mac,
        }
    }

    /// The keys of both directions: ours, and the peer's.
    fn protections(&self, provider: Provider, role: Role) -> Result<(Protection, Protection), Error> {
        let Params {
            suite,
            client_random,
            server_random,
            ..
        } = &self.params;
        let (client, server) = key_block(provider, *suite, &*self.mac, client_random, server_random)?;
        Ok(match role {
            Role::Client => (client, server),
            Role::Server => (server, client),
        })
    }

    /// What Finished of `sender` says about the transcript so far.
    fn verify_data(&self, layer: &Layer, sender: Role) -> [u8; VERIFY_DATA_LEN] {
        let provider = layer.config.provider;
        let hash: Digest = layer.transcript.hash(provider, self.params.suite.hash());
        verify_data(self.params.suite, &*self.mac, &hash, sender)
    }

    fn agreed(self) -> Agreed {
        Agreed {
            version: ProtocolVersion::Dtls12,
            suite: self.params.suite,
            group: self.group,
            srtp: self.params.srtp,
            exporter: Exporter::V12 {
                hash: self.params.suite.hash(),
                master: self.master,
                client_random: self.params.client_random,
                server_random: self.params.server_random,
            },
            traffic: None,
        }
    }
}

/// The keys of both directions (RFC 5246 §6.3): the client's, and the server's. `mac` is HMAC with the master secret.
pub(crate) fn key_block(
    provider: Provider,
    suite: CipherSuite,
    mac: &dyn Mac,
    client_random: &[u8; RANDOM_LEN],
    server_random: &[u8; RANDOM_LEN],
) -> Result<(Protection, Protection), Error> {
    let (key_len, iv_len) = (suite.aead().key_len(), Protection::iv_len(suite));
    let mut block = Secret::zeros(2 * (key_len + iv_len));
    let seed: &[&[u8]] = &[server_random, client_random];
    tls12_prf_with(mac, suite.hash(), b"key expansion", seed, block.as_bytes_mut());
    let (keys, ivs) = block.as_bytes().split_at(2 * key_len);
    let (client_key, server_key) = keys.split_at(key_len);
    let (client_iv, server_iv) = ivs.split_at(iv_len);
    let client = Protection::v12(provider, suite, client_key, client_iv)?;
    let server = Protection::v12(provider, suite, server_key, server_iv)?;
    Ok((client, server))
}

/// What Finished of `sender` says about a transcript (RFC 5246 §7.4.9). `mac` is HMAC with the master secret.
pub(crate) fn verify_data(
    suite: CipherSuite,
    mac: &dyn Mac,
    transcript: &Digest,
    sender: Role,
) -> [u8; VERIFY_DATA_LEN] {
    let label: &[u8] = match sender {
        Role::Client => b"client finished",
        Role::Server => b"server finished",
    };
    let mut out = [0; VERIFY_DATA_LEN];
    let seed: &[&[u8]] = &[transcript.as_bytes()];
    tls12_prf_with(mac, suite.hash(), label, seed, &mut out);
    out
}

/// Checks a signature of the peer.
fn verify(provider: Provider, key: &PeerKey, message: &[u8], signed: &Signed) -> Result<(), Error> {
    let scheme = SignatureScheme::from_code(signed.scheme).ok_or(Error::NoCommonParameters)?;
    if PublicKeyKind::of(scheme) != key.kind {
        return Err(Error::BadSignature);
    }
    provider
        .verify_signature(scheme, &key.key, message, &signed.signature)
        .map_err(|_| Error::BadSignature)
}

/// Signs with our certificate's key, by a scheme that the peer takes.
fn sign(layer: &Layer, scheme: SignatureScheme, message: &[u8]) -> Result<Signed, Error> {
    let key = layer.config.certificate.key();
    let signature = key.sign_with(scheme, message).map_err(|_| Error::Crypto)?;
    Ok(Signed {
        scheme: scheme.code(),
        signature,
    })
}

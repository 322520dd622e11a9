//! Keying material for other protocols (RFC 5705, RFC 8446 §7.5), SRTP's among it (RFC 5764 §4.2).

use antiphon_crypto::{HashAlgorithm, Provider, Secret, tls12_prf};

use crate::config::{Role, SrtpKeys, SrtpProfile};
use crate::error::Error;
use crate::handshake::hello::RANDOM_LEN;
use crate::v13::key_schedule::Source;

/// The label of RFC 5764 §4.2.
pub(crate) const DTLS_SRTP_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// Derives keying material for other protocols from a connection's secrets (RFC 5705).
#[derive(Clone)]
pub(crate) enum Exporter {
    /// DTLS 1.2: the PRF over the master secret and both randoms (RFC 5705 §4).
    V12 {
        hash: HashAlgorithm,
        master: Secret,
        client_random: [u8; RANDOM_LEN],
        server_random: [u8; RANDOM_LEN],
    },
    /// DTLS 1.3: the exporter master secret (RFC 8446 §7.5).
    V13 { hash: HashAlgorithm, secret: Secret },
}

impl Exporter {
    pub(crate) fn export(
        &self,
        provider: Provider,
        label: &str,
        context: Option<&[u8]>,
        len: usize,
    ) -> Result<Secret, Error> {
        let mut out = Secret::zeros(len);
        match self {
            Self::V12 {
                hash,
                master,
                client_random,
                server_random,
            } => {
                let context_len = context.map(|context| (context.len() as u16).to_be_bytes());
                let mut seed: Vec<&[u8]> = vec![client_random, server_random];
                if let (Some(context), Some(len)) = (context, &context_len) {
                    seed.extend([&len[..], context]);
                }
                tls12_prf(
                    provider,
                    *hash,
                    master.as_bytes(),
                    label.as_bytes(),
                    &seed,
                    out.as_bytes_mut(),
                );
            }
            Self::V13 { hash, secret } => {
                let digest = |data: &[u8]| {
                    let mut hash = provider.hash(*hash);
                    hash.update(data);
                    hash.finish()
                };
                let (empty, context) = (digest(&[]), digest(context.unwrap_or_default()));
                let secret = Source::new(provider, *hash, secret.as_bytes());
                let derived = secret.derive_secret(label, empty.as_bytes())?;
                Source::new(provider, *hash, derived.as_bytes()).expand_label(
                    "exporter",
                    context.as_bytes(),
                    out.as_bytes_mut(),
                )?;
            }
        }
        Ok(out)
    }

    /// Master keys and salts for SRTP (RFC 5764 §4.2): client key, server key, client salt, server salt.
    pub(crate) fn srtp_keys(&self, provider: Provider, role: Role, profile: SrtpProfile) -> Result<SrtpKeys, Error> {
        let (key_len, salt_len) = (profile.key_len(), profile.salt_len());
        let material = self.export(provider, DTLS_SRTP_LABEL, None, 2 * (key_len + salt_len))?;
        let (keys, salts) = material.as_bytes().split_at(2 * key_len);
        let (client_key, server_key) = keys.split_at(key_len);
        let (client_salt, server_salt) = salts.split_at(salt_len);
        let (local, remote) = match role {
            Role::Client => ((client_key, client_salt), (server_key, server_salt)),
            Role::Server => ((server_key, server_salt), (client_key, client_salt)),
        };
        Ok(SrtpKeys {
            profile,
            local_key: Secret::new(local.0),
            local_salt: Secret::new(local.1),
            remote_key: Secret::new(remote.0),
            remote_salt: Secret::new(remote.1),
        })
    }
}

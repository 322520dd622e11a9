//! Certificates and their fingerprints: ours, made or read, and the peer's.

mod private_key;

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use antiphon_crypto::{HashAlgorithm, SignatureScheme, SigningKey, constant_time_eq, digest};
use bytes::Bytes;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::config::version::ProtocolVersion;
use crate::error::Error;

/// What kind of key a generated certificate has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// ECDSA on P-256, which every WebRTC peer must take (RFC 8827 §6.5).
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519. Browsers do not take it.
    Ed25519,
}

/// What a generated certificate says.
#[derive(Clone, Debug)]
pub struct CertificateParams {
    /// The subject's and issuer's common name. Says nothing about the user, so that sessions cannot be linked by it.
    pub common_name: String,
    /// When validity begins; `None` is 1 January 2000.
    pub not_before: Option<SystemTime>,
    /// When validity ends; `None` is the last day of 2099. Peers compare the fingerprint and look at no dates.
    pub not_after: Option<SystemTime>,
    /// What kind of key is generated for it.
    pub algorithm: KeyAlgorithm,
}

impl Default for CertificateParams {
    fn default() -> Self {
        Self {
            common_name: "WebRTC".to_owned(),
            not_before: None,
            not_after: None,
            algorithm: KeyAlgorithm::EcdsaP256,
        }
    }
}

/// Certificates of a chain that are taken or sent. Only the first is ever looked at.
pub(crate) const MAX_CHAIN: usize = 8;

/// Our certificate and its private key.
///
/// Peers know each other by the certificate's fingerprint, which travels in signalling (RFC 8122 §5), so a certificate
/// signed by itself is all that is needed. One that an authority signed, with the authority's own behind it, does as well;
/// so does an RSA key of 2048 to 4096 bits, but only from outside ([`Self::from_pem`]): none is generated.
pub struct Certificate {
    /// The end entity's first; never empty.
    chain: Vec<Bytes>,
    pkcs8: Zeroizing<Vec<u8>>,
    key: SigningKey,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field(
                "fingerprint",
                &format_args!("{}", self.fingerprint(HashAlgorithm::Sha256)),
            )
            .field("key", &"redacted")
            .finish()
    }
}

impl Certificate {
    /// Makes a key and a certificate signed by it. The key comes from the operating system's randomness.
    ///
    /// # Errors
    /// [`Error::Crypto`] if no key can be made, or the parameters make no certificate.
    pub fn generate(params: &CertificateParams) -> Result<Self, Error> {
        let algorithm = match params.algorithm {
            KeyAlgorithm::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
        };
        let key = rcgen::KeyPair::generate_for(algorithm).map_err(|_| Error::Crypto)?;
        let mut wanted = rcgen::CertificateParams::default();
        wanted.distinguished_name = rcgen::DistinguishedName::new();
        wanted
            .distinguished_name
            .push(rcgen::DnType::CommonName, params.common_name.as_str());
        wanted.not_before = params
            .not_before
            .map_or_else(|| rcgen::date_time_ymd(2000, 1, 1), Into::into);
        wanted.not_after = params
            .not_after
            .map_or_else(|| rcgen::date_time_ymd(2099, 12, 31), Into::into);
        let certificate = wanted.self_signed(&key).map_err(|_| Error::Crypto)?;
        Self::from_der(certificate.der().to_vec(), key.serialize_der())
    }

    /// Takes a certificate (DER) and its private key (PKCS#8 DER).
    ///
    /// # Errors
    /// [`Error::Certificate`] if either cannot be read, the key's kind cannot sign, or the two do not belong together.
    pub fn from_der(der: Vec<u8>, pkcs8: Vec<u8>) -> Result<Self, Error> {
        Self::from_der_chain(vec![der], pkcs8)
    }

    /// Takes a chain of certificates (DER), our own first, and our private key (PKCS#8 DER). Peers of WebRTC look at the
    /// first alone; the others are sent for those that look further.
    ///
    /// # Errors
    /// [`Error::Certificate`], as [`Self::from_der`], and if the chain is empty or longer than eight.
    pub fn from_der_chain(chain: Vec<Vec<u8>>, pkcs8: Vec<u8>) -> Result<Self, Error> {
        let pkcs8 = Zeroizing::new(pkcs8);
        let der = chain.first().ok_or(Error::Certificate("no certificate"))?;
        if chain.len() > MAX_CHAIN {
            return Err(Error::Certificate("the chain is too long"));
        }
        let public = PeerKey::from_certificate(der).ok_or(Error::Certificate("certificate cannot be parsed"))?;
        let key = SigningKey::from_pkcs8_der(&pkcs8).map_err(|_| Error::Certificate("private key cannot be used"))?;
        if key.public_key() != public.key.as_slice() {
            return Err(Error::Certificate("private key belongs to another certificate"));
        }
        Ok(Self {
            chain: chain.into_iter().map(Bytes::from).collect(),
            pkcs8,
            key,
        })
    }

    /// Takes a certificate and its private key from PEM text, in either order: `CERTIFICATE`, several if there is a chain, our
    /// own first; and `PRIVATE KEY`, `RSA PRIVATE KEY` or `EC PRIVATE KEY`, not encrypted.
    ///
    /// # Errors
    /// [`Error::Certificate`], as [`Self::from_der`].
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let blocks = pem::parse_many(pem).map_err(|_| Error::Certificate("not PEM"))?;
        let certificates = blocks.iter().filter(|block| block.tag() == "CERTIFICATE");
        let chain: Vec<_> = certificates.map(|block| block.contents().to_vec()).collect();
        if chain.is_empty() {
            return Err(Error::Certificate("no CERTIFICATE block"));
        }
        let mut key = blocks
            .iter()
            .find_map(|block| private_key::to_pkcs8(block.tag(), block.contents()))
            .ok_or(Error::Certificate("no PRIVATE KEY block that is not encrypted"))?;
        Self::from_der_chain(chain, std::mem::take(&mut *key))
    }

    /// The certificate and its private key as PEM text. The text is a secret; it is wiped when dropped.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let mut text = String::new();
        for der in &self.chain {
            text.push_str(&pem::encode_config(&pem::Pem::new("CERTIFICATE", der.to_vec()), config));
        }
        let key = Zeroizing::new(pem::encode_config(
            &pem::Pem::new("PRIVATE KEY", self.pkcs8.to_vec()),
            config,
        ));
        text.push_str(&key);
        Zeroizing::new(text)
    }

    /// The certificate, DER.
    pub fn der(&self) -> &Bytes {
        &self.chain[0]
    }

    /// The certificate and those behind it.
    pub(crate) fn chain(&self) -> &[Bytes] {
        &self.chain
    }

    /// The certificate's fingerprint, as it goes into `a=fingerprint`.
    pub fn fingerprint(&self, algorithm: HashAlgorithm) -> Fingerprint {
        Fingerprint::of(algorithm, self.der())
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(crate) fn kind(&self) -> PublicKeyKind {
        PublicKeyKind::of(self.key.scheme())
    }

    /// The best scheme that our key signs by and the peer takes. DTLS 1.3 leaves PKCS #1 v1.5 to the signatures inside
    /// certificates (RFC 8446 §4.2.3).
    pub(crate) fn scheme_for(&self, version: ProtocolVersion, offered: &[u16]) -> Option<SignatureScheme> {
        let schemes = self.key.schemes().iter().copied();
        schemes
            .filter(|scheme| version == ProtocolVersion::Dtls12 || !is_pkcs1(*scheme))
            .find(|scheme| offered.contains(&scheme.code()))
    }
}

/// Whether the scheme is RSASSA-PKCS1-v1_5.
pub(crate) fn is_pkcs1(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::RsaPkcs1Sha256 | SignatureScheme::RsaPkcs1Sha384 | SignatureScheme::RsaPkcs1Sha512
    )
}

/// The hash functions that fingerprints are made with here, weakest first.
const FINGERPRINT_HASHES: [(HashAlgorithm, &str); 3] = [
    (HashAlgorithm::Sha256, "sha-256"),
    (HashAlgorithm::Sha384, "sha-384"),
    (HashAlgorithm::Sha512, "sha-512"),
];

/// A certificate's fingerprint: parses from and displays as the value of `a=fingerprint` (RFC 8122 §5), for instance
/// `sha-256 4A:AD:B9:...`.
///
/// There is deliberately no `PartialEq`: fingerprints are compared by [`Self::matches`] and [`Self::same_as`], in constant time.
///
/// ```compile_fail,E0369
/// # use antiphon_dtls::Fingerprint;
/// fn v19_is_it(one: &Fingerprint, other: &Fingerprint) -> bool {
///     one == other
/// }
/// ```
#[derive(Clone)]
pub struct Fingerprint {
    algorithm: HashAlgorithm,
    value: Vec<u8>,
}

impl Fingerprint {
    /// The fingerprint of a certificate. SHA-1 is no longer one to identify a peer by: asked for it, this takes SHA-256.
    pub fn of(algorithm: HashAlgorithm, der: &[u8]) -> Self {
        let algorithm = if algorithm == HashAlgorithm::Sha1 {
            HashAlgorithm::Sha256
        } else {
            algorithm
        };
        Self {
            algorithm,
            value: digest(algorithm, &[der]).as_bytes().to_vec(),
        }
    }

    /// Which hash function it was made with.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The hash.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Whether this is the fingerprint of the certificate `der`.
    pub fn matches(&self, der: &[u8]) -> bool {
        constant_time_eq(digest(self.algorithm, &[der]).as_bytes(), &self.value)
    }

    /// Whether both are the same fingerprint.
    pub fn same_as(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && constant_time_eq(&self.value, &other.value)
    }

    /// Whether one of `fingerprints` is that of `der`. Only those made with the strongest hash function present count,
    /// so that a weaker one cannot be slipped in beside them (RFC 8122 §5).
    pub fn any_matches(fingerprints: &[Self], der: &[u8]) -> bool {
        Self::find_match(fingerprints, der).is_some()
    }

    /// The one by which [`Self::any_matches`].
    pub(crate) fn find_match<'a>(fingerprints: &'a [Self], der: &[u8]) -> Option<&'a Self> {
        let strongest = fingerprints.iter().max_by_key(|f| f.value.len())?;
        let hash = digest(strongest.algorithm, &[der]);
        fingerprints
            .iter()
            .filter(|f| f.algorithm == strongest.algorithm)
            .fold(None, |found, f| {
                if constant_time_eq(hash.as_bytes(), &f.value) {
                    Some(f)
                } else {
                    found
                }
            })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FINGERPRINT_HASHES
            .iter()
            .find(|(a, _)| *a == self.algorithm)
            .map_or("unknown", |(_, name)| name);
        f.write_str(name)?;
        for (index, byte) in self.value.iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a fingerprint with a hash function that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint by sha-256, sha-384 or sha-512")]
pub struct ParseFingerprintError;

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, hex) = text.trim().split_once(' ').ok_or(ParseFingerprintError)?;
        let (algorithm, _) = *FINGERPRINT_HASHES
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .ok_or(ParseFingerprintError)?;
        let mut value = Vec::with_capacity(algorithm.output_len());
        for pair in hex.trim().split(':') {
            if pair.len() != 2 || !pair.bytes().all(|b| b.is_ascii_hexdigit()) || value.len() == algorithm.output_len()
            {
                return Err(ParseFingerprintError);
            }
            value.push(u8::from_str_radix(pair, 16).map_err(|_| ParseFingerprintError)?);
        }
        if value.len() != algorithm.output_len() {
            return Err(ParseFingerprintError);
        }
        Ok(Self { algorithm, value })
    }
}

/// What kind of key a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublicKeyKind {
    Ecdsa,
    Ed25519,
    Rsa,
}

impl PublicKeyKind {
    /// The kind of key that signs by a scheme.
    pub(crate) fn of(scheme: SignatureScheme) -> Self {
        match scheme {
            SignatureScheme::EcdsaSecp256r1Sha256 | SignatureScheme::EcdsaSecp384r1Sha384 => Self::Ecdsa,
            SignatureScheme::Ed25519 => Self::Ed25519,
            _ => Self::Rsa,
        }
    }
}

/// The public key of a certificate, as the crypto provider wants it: the content of the subjectPublicKey bit string.
#[derive(Clone, Debug)]
pub(crate) struct PeerKey {
    pub(crate) kind: PublicKeyKind,
    pub(crate) key: Vec<u8>,
}

impl PeerKey {
    /// Reads the key. Nothing else of the certificate is looked at: not the dates, not the names and not the signature,
    /// which a certificate by RFC 9925 does not even have. The fingerprint alone says whose it is.
    pub(crate) fn from_certificate(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let info = certificate.public_key();
        let kind = match info.algorithm.algorithm.as_bytes() {
            // 1.2.840.10045.2.1, 1.3.101.112, 1.2.840.113549.1.1.1
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01] => PublicKeyKind::Ecdsa,
            [0x2b, 0x65, 0x70] => PublicKeyKind::Ed25519,
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01] => PublicKeyKind::Rsa,
            _ => return None,
        };
        Some(Self {
            kind,
            key: info.subject_public_key.data.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_certificates_survive_pem() {
        for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::Ed25519] {
            let made = Certificate::generate(&CertificateParams {
                algorithm,
                ..Default::default()
            })
            .unwrap();
            let read = Certificate::from_pem(&made.to_pem()).unwrap();
            assert_eq!(made.der(), read.der());
            let text = format!("{made:?}");
            assert!(text.contains("redacted"), "{text}");
        }
    }

    #[test]
    fn a_foreign_key_is_refused() {
        let one = Certificate::generate(&CertificateParams::default()).unwrap();
        let other = Certificate::generate(&CertificateParams::default()).unwrap();
        let mixed = Certificate::from_der(one.der().to_vec(), other.pkcs8.to_vec());
        assert_eq!(
            mixed.err(),
            Some(Error::Certificate("private key belongs to another certificate"))
        );
        assert!(Certificate::from_pem("nonsense").is_err());
    }

    #[test]
    fn fingerprints_round_trip_and_match() {
        let certificate = Certificate::generate(&CertificateParams::default()).unwrap();
        let other = Certificate::generate(&CertificateParams::default()).unwrap();
        for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
            let fingerprint = certificate.fingerprint(algorithm);
            let parsed: Fingerprint = fingerprint.to_string().parse().unwrap();
            assert!(parsed.same_as(&fingerprint));
            assert!(parsed.matches(certificate.der()));
            assert!(!parsed.matches(other.der()));
            let lower: Fingerprint = fingerprint.to_string().to_lowercase().parse().unwrap();
            assert!(lower.same_as(&fingerprint));
        }
        for bad in [
            "",
            "sha-256",
            "sha-256 ",
            "sha-1 00:11",
            "sha-256 0:1",
            "sha-256 +1:00",
            "md5 00",
        ] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_strongest_hash_counts() {
        let ours = Certificate::generate(&CertificateParams::default()).unwrap();
        let other = Certificate::generate(&CertificateParams::default()).unwrap();
        let weak = ours.fingerprint(HashAlgorithm::Sha256);
        let strong = other.fingerprint(HashAlgorithm::Sha512);
        assert!(!Fingerprint::any_matches(&[weak.clone(), strong], ours.der()));
        assert!(Fingerprint::any_matches(
            &[other.fingerprint(HashAlgorithm::Sha256), weak],
            ours.der()
        ));
        assert!(!Fingerprint::any_matches(&[], ours.der()));
    }

    /// A certificate by RFC 9925: the signature is replaced by nothing, and the algorithm says so.
    pub(crate) fn unsigned() -> Certificate {
        let signed = Certificate::generate(&CertificateParams::default()).unwrap();
        let ecdsa_with_sha256 = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
        let id_alg_unsigned = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x06, 0x24];
        let mut der = signed.der().to_vec();
        while let Some(at) = der.windows(10).position(|window| window == ecdsa_with_sha256) {
            der[at..at + 10].copy_from_slice(&id_alg_unsigned);
        }
        let algorithm = der.windows(10).rposition(|window| window == id_alg_unsigned).unwrap();
        der.truncate(algorithm + 10);
        der.extend_from_slice(&[0x03, 0x01, 0x00]);
        assert_eq!(der[..2], [0x30, 0x82], "a length of two bytes");
        let length = (der.len() as u16 - 4).to_be_bytes();
        der[2..4].copy_from_slice(&length);
        Certificate::from_der(der, signed.pkcs8.to_vec()).unwrap()
    }

    #[test]
    fn unsigned_certificates_are_read() {
        let certificate = unsigned();
        assert!(
            certificate
                .fingerprint(HashAlgorithm::Sha256)
                .matches(certificate.der())
        );
    }
}

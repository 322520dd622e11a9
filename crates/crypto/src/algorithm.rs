//! The algorithms that the protocols name, with their sizes.

/// Length of every AEAD tag here, in bytes.
pub const TAG_LEN: usize = 16;

/// Authenticated encryption with associated data, 12-byte nonce, 16-byte tag (RFC 5116).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AeadAlgorithm {
    /// AES-128 in Galois/Counter mode.
    Aes128Gcm,
    /// AES-256 in Galois/Counter mode.
    Aes256Gcm,
    /// ChaCha20 and Poly1305 (RFC 8439 §2.8).
    ChaCha20Poly1305,
}

impl AeadAlgorithm {
    /// Length of the key, in bytes.
    pub fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

/// A hash function, alone or inside HMAC, HKDF and the TLS 1.2 PRF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-1: STUN and SRTP need it, and nothing else may.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// Length of the digest, in bytes.
    pub fn output_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// A group for ephemeral Diffie-Hellman, with TLS's number for it (RFC 8422 §5.1.1, RFC 8446 §4.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NamedGroup {
    /// Curve25519 (RFC 7748 §5): public values of 32 bytes.
    X25519,
    /// NIST P-256: public values are uncompressed points of 65 bytes.
    Secp256r1,
    /// NIST P-384: public values are uncompressed points of 97 bytes.
    Secp384r1,
    /// ML-KEM-768 and X25519 together (draft-ietf-tls-ecdhe-mlkem): 1216 bytes from the client, 1120 from the server. For
    /// TLS 1.3 alone, and not symmetric: a server uses [`crate::CryptoProvider::respond`].
    X25519MlKem768,
}

impl NamedGroup {
    /// Every group, the ones to be preferred first.
    pub const ALL: [Self; 4] = [Self::X25519MlKem768, Self::X25519, Self::Secp256r1, Self::Secp384r1];

    /// The name in IANA's registry of TLS supported groups.
    pub fn name(self) -> &'static str {
        match self {
            Self::Secp256r1 => "secp256r1",
            Self::Secp384r1 => "secp384r1",
            Self::X25519 => "x25519",
            Self::X25519MlKem768 => "X25519MLKEM768",
        }
    }

    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Secp256r1 => 0x0017,
            Self::Secp384r1 => 0x0018,
            Self::X25519 => 0x001d,
            Self::X25519MlKem768 => 0x11ec,
        }
    }

    /// From the number on the wire.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.code() == code)
    }

    /// Length of the public value of who begins, in bytes.
    pub fn public_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::Secp256r1 => 65,
            Self::Secp384r1 => 97,
            Self::X25519MlKem768 => 1216,
        }
    }
}

/// A signature algorithm with TLS's number for it (RFC 8446 §4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// ECDSA with SHA-256. TLS 1.3 ties it to P-256; in TLS 1.2 the curve is whatever the key's is (RFC 5246 §7.4.1.4.1).
    EcdsaSecp256r1Sha256,
    /// ECDSA with SHA-384; the curve as above.
    EcdsaSecp384r1Sha384,
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA-256.
    RsaPssRsaeSha256,
    /// RSASSA-PSS with SHA-384.
    RsaPssRsaeSha384,
    /// RSASSA-PSS with SHA-512.
    RsaPssRsaeSha512,
}

impl SignatureScheme {
    /// Every scheme, the ones to be preferred first.
    pub const ALL: [Self; 9] = [
        Self::EcdsaSecp256r1Sha256,
        Self::Ed25519,
        Self::EcdsaSecp384r1Sha384,
        Self::RsaPssRsaeSha256,
        Self::RsaPssRsaeSha384,
        Self::RsaPssRsaeSha512,
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
    ];

    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::RsaPkcs1Sha256 => 0x0401,
            Self::EcdsaSecp256r1Sha256 => 0x0403,
            Self::RsaPkcs1Sha384 => 0x0501,
            Self::EcdsaSecp384r1Sha384 => 0x0503,
            Self::RsaPkcs1Sha512 => 0x0601,
            Self::RsaPssRsaeSha256 => 0x0804,
            Self::RsaPssRsaeSha384 => 0x0805,
            Self::RsaPssRsaeSha512 => 0x0806,
            Self::Ed25519 => 0x0807,
        }
    }

    /// From the number on the wire.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_both_ways_and_are_distinct() {
        for scheme in SignatureScheme::ALL {
            assert_eq!(SignatureScheme::from_code(scheme.code()), Some(scheme));
        }
        for group in NamedGroup::ALL {
            assert_eq!(NamedGroup::from_code(group.code()), Some(group));
        }
        assert_eq!(SignatureScheme::from_code(0x0201), None);
        assert_eq!(NamedGroup::from_code(0x0a0a), None);
    }
}

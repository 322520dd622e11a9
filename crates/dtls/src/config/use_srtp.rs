//! What use_srtp negotiates (RFC 5764 §4.1): the protection profile of SRTP, and its master keys.

use std::fmt;

use antiphon_crypto::Secret;

/// How SRTP is to be protected, as use_srtp negotiates it (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SrtpProfile {
    /// AES in counter mode with a tag of 80 bits.
    Aes128CmSha1_80,
    /// AES in counter mode with a tag of 32 bits for RTP.
    Aes128CmSha1_32,
    /// AES-128-GCM.
    AeadAes128Gcm,
    /// AES-256-GCM.
    AeadAes256Gcm,
}

impl SrtpProfile {
    const ALL: [Self; 4] = [
        Self::Aes128CmSha1_80,
        Self::Aes128CmSha1_32,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Aes128CmSha1_80 => 1,
            Self::Aes128CmSha1_32 => 2,
            Self::AeadAes128Gcm => 7,
            Self::AeadAes256Gcm => 8,
        }
    }

    /// The profile of that number.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.code() == code)
    }

    /// The registered name, as `RTCTransportStats.srtpCipher` shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            Self::Aes128CmSha1_32 => "SRTP_AES128_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
        }
    }

    /// Length of the master key in bytes.
    pub fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            _ => 16,
        }
    }

    /// Length of the master salt in bytes.
    pub fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::Aes128CmSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }
}

/// What use_srtp agreed on, and the master keys for it (RFC 5764 §4.2).
#[derive(Clone)]
pub struct SrtpKeys {
    /// The profile that both ends use.
    pub profile: SrtpProfile,
    /// Master key for what we send.
    pub local_key: Secret,
    /// Master salt for what we send.
    pub local_salt: Secret,
    /// Master key for what the peer sends.
    pub remote_key: Secret,
    /// Master salt for what the peer sends.
    pub remote_salt: Secret,
}

impl fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpKeys")
            .field("profile", &self.profile)
            .field("keys", &"redacted")
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for profile in SrtpProfile::ALL {
            assert_eq!(SrtpProfile::from_code(profile.code()), Some(profile));
        }
        assert_eq!(SrtpProfile::from_code(0), None);
    }
}

//! The protection profiles of DTLS-SRTP (RFC 5764 §4.1.2, RFC 7714 §14.2).

use antiphon_crypto::AeadAlgorithm;

/// A protection profile, with DTLS-SRTP's number for it if there is one (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `SRTP_AES128_CM_HMAC_SHA1_80`.
    Aes128CmSha1_80,
    /// `SRTP_AES128_CM_HMAC_SHA1_32`: 4-byte tags on RTP, still 10 bytes on RTCP.
    Aes128CmSha1_32,
    /// `SRTP_AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM`.
    AeadAes256Gcm,
    /// AES_256_CM_HMAC_SHA1_80 (RFC 6188 §3). DTLS-SRTP has no number for it: for keys that come another way.
    Aes256CmSha1_80,
    /// AES_256_CM_HMAC_SHA1_32 (RFC 6188 §3): 4-byte tags on RTP, still 10 bytes on RTCP. No number either.
    Aes256CmSha1_32,
}

impl Profile {
    /// Every profile, the ones to be preferred first: GCM costs a fifth of counter mode with HMAC.
    pub const ALL: [Self; 6] = [
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
        Self::Aes128CmSha1_80,
        Self::Aes128CmSha1_32,
        Self::Aes256CmSha1_80,
        Self::Aes256CmSha1_32,
    ];

    /// The number in the `use_srtp` extension, if it has one.
    pub fn code(self) -> Option<u16> {
        match self {
            Self::Aes128CmSha1_80 => Some(0x0001),
            Self::Aes128CmSha1_32 => Some(0x0002),
            Self::AeadAes128Gcm => Some(0x0007),
            Self::AeadAes256Gcm => Some(0x0008),
            Self::Aes256CmSha1_80 | Self::Aes256CmSha1_32 => None,
        }
    }

    /// From the number in the `use_srtp` extension.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.code() == Some(code))
    }

    /// The name that statistics show (`srtpCipher` of webrtc-stats).
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            Self::Aes128CmSha1_32 => "SRTP_AES128_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
            Self::Aes256CmSha1_80 => "SRTP_AES256_CM_HMAC_SHA1_80",
            Self::Aes256CmSha1_32 => "SRTP_AES256_CM_HMAC_SHA1_32",
        }
    }

    /// Length of the master key, in bytes.
    pub fn key_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::Aes128CmSha1_32 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm | Self::Aes256CmSha1_80 | Self::Aes256CmSha1_32 => 32,
        }
    }

    /// Length of the master salt, in bytes.
    pub fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::Aes128CmSha1_32 | Self::Aes256CmSha1_80 | Self::Aes256CmSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    /// Bytes that protecting adds to an RTP packet.
    pub fn overhead_rtp(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::Aes256CmSha1_80 => 10,
            Self::Aes128CmSha1_32 | Self::Aes256CmSha1_32 => 4,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// Bytes that protecting adds to an RTCP packet: the tag and the index word.
    pub fn overhead_rtcp(self) -> usize {
        // RFC 5764 §4.1.2: the short tag is for RTP only.
        if self.aead().is_some() { 16 + 4 } else { 10 + 4 }
    }

    pub(crate) fn aead(self) -> Option<AeadAlgorithm> {
        match self {
            Self::Aes128CmSha1_80 | Self::Aes128CmSha1_32 | Self::Aes256CmSha1_80 | Self::Aes256CmSha1_32 => None,
            Self::AeadAes128Gcm => Some(AeadAlgorithm::Aes128Gcm),
            Self::AeadAes256Gcm => Some(AeadAlgorithm::Aes256Gcm),
        }
    }
}

//! The messages whose form DTLS 1.3 has changed, or added.

use antiphon_sansio::Reader;
use bytes::Bytes;

use super::extensions::{ExtensionType, Extensions};
use super::{DecodeError, Decoded, end, put_u16, put_vec};
use crate::certificate::MAX_CHAIN;

/// The random of a ServerHello that is a HelloRetryRequest (RFC 8446 §4.1.3): SHA-256 of "HelloRetryRequest".
pub(crate) const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// The end of the random of a server that could have spoken 1.3 and was asked for 1.2 (RFC 8446 §4.1.3).
pub(crate) const DOWNGRADE_SENTINEL: [u8; 8] = *b"DOWNGRD\x01";

/// Certificate (RFC 8446 §4.4.2). The extensions of each certificate are skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateChain13 {
    pub(crate) context: Vec<u8>,
    pub(crate) chain: Vec<Bytes>,
}

impl CertificateChain13 {
    pub(crate) fn parse(body: &[u8]) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        let context = reader.vec8()?.to_vec();
        let mut list = Reader::new(reader.vec24()?);
        end(&reader)?;
        let mut chain = Vec::new();
        while !list.is_empty() {
            let certificate = list.vec24()?;
            list.vec16()?;
            if certificate.is_empty() || chain.len() == MAX_CHAIN {
                return Err(DecodeError);
            }
            chain.push(Bytes::copy_from_slice(certificate));
        }
        Ok(Self { context, chain })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        put_vec::<1>(&mut out, |out| out.extend_from_slice(&self.context));
        put_vec::<3>(&mut out, |out| {
            for certificate in &self.chain {
                put_vec::<3>(out, |out| out.extend_from_slice(certificate));
                put_u16(out, 0);
            }
        });
        out
    }
}

/// CertificateRequest (RFC 8446 §4.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateRequest13 {
    pub(crate) context: Vec<u8>,
    pub(crate) schemes: Vec<u16>,
}

impl CertificateRequest13 {
    pub(crate) fn parse(body: &[u8]) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        let context = reader.vec8()?.to_vec();
        let extensions = Extensions::parse(&mut reader)?;
        let schemes = extensions
            .list16(ExtensionType::SIGNATURE_ALGORITHMS)?
            .ok_or(DecodeError)?;
        Ok(Self { context, schemes })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_vec::<1>(&mut out, |out| out.extend_from_slice(&self.context));
        let mut extensions = Extensions::default();
        extensions.push_list16(ExtensionType::SIGNATURE_ALGORITHMS, self.schemes.iter().copied());
        extensions.write(&mut out);
        out
    }
}

/// EncryptedExtensions (RFC 8446 §4.3.1).
pub(crate) fn parse_encrypted_extensions(body: &[u8]) -> Decoded<Extensions> {
    if body.is_empty() {
        return Err(DecodeError);
    }
    Extensions::parse(&mut Reader::new(body))
}

/// The list is there even if it is empty.
pub(crate) fn write_encrypted_extensions(extensions: &Extensions) -> Vec<u8> {
    let mut out = Vec::new();
    extensions.write(&mut out);
    if out.is_empty() {
        put_u16(&mut out, 0);
    }
    out
}

/// KeyUpdate (RFC 8446 §4.6.3): whether the other end shall update its keys too.
pub(crate) fn parse_key_update(body: &[u8]) -> Decoded<bool> {
    match body {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(DecodeError),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(min: usize, max: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), min..max)
    }

    #[test]
    fn the_random_of_a_retry_is_a_hash() {
        assert_eq!(antiphon_crypto::sha256(&[b"HelloRetryRequest"]), HELLO_RETRY_REQUEST);
    }

    proptest! {
        #[test]
        fn round_trips(
            context in bytes(0, 9), chain in prop::collection::vec(bytes(1, 300), 0..MAX_CHAIN),
            schemes in prop::collection::vec(any::<u16>(), 0..20), empty: bool,
        ) {
            let chain = chain.into_iter().map(Bytes::from).collect();
            let certificates = CertificateChain13 { context: context.clone(), chain };
            prop_assert_eq!(CertificateChain13::parse(&certificates.write()), Ok(certificates));
            let mut extensions = Extensions::default();
            if !empty {
                extensions.push_list16(ExtensionType::SUPPORTED_GROUPS, schemes.iter().copied());
            }
            prop_assert_eq!(parse_encrypted_extensions(&write_encrypted_extensions(&extensions)), Ok(extensions));
            let request = CertificateRequest13 { context, schemes };
            prop_assert_eq!(CertificateRequest13::parse(&request.write()), Ok(request));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = CertificateChain13::parse(&bytes);
            let _ = CertificateRequest13::parse(&bytes);
            let _ = parse_encrypted_extensions(&bytes);
            let _ = parse_key_update(&bytes);
        }
    }
}

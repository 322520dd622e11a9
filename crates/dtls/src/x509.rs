/// An element of DER (X.690 §8.1, §10.1) off the front of `input`, if it has this tag: its content.
fn element<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&[first, length], rest) = input.split_first_chunk::<2>()?;
    if first != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => {
            let (&[length], rest) = rest.split_first_chunk::<1>()?;
            (usize::from(length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        // No certificate that fits a handshake message is longer.
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some(content)
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The public key of a certificate (RFC 5280 §4.1): the content of its algorithm's object identifier, and of its bit string.
///
/// The rest is stepped over: whatever it says, the fingerprint covers all of it, and that alone says whose certificate it is.
pub(crate) fn public_key(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = certificate;
    let mut fields = element(&mut outer, SEQUENCE)?;
    let mut to_be_signed = element(&mut fields, SEQUENCE)?;
    element(&mut fields, SEQUENCE)?;
    element(&mut fields, BIT_STRING)?;
    // A certificate of version 1 does not say so.
    element(&mut to_be_signed, VERSION);
    // Serial number; signature, issuer, validity, subject.
    element(&mut to_be_signed, INTEGER)?;
    for _ in 0..4 {
        element(&mut to_be_signed, SEQUENCE)?;
    }
    let mut info = element(&mut to_be_signed, SEQUENCE)?;
    let mut algorithm = element(&mut info, SEQUENCE)?;
    let identifier = element(&mut algorithm, OBJECT_IDENTIFIER)?;
    // In front of the bits stands how many of the last byte are unused: none, with keys.
    let key = element(&mut info, BIT_STRING)?.strip_prefix(&[0])?;
    (outer.is_empty() && fields.is_empty() && info.is_empty()).then_some((identifier, key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::certificate::{Certificate, CertificateParams};

    #[test]
    fn a_certificate_is_read_only_whole() {
        let certificate = Certificate::generate(&CertificateParams::default()).unwrap();
        let der = certificate.der();
        let (identifier, key) = public_key(der).unwrap();
        assert_eq!(identifier, [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]);
        assert_eq!(key, certificate.key().public_key());
        for len in 0..der.len() {
            assert_eq!(public_key(&der[..len]), None, "{len} of {}", der.len());
        }
        let mut longer = der.to_vec();
        longer.push(0);
        assert_eq!(public_key(&longer), None);
    }

    #[test]
    fn a_certificate_of_version_1_is_read() {
        // All fields empty that may be, and a key of two bytes.
        let der = [
            0x30, 0x1c, 0x30, 0x16, 0x02, 0x01, 0x07, 0x30, 0x00, 0x30, 0x00, 0x30, 0x00, 0x30, 0x00, 0x30, 0x09, 0x30,
            0x02, 0x06, 0x00, 0x03, 0x03, 0x00, 0xab, 0xcd, 0x30, 0x00, 0x03, 0x00,
        ];
        assert_eq!(public_key(&der), Some((&[][..], &[0xab, 0xcd][..])));
        for unused in 1..=8 {
            let mut bits = der;
            bits[23] = unused;
            assert_eq!(public_key(&bits), None, "keys are whole bytes");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = public_key(&bytes);
        }

        #[test]
        fn any_change_is_survived(at: prop::sample::Index, to: u8) {
            let mut der = pem::parse(include_str!("../tests/fixtures/p256-chain.pem")).unwrap().into_contents();
            let at = at.index(der.len());
            der[at] = to;
            let _ = public_key(&der);
        }
    }
}

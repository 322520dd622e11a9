//! Private keys in the forms that files have them.

use zeroize::Zeroizing;

/// AlgorithmIdentifier rsaEncryption with its NULL (RFC 8017 appendix A.1).
const RSA: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
/// AlgorithmIdentifier id-ecPublicKey on secp256r1 (RFC 5480 §2.1.1).
const EC_P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
/// AlgorithmIdentifier id-ecPublicKey on secp384r1.
const EC_P384: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22,
];
/// The longest key that is looked at: RSA with 8192 bits has about 4.7 kilobytes.
const MAX_KEY: usize = 16 * 1024;

/// Puts the content of a PEM block into the PKCS #8 form (RFC 5208 §5): that of `PRIVATE KEY` is in it, `RSA PRIVATE KEY`
/// (RFC 8017 appendix A.1.2) and `EC PRIVATE KEY` (RFC 5915 §3) are wrapped. `None` for any other tag.
pub(crate) fn to_pkcs8(tag: &str, content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if content.len() > MAX_KEY {
        return None;
    }
    match tag {
        "PRIVATE KEY" => Some(Zeroizing::new(content.to_vec())),
        "RSA PRIVATE KEY" => Some(wrap(RSA, content)),
        "EC PRIVATE KEY" => {
            // The curve is named inside, or else the length of the secret tells it: version 1, then an octet string.
            let p384 = content.windows(7).any(|window| window == &EC_P384[11..18]);
            Some(wrap(if p384 { EC_P384 } else { EC_P256 }, content))
        }
        _ => None,
    }
}

/// `SEQUENCE { INTEGER 0, algorithm, OCTET STRING key }`.
fn wrap(algorithm: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
    const VERSION: &[u8] = &[0x02, 0x01, 0x00];
    let string = header(0x04, key.len());
    let outer = header(0x30, VERSION.len() + algorithm.len() + string.len() + key.len());
    let mut out = Zeroizing::new(Vec::with_capacity(outer.len() + 64 + key.len()));
    for part in [&outer, VERSION, algorithm, &string, key] {
        out.extend_from_slice(part);
    }
    out
}

/// Tag and length in DER; the length has at most two bytes.
fn header(tag: u8, len: usize) -> Vec<u8> {
    match len {
        0..=0x7f => vec![tag, len as u8],
        0x80..=0xff => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    }
}

//! The messages between the hellos and application data, as DTLS 1.2 has them.

use antiphon_sansio::Reader;
use bytes::Bytes;

use super::extensions::{numbers, put_list16};
use super::{DecodeError, Decoded, end, put_u16, put_vec};
use crate::certificate::MAX_CHAIN;

/// Certificate (RFC 5246 §7.4.2): a chain, end-entity first; a client without one sends none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateChain {
    pub(crate) chain: Vec<Bytes>,
}

impl CertificateChain {
    pub(crate) fn parse(body: &[u8]) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        let mut list = Reader::new(reader.vec24()?);
        end(&reader)?;
        let mut chain = Vec::new();
        while !list.is_empty() {
            let certificate = list.vec24()?;
            if certificate.is_empty() || chain.len() == MAX_CHAIN {
                return Err(DecodeError);
            }
            chain.push(Bytes::copy_from_slice(certificate));
        }
        Ok(Self { chain })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        put_vec::<3>(&mut out, |out| {
            for certificate in &self.chain {
                put_vec::<3>(out, |out| out.extend_from_slice(certificate));
            }
        });
        out
    }
}

/// A signature and the scheme that it was made with (RFC 5246 §4.7). CertificateVerify is nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) scheme: u16,
    pub(crate) signature: Vec<u8>,
}

impl Signed {
    pub(crate) fn parse(body: &[u8]) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        let signed = Self {
            scheme: reader.u16()?,
            signature: reader.vec16()?.to_vec(),
        };
        end(&reader)?;
        Ok(signed)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_u16(out, self.scheme);
        put_vec::<2>(out, |out| out.extend_from_slice(&self.signature));
    }
}

/// ServerKeyExchange with a named group (RFC 8422 §5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerKeyExchange {
    pub(crate) group: u16,
    pub(crate) public_key: Vec<u8>,
    pub(crate) signed: Signed,
}

const NAMED_CURVE: u8 = 3;

impl ServerKeyExchange {
    /// The part that is signed, behind both randoms.
    pub(crate) fn params(group: u16, public_key: &[u8]) -> Vec<u8> {
        let mut out = vec![NAMED_CURVE];
        put_u16(&mut out, group);
        put_vec::<1>(&mut out, |out| out.extend_from_slice(public_key));
        out
    }

    pub(crate) fn parse(body: &[u8]) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        if reader.u8()? != NAMED_CURVE {
            return Err(DecodeError);
        }
        let group = reader.u16()?;
        let public_key = reader.vec8()?.to_vec();
        let signed = Signed::parse(reader.rest())?;
        Ok(Self {
            group,
            public_key,
            signed,
        })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Self::params(self.group, &self.public_key);
        self.signed.write(&mut out);
        out
    }
}

/// CertificateRequest (RFC 5246 §7.4.4). The names of authorities are skipped: nobody has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateRequest {
    pub(crate) types: Vec<u8>,
    pub(crate) schemes: Vec<u16>,
}

impl CertificateRequest {
    pub(crate) fn parse(body: &[u8]) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        let types = reader.vec8()?.to_vec();
        let schemes = numbers(reader.vec16()?)?;
        reader.vec16()?;
        end(&reader)?;
        Ok(Self { types, schemes })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_vec::<1>(&mut out, |out| out.extend_from_slice(&self.types));
        put_list16(&mut out, self.schemes.iter().copied());
        put_u16(&mut out, 0);
        out
    }
}

/// ClientKeyExchange: the client's public key (RFC 8422 §5.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientKeyExchange {
    pub(crate) public_key: Vec<u8>,
}

impl ClientKeyExchange {
    pub(crate) fn parse(body: &[u8]) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        let public_key = reader.vec8()?.to_vec();
        end(&reader)?;
        Ok(Self { public_key })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_vec::<1>(&mut out, |out| out.extend_from_slice(&self.public_key));
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..max)
    }

    proptest! {
        #[test]
        fn round_trips(
            chain in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..MAX_CHAIN),
            scheme: u16, signature in bytes(200), group: u16, public_key in bytes(200),
            types in bytes(5), schemes in prop::collection::vec(any::<u16>(), 0..20),
        ) {
            let chain = chain.into_iter().map(Bytes::from).collect();
            let chain = CertificateChain { chain };
            prop_assert_eq!(CertificateChain::parse(&chain.write()), Ok(chain));
            let signed = Signed { scheme, signature };
            let mut out = Vec::new();
            signed.write(&mut out);
            prop_assert_eq!(Signed::parse(&out), Ok(signed.clone()));
            let exchange = ServerKeyExchange { group, public_key: public_key.clone(), signed };
            prop_assert_eq!(ServerKeyExchange::parse(&exchange.write()), Ok(exchange));
            let request = CertificateRequest { types, schemes };
            prop_assert_eq!(CertificateRequest::parse(&request.write()), Ok(request));
            let key = ClientKeyExchange { public_key };
            prop_assert_eq!(ClientKeyExchange::parse(&key.write()), Ok(key));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = CertificateChain::parse(&bytes);
            let _ = Signed::parse(&bytes);
            let _ = ServerKeyExchange::parse(&bytes);
            let _ = CertificateRequest::parse(&bytes);
            let _ = ClientKeyExchange::parse(&bytes);
        }
    }
}

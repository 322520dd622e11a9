//! The hello messages.

use antiphon_sansio::Reader;

use super::extensions::{Extensions, numbers, put_list16};
use super::{DecodeError, Decoded, end, put_u16, put_vec};

/// Length of the random of a hello.
pub(crate) const RANDOM_LEN: usize = 32;
const MAX_SESSION_ID: usize = 32;

/// ClientHello (RFC 6347 §4.2.1; RFC 9147 §5.3 keeps the shape).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientHello {
    pub(crate) version: u16,
    pub(crate) random: [u8; RANDOM_LEN],
    pub(crate) session_id: Vec<u8>,
    pub(crate) cookie: Vec<u8>,
    pub(crate) cipher_suites: Vec<u16>,
    pub(crate) compression: Vec<u8>,
    pub(crate) extensions: Extensions,
}

impl ClientHello {
    pub(crate) fn parse(body: &[u8]) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        let hello = Self {
            version: reader.u16()?,
            random: reader.array()?,
            session_id: reader.vec8()?.to_vec(),
            cookie: reader.vec8()?.to_vec(),
            cipher_suites: numbers(reader.vec16()?)?,
            compression: reader.vec8()?.to_vec(),
            extensions: Extensions::parse(&mut reader)?,
        };
        if hello.session_id.len() > MAX_SESSION_ID || hello.cipher_suites.is_empty() {
            return Err(DecodeError);
        }
        Ok(hello)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        put_u16(&mut out, self.version);
        out.extend_from_slice(&self.random);
        put_vec::<1>(&mut out, |out| out.extend_from_slice(&self.session_id));
        put_vec::<1>(&mut out, |out| out.extend_from_slice(&self.cookie));
        put_list16(&mut out, self.cipher_suites.iter().copied());
        put_vec::<1>(&mut out, |out| out.extend_from_slice(&self.compression));
        self.extensions.write(&mut out);
        out
    }
}

/// ServerHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerHello {
    pub(crate) version: u16,
    pub(crate) random: [u8; RANDOM_LEN],
    pub(crate) session_id: Vec<u8>,
    pub(crate) cipher_suite: u16,
    pub(crate) compression: u8,
    pub(crate) extensions: Extensions,
}

impl ServerHello {
    pub(crate) fn parse(body: &[u8]) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        let hello = Self {
            version: reader.u16()?,
            random: reader.array()?,
            session_id: reader.vec8()?.to_vec(),
            cipher_suite: reader.u16()?,
            compression: reader.u8()?,
            extensions: Extensions::parse(&mut reader)?,
        };
        if hello.session_id.len() > MAX_SESSION_ID {
            Err(DecodeError)
        } else {
            Ok(hello)
        }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        put_u16(&mut out, self.version);
        out.extend_from_slice(&self.random);
        put_vec::<1>(&mut out, |out| out.extend_from_slice(&self.session_id));
        put_u16(&mut out, self.cipher_suite);
        out.push(self.compression);
        self.extensions.write(&mut out);
        out
    }
}

/// HelloVerifyRequest (RFC 6347 §4.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HelloVerifyRequest {
    pub(crate) cookie: Vec<u8>,
}

impl HelloVerifyRequest {
    pub(crate) fn parse(body: &[u8]) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        // Any version: RFC 6347 §4.2.1 has servers write that of DTLS 1.0.
        reader.u16()?;
        let cookie = reader.vec8()?.to_vec();
        end(&reader)?;
        Ok(Self { cookie })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = vec![0xfe, 0xff];
        put_vec::<1>(&mut out, |out| out.extend_from_slice(&self.cookie));
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::extensions::ExtensionType;
    use super::*;

    fn extensions() -> impl Strategy<Value = Extensions> {
        prop::collection::btree_map(any::<u16>(), prop::collection::vec(any::<u8>(), 0..40), 0..10).prop_map(|bodies| {
            let mut extensions = Extensions::default();
            for (kind, body) in bodies {
                extensions.push(ExtensionType(kind), |out| out.extend_from_slice(&body));
            }
            extensions
        })
    }

    proptest! {
        #[test]
        fn client_hello_round_trips(
            version: u16, random: [u8; 32], session_id in prop::collection::vec(any::<u8>(), 0..=32),
            cookie in prop::collection::vec(any::<u8>(), 0..=255), cipher_suites in prop::collection::vec(any::<u16>(), 1..40),
            compression in prop::collection::vec(any::<u8>(), 0..4), extensions in extensions(),
        ) {
            let hello = ClientHello { version, random, session_id, cookie, cipher_suites, compression, extensions };
            prop_assert_eq!(ClientHello::parse(&hello.write()), Ok(hello));
        }

        #[test]
        fn server_hello_round_trips(
            version: u16, random: [u8; 32], session_id in prop::collection::vec(any::<u8>(), 0..=32),
            cipher_suite: u16, compression: u8, extensions in extensions(),
        ) {
            let hello = ServerHello { version, random, session_id, cipher_suite, compression, extensions };
            prop_assert_eq!(ServerHello::parse(&hello.write()), Ok(hello));
        }

        #[test]
        fn hello_verify_request_round_trips(cookie in prop::collection::vec(any::<u8>(), 0..=255)) {
            let request = HelloVerifyRequest { cookie };
            prop_assert_eq!(HelloVerifyRequest::parse(&request.write()), Ok(request));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = ClientHello::parse(&bytes);
            let _ = ServerHello::parse(&bytes);
            let _ = HelloVerifyRequest::parse(&bytes);
        }
    }
}

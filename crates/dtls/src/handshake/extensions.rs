//! Extensions of the hello messages: a list in the order of the wire, read by type.

use antiphon_sansio::Reader;

use super::{DecodeError, Decoded, end, put_u16, put_vec};

/// More extensions than any peer sends; browsers send about 15 and two of GREASE.
pub(crate) const MAX_EXTENSIONS: usize = 64;
/// More numbers than any peer lists in one extension.
const MAX_LISTED: usize = 256;
/// More key shares than any peer offers: browsers send three, one of them GREASE.
const MAX_SHARES: usize = 16;

/// A public value, behind its group.
pub(crate) type Share = (u16, Vec<u8>);

/// Type of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtensionType(pub(crate) u16);

impl ExtensionType {
    pub(crate) const SUPPORTED_GROUPS: Self = Self(10);
    pub(crate) const EC_POINT_FORMATS: Self = Self(11);
    pub(crate) const SIGNATURE_ALGORITHMS: Self = Self(13);
    pub(crate) const USE_SRTP: Self = Self(14);
    pub(crate) const EXTENDED_MASTER_SECRET: Self = Self(23);
    pub(crate) const SUPPORTED_VERSIONS: Self = Self(43);
    pub(crate) const COOKIE: Self = Self(44);
    pub(crate) const KEY_SHARE: Self = Self(51);
    pub(crate) const RENEGOTIATION_INFO: Self = Self(0xff01);
}

/// The extensions of one message, each type at most once (RFC 8446 §4.2). Unknown types, GREASE among them (RFC 8701),
/// are kept and ignored; the order means nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    list: Vec<(ExtensionType, Vec<u8>)>,
}

impl Extensions {
    /// Reads the list, which may be missing altogether (RFC 5246 §7.4.1.2), and the end of the message after it.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Decoded<Self> {
        let mut list: Vec<(ExtensionType, Vec<u8>)> = Vec::new();
        if reader.is_empty() {
            return Ok(Self { list });
        }
        let mut inner = Reader::new(reader.vec16()?);
        end(reader)?;
        while !inner.is_empty() {
            let kind = ExtensionType(inner.u16()?);
            let body = inner.vec16()?;
            if list.len() == MAX_EXTENSIONS || list.iter().any(|(known, _)| *known == kind) {
                return Err(DecodeError);
            }
            list.push((kind, body.to_vec()));
        }
        Ok(Self { list })
    }

    /// Writes the list; nothing at all if it is empty.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if self.list.is_empty() {
            return;
        }
        put_vec::<2>(out, |out| {
            for (kind, body) in &self.list {
                put_u16(out, kind.0);
                put_vec::<2>(out, |out| out.extend_from_slice(body));
            }
        });
    }

    /// The body of an extension.
    pub(crate) fn get(&self, kind: ExtensionType) -> Option<&[u8]> {
        self.list
            .iter()
            .find(|(known, _)| *known == kind)
            .map(|(_, body)| body.as_slice())
    }

    pub(crate) fn has(&self, kind: ExtensionType) -> bool {
        self.get(kind).is_some()
    }

    /// The types, in the order of the wire.
    pub(crate) fn types(&self) -> impl Iterator<Item = ExtensionType> + '_ {
        self.list.iter().map(|(kind, _)| *kind)
    }

    /// Appends an extension.
    pub(crate) fn push(&mut self, kind: ExtensionType, body: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        body(&mut bytes);
        self.list.push((kind, bytes));
    }

    /// Appends an extension whose body is one list of numbers behind a length of two bytes.
    pub(crate) fn push_list16(&mut self, kind: ExtensionType, numbers: impl IntoIterator<Item = u16>) {
        self.push(kind, |out| put_list16(out, numbers));
    }

    /// supported_groups and signature_algorithms: one list of numbers. `None` if absent.
    pub(crate) fn list16(&self, kind: ExtensionType) -> Decoded<Option<Vec<u16>>> {
        self.get(kind)
            .map(|body| {
                let mut reader = Reader::new(body);
                let list = numbers(reader.vec16()?)?;
                end(&reader)?;
                Ok(list)
            })
            .transpose()
    }

    /// supported_versions of a ClientHello (RFC 8446 §4.2.1). `None` if absent.
    pub(crate) fn offered_versions(&self) -> Decoded<Option<Vec<u16>>> {
        self.get(ExtensionType::SUPPORTED_VERSIONS)
            .map(|body| {
                let mut reader = Reader::new(body);
                let list = numbers(reader.vec8()?)?;
                end(&reader)?;
                Ok(list)
            })
            .transpose()
    }

    /// supported_versions of a ServerHello. `None` if absent.
    pub(crate) fn selected_version(&self) -> Decoded<Option<u16>> {
        self.get(ExtensionType::SUPPORTED_VERSIONS)
            .map(|body| {
                let mut reader = Reader::new(body);
                let version = reader.u16()?;
                end(&reader)?;
                Ok(version)
            })
            .transpose()
    }

    /// key_share of a ClientHello: groups and public values (RFC 8446 §4.2.8). `None` if absent.
    pub(crate) fn offered_shares(&self) -> Decoded<Option<Vec<Share>>> {
        self.get(ExtensionType::KEY_SHARE)
            .map(|body| {
                let mut reader = Reader::new(body);
                let mut list = Reader::new(reader.vec16()?);
                end(&reader)?;
                let mut shares: Vec<Share> = Vec::new();
                while !list.is_empty() {
                    let group = list.u16()?;
                    let share = list.vec16()?;
                    if shares.len() == MAX_SHARES || shares.iter().any(|(known, _)| *known == group) {
                        return Err(DecodeError);
                    }
                    shares.push((group, share.to_vec()));
                }
                Ok(shares)
            })
            .transpose()
    }

    /// key_share of a ServerHello: one group and public value. `None` if absent.
    pub(crate) fn server_share(&self) -> Decoded<Option<Share>> {
        self.get(ExtensionType::KEY_SHARE)
            .map(|body| {
                let mut reader = Reader::new(body);
                let share = (reader.u16()?, reader.vec16()?.to_vec());
                end(&reader)?;
                Ok(share)
            })
            .transpose()
    }

    /// key_share of a HelloRetryRequest: the group that is asked for. `None` if absent.
    pub(crate) fn wanted_group(&self) -> Decoded<Option<u16>> {
        self.get(ExtensionType::KEY_SHARE)
            .map(|body| {
                let mut reader = Reader::new(body);
                let group = reader.u16()?;
                end(&reader)?;
                Ok(group)
            })
            .transpose()
    }

    /// cookie (RFC 8446 §4.2.2). `None` if absent.
    pub(crate) fn cookie(&self) -> Decoded<Option<Vec<u8>>> {
        self.get(ExtensionType::COOKIE)
            .map(|body| {
                let mut reader = Reader::new(body);
                let cookie = reader.vec16()?.to_vec();
                end(&reader)?;
                if cookie.is_empty() {
                    Err(DecodeError)
                } else {
                    Ok(cookie)
                }
            })
            .transpose()
    }

    /// Puts a body in the place of an extension's, or appends it.
    pub(crate) fn replace(&mut self, kind: ExtensionType, body: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        body(&mut bytes);
        match self.list.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, old)) => *old = bytes,
            None => self.list.push((kind, bytes)),
        }
    }

    /// use_srtp (RFC 5764 §4.1.1): profiles and master key identifier. `None` if absent.
    pub(crate) fn use_srtp(&self) -> Decoded<Option<UseSrtp>> {
        self.get(ExtensionType::USE_SRTP)
            .map(|body| {
                let mut reader = Reader::new(body);
                let profiles = numbers(reader.vec16()?)?;
                let mki = reader.vec8()?.to_vec();
                end(&reader)?;
                if profiles.is_empty() {
                    Err(DecodeError)
                } else {
                    Ok(UseSrtp { profiles, mki })
                }
            })
            .transpose()
    }

    /// Whether ec_point_formats, if present, allows uncompressed points, as it must (RFC 8422 §5.1.2).
    pub(crate) fn allows_uncompressed_points(&self) -> Decoded<bool> {
        let Some(body) = self.get(ExtensionType::EC_POINT_FORMATS) else {
            return Ok(true);
        };
        let mut reader = Reader::new(body);
        let formats = reader.vec8()?;
        end(&reader)?;
        Ok(formats.contains(&0))
    }

    /// Whether renegotiation_info, if present, is that of a first handshake: empty (RFC 5746 §3.4).
    pub(crate) fn renegotiation_info_is_initial(&self) -> bool {
        self.get(ExtensionType::RENEGOTIATION_INFO)
            .is_none_or(|body| body == [0])
    }
}

/// The body of use_srtp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UseSrtp {
    pub(crate) profiles: Vec<u16>,
    pub(crate) mki: Vec<u8>,
}

impl UseSrtp {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_list16(out, self.profiles.iter().copied());
        put_vec::<1>(out, |out| out.extend_from_slice(&self.mki));
    }
}

/// Reads a list of 16-bit numbers that fills `body`.
pub(crate) fn numbers(body: &[u8]) -> Decoded<Vec<u16>> {
    if !body.len().is_multiple_of(2) || body.len() > 2 * MAX_LISTED {
        return Err(DecodeError);
    }
    Ok(body
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect())
}

/// Writes one key share: group and public value.
pub(crate) fn put_share(out: &mut Vec<u8>, group: u16, public_key: &[u8]) {
    put_u16(out, group);
    put_vec::<2>(out, |out| out.extend_from_slice(public_key));
}

pub(crate) fn put_list16(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u16>) {
    put_vec::<2>(out, |out| numbers.into_iter().for_each(|number| put_u16(out, number)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_type_may_come_once() {
        let mut extensions = Extensions::default();
        extensions.push(ExtensionType::USE_SRTP, |_| {});
        extensions.push(ExtensionType::USE_SRTP, |_| {});
        let mut bytes = Vec::new();
        extensions.write(&mut bytes);
        assert_eq!(Extensions::parse(&mut Reader::new(&bytes)), Err(DecodeError));
    }

    proptest! {
        #[test]
        fn lists_round_trip(bodies in prop::collection::btree_map(any::<u16>(), prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut extensions = Extensions::default();
            for (kind, body) in &bodies {
                extensions.push(ExtensionType(*kind), |out| out.extend_from_slice(body));
            }
            let mut bytes = Vec::new();
            extensions.write(&mut bytes);
            prop_assert_eq!(Extensions::parse(&mut Reader::new(&bytes)), Ok(extensions));
        }

        #[test]
        fn shares_and_cookies_round_trip(
            shares in prop::collection::btree_map(any::<u16>(), prop::collection::vec(any::<u8>(), 0..80), 1..8),
            cookie in prop::collection::vec(any::<u8>(), 1..80),
        ) {
            let shares: Vec<_> = shares.into_iter().collect();
            let mut hello = Extensions::default();
            hello.push(ExtensionType::KEY_SHARE, |out| {
                put_vec::<2>(out, |out| shares.iter().for_each(|(group, share)| put_share(out, *group, share)));
            });
            hello.push(ExtensionType::COOKIE, |out| put_vec::<2>(out, |out| out.extend_from_slice(&cookie)));
            prop_assert_eq!(hello.cookie(), Ok(Some(cookie)));
            let (group, share) = shares[0].clone();
            prop_assert_eq!(hello.offered_shares(), Ok(Some(shares)));
            hello.replace(ExtensionType::KEY_SHARE, |out| put_share(out, group, &share));
            prop_assert_eq!(hello.server_share(), Ok(Some((group, share))));
            hello.replace(ExtensionType::KEY_SHARE, |out| put_u16(out, group));
            prop_assert_eq!(hello.wanted_group(), Ok(Some(group)));
        }

        #[test]
        fn typed_bodies_round_trip(profiles in prop::collection::vec(any::<u16>(), 1..20), mki in prop::collection::vec(any::<u8>(), 0..9)) {
            let mut extensions = Extensions::default();
            let srtp = UseSrtp { profiles: profiles.clone(), mki };
            extensions.push(ExtensionType::USE_SRTP, |out| srtp.write(out));
            extensions.push_list16(ExtensionType::SUPPORTED_GROUPS, profiles.iter().copied());
            prop_assert_eq!(extensions.use_srtp(), Ok(Some(srtp)));
            prop_assert_eq!(extensions.list16(ExtensionType::SUPPORTED_GROUPS), Ok(Some(profiles)));
            prop_assert_eq!(extensions.list16(ExtensionType::SIGNATURE_ALGORITHMS), Ok(None));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, kind in prop::sample::select(vec![10u16, 11, 13, 14, 43, 44, 51, 0xff01])) {
            let _ = Extensions::parse(&mut Reader::new(&bytes));
            let mut extensions = Extensions::default();
            extensions.push(ExtensionType(kind), |out| out.extend_from_slice(&bytes));
            let _ = extensions.use_srtp();
            let _ = extensions.offered_versions();
            let _ = extensions.selected_version();
            let _ = extensions.list16(ExtensionType(kind));
            let _ = extensions.allows_uncompressed_points();
            let _ = extensions.renegotiation_info_is_initial();
            let _ = extensions.offered_shares();
            let _ = extensions.server_share();
            let _ = extensions.wanted_group();
            let _ = extensions.cookie();
        }
    }
}

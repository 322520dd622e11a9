//! Which payload type of the receiving side each payload type of the sending side becomes.

use antiphon_peer_connection::Codec;

/// Payload types have seven bits.
const COUNT: usize = 128;
/// The receiver has no codec for it.
const FOREIGN: u8 = u8::MAX;
/// Not taken, and not missed.
const BESIDE: u8 = u8::MAX - 1;

/// Whether a codec goes beside the sound and is never the sound itself: keys pressed (RFC 4733), and noise to fill
/// silence (RFC 3389).
pub fn is_beside(codec: &Codec) -> bool {
    ["telephone-event", "CN"]
        .iter()
        .any(|name| codec.name.eq_ignore_ascii_case(name))
}

/// Which payload type of the receiving side each payload type of the sending side becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PayloadTypes([u8; COUNT]);

impl std::fmt::Debug for PayloadTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.0.iter().enumerate().filter(|(_, to)| usize::from(**to) < COUNT);
        f.debug_map().entries(known).finish()
    }
}

impl PayloadTypes {
    /// `from`: what is sent, as its sender numbers it; `to`: what the receiver takes, as it numbers it. A codec of the
    /// same configuration comes before one that merely contains it.
    pub fn between(from: &[Codec], to: &[Codec]) -> Self {
        let mut types = [FOREIGN; COUNT];
        for stream in from {
            let Some(place) = types.get_mut(usize::from(stream.payload_type)) else {
                continue;
            };
            let taking = to.iter().filter(|own| own.decodes(stream));
            *place = match taking.min_by_key(|own| !stream.decodes(own)) {
                Some(own) => own.payload_type & 0x7f,
                None if is_beside(stream) => BESIDE,
                None => FOREIGN,
            };
        }
        Self(types)
    }

    /// Each stays as it is.
    pub(crate) fn same() -> Self {
        Self(std::array::from_fn(|number| number as u8))
    }

    /// What a payload type becomes; `None`: the receiver has no codec for it.
    #[inline]
    pub fn of(&self, payload_type: u8) -> Option<u8> {
        let to = self.0.get(usize::from(payload_type)).copied()?;
        (usize::from(to) < COUNT).then_some(to)
    }

    /// Whether packets of this type go [beside](is_beside) others and are not missed where they are not taken.
    pub fn is_beside(&self, payload_type: u8) -> bool {
        self.0.get(usize::from(payload_type)) == Some(&BESIDE)
    }

    /// Whether nothing at all is taken.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|to| usize::from(*to) >= COUNT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(payload_type: u8, name: &str, parameters: &str) -> Codec {
        let is_sound = name != "H264";
        Codec {
            payload_type,
            name: name.into(),
            clock_rate: match name {
                "opus" => 48_000,
                _ if is_sound => 8_000,
                _ => 90_000,
            },
            channels: (name == "opus").then_some(2),
            parameters: parameters.into(),
            sender_parameters: String::new(),
            feedback: Vec::new(),
            rtx: None,
        }
    }

    #[test]
    fn mend11_a_payload_type_becomes_that_of_the_same_codec_or_nothing() {
        let h264 = |payload_type, profile: &str| {
            codec(
                payload_type,
                "H264",
                &format!("packetization-mode=1;profile-level-id={profile}"),
            )
        };
        let from = [
            codec(111, "opus", "minptime=10"),
            codec(0, "PCMU", ""),
            codec(8, "PCMA", ""),
            codec(101, "telephone-event", "0-15"),
            h264(96, "42e01f"),
            h264(97, "640c1f"),
            h264(98, "64001f"),
        ];
        // High contains Constrained Baseline, but the latter has a number of its own.
        let to = [
            codec(0, "PCMU", ""),
            codec(109, "opus", ""),
            h264(120, "64001f"),
            h264(121, "42e02a"),
        ];
        let types = PayloadTypes::between(&from, &to);
        let became = [111, 0, 8, 101, 96, 97, 98, 33].map(|from| types.of(from));
        let some = [109, 0, 121, 120, 120].map(Some);
        assert_eq!(became, [some[0], some[1], None, None, some[2], some[3], some[4], None]);
        assert!(types.is_beside(101) && !types.is_beside(8) && !types.is_empty());
        // A number beyond the seven bits is nobody's.
        assert_eq!((types.of(200), types.is_beside(200)), (None, false));
        assert!(PayloadTypes::between(&from, &[]).is_empty());
    }
}

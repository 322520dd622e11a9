//! INIT and INIT ACK, and what they say of their sender.

use antiphon_sansio::{Reader, Serial32};

use super::kind;
use super::parameter::{Parameters, kind as parameter};
use crate::error::ParseError;
use crate::packet::{Put, put_chunk};

/// INIT and INIT ACK (RFC 9260 §3.3.2, §3.3.3).
///
/// ```text
/// |               initiate tag                |
/// |   advertised receiver window credit       |
/// |  outbound streams  |  inbound streams     |
/// |               initial TSN                 |
/// |              parameters ...               |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init<'a> {
    /// The tag that the sender wants to see in packets to it.
    pub initiate_tag: u32,
    /// Its receive window in bytes.
    pub a_rwnd: u32,
    /// How many streams it wants to send on.
    pub outbound_streams: u16,
    /// How many streams it takes.
    pub inbound_streams: u16,
    /// The TSN of its first DATA chunk.
    pub initial_tsn: Serial32,
    /// What the sender can do beyond RFC 9260; in INIT ACK the state cookie as well.
    pub parameters: Parameters<'a>,
}

/// What optional parameters say of their sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// FORWARD-TSN (RFC 3758 §3.3.1).
    pub forward_tsn: bool,
    /// RE-CONFIG (RFC 6525 §3).
    pub re_config: bool,
    /// I-DATA (RFC 8260 §2.2.1).
    pub interleaving: bool,
    /// I-FORWARD-TSN (RFC 8260 §2.3.1): messages in I-DATA chunks can be given up.
    pub interleaved_forward_tsn: bool,
    /// Whether the list of supported extensions is there at all (RFC 5061 §4.2.7).
    pub extensions: bool,
    /// ECN (RFC 9260 Appendix B).
    pub ecn: bool,
    /// The error detection method with which it accepts a zero checksum (RFC 9653 §3); 1 is DTLS.
    pub zero_checksum: Option<u32>,
}

impl<'a> Init<'a> {
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(value);
        Ok(Self {
            initiate_tag: reader.u32()?,
            a_rwnd: reader.u32()?,
            outbound_streams: reader.u16()?,
            inbound_streams: reader.u16()?,
            initial_tsn: Serial32::new(reader.u32()?),
            parameters: Parameters::new(reader.rest()),
        })
    }

    /// Appends the chunk as INIT or INIT ACK.
    pub fn write(&self, out: &mut impl Put, chunk_kind: u8) {
        debug_assert!(chunk_kind == kind::INIT || chunk_kind == kind::INIT_ACK);
        let mut fixed = [0; 16];
        fixed[..4].copy_from_slice(&self.initiate_tag.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.a_rwnd.to_be_bytes());
        fixed[8..10].copy_from_slice(&self.outbound_streams.to_be_bytes());
        fixed[10..12].copy_from_slice(&self.inbound_streams.to_be_bytes());
        fixed[12..].copy_from_slice(&self.initial_tsn.get().to_be_bytes());
        put_chunk(out, chunk_kind, 0, &[&fixed, self.parameters.as_bytes()]);
    }

    /// The state cookie of an INIT ACK.
    pub fn cookie(&self) -> Option<&'a [u8]> {
        let mut known = self.parameters.clone().flatten();
        known.find(|p| p.kind == parameter::STATE_COOKIE).map(|p| p.value)
    }

    /// What the parameters announce. Malformed parameters end the walk: what came before them counts.
    pub fn capabilities(&self) -> Capabilities {
        let mut found = Capabilities::default();
        for p in self.parameters.clone().flatten() {
            match p.kind {
                parameter::FORWARD_TSN_SUPPORTED => found.forward_tsn = true,
                parameter::SUPPORTED_EXTENSIONS => {
                    found.extensions = true;
                    found.forward_tsn |= p.value.contains(&kind::FORWARD_TSN);
                    found.re_config |= p.value.contains(&kind::RE_CONFIG);
                    found.interleaving |= p.value.contains(&kind::I_DATA);
                    found.interleaved_forward_tsn |= p.value.contains(&kind::I_FORWARD_TSN);
                }
                parameter::ECN_CAPABLE => found.ecn = true,
                parameter::ZERO_CHECKSUM => {
                    found.zero_checksum = Reader::new(p.value).u32().ok();
                }
                _ => {}
            }
        }
        found
    }
}

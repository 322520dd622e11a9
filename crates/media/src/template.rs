//! The header of most packets of a stream: all that never changes is written once.

use antiphon_rtp::extension::{Kind, Values};
use antiphon_rtp::packet::{HEADER_LEN, Header, Packet};
use antiphon_sansio::Writer;

use crate::config::SenderConfig;

/// Largest header that a template holds: MID and RID of [`Template::MAX_ID`] bytes, and the two numbers.
const MAX_HEADER: usize = 128;

/// A header with the extensions that a stream's packets all have: MID, RID, transport-wide number and sending time. Only
/// fixed fields and numbers are written anew for a packet.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: [u8; MAX_HEADER],
    len: usize,
    /// Where the transport-wide number stands, if there is one.
    number: Option<u8>,
    /// Where the sending time stands, if there is one.
    send_time: Option<u8>,
}

impl Template {
    /// MIDs and RIDs longer than this, in bytes, are not told in every packet.
    pub(crate) const MAX_ID: usize = 32;

    pub(crate) fn new(config: &SenderConfig) -> Self {
        let mut template = Self {
            bytes: [0; MAX_HEADER],
            len: HEADER_LEN,
            number: None,
            send_time: None,
        };
        let values = Values {
            transport_sequence: Some(0),
            abs_send_time: Some(0),
            ..values(config)
        };
        let mut out = Writer::new(&mut template.bytes);
        let header = Header {
            ssrc: config.ssrc,
            ..Header::default()
        };
        if header.write(&[], &values, &config.extensions, &mut out).is_ok() {
            template.len = out.len();
        }
        let bytes = &template.bytes[..template.len];
        let at = |kinds: &[Kind]| {
            let elements = Packet::parse(bytes).ok()?.elements();
            let known = |id: u8| config.extensions.kind(id).is_some_and(|kind| kinds.contains(&kind));
            let (_, data) = elements.into_iter().find(|(id, _)| known(*id))?;
            Some((data.as_ptr().addr() - bytes.as_ptr().addr()) as u8)
        };
        let places = (at(&[Kind::TransportCc, Kind::TransportCc2]), at(&[Kind::AbsSendTime]));
        (template.number, template.send_time) = places;
        template
    }

    /// Bytes of the header.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether a packet bears a transport-wide number.
    pub(crate) fn is_numbered(&self) -> bool {
        self.number.is_some()
    }

    /// Whether a packet says when it was sent.
    pub(crate) fn is_timed(&self) -> bool {
        self.send_time.is_some()
    }

    /// The header of one packet, without CSRCs.
    #[inline]
    pub(crate) fn fill(&mut self, header: &Header, number: u16, send_time: u32) -> &[u8] {
        header.write_fixed(&mut self.bytes);
        if let Some(at) = self.number {
            self.bytes[usize::from(at)..][..2].copy_from_slice(&number.to_be_bytes());
        }
        if let Some(at) = self.send_time {
            self.bytes[usize::from(at)..][..3].copy_from_slice(&send_time.to_be_bytes()[1..]);
        }
        &self.bytes[..self.len]
    }
}

/// What each packet says of its stream: MID and RID, unless they are long.
pub(crate) fn values(config: &SenderConfig) -> Values<'_> {
    let short = |id: &&[u8]| id.len() <= Template::MAX_ID;
    Values {
        mid: Some(config.mid.as_bytes()).filter(short),
        rid: config.rid.as_ref().map(String::as_bytes).filter(short),
        ..Values::default()
    }
}

//! RTCP: compound packets and every packet type that WebRTC uses (RFC 3550 §6, RFC 4585, RFC 5104, RFC 3611, RFC 8888).
//!
//! Parsing borrows and never allocates; the counts and lengths of hostile input are checked before anything is walked.
//! Writers append one packet, padded to 32 bits, and fail without a trace if it does not fit.

mod ccfb;
mod feedback;
mod report;
mod source;
mod twcc;
mod xr;

pub use ccfb::{Ccfb, CcfbStream, PacketMetric, write_ccfb};
pub use feedback::{
    Fir, FirEntry, Nack, NackPair, Pli, Remb, nack_pairs, write_fir, write_nack, write_pli, write_remb,
};
pub use report::{
    ReceiverReport, ReportBlock, ReportBlocks, SenderInfo, SenderReport, write_receiver_report, write_sender_report,
};
pub use source::{App, Bye, Sdes, SdesChunk, SdesItem, write_app, write_bye, write_cname};
pub use twcc::{PacketStatus, Statuses, TransportFeedback, write_transport_feedback};
pub use xr::{Dlrr, ExtendedReport, XrBlock, write_dlrr, write_rrtr};

use antiphon_sansio::{Full, Reader, Writer};

use crate::ParseError;

/// Sender report (RFC 3550 §6.4.1).
pub const SR: u8 = 200;
/// Receiver report (RFC 3550 §6.4.2).
pub const RR: u8 = 201;
/// Source description (RFC 3550 §6.5).
pub const SDES: u8 = 202;
/// Goodbye (RFC 3550 §6.6).
pub const BYE: u8 = 203;
/// Application-defined (RFC 3550 §6.7).
pub const APP: u8 = 204;
/// Transport-layer feedback (RFC 4585 §6.2).
pub const RTPFB: u8 = 205;
/// Payload-specific feedback (RFC 4585 §6.3).
pub const PSFB: u8 = 206;
/// Extended report (RFC 3611 §2).
pub const XR: u8 = 207;

/// One packet of a compound.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Packet<'a> {
    /// SR
    SenderReport(SenderReport<'a>),
    /// RR
    ReceiverReport(ReceiverReport<'a>),
    /// SDES
    Sdes(Sdes<'a>),
    /// BYE
    Bye(Bye<'a>),
    /// APP
    App(App<'a>),
    /// XR
    ExtendedReport(ExtendedReport<'a>),
    /// RTPFB, FMT 1
    Nack(Nack<'a>),
    /// RTPFB, FMT 15
    TransportFeedback(TransportFeedback<'a>),
    /// RTPFB, FMT 11
    Ccfb(Ccfb<'a>),
    /// PSFB, FMT 1
    Pli(Pli),
    /// PSFB, FMT 4
    Fir(Fir<'a>),
    /// PSFB, FMT 15 with the name "REMB"
    Remb(Remb<'a>),
    /// Any other type or format, kept as it came.
    Unknown(Raw<'a>),
}

/// A packet before its body is looked at.
///
/// ```text
/// |V=2|P| count   |  packet type  |    length in words, minus 1   |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// The five bits "count", "subtype" or "FMT".
    pub count: u8,
    /// The packet type.
    pub packet_type: u8,
    /// What follows the four header bytes, without padding.
    pub body: &'a [u8],
}

/// Walks a compound or reduced-size packet. After an `Err` the walk is over: the length of a broken packet cannot be trusted.
/// A packet whose header is sound and whose body is not yields an `Err` as well, and the walk goes on.
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

/// Walks the packets of one RTCP datagram.
pub fn packets(bytes: &[u8]) -> Compound<'_> {
    Compound { rest: bytes }
}

impl<'a> Compound<'a> {
    fn next_raw(&mut self) -> Result<Raw<'a>, ParseError> {
        let mut reader = Reader::new(std::mem::take(&mut self.rest));
        let flags = reader.u8()?;
        if flags >> 6 != 2 {
            return Err(ParseError::Version);
        }
        let packet_type = reader.u8()?;
        let words = usize::from(reader.u16()?);
        let mut body = reader.take(words * 4)?;
        if flags & 0x20 != 0 {
            // RFC 3550 §6.4.1: the last byte counts the padding, itself included, a multiple of four.
            let padding = usize::from(*body.last().ok_or(ParseError::Padding)?);
            if padding == 0 || padding > body.len() {
                return Err(ParseError::Padding);
            }
            body = &body[..body.len() - padding];
        }
        self.rest = reader.rest();
        Ok(Raw {
            count: flags & 0x1f,
            packet_type,
            body,
        })
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(self.next_raw().and_then(Packet::from_raw))
    }
}

impl<'a> Packet<'a> {
    fn from_raw(raw: Raw<'a>) -> Result<Self, ParseError> {
        Ok(match (raw.packet_type, raw.count) {
            (SR, _) => Self::SenderReport(SenderReport::parse(raw)?),
            (RR, _) => Self::ReceiverReport(ReceiverReport::parse(raw)?),
            (SDES, _) => Self::Sdes(Sdes::parse(raw)?),
            (BYE, _) => Self::Bye(Bye::parse(raw)?),
            (APP, _) => Self::App(App::parse(raw)?),
            (XR, _) => Self::ExtendedReport(ExtendedReport::parse(raw)?),
            (RTPFB, feedback::FMT_NACK) => Self::Nack(Nack::parse(raw)?),
            (RTPFB, ccfb::FMT_CCFB) => Self::Ccfb(Ccfb::parse(raw)?),
            (RTPFB, twcc::FMT_TRANSPORT) => Self::TransportFeedback(TransportFeedback::parse(raw)?),
            (PSFB, feedback::FMT_PLI) => Self::Pli(Pli::parse(raw)?),
            (PSFB, feedback::FMT_FIR) => Self::Fir(Fir::parse(raw)?),
            (PSFB, feedback::FMT_AFB) if Remb::is_remb(raw) => Self::Remb(Remb::parse(raw)?),
            _ => Self::Unknown(raw),
        })
    }
}

/// Writes one packet: the header, `body`, zeros up to a word. The length is patched in after the body has run.
fn write_packet(
    count: u8,
    packet_type: u8,
    out: &mut Writer<'_>,
    body: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
) -> Result<(), Full> {
    // Bodies are written to a scratch writer over the free room, so that a failure leaves nothing behind.
    let start = out.len();
    let free = out.free();
    let room = out.reserve(free)?;
    let mut packet = Writer::new(room);
    let result = (|| {
        packet.put_u8(0x80 | count & 0x1f)?;
        packet.put_u8(packet_type)?;
        packet.put_u16(0)?;
        body(&mut packet)?;
        while packet.len() % 4 != 0 {
            packet.put_u8(0)?;
        }
        let words = u16::try_from(packet.len() / 4 - 1).map_err(|_| Full)?;
        packet.written_mut()[2..4].copy_from_slice(&words.to_be_bytes());
        Ok(packet.len())
    })();
    match result {
        Ok(len) => {
            out.truncate(start + len);
            Ok(())
        }
        Err(full) => {
            out.truncate(start);
            Err(full)
        }
    }
}

/// Writes a packet of any type as it is; `body` is a whole number of words.
pub fn write_raw(raw: Raw<'_>, out: &mut Writer<'_>) -> Result<(), Full> {
    write_packet(raw.count, raw.packet_type, out, |out| out.put_slice(raw.body))
}

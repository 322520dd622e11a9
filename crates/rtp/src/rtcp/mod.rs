//! RTCP: compound packets and every packet type that WebRTC uses (RFC 3550 §6, RFC 4585, RFC 5104, RFC 3611, RFC 8888).
//!
//! Parsing borrows and never allocates; the counts and lengths of hostile input are checked before anything is walked.
//! Writers append one packet, padded to 32 bits, and fail without a trace if it does not fit.

mod ccfb;
mod feedback;
mod raw;
mod report;
mod source;
mod twcc;
mod xr;

pub use ccfb::{Ccfb, CcfbStream, PacketMetric, write_ccfb};
pub use feedback::{
    Fir, FirEntry, Nack, NackPair, Pli, Remb, nack_pairs, write_fir, write_nack, write_pli, write_remb,
};
pub use raw::{APP, BYE, PSFB, RR, RTPFB, Raw, SDES, SR, XR};
pub use report::{
    ReceiverReport, ReportBlock, ReportBlocks, SenderInfo, SenderReport, write_receiver_report, write_sender_report,
};
pub use source::{App, Bye, Sdes, SdesChunk, SdesItem, write_app, write_bye, write_cname};
pub use twcc::{PacketStatus, Statuses, TransportFeedback, write_transport_feedback};
pub use xr::{Dlrr, ExtendedReport, XrBlock, write_dlrr, write_rrtr};

use crate::ParseError;

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
    #[inline]
    fn next_raw(&mut self) -> Result<Raw<'a>, ParseError> {
        let bytes = std::mem::take(&mut self.rest);
        let (&[flags, packet_type, high, low], rest) = bytes.split_first_chunk().ok_or(ParseError::Short)?;
        if flags >> 6 != 2 {
            return Err(ParseError::Version);
        }
        let words = usize::from(u16::from_be_bytes([high, low]));
        let (mut body, rest) = rest.split_at_checked(words * 4).ok_or(ParseError::Short)?;
        if flags & 0x20 != 0 {
            // RFC 3550 §6.4.1: the last byte counts the padding, itself included, a multiple of four.
            let padding = usize::from(*body.last().ok_or(ParseError::Padding)?);
            if padding == 0 || padding > body.len() {
                return Err(ParseError::Padding);
            }
            body = &body[..body.len() - padding];
        }
        self.rest = rest;
        Ok(Raw {
            count: flags & 0x1f,
            packet_type,
            body,
        })
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(self.next_raw().and_then(Packet::from_raw))
    }
}

impl<'a> Packet<'a> {
    #[inline]
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

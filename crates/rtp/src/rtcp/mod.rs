//! RTCP: compound packets and every packet type that WebRTC uses (RFC 3550 §6, RFC 4585, RFC 5104, RFC 3611, RFC 8888).
//!
//! Parsing borrows and never allocates; the counts and lengths of hostile input are checked before anything is walked.
//! Writers append one packet, padded to 32 bits, and fail without a trace if it does not fit.

mod ccfb;
mod control;
mod entries;
mod feedback;
mod raw;
mod report;
mod source;
mod twcc;
mod xr;
mod xr_metrics;

pub use ccfb::{Ccfb, CcfbStream, PacketMetric, write_ccfb};
pub use control::{
    ApplicationFeedback, LostSlice, RateLimit, RateLimits, ReferencePicture, SenderReportRequest, SliceLoss,
    write_application_feedback, write_rpsi, write_sender_report_request, write_sli, write_tmmbn, write_tmmbr,
};
pub use entries::{Entries, Entry};
pub use feedback::{
    Fir, FirEntry, Nack, NackPair, Pli, Remb, nack_pairs, write_fir, write_nack, write_pli, write_remb,
};
pub use raw::{APP, BYE, PSFB, RR, RTPFB, Raw, SDES, SR, XR};
pub use report::{ReceiverReport, ReportBlock, SenderInfo, SenderReport, write_receiver_report, write_sender_report};
pub use source::{App, Bye, Sdes, SdesChunk, SdesItem, write_app, write_bye, write_cname, write_sdes};
pub use twcc::{PacketStatus, Statuses, TransportFeedback, write_transport_feedback};
pub use xr::{Dlrr, ExtendedReport, XrBlock, write_dlrr, write_extended_report, write_rrtr};
pub use xr_metrics::{Hops, PacketRange, ReceiptTimes, RunChunk, RunLengths, Spread, StatisticsSummary, VoipMetrics};

use antiphon_sansio::{Full, Writer};

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
    /// RTPFB, FMT 3
    Tmmbr(RateLimits<'a>),
    /// RTPFB, FMT 4
    Tmmbn(RateLimits<'a>),
    /// RTPFB, FMT 5
    SenderReportRequest(SenderReportRequest),
    /// PSFB, FMT 2
    SliceLoss(SliceLoss<'a>),
    /// PSFB, FMT 3
    ReferencePicture(ReferencePicture<'a>),
    /// PSFB, FMT 15 with anything else
    ApplicationFeedback(ApplicationFeedback<'a>),
    /// Any other type or format, kept as it came.
    Unknown(Raw<'a>),
}

/// Walks a compound or reduced-size packet. After an `Err` the walk is over: the length of a broken packet cannot be trusted.
/// A packet whose header is sound and whose body is not yields an `Err` as well, and the walk goes on.
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
    padding: u8,
}

/// Walks the packets of one RTCP datagram.
pub fn packets(bytes: &[u8]) -> Compound<'_> {
    Compound {
        rest: bytes,
        padding: 0,
    }
}

impl<'a> Compound<'a> {
    /// How many bytes of padding the packet had that was walked last (RFC 3550 §6.4.1).
    #[inline]
    pub fn padding(&self) -> u8 {
        self.padding
    }

    #[inline]
    fn next_raw(&mut self) -> Result<Raw<'a>, ParseError> {
        let bytes = std::mem::take(&mut self.rest);
        let (&[flags, packet_type, high, low], rest) = bytes.split_first_chunk().ok_or(ParseError::Short)?;
        if flags >> 6 != 2 {
            return Err(ParseError::Version);
        }
        let words = usize::from(u16::from_be_bytes([high, low]));
        let (mut body, rest) = rest.split_at_checked(words * 4).ok_or(ParseError::Short)?;
        self.padding = 0;
        if flags & 0x20 != 0 {
            // RFC 3550 §6.4.1: the last byte counts the padding, itself included, a multiple of four; libwebrtc fills the last
            // word of its feedback by it.
            self.padding = *body.last().ok_or(ParseError::Padding)?;
            let padding = usize::from(self.padding);
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
            (PSFB, control::FMT_AFB) if Remb::is_remb(raw) => Self::Remb(Remb::parse(raw)?),
            (RTPFB, control::FMT_TMMBR) => Self::Tmmbr(RateLimits::parse(raw)?),
            (RTPFB, control::FMT_TMMBN) => Self::Tmmbn(RateLimits::parse(raw)?),
            (RTPFB, control::FMT_SR_REQUEST) => Self::SenderReportRequest(SenderReportRequest::parse(raw)?),
            (PSFB, control::FMT_SLI) => Self::SliceLoss(SliceLoss::parse(raw)?),
            (PSFB, control::FMT_RPSI) => Self::ReferencePicture(ReferencePicture::parse(raw)?),
            (PSFB, control::FMT_AFB) => Self::ApplicationFeedback(ApplicationFeedback::parse(raw)?),
            _ => Self::Unknown(raw),
        })
    }

    /// Writes it, from what was read of it, with so many bytes of padding ([`Compound::padding`]).
    ///
    /// # Errors
    /// If there is no room for it in `out`, which is then unchanged.
    pub fn write(&self, padding: u8, out: &mut Writer<'_>) -> Result<(), Full> {
        let start = out.len();
        let written = match self {
            Self::SenderReport(report) => report.write(out),
            Self::ReceiverReport(report) => report.write(out),
            Self::Sdes(sdes) => sdes.write(out),
            Self::Bye(bye) => bye.write(out),
            Self::App(app) => write_app(app, out),
            Self::ExtendedReport(report) => write_extended_report(report.ssrc, report.blocks(), out),
            Self::Nack(nack) => write_nack(nack.sender, nack.media, nack.pairs(), out),
            Self::TransportFeedback(feedback) => feedback.write(out),
            Self::Ccfb(ccfb) => ccfb.write(out),
            Self::Pli(pli) => write_pli(*pli, out),
            Self::Fir(fir) => fir.write(out),
            Self::Remb(remb) => remb.write(out),
            Self::Tmmbr(limits) => write_tmmbr(limits, out),
            Self::Tmmbn(limits) => write_tmmbn(limits, out),
            Self::SenderReportRequest(request) => write_sender_report_request(*request, out),
            Self::SliceLoss(loss) => write_sli(loss, out),
            Self::ReferencePicture(picture) => write_rpsi(picture, out),
            Self::ApplicationFeedback(feedback) => write_application_feedback(feedback, out),
            Self::Unknown(raw) => raw::write_packet(raw.count, raw.packet_type, out, |out| out.put_slice(raw.body)),
        };
        let written = written.and_then(|()| raw::pad(start, padding, out));
        if written.is_err() {
            out.truncate(start);
        }
        written
    }
}

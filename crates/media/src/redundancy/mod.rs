//! What one outgoing stream sends before anybody asks for it: RED of sound, forward error correction of video. Nothing of it where
//! it was not negotiated.

pub(crate) mod choice;
pub(crate) mod fec;
pub(crate) mod red;

use std::time::Duration;

use antiphon_sansio::Rng;

use crate::config::{Codec, Kind, SendRedundancy, SenderConfig};
use choice::{Loss, Path, Protection};
use fec::Fec;
use red::Red;

/// What is counted of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RedundancyCount {
    /// Repair packets, and payloads that RED repeated.
    pub(crate) packets: u64,
    /// Bytes of these, without RTP headers.
    pub(crate) bytes: u64,
}

/// The redundancy of one stream.
#[derive(Debug)]
pub(crate) struct Redundancy {
    setting: SendRedundancy,
    pub(crate) red: Option<Red>,
    pub(crate) fec: Option<Fec>,
    /// For which share of losses the application was told to let the codec be ready, in percent: where nothing else repairs sound, and its
    /// codec can by itself.
    in_band: Option<u8>,
    /// The next number of a stream of repair packets: never given out twice, whatever is negotiated in between.
    pub(crate) sequence: u16,
    path: Path,
    loss: Loss,
    pub(crate) count: RedundancyCount,
}

impl Redundancy {
    /// What was negotiated for a sender; `None`: nothing.
    pub(crate) fn new(config: &SenderConfig, setting: SendRedundancy, rng: &mut Rng) -> Option<Box<Self>> {
        let (red, fec) = (Red::new(config), Fec::new(config));
        let in_band = (red.is_none() && has_in_band(config)).then_some(0);
        if red.is_none() && fec.is_none() && in_band.is_none() {
            return None;
        }
        let mut own = Box::new(Self {
            setting,
            red,
            fec,
            in_band,
            // RFC 3711 §3.3.1: a start in the lower half keeps the first packets' rollover counter beyond doubt.
            sequence: rng.below(0x7fff) as u16,
            path: Path::new(has_nacks(config)),
            loss: Loss::default(),
            count: RedundancyCount::default(),
        });
        own.choose(None);
        Some(own)
    }

    /// Something else was negotiated; what was counted and heard goes on.
    pub(crate) fn renegotiate(&mut self, config: &SenderConfig) {
        let before = self.fec.take().and_then(|fec| fec.protection());
        (self.red, self.fec) = (Red::new(config), Fec::new(config));
        let told = self.in_band.unwrap_or(0);
        self.in_band = (self.red.is_none() && has_in_band(config)).then_some(told);
        self.path.nacks = has_nacks(config);
        self.choose(before);
    }

    /// The peer has reported a share of lost packets. Returns for which share the codec shall be ready, in percent, if that is news.
    pub(crate) fn report(&mut self, lost: f64, rtt: Duration, burst: f64) -> Option<u8> {
        self.loss.report(lost);
        (self.path.rtt, self.path.loss, self.path.burst) = (rtt, self.loss.share(), burst);
        self.choose(self.fec.as_ref().and_then(Fec::protection));
        let told = self.in_band.as_mut()?;
        let percent = choice::in_band(self.path.loss, *told);
        (std::mem::replace(told, percent) != percent).then_some(percent)
    }

    /// Chooses anew, where video is protected like this.
    fn choose(&mut self, now: Option<Protection>) {
        if let Some(red) = &mut self.red {
            red.distance = choice::distance(self.setting.red, &self.path);
        }
        if let Some(fec) = &mut self.fec {
            fec.protect_by(choice::protection(self.setting.fec, &self.path, now));
        }
    }

    /// What repairs add to each byte of media.
    pub(crate) fn overhead(&self) -> f64 {
        self.fec.as_ref().map_or(0.0, Fec::overhead)
    }
}

/// Whether the peer's decoder of sound uses what the encoder tells of packets before (RFC 7587 §6.1).
fn has_in_band(config: &SenderConfig) -> bool {
    let uses = |codec: &Codec| {
        let mut parameters = codec.fmtp.split(';').map(str::trim);
        codec.name.eq_ignore_ascii_case("opus") && parameters.any(|parameter| parameter == "useinbandfec=1")
    };
    config.kind == Kind::Audio && config.codecs.iter().any(uses)
}

/// Whether what is lost can be asked for.
fn has_nacks(config: &SenderConfig) -> bool {
    config.codecs.iter().any(|codec| codec.feedback.nack)
}

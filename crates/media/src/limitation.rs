//! What keeps the quality of a stream of pictures down, and for how long it has.

use std::time::{Duration, Instant};

/// Why a picture is not as good as it could be (`RTCQualityLimitationReason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QualityLimitation {
    /// Nothing keeps it down.
    None,
    /// The encoder has too little time.
    Cpu,
    /// The stream may send less than it could use.
    Bandwidth,
    /// Something else.
    Other,
}

impl QualityLimitation {
    /// All of them, in the order of the W3C.
    pub const ALL: [Self; 4] = [Self::None, Self::Cpu, Self::Bandwidth, Self::Other];

    /// Its word in webrtc-stats.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cpu => "cpu",
            Self::Bandwidth => "bandwidth",
            Self::Other => "other",
        }
    }
}

/// What keeps the quality down now, and for how long each reason has.
#[derive(Clone, Copy, Debug, Default)]
pub struct QualityLimitations {
    reason: Option<(QualityLimitation, Instant)>,
    /// In the order of [`QualityLimitation::ALL`], without the reason that holds now.
    spent: [Duration; 4],
}

impl QualityLimitations {
    /// What holds from now on; `None`: nobody knows.
    pub(crate) fn judge(&mut self, now: Instant, reason: Option<QualityLimitation>) {
        if self.reason() == reason {
            return;
        }
        if let Some((before, since)) = self.reason {
            self.spent[before as usize] += now.saturating_duration_since(since);
        }
        self.reason = reason.map(|reason| (reason, now));
    }

    /// What holds now. `None`: nobody knows, since no bound was set for the stream, or the peer tells nothing of its arrivals.
    pub fn reason(&self) -> Option<QualityLimitation> {
        self.reason.map(|(reason, _)| reason)
    }

    /// For how long each has held until `now`; `None` as long as nothing was ever known.
    pub fn durations(&self, now: Instant) -> Option<[(QualityLimitation, Duration); 4]> {
        if self.reason.is_none() && self.spent == [Duration::ZERO; 4] {
            return None;
        }
        Some(QualityLimitation::ALL.map(|reason| {
            let current = self.reason.filter(|(current, _)| *current == reason);
            let since = current.map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(since));
            (reason, self.spent[reason as usize] + since)
        }))
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    #[test]
    fn each_reason_has_its_time() {
        let mut own = QualityLimitations::default();
        let at = |seconds| start() + Duration::from_secs(seconds);
        assert_eq!((own.reason(), own.durations(at(0))), (None, None));
        for (second, reason) in [
            (0, Some(QualityLimitation::None)),
            (2, Some(QualityLimitation::Bandwidth)),
            (5, None),
        ] {
            own.judge(at(second), reason);
            own.judge(at(second + 1), reason);
        }
        own.judge(at(9), Some(QualityLimitation::Cpu));
        let durations = own.durations(at(13)).unwrap();
        let seconds = durations.map(|(reason, length)| (reason.as_str(), length.as_secs()));
        assert_eq!(seconds, [("none", 2), ("cpu", 4), ("bandwidth", 3), ("other", 0)]);
    }
}

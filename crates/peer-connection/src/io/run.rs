//! Runs of equal datagrams, and the one that did not fit.

use antiphon_sansio::{Ecn, Path, Transmit, TransmitBuf};

/// Datagrams of one layer may follow each other in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layer {
    /// RTP and RTCP.
    Media,
    /// SCTP in DTLS.
    Data,
}

/// A datagram that is written and sealed, in a segment that is open still.
pub(crate) struct Sealed {
    pub(crate) ecn: Ecn,
    /// Whether it leaves alone, not in a run.
    pub(crate) alone: bool,
}

/// A datagram, and on whose behalf it was written.
pub(crate) struct Written {
    pub(crate) transmit: Transmit,
    /// The layer, and the path that was chosen; `None` where the datagram goes alone.
    pub(crate) of: Option<(Layer, Path)>,
}

/// A datagram that did not fit the run before it: it begins the next.
#[derive(Debug)]
pub(crate) struct Ahead {
    path: Path,
    ecn: Ecn,
    bytes: Vec<u8>,
    of: Option<(Layer, Path)>,
}

impl Ahead {
    /// Takes the datagram that was written last out of the buffer.
    pub(crate) fn take(transmit: Transmit, of: Option<(Layer, Path)>, out: &mut TransmitBuf) -> Self {
        Self {
            path: transmit.path,
            ecn: transmit.ecn,
            bytes: out.take_last(transmit.range),
            of,
        }
    }

    /// Writes it again, unless the path that was chosen for it, which a relay may have turned into another, is left.
    pub(crate) fn write(self, path: Option<Path>, out: &mut TransmitBuf) -> Option<Written> {
        out.set_path_room(0, 0);
        let is_left = self.of.is_some_and(|(_, chosen)| path != Some(chosen));
        if is_left || self.bytes.len() > out.max_segment() || !out.begin(0, 0) {
            return None;
        }
        out.put_slice(&self.bytes);
        let transmit = Transmit {
            path: self.path,
            range: out.finish(),
            segment_size: None,
            ecn: self.ecn,
        };
        Some(Written { transmit, of: self.of })
    }
}

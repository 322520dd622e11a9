//! Where the packets of one session go that are made for it alone: those of the studio, and its own on their way back.

use antiphon::{Error, Packet, PeerHandle, TransceiverId};
use antiphon_sfu::PayloadTypes;
use tokio::sync::{mpsc, watch};

/// Where packets go.
#[derive(Clone, Debug)]
pub(in crate::server) struct Outlet {
    pub(in crate::server) peer: PeerHandle,
    pub(in crate::server) transceiver: TransceiverId,
    /// Turns true when the peer can be sent to.
    pub(in crate::server) connected: watch::Receiver<bool>,
    /// For the log.
    pub(in crate::server) session: u64,
}

impl Outlet {
    /// Nothing is sent, and no key frame asked for, for a peer that is not there yet. `false`: it will never be.
    pub(in crate::server) async fn ready(&self) -> bool {
        self.connected.clone().wait_for(|connected| *connected).await.is_ok()
    }

    /// `false` once the peer is gone. Any other refusal costs this packet only; it shows in the peer's statistics.
    async fn send(&self, packet: Packet) -> bool {
        match self.peer.send_rtp(self.transceiver, packet).await {
            Ok(()) => true,
            Err(Error::Closed) => false,
            Err(error) => {
                tracing::trace!(session = self.session, %error, "packet not forwarded");
                true
            }
        }
    }
}

/// A peer's own packets, back to it.
pub(in crate::server) async fn echo(outlet: Outlet, types: PayloadTypes, mut packets: mpsc::Receiver<Packet>) {
    while let Some(mut packet) = packets.recv().await {
        // What it sends and does not take stays here.
        let Some(payload_type) = types.of(packet.payload_type) else {
            continue;
        };
        packet.payload_type = payload_type;
        if !outlet.send(packet).await {
            return;
        }
    }
}

//! What a room is, and the task that owns it: calls, events of connections and times come to it one after the other.

mod answering;
mod coming;
mod crossing;
mod exchange;
mod heard;
mod hearing;
mod looking;
mod members;
mod pipes;
mod remote;
mod span;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use antiphon_jsep::TransceiverId;
use antiphon_peer_connection::{Packet, PeerEnd, RtcDtlsTransportState, RtcIceConnectionState, RtcIceGatheringState};
use tokio::sync::mpsc;

use super::codecs::RoomOptions;
use super::error::Error;
use super::facts::{CloseReason, ConnectionNews, Ids, RoomFacts, TransportNews};
use super::figures::Book;
use super::link::Call;
use super::log::{Log, LogTag};
use crate::event::Event;
use crate::handle::PeerConnection;

use super::worker::Site;
use heard::Hearing;
pub(super) use members::ConnectionSettings;
use members::Member;
pub(super) use span::Span;

/// Events of connections that may wait for the room; each connection waits beyond that.
const MAX_NOTICES: usize = 256;

/// What a connection tells the room, of all that it tells.
#[derive(Debug)]
enum Notice {
    Gathered,
    Ice(RtcIceConnectionState),
    Dtls(RtcDtlsTransportState),
    Tuple(String, String),
    Ended(PeerEnd),
    Packet(TransceiverId, Packet),
}

impl Notice {
    fn of(event: Event) -> Option<Self> {
        match event {
            Event::IceGatheringStateChange(RtcIceGatheringState::Complete) => Some(Self::Gathered),
            Event::IceConnectionStateChange(state) => Some(Self::Ice(state)),
            Event::DtlsStateChange(state) => Some(Self::Dtls(state)),
            Event::SelectedCandidatePairChange { local, remote } => Some(Self::Tuple(local, remote)),
            Event::PeerEnded(end) => Some(Self::Ended(end)),
            Event::Packet { transceiver, packet } => Some(Self::Packet(transceiver, packet)),
            _ => None,
        }
    }
}

/// A room.
pub(super) struct State {
    facts: Arc<RoomFacts>,
    options: RoomOptions,
    log: Log,
    ids: Ids,
    /// The workers that its peers live on, its own first.
    sites: Vec<Site>,
    book: Book,
    members: BTreeMap<u64, Member>,
    hearing: Option<Hearing>,
    /// Its part in the cluster, if it has one.
    span: Option<Box<Span>>,
    notices: mpsc::Sender<(u64, Notice)>,
    noticed: mpsc::Receiver<(u64, Notice)>,
    closed: bool,
}

/// What a room is made of.
pub(super) struct Parts {
    pub(super) facts: Arc<RoomFacts>,
    pub(super) options: RoomOptions,
    pub(super) log: Log,
    pub(super) ids: Ids,
    /// One at least.
    pub(super) sites: Vec<Site>,
    pub(super) book: Book,
    pub(super) span: Option<Box<Span>>,
}

impl State {
    pub(super) fn new(parts: Parts) -> Self {
        let (notices, noticed) = mpsc::channel(MAX_NOTICES);
        Self {
            facts: parts.facts,
            options: parts.options,
            log: parts.log,
            ids: parts.ids,
            sites: parts.sites,
            book: parts.book,
            members: BTreeMap::new(),
            hearing: None,
            span: parts.span,
            notices,
            noticed,
            closed: false,
        }
    }

    /// Runs until the room is closed, or nobody can call it any more.
    pub(super) async fn run(mut self, mut calls: mpsc::Receiver<Call<Self>>) {
        while !self.closed {
            let due = self
                .members
                .values()
                .filter_map(Member::due)
                .chain(self.hearing_due())
                .min();
            let time = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                call = calls.recv() => match call {
                    Some(call) => call(&mut self).await,
                    None => break,
                },
                Some((peer, notice)) = self.noticed.recv() => self.handle_notice(peer, notice).await,
                turn = span::next(&mut self.span) => self.handle_turn(turn).await,
                sound = heard::next(&mut self.hearing) => self.handle_sound(sound).await,
                () = time => {
                    let now = Instant::now();
                    self.handle_timeout(now);
                    self.hear_timeout(now).await;
                }
            }
        }
        self.close().await;
    }

    /// Closes every peer, and then the room.
    pub(super) async fn close(&mut self) {
        self.closed = true;
        while let Some(&peer) = self.members.keys().next() {
            // It is there.
            _ = self.close_peer(peer, None).await;
        }
        self.close_pipes().await;
        // Of a worker that is gone nothing more is known.
        let work = self.figures().await.ok().map(|figures| figures.work);
        self.book.close(self.facts.id, work);
        if !self.facts.news.closed() {
            self.log
                .step(LogTag::Info, || format!("room {} is closed", self.facts.id));
        }
        self.facts.end();
    }

    /// Takes what a connection tells to the room's task.
    fn follow(&self, peer: u64, mut connection: PeerConnection) {
        let notices = self.notices.clone();
        tokio::spawn(async move {
            while let Some(event) = connection.next_event().await {
                if let Some(notice) = Notice::of(event)
                    && notices.send((peer, notice)).await.is_err()
                {
                    break;
                }
            }
        });
    }

    async fn handle_notice(&mut self, peer: u64, notice: Notice) {
        // It may have been closed meanwhile.
        let Some(member) = self.members.get_mut(&peer) else {
            return;
        };
        let Some(connection) = &mut member.connection else {
            return;
        };
        let Some(transport) = &connection.transport else { return };
        let news = &transport.facts.news;
        match notice {
            Notice::Gathered => {
                if let Some(waiting) = connection.gathering.take() {
                    // Who waits may have gone away.
                    _ = waiting.send(());
                }
            }
            Notice::Ice(state) => {
                self.log.step(LogTag::Ice, || format!("peer {peer}: ICE is {state}"));
                news.tell(TransportNews::Ice(state));
            }
            Notice::Dtls(state) => {
                self.log.step(LogTag::Dtls, || format!("peer {peer}: DTLS is {state}"));
                news.tell(TransportNews::Dtls(state));
            }
            Notice::Tuple(local, remote) => news.tell(TransportNews::Tuple(local, remote)),
            Notice::Packet(transceiver, packet) => self.handle_packet(peer, transceiver, packet).await,
            Notice::Ended(end) => {
                let reason = match end {
                    PeerEnd::Silence => CloseReason::Silence,
                    _ => CloseReason::ByPeer,
                };
                self.log.step(LogTag::Info, || format!("peer {peer}: {reason}"));
                // It is there.
                _ = self.close_peer(peer, Some(reason)).await;
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            if let Some(connection) = &mut member.connection
                && connection.negotiation.handle_timeout(now)
            {
                connection.facts.news.tell(ConnectionNews::NegotiationNeeded);
            }
        }
    }

    fn member(&self, peer: u64) -> Result<&Member, Error> {
        self.members.get(&peer).ok_or(Error::Closed("peer"))
    }

    fn member_mut(&mut self, peer: u64) -> Result<&mut Member, Error> {
        self.members.get_mut(&peer).ok_or(Error::Closed("peer"))
    }
}

/// A task that is cut off with its worker still tells the end.
impl Drop for State {
    fn drop(&mut self) {
        for member in self.members.values_mut() {
            member.end(None);
        }
        self.book.close(self.facts.id, None);
        self.facts.end();
    }
}

//! TCP connections of pairs (RFC 6544 §7.1). The path of a pair begins with a connection, and before there is one with
//! the placeholder of its local candidate. Accepted connections belong to the candidate whose listener took them.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::Local;

use super::ids::PairId;
use super::list::CheckList;
use super::pair::Pair;
use super::previous::Previous;
use crate::candidate::TcpType;
use crate::context::Context;
use crate::io::{Framing, IoRequest};
use crate::placeholder::is_placeholder;
use crate::stats::PairState;

/// The most TCP connections of one agent for its candidates, accepted ones and those still being opened too.
pub const MAX_CONNECTIONS: usize = 64;

/// How long a connection may have no pair that works or is checked.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Connecting {
    request: u32,
    pair: PairId,
}

#[derive(Debug)]
struct Connection {
    local: Local,
    interface: IpAddr,
    /// The placeholder of the candidate that it belongs to.
    end: Local,
    /// Since when no pair uses it; `None` while one does.
    idle_since: Option<Instant>,
}

impl Connection {
    fn is_idle(&self, list: &CheckList, previous: Option<&Previous>) -> bool {
        let uses = |pair: &Pair| pair.path.local == self.local && pair.state != PairState::Failed;
        !list.pairs().any(uses) && !previous.is_some_and(|previous| previous.uses(self.local))
    }

    /// When it is closed unless it is used.
    fn deadline(&self) -> Option<Instant> {
        self.idle_since.map(|since| since + IDLE_TIMEOUT)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Connections {
    connecting: Vec<Connecting>,
    list: Vec<Connection>,
}

impl Connections {
    /// The end that the candidate of this connection has; of what is no connection, itself.
    pub(super) fn end_of(&self, local: Local) -> Local {
        let connection = self.list.iter().find(|connection| connection.local == local);
        connection.map_or(local, |connection| connection.end)
    }

    fn is_full(&self) -> bool {
        self.list.len() + self.connecting.len() >= MAX_CONNECTIONS
    }

    fn take_connecting(&mut self, list: &mut CheckList, request: u32) -> Option<PairId> {
        let index = self.connecting.iter().position(|c| c.request == request)?;
        let id = self.connecting.swap_remove(index).pair;
        if let Some(pair) = list.pair_mut(id) {
            pair.connecting = false;
        }
        Some(id)
    }

    /// Opens the connection of a pair whose turn has come.
    pub(super) fn connect(&mut self, cx: &mut Context, list: &mut CheckList, now: Instant, id: PairId) {
        let Some(pair) = list.pair(id) else { return };
        let Some(local) = list.locals().get(pair.local) else {
            return;
        };
        let simultaneous = local.candidate.tcp_type == Some(TcpType::SimultaneousOpen);
        let (from, to) = (local.interface, pair.path.remote);
        let from_port = if simultaneous { local.base.port() } else { 0 };
        let Some(pair) = list.pair_mut(id) else { return };
        if self.is_full() {
            cx.counters.over_limit += 1;
            pair.fail();
            return;
        }
        pair.state = PairState::InProgress;
        pair.connecting = true;
        pair.round.since = Some(now);
        pair.round.recheck_at = None;
        let request = cx.next_request();
        self.connecting.push(Connecting { request, pair: id });
        cx.push_io(IoRequest::ConnectTcp {
            request,
            from,
            from_port,
            to,
            framing: Framing::Rfc4571,
            tls: None,
        });
    }

    /// The connection that [`connect`](Self::connect) asked for stands.
    pub(super) fn connected(&mut self, cx: &mut Context, list: &mut CheckList, request: u32, local: Local) {
        let id = self.take_connecting(list, request);
        let pair = id.and_then(|id| list.pair(id));
        // The pair may be gone, or have failed, or have been reached by a connection of the other end.
        match pair.filter(|pair| is_placeholder(pair.path.local) && !is_placeholder(local)) {
            Some(pair) => self.adopt(list, pair.id, local),
            None => cx.push_io(IoRequest::Close(local)),
        }
    }

    fn adopt(&mut self, list: &mut CheckList, id: PairId, local: Local) {
        let candidate = list.pair(id).and_then(|pair| list.locals().get(pair.local));
        if let Some(candidate) = candidate {
            self.list.push(Connection {
                local,
                interface: candidate.interface,
                end: candidate.local,
                idle_since: None,
            });
        }
        if let Some(pair) = list.pair_mut(id) {
            pair.path.local = local;
            list.trigger(id);
        }
    }

    /// Somebody connected to a listener of ours, of which the placeholder and the interface are given. Nothing is known
    /// of who it is before a valid check comes.
    pub(super) fn accepted(
        &mut self,
        cx: &mut Context,
        list: &mut CheckList,
        now: Instant,
        listener: Option<(Local, IpAddr)>,
        local: Local,
        remote: SocketAddr,
    ) {
        let Some((end, interface)) = listener.filter(|_| !self.is_full() && !is_placeholder(local)) else {
            cx.counters.over_limit += 1;
            cx.push_io(IoRequest::Close(local));
            return;
        };
        // Of a simultaneous open one end may see an attempt of its own and the other a connection that it accepted.
        let awaited = list
            .pairs()
            .find(|pair| pair.path.local == end && pair.path.remote == remote && pair.state == PairState::InProgress);
        if let Some(id) = awaited.map(|pair| pair.id) {
            self.adopt(list, id, local);
            return;
        }
        self.list.push(Connection {
            local,
            interface,
            end,
            idle_since: Some(now),
        });
    }

    /// Takes the refusal of a connection, if it was for a pair.
    pub(super) fn failed(&mut self, list: &mut CheckList, request: u32) -> bool {
        let Some(id) = self.take_connecting(list, request) else {
            return false;
        };
        if let Some(pair) = list.pair_mut(id).filter(|pair| is_placeholder(pair.path.local)) {
            pair.fail();
        }
        true
    }

    /// A connection ended. Its pair can be connected again, if we are the end that connects. Returns whether it was one
    /// of these.
    pub(super) fn closed(&mut self, list: &mut CheckList, local: Local) -> bool {
        let Some(index) = self.list.iter().position(|c| c.local == local) else {
            return false;
        };
        let end = self.list.swap_remove(index).end;
        let id = list.pairs().find(|pair| pair.path.local == local).map(|pair| pair.id);
        if let Some(pair) = id.and_then(|id| list.pair_mut(id)) {
            pair.fail();
            pair.authenticated = false;
            pair.nominated = false;
            pair.path.local = end;
        }
        if id.is_some_and(|id| list.is_selected(id)) {
            list.deselect();
        }
        true
    }

    /// Closes the connections of an interface that is gone, and names them.
    pub(super) fn forget_interface(&mut self, cx: &mut Context, ip: IpAddr) -> Vec<Local> {
        let gone = self.list.extract_if(.., |connection| connection.interface == ip);
        let gone: Vec<Local> = gone.map(|connection| connection.local).collect();
        for local in &gone {
            cx.push_io(IoRequest::Close(*local));
        }
        gone
    }

    /// Closes what no pair uses: strangers' connections, and those whose checks failed.
    pub(super) fn sweep(&mut self, cx: &mut Context, list: &CheckList, previous: Option<&Previous>, now: Instant) {
        self.list.retain_mut(|connection| {
            connection.idle_since = match connection.is_idle(list, previous) {
                true => connection.idle_since.or(Some(now)),
                false => None,
            };
            let over = connection.deadline().is_some_and(|deadline| deadline <= now);
            if over {
                cx.push_io(IoRequest::Close(connection.local));
            }
            !over
        });
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.list.iter().filter_map(Connection::deadline).min()
    }

    pub(super) fn close(&mut self, cx: &mut Context) {
        self.connecting.clear();
        for connection in self.list.drain(..) {
            cx.push_io(IoRequest::Close(connection.local));
        }
    }
}

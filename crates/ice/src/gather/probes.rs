//! Questions to STUN servers over UDP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_sansio::Path;
use antiphon_stun::{Class, Message, Retransmission, Step, Transaction, TransactionId};

use super::interface::{Base, Interface};
use super::server::Server;
use crate::candidate::CandidateKind;
use crate::context::{Context, NOT_REACHED};
use crate::message::Outgoing;
use crate::notice::{NewLocal, Notice};

/// The most questions to STUN servers.
pub const MAX_PROBES: usize = 64;

/// A STUN server has 9.5 s: longer would only hold up whoever waits for the end of gathering.
const PROBE: Retransmission = Retransmission {
    rto: Duration::from_millis(500),
    max_requests: 5,
    last_wait: 4,
};

/// One question to a STUN server from one base.
#[derive(Debug)]
struct Probe {
    base: Base,
    server: SocketAddr,
    url: String,
    /// `None` while it waits for a slot of the pacer.
    transaction: Option<Transaction>,
}

impl Probe {
    fn path(&self) -> Path {
        Path {
            local: self.base.local,
            remote: self.server,
        }
    }
}

/// The questions that were not answered yet.
#[derive(Debug, Default)]
pub(super) struct Probes {
    list: Vec<Probe>,
}

impl Probes {
    pub(super) fn ask(&mut self, base: &Base, server: &Server) {
        let asked = |probe: &Probe| probe.base.local == base.local && probe.server == server.addr;
        if self.list.iter().any(asked) || self.list.len() >= MAX_PROBES {
            return;
        }
        self.list.push(Probe {
            base: base.clone(),
            server: server.addr,
            url: server.url.to_string(),
            transaction: None,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn has_queued(&self) -> bool {
        self.list.iter().any(|probe| probe.transaction.is_none())
    }

    pub(super) fn forget(&mut self, gone: impl Fn(&Base) -> bool) {
        self.list.retain(|probe| !gone(&probe.base));
    }

    /// Sends the next question that waits for a slot. Returns whether there was one.
    pub(super) fn send_queued(&mut self, cx: &mut Context, now: Instant) -> bool {
        let Some(probe) = self.list.iter_mut().find(|probe| probe.transaction.is_none()) else {
            return false;
        };
        let id = TransactionId::random(&mut cx.rng);
        probe.transaction = Some(Transaction::new(now, id, PROBE));
        cx.push_outgoing(Outgoing::Probe { path: probe.path(), id });
        true
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Context, now: Instant) {
        let mut index = 0;
        while index < self.list.len() {
            let probe = &mut self.list[index];
            let step = probe.transaction.as_mut().map_or(Step::Wait, |t| t.handle_timeout(now));
            match (step, &probe.transaction) {
                (Step::Retransmit, Some(transaction)) => {
                    let id = transaction.id();
                    cx.push_outgoing(Outgoing::Probe { path: probe.path(), id });
                }
                (Step::TimedOut, _) => {
                    let probe = self.list.swap_remove(index);
                    let text = "the STUN server did not answer";
                    cx.candidate_error(&probe.url, Some(probe.base.addr), NOT_REACHED, text);
                    continue;
                }
                _ => {}
            }
            index += 1;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let transactions = self.list.iter().filter_map(|probe| probe.transaction.as_ref());
        transactions.map(Transaction::poll_timeout).min()
    }

    /// Takes an answer of a STUN server, if it is one.
    pub(super) fn handle_response(&mut self, cx: &mut Context, path: Path, message: &Message<'_>) -> bool {
        let Some(index) = self.list.iter().position(|probe| {
            let asked = probe.transaction.as_ref().map(Transaction::id);
            probe.path() == path && asked == Some(message.transaction_id())
        }) else {
            return false;
        };
        let probe = self.list.swap_remove(index);
        if message.class() == Class::Error {
            let error = message.error_code();
            let code = error.map_or(NOT_REACHED, |error| error.code);
            let text = error.map_or("the STUN server refused", |error| error.reason());
            cx.candidate_error(&probe.url, Some(probe.base.addr), code, text);
        } else if let Some(mapped) = message.xor_mapped_address().or_else(|| message.mapped_address()) {
            let plausible = mapped.is_ipv4() == probe.base.addr.is_ipv4() && !mapped.ip().is_unspecified();
            if plausible && mapped.port() != 0 {
                let Base { local, addr, interface } = probe.base;
                let Interface { ip, local_preference } = interface;
                cx.notify(Notice::Found(NewLocal {
                    kind: CandidateKind::ServerReflexive,
                    addr: mapped,
                    url: Some(probe.url),
                    server: Some(path.remote.ip()),
                    ..NewLocal::host(local, ip, addr, local_preference, None)
                }));
            }
        }
        true
    }
}

//! What all drivers of one [`Api`](crate::Api) share of the computer they run on.

use std::net::IpAddr;
use std::sync::OnceLock;

use antiphon_ice::ContactBudget;
use tokio::sync::watch;

use crate::interfaces::{self, InterfaceFilter};
use crate::mdns::Responder;
use crate::net::tcp::Trust;

/// Filters, trust, and the tasks that all drivers share. The tasks start when they are first asked for.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    pub(crate) filter: InterfaceFilter,
    pub(crate) trust: Trust,
    /// What all peers together may send to addresses that peers have named and nobody has answered from.
    pub(crate) contacts: ContactBudget,
    responder: OnceLock<Responder>,
    changes: OnceLock<watch::Receiver<u64>>,
}

impl Environment {
    pub(crate) fn new(filter: InterfaceFilter, trust: Trust) -> Self {
        Self {
            filter,
            trust,
            ..Self::default()
        }
    }

    /// The addresses that become candidates now.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        interfaces::addresses(&self.filter)
    }

    /// Who answers for our `.local` names.
    pub(crate) fn responder(&self) -> &Responder {
        self.responder.get_or_init(Responder::start)
    }

    /// Changes whenever the list of addresses may have.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.get_or_init(interfaces::watch).clone()
    }
}

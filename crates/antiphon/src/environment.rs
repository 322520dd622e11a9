//! What all drivers of one [`Api`](crate::Api) share of the computer they run on.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Instant;

use antiphon_ice::ContactBudget;

use crate::interfaces::{self, InterfaceFilter, InterfaceWatch};
use crate::mdns::Responder;
use crate::net::tcp::Trust;

/// Filters, trust, and the tasks that all drivers share. The tasks start when they are first asked for.
#[derive(Debug)]
pub(crate) struct Environment {
    /// When the [`Api`](crate::Api) was made: what all its drivers count their time from, where they are to agree.
    pub(crate) made_at: Instant,
    pub(crate) filter: InterfaceFilter,
    pub(crate) trust: Trust,
    /// What all peers together may send to addresses that peers have named and nobody has answered from.
    pub(crate) contacts: ContactBudget,
    responder: OnceLock<Responder>,
    interfaces: OnceLock<InterfaceWatch>,
}

impl Environment {
    pub(crate) fn new(filter: InterfaceFilter, trust: Trust) -> Self {
        Self {
            made_at: Instant::now(),
            filter,
            trust,
            contacts: ContactBudget::default(),
            responder: OnceLock::new(),
            interfaces: OnceLock::new(),
        }
    }

    /// The machine's interfaces, which one task follows for all.
    pub(crate) fn interfaces(&self) -> &InterfaceWatch {
        self.interfaces.get_or_init(InterfaceWatch::start)
    }

    /// The addresses that become candidates now.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        interfaces::select(&self.filter, &self.interfaces().list())
    }

    /// Who answers for our `.local` names.
    pub(crate) fn responder(&self) -> &Responder {
        self.responder
            .get_or_init(|| Responder::start(self.interfaces().clone()))
    }
}

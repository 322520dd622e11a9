//! A worker: a thread with an [`Api`] on one port, and the tasks of the rooms that were given to it.

use std::net::IpAddr;

use antiphon_ice::{CandidateKind, NatMapping};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::error::Error;
use super::options::{RtcAddress, ServerOptions};
use crate::api::{Api, ApiBuilder};
use crate::interfaces::{self, InterfaceFilter};
use crate::router::{Router, RouterOptions};

/// Ports that are tried before a range counts as taken.
const MAX_TRIED: u16 = 128;

/// A worker as a room knows it: where peers of the room live.
pub(super) struct Site {
    /// The number of the worker.
    pub(super) worker: usize,
    pub(super) api: Api,
    /// The room's router there.
    pub(super) router: Router,
    pub(super) mappings: Vec<NatMapping>,
}

/// A thread with a port of its own. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) api: Api,
    pub(super) runtime: Handle,
    /// How our addresses look from outside.
    pub(super) mappings: Vec<NatMapping>,
    _alive: oneshot::Sender<()>,
}

impl Worker {
    /// A place for peers of a room on this worker, whose number is told.
    pub(super) fn site(&self, worker: usize) -> Result<Site, Error> {
        Ok(Site {
            worker,
            api: self.api.clone(),
            router: self.api.router(RouterOptions::default())?,
            mappings: self.mappings.clone(),
        })
    }

    /// Starts the thread, and binds a port of the worker's part of the range.
    pub(super) async fn start(options: &ServerOptions, number: usize) -> Result<Self, Error> {
        let addresses = addresses(options);
        if addresses.is_empty() {
            return Err(Error::NoAddress);
        }
        let filter = InterfaceFilter {
            loopback: addresses.iter().any(IpAddr::is_loopback),
            only: Some(addresses),
            ..InterfaceFilter::default()
        };
        let mut builder = Api::builder().interface_filter(filter).ice_lite(true);
        if let Some(certificate) = &options.certificate {
            builder = builder.certificate(certificate.clone());
        }
        let ports = options.ports(number);
        let (started, starting) = oneshot::channel();
        let (alive, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name(format!("antiphon-room-{number}"))
            .spawn(move || {
                let runtime = match Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        // Who asked may have gone away.
                        _ = started.send(Err(Error::Worker(error)));
                        return;
                    }
                };
                runtime.block_on(async {
                    let api = bind(&builder, ports);
                    if started.send(api.map(|api| (api, Handle::current()))).is_ok() {
                        // It is never sent: the other end is dropped when the worker is.
                        _ = ended.await;
                    }
                });
            })?;
        let gone = || std::io::Error::other("its thread ended");
        let (api, runtime) = starting.await.map_err(|_| gone())??;
        let announced = [
            options.announced_ipv4.map(IpAddr::V4),
            options.announced_ipv6.map(IpAddr::V6),
        ];
        let mapping = |external| NatMapping {
            internal: None,
            external,
            kind: CandidateKind::Host,
        };
        Ok(Self {
            api,
            runtime,
            mappings: announced.into_iter().flatten().map(mapping).collect(),
            _alive: alive,
        })
    }
}

/// The first free port of a range.
fn bind(builder: &ApiBuilder, (first, last): (u16, u16)) -> Result<Api, Error> {
    let mut port = first;
    loop {
        match builder.clone().one_port(port).build() {
            Ok(api) => return Ok(api),
            Err(crate::Error::Bind { .. }) if port < last && port - first < MAX_TRIED => port += 1,
            Err(error @ crate::Error::Bind { .. }) => {
                return Err(Error::NoPort {
                    first,
                    last,
                    source: Box::new(error),
                });
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The addresses that are used. The machine's own are those of this moment.
fn addresses(options: &ServerOptions) -> Vec<IpAddr> {
    let own = interfaces::now(&InterfaceFilter::default());
    let (v4, v6) = own.into_iter().partition::<Vec<_>, _>(IpAddr::is_ipv4);
    let mut addresses = match options.rtc_ipv4 {
        RtcAddress::Auto => v4,
        RtcAddress::Off => Vec::new(),
        RtcAddress::Only(address) => vec![address.into()],
    };
    match options.rtc_ipv6 {
        RtcAddress::Auto => addresses.extend(v6),
        RtcAddress::Off => {}
        RtcAddress::Only(address) => addresses.push(address.into()),
    }
    addresses
}

//! NATS as the bus. Connecting, and connecting again, is its client's work.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use antiphon_cluster::Subject;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::line::{BusEnd, Incoming, Line, Outgoing, line};
use crate::room::error::Error;

/// How often the client asks whether the server of NATS is there.
const PING_EVERY: Duration = Duration::from_secs(2);
/// How long it waits until it tries again to connect.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How long the last words of a node that leaves may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where NATS is, and how to be let in.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsOptions {
    /// The addresses of its servers, separated by commas: `nats://host:4222`, with a name and a password `nats://name:password@host:4222`,
    /// with TLS `tls://host:4222`.
    pub url: String,
    /// Certificates of authorities that are believed besides those of the system, as a file in PEM.
    pub root_certificates: Option<PathBuf>,
    /// Whether only a connection with TLS will do, whatever the address says.
    pub require_tls: bool,
}

/// Without what stands in the address before the host, which may be a password.
impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<&str> = self
            .url
            .split(',')
            .map(|one| one.rsplit('@').next().unwrap_or_default())
            .collect();
        f.debug_struct("NatsOptions")
            .field("hosts", &hosts)
            .field("root_certificates", &self.root_certificates)
            .field("require_tls", &self.require_tls)
            .finish()
    }
}

impl NatsOptions {
    /// The servers of NATS at these addresses, with TLS where an address says `tls://`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            root_certificates: None,
            require_tls: false,
        }
    }

    fn servers(&self) -> Result<Vec<ServerAddr>, Error> {
        let parse = |one: &str| one.trim().parse::<ServerAddr>();
        let servers: Result<Vec<_>, _> = self.url.split(',').map(parse).collect();
        // The text itself may have a password in it.
        servers.map_err(|error| Error::Option {
            option: "cluster".to_owned(),
            reason: format!("not an address of NATS (nats://host:4222): {error}"),
        })
    }

    /// Begins to connect. What goes wrong with that is tried again for ever.
    pub(super) fn open(&self, node: &str) -> Result<Line, Error> {
        let servers = self.servers()?;
        let root_certificates = self.root_certificates.clone();
        let (node, require_tls) = (node.to_owned(), self.require_tls);
        Ok(line(|bus| {
            connect(servers, (node, require_tls, root_certificates), bus)
        }))
    }
}

async fn connect(
    servers: Vec<ServerAddr>,
    (node, require_tls, root_certificates): (String, bool, Option<PathBuf>),
    bus: BusEnd,
) {
    let told = bus.incoming.clone();
    let mut options = ConnectOptions::new()
        .name(format!("antiphon {node}"))
        .retry_on_initial_connect()
        .max_reconnects(None)
        .ping_interval(PING_EVERY)
        .reconnect_delay_callback(|_| TRY_AGAIN_AFTER)
        .event_callback(move |event| note(told.clone(), event));
    if require_tls {
        options = options.require_tls(true);
    }
    if let Some(path) = root_certificates {
        options = options.add_root_certificates(path);
    }
    match options.connect(servers).await {
        Ok(client) => carry(client, bus).await,
        Err(error) => tracing::error!(%error, "NATS cannot be used"),
    }
}

async fn note(told: mpsc::Sender<Incoming>, event: Event) {
    let incoming = match event {
        Event::Connected => Incoming::Connected,
        Event::Disconnected => Incoming::Disconnected,
        // What a slow node misses it asks for later.
        Event::SlowConsumer(_) => return,
        other => return tracing::warn!(event = %other, "NATS"),
    };
    // A node that is over hears nothing.
    _ = told.send(incoming).await;
}

/// Carries messages until the node has ended.
async fn carry(client: Client, BusEnd { mut outgoing, incoming }: BusEnd) {
    let mut listening: HashMap<Subject, JoinHandle<()>> = HashMap::new();
    while let Some(said) = outgoing.recv().await {
        match said {
            Outgoing::Listen(subject) => match client.subscribe(subject.to_string()).await {
                Ok(subscriber) => {
                    let task = tokio::spawn(listen(subscriber, incoming.clone()));
                    listening.insert(subject, task);
                }
                Err(error) => tracing::error!(%error, "NATS takes no subscription"),
            },
            Outgoing::Ignore(subject) => {
                if let Some(task) = listening.remove(&subject) {
                    task.abort();
                }
            }
            Outgoing::Publish(message) => {
                let published = client.publish(message.subject.to_string(), message.payload.into());
                if let Err(error) = published.await {
                    tracing::warn!(%error, "NATS takes no message");
                }
            }
        }
    }
    for task in listening.into_values() {
        task.abort();
    }
    // Without a connection nobody hears it anyway.
    _ = tokio::time::timeout(FAREWELL, client.flush()).await;
}

/// Takes the messages of one subject. Dropped, it is not subscribed to any more.
async fn listen(mut subscriber: Subscriber, incoming: mpsc::Sender<Incoming>) {
    while let Some(message) = subscriber.next().await {
        if incoming.send(Incoming::Message(message.payload)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let options = NatsOptions::new("nats://me:secret@one:4222,tls://two");
        assert_eq!(options.servers().unwrap().len(), 2);
        let shown = format!("{options:?}");
        assert!(shown.contains("one:4222") && !shown.contains("secret"), "{shown}");
        let error = NatsOptions::new("http://one").servers().unwrap_err().to_string();
        assert!(error.starts_with("cluster: not an address of NATS"), "{error}");
    }
}

//! Two connections, a clock that jumps from event to event, and a network between them that the test decides about.

#![allow(dead_code, unreachable_pub, missing_docs)]

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_dtls::{
    Certificate, CertificateParams, Config, Connected, Connection, Error, Event, HashAlgorithm, Role, Versions,
};
use antiphon_sansio::{Rng, TransmitBuf};
use bytes::BytesMut;

/// One way through the network.
pub const DELAY: Duration = Duration::from_millis(10);

#[allow(clippy::disallowed_methods)]
pub fn start() -> Instant {
    Instant::now()
}

pub fn certificate() -> Arc<Certificate> {
    Arc::new(Certificate::generate(&CertificateParams::default()).unwrap())
}

thread_local! {
    /// Each test runs in a thread of its own, once for each version.
    static VERSIONS: Cell<Versions> = const { Cell::new(Versions::Dtls12) };
}

/// Which versions the configurations of this test allow.
pub fn speak(versions: Versions) {
    VERSIONS.set(versions);
}

pub fn is_13() -> bool {
    VERSIONS.get() == Versions::Dtls13
}

pub fn config() -> Config {
    config_with(certificate())
}

pub fn config_with(certificate: Arc<Certificate>) -> Config {
    let mut config = Config::new(certificate);
    config.versions = VERSIONS.get();
    config
}

/// Makes two tests of each function: one speaks DTLS 1.2, the other 1.3.
#[macro_export]
macro_rules! for_both_versions {
    ($($name:ident)*) => {
        mod dtls_12 {
            $(#[test] fn $name() { super::common::speak(antiphon_dtls::Versions::Dtls12); super::$name(); })*
        }
        mod dtls_13 {
            $(#[test] fn $name() { super::common::speak(antiphon_dtls::Versions::Dtls13); super::$name(); })*
        }
    };
}

/// One end, and what came out of it.
pub struct End {
    pub connection: Connection,
    pub connected: Option<Connected>,
    pub data: Vec<Vec<u8>>,
    pub closed: bool,
    pub failed: Option<Error>,
    /// Datagrams written so far.
    pub sent: usize,
}

impl End {
    pub fn new(config: Config, role: Role, seed: u64) -> Self {
        let rng = Rng::from_u64(seed).fork_numbered("dtls", u64::from(role == Role::Server));
        Self {
            connection: Connection::new(config, role, rng),
            connected: None,
            data: Vec::new(),
            closed: false,
            failed: None,
            sent: 0,
        }
    }

    pub fn drain_events(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            assert!(
                !self.closed && self.failed.is_none(),
                "nothing follows the end: {event:?}"
            );
            match event {
                Event::Connected(connected) => assert!(self.connected.replace(*connected).is_none()),
                Event::ApplicationData(data) => {
                    assert!(self.connected.is_some(), "data before the peer is known");
                    self.data.push(data.data.to_vec());
                }
                Event::Closed => self.closed = true,
                Event::Failed(error) => self.failed = Some(error),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Everything that the connection has to send now.
    pub fn transmit(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut out = TransmitBuf::new(1 << 16, 1500);
        let mut datagrams = Vec::new();
        while self.connection.poll_transmit(now, &mut out).is_some() {
            let range = out.finish();
            datagrams.push(out.bytes(range).to_vec());
            assert!(datagrams.len() < 100, "a flight without end");
            out.clear();
        }
        assert!(!out.is_open(), "a segment was left open without a datagram");
        self.sent += datagrams.len();
        datagrams
    }

    /// One record of application data, with room in front as a lower layer would ask for it.
    pub fn seal(&mut self, data: &[u8]) -> Result<Vec<u8>, Error> {
        let (front, back) = self.connection.overhead();
        let mut out = TransmitBuf::new(4096, 2048);
        out.set_path_room(front, back);
        assert!(out.begin(0, 0));
        out.put_slice(data);
        self.connection.seal(&mut out)?;
        let range = out.finish();
        Ok(out.bytes(range).to_vec())
    }
}

/// What the network does with one datagram: copies, each after a delay. None is a loss.
pub type Fate = Vec<(Duration, Vec<u8>)>;

pub fn delivered(datagram: &[u8]) -> Fate {
    vec![(DELAY, datagram.to_vec())]
}

pub struct Pair {
    pub now: Instant,
    pub began: Instant,
    pub client: End,
    pub server: End,
    in_flight: Vec<(Instant, u64, Role, Vec<u8>)>,
    order: u64,
}

impl Pair {
    pub fn new(client: Config, server: Config, seed: u64) -> Self {
        let now = start();
        let fingerprints = |config: &Config| vec![config.certificate.fingerprint(HashAlgorithm::Sha256)];
        let (of_client, of_server) = (fingerprints(&client), fingerprints(&server));
        let mut pair = Self {
            now,
            began: now,
            client: End::new(client, Role::Client, seed),
            server: End::new(server, Role::Server, seed),
            in_flight: Vec::new(),
            order: 0,
        };
        pair.client.connection.set_remote_fingerprints(of_server);
        pair.server.connection.set_remote_fingerprints(of_client);
        pair
    }

    pub fn end(&mut self, role: Role) -> &mut End {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    /// Puts a datagram on its way to `to`.
    pub fn inject(&mut self, to: Role, delay: Duration, datagram: Vec<u8>) {
        self.order += 1;
        self.in_flight.push((self.now + delay, self.order, to, datagram));
    }

    fn flush(&mut self, fate: &mut impl FnMut(Role, usize, &[u8]) -> Fate) {
        for role in [Role::Client, Role::Server] {
            let now = self.now;
            let before = self.end(role).sent;
            let datagrams = self.end(role).transmit(now);
            let to = if role == Role::Client {
                Role::Server
            } else {
                Role::Client
            };
            for (index, datagram) in datagrams.into_iter().enumerate() {
                for (delay, copy) in fate(role, before + index, &datagram) {
                    self.inject(to, delay, copy);
                }
            }
            self.end(role).drain_events();
        }
    }

    /// Runs until nothing is to be done, or `until` says so, or `limit` of virtual time is over. `fate` decides about each
    /// datagram by its sender, its number and its bytes.
    pub fn run(
        &mut self,
        limit: Duration,
        mut fate: impl FnMut(Role, usize, &[u8]) -> Fate,
        until: impl Fn(&Self) -> bool,
    ) {
        let end = self.now + limit;
        for _ in 0..100_000 {
            self.flush(&mut fate);
            if until(self) {
                return;
            }
            let arrival = self.in_flight.iter().map(|d| (d.0, d.1)).min();
            let timers = [
                self.client.connection.poll_timeout(),
                self.server.connection.poll_timeout(),
            ];
            let timer = timers.into_iter().flatten().min();
            let Some(next) = arrival
                .map(|a| a.0)
                .into_iter()
                .chain(timer)
                .min()
                .filter(|at| *at <= end)
            else {
                return;
            };
            assert!(next >= self.now, "a deadline in the past");
            self.now = next;
            if let Some(arrival) = arrival.filter(|a| a.0 == next) {
                let index = self.in_flight.iter().position(|d| (d.0, d.1) == arrival).unwrap();
                let (_, _, to, datagram) = self.in_flight.swap_remove(index);
                self.end(to)
                    .connection
                    .handle_packet(next, BytesMut::from(&datagram[..]).into());
            } else {
                for role in [Role::Client, Role::Server] {
                    self.end(role).connection.handle_timeout(next);
                    let _ = self.end(role).transmit_check(next);
                }
            }
        }
        panic!("no end after 100000 steps");
    }

    pub fn both_connected(&self) -> bool {
        self.client.connected.is_some() && self.server.connected.is_some()
    }

    /// Runs the handshake over a network that only delays.
    pub fn connect(&mut self) {
        self.run(Duration::from_secs(60), |_, _, d| delivered(d), Self::both_connected);
        self.check();
    }

    /// Both ends are connected and agree, and data passes both ways.
    pub fn check(&mut self) {
        assert_eq!((&self.client.failed, &self.server.failed), (&None, &None));
        let (client, server) = (
            self.client.connected.clone().unwrap(),
            self.server.connected.clone().unwrap(),
        );
        assert_eq!(
            (client.version, client.cipher_suite),
            (server.version, server.cipher_suite)
        );
        assert_eq!(client.group, server.group);
        assert_eq!(client.srtp.is_some(), server.srtp.is_some());
        if let (Some(ours), Some(theirs)) = (&client.srtp, &server.srtp) {
            assert_eq!(ours.profile, theirs.profile);
            assert_eq!(ours.local_key.as_bytes(), theirs.remote_key.as_bytes());
            assert_eq!(ours.local_salt.as_bytes(), theirs.remote_salt.as_bytes());
            assert_eq!(ours.remote_key.as_bytes(), theirs.local_key.as_bytes());
            assert_eq!(ours.remote_salt.as_bytes(), theirs.local_salt.as_bytes());
            assert_ne!(ours.local_key.as_bytes(), ours.remote_key.as_bytes());
        }
        let export = |end: &End| {
            end.connection
                .export_keying_material("EXPORTER-x", Some(b"c"), 40)
                .unwrap()
        };
        assert_eq!(export(&self.client).as_bytes(), export(&self.server).as_bytes());
        let now = self.now;
        for (from, to) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
            let record = self.end(from).seal(b"through and through").unwrap();
            let before = self.end(to).data.len();
            self.end(to)
                .connection
                .handle_packet(now, BytesMut::from(&record[..]).into());
            self.end(to).drain_events();
            assert_eq!(self.end(to).data[before..], [b"through and through".to_vec()]);
        }
    }
}

impl End {
    /// Law 2: after a timeout and a drain the next deadline lies ahead.
    fn transmit_check(&mut self, now: Instant) -> bool {
        self.connection.poll_timeout().is_none_or(|at| at > now)
    }
}

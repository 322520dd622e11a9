//! How a server is set up.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use antiphon_ice::TcpCandidates;
use antiphon_peer_connection::{Certificate, IceSettings};

use super::cluster::ClusterOptions;
use super::error::Error;
use super::log::{LogLevel, LogTag};

/// The most workers that a server has.
pub const MAX_WORKERS: usize = 256;

/// Which addresses of one family media is sent from and received at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RtcAddress<A> {
    /// Those of the machine's interfaces, without loopback.
    #[default]
    Auto,
    /// None: the family is not used.
    Off,
    /// This one alone.
    Only(A),
}

impl<A: std::str::FromStr> RtcAddress<A> {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "true" | "auto" => Some(Self::Auto),
            "false" | "" => Some(Self::Off),
            address => address.parse().ok().map(Self::Only),
        }
    }
}

/// How a [`Server`](super::Server) is set up. The default has a worker for each core, all addresses, and ports from 10000 to 59999.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// How many workers there are: threads, each with one UDP port and the rooms that were given to it. 1 to [`MAX_WORKERS`].
    pub workers: usize,
    /// How much the rooms tell of what happens in them, under the `tracing` target `antiphon::room`.
    pub log_level: LogLevel,
    /// Of what the rooms tell at [`LogLevel::Debug`]. None: of everything.
    pub log_tags: Vec<LogTag>,
    /// The IPv4 addresses that are used.
    pub rtc_ipv4: RtcAddress<Ipv4Addr>,
    /// The IPv6 addresses that are used.
    pub rtc_ipv6: RtcAddress<Ipv6Addr>,
    /// The address that clients are told instead of our own of IPv4, for a server behind a NAT that maps every port to itself.
    pub announced_ipv4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub announced_ipv6: Option<Ipv6Addr>,
    /// The first UDP port that may be used. The range is split evenly between the workers; each takes the first free port of its part.
    pub min_port: u16,
    /// The last UDP port that may be used. 0 with `min_port: 0`: the system chooses.
    pub max_port: u16,
    /// The DTLS certificate of every connection; [`Certificate::from_pem`] reads one from the text of a file. `None`: each connection
    /// has one of its own.
    pub certificate: Option<Arc<Certificate>>,
    /// Whether the server is a node of a cluster, and how. `None`: its rooms are its own.
    pub cluster: Option<ClusterOptions>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(MAX_WORKERS),
            log_level: LogLevel::default(),
            log_tags: Vec::new(),
            rtc_ipv4: RtcAddress::Auto,
            rtc_ipv6: RtcAddress::Auto,
            announced_ipv4: None,
            announced_ipv6: None,
            min_port: 10_000,
            max_port: 59_999,
            certificate: None,
            cluster: None,
        }
    }
}

impl ServerOptions {
    /// Sets one option by its name and the text of its value, as a configuration file or the environment has them. The names are those of
    /// the fields, or mediasoup's: `numWorkers`, `logLevel`, `logTags` (separated by commas), `rtcIPv4`, `rtcIPv6` (`true`, `false` or an
    /// address), `rtcAnnouncedIPv4`, `rtcAnnouncedIPv6`, `rtcMinPort`, `rtcMaxPort`. A name that is unknown is passed over with a warning.
    ///
    /// # Errors
    /// [`Error::Option`] if the value does not fit; the options are as before then.
    ///
    /// ```
    /// use antiphon::room::ServerOptions;
    ///
    /// let mut options = ServerOptions::default();
    /// options.set("numWorkers", "2")?;
    /// options.set("rtcMinPort", "40000")?;
    /// options.set("somethingNew", "1")?; // a warning, and nothing else
    /// assert_eq!((options.workers, options.min_port), (2, 40_000));
    /// assert!(options.set("rtcIPv4", "nowhere").is_err());
    /// # Ok::<(), antiphon::room::Error>(())
    /// ```
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), Error> {
        let wrong = |reason: &str| Error::Option {
            option: option.to_owned(),
            reason: format!("{:?} is not {reason}", value.chars().take(64).collect::<String>()),
        };
        let port = || value.parse().map_err(|_| wrong("a port"));
        match option {
            "workers" | "numWorkers" => self.workers = value.parse().map_err(|_| wrong("a number"))?,
            "log_level" | "logLevel" => self.log_level = value.parse().map_err(|()| wrong("a level of the log"))?,
            "log_tags" | "logTags" => {
                let tags = value.split(',').map(str::trim).filter(|tag| !tag.is_empty());
                self.log_tags = tags
                    .map(|tag| tag.parse().map_err(|()| wrong("a list of tags of the log")))
                    .collect::<Result<_, _>>()?;
            }
            "rtc_ipv4" | "rtcIPv4" => {
                self.rtc_ipv4 = RtcAddress::parse(value).ok_or_else(|| wrong("true, false or an IPv4 address"))?;
            }
            "rtc_ipv6" | "rtcIPv6" => {
                self.rtc_ipv6 = RtcAddress::parse(value).ok_or_else(|| wrong("true, false or an IPv6 address"))?;
            }
            "announced_ipv4" | "rtcAnnouncedIPv4" => {
                self.announced_ipv4 = Some(value.parse().map_err(|_| wrong("an IPv4 address"))?);
            }
            "announced_ipv6" | "rtcAnnouncedIPv6" => {
                self.announced_ipv6 = Some(value.parse().map_err(|_| wrong("an IPv6 address"))?);
            }
            "min_port" | "rtcMinPort" => self.min_port = port()?,
            "max_port" | "rtcMaxPort" => self.max_port = port()?,
            _ => tracing::warn!(option, "there is no such option of a server"),
        }
        Ok(())
    }

    /// What does not fit together.
    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |option: &str, reason: String| {
            Err(Error::Option {
                option: option.to_owned(),
                reason,
            })
        };
        if !(1..=MAX_WORKERS).contains(&self.workers) {
            return wrong("workers", format!("{} is not from 1 to {MAX_WORKERS}", self.workers));
        }
        if self.rtc_ipv4 == RtcAddress::Off && self.rtc_ipv6 == RtcAddress::Off {
            return wrong("rtc_ipv4", "rtc_ipv4 and rtc_ipv6 are both off".to_owned());
        }
        if (self.min_port, self.max_port) == (0, 0) {
            return Ok(());
        }
        if self.min_port == 0 || self.max_port < self.min_port {
            return wrong(
                "min_port",
                format!("{} to {} is no range", self.min_port, self.max_port),
            );
        }
        if usize::from(self.max_port - self.min_port) + 1 < self.workers {
            return wrong("max_port", format!("fewer ports than the {} workers", self.workers));
        }
        Ok(())
    }

    /// The ports of a worker: its even part of the range, the first and the last. The system chooses if both are 0.
    pub(super) fn ports(&self, worker: usize) -> (u16, u16) {
        if self.max_port == 0 {
            return (0, 0);
        }
        let all = usize::from(self.max_port - self.min_port) + 1;
        let first = all * worker / self.workers;
        let end = all * (worker + 1) / self.workers;
        // Both are within a range of u16.
        (self.min_port + first as u16, self.min_port + (end - 1) as u16)
    }
}

/// Which candidates a connection offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportOptions {
    /// Whether it offers UDP. Default true.
    pub udp: bool,
    /// Whether it listens for ICE over TCP (RFC 6544) besides, for clients whose network carries no UDP. Default true.
    pub tcp: bool,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self { udp: true, tcp: true }
    }
}

impl TransportOptions {
    pub(super) fn apply(self, ice: &mut IceSettings) {
        ice.network_types.udp4 &= self.udp;
        ice.network_types.udp6 &= self.udp;
        ice.network_types.tcp4 &= self.tcp;
        ice.network_types.tcp6 &= self.tcp;
        ice.tcp = TcpCandidates {
            passive: self.tcp,
            ..TcpCandidates::OFF
        };
    }
}

/// What [`Server::update_settings`](super::Server::update_settings) changes; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct ServerSettings {
    /// How much the rooms tell of what happens in them.
    pub log_level: Option<LogLevel>,
    /// Of what the rooms tell at [`LogLevel::Debug`]; an empty list stands for everything.
    pub log_tags: Option<Vec<LogTag>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_split_evenly_and_without_overlap() {
        let options = |workers, min_port, max_port| ServerOptions {
            workers,
            min_port,
            max_port,
            ..ServerOptions::default()
        };
        for (workers, min_port, max_port) in [(1, 10_000, 59_999), (4, 10_000, 59_999), (3, 1, 65_535), (5, 100, 104)] {
            let options = options(workers, min_port, max_port);
            options.check().unwrap();
            let parts: Vec<_> = (0..workers).map(|worker| options.ports(worker)).collect();
            assert_eq!(parts[0].0, min_port);
            assert_eq!(parts[workers - 1].1, max_port);
            let sizes: Vec<_> = parts.iter().map(|(first, last)| last - first + 1).collect();
            assert!(
                sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1,
                "{sizes:?}"
            );
            assert!(parts.windows(2).all(|two| two[0].1 + 1 == two[1].0), "{parts:?}");
        }
        assert_eq!(options(2, 0, 0).ports(1), (0, 0));
        for (workers, min_port, max_port) in [(0, 1, 2), (3, 1, 2), (1, 3, 2), (1, 0, 2), (MAX_WORKERS + 1, 1, 60_000)]
        {
            assert_eq!(
                options(workers, min_port, max_port).check().unwrap_err().name(),
                "TypeError"
            );
        }
    }

    #[test]
    fn options_are_set_by_both_names_and_unknown_ones_are_passed_over() {
        let mut options = ServerOptions::default();
        for (option, value) in [
            ("workers", "3"),
            ("logLevel", "debug"),
            ("logTags", "ice, dtls"),
            ("rtcIPv4", "192.0.2.1"),
            ("rtcIPv6", "false"),
            ("rtcAnnouncedIPv4", "198.51.100.7"),
            ("rtcMinPort", "40000"),
            ("max_port", "40100"),
            ("numChickens", "7"),
        ] {
            options.set(option, value).unwrap();
        }
        assert_eq!(options.workers, 3);
        assert_eq!(options.log_level, LogLevel::Debug);
        assert_eq!(options.log_tags, [LogTag::Ice, LogTag::Dtls]);
        assert_eq!(options.rtc_ipv4, RtcAddress::Only(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(options.rtc_ipv6, RtcAddress::Off);
        assert_eq!(options.announced_ipv4, Some(Ipv4Addr::new(198, 51, 100, 7)));
        assert_eq!((options.min_port, options.max_port), (40_000, 40_100));
        for (option, value) in [
            ("workers", "many"),
            ("logLevel", "loud"),
            ("logTags", "ice,mice"),
            ("rtcIPv4", "::1"),
            ("rtcIPv6", "127.0.0.1"),
            ("rtcAnnouncedIPv6", ""),
            ("rtcMinPort", "70000"),
        ] {
            let error = options.set(option, value).unwrap_err();
            assert_eq!(error.name(), "TypeError");
            assert!(error.to_string().starts_with(option), "{error}");
        }
    }
}

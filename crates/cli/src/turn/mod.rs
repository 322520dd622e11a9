//! `antiphon turn`: a STUN and TURN server.

mod args;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use antiphon::turn_server::{PeerPolicy, Rate, RelayAddress, TlsIdentity, TurnServer, TurnServerConfig};

pub(crate) use args::EXAMPLES;
pub use args::{LimitArgs, TurnArgs};

use crate::stop::Stop;
use crate::text::print_line;

/// Serves until SIGINT or SIGTERM; then lets calls finish for `--drain` seconds, or until the next signal.
///
/// # Errors
/// What is wrong with the flags, or why a socket could not be bound.
pub async fn run(args: TurnArgs) -> io::Result<()> {
    let stop = Stop::new()?;
    let config = config(&args)?;
    let nobody = args.users.is_empty() && args.secret.is_none();
    let server = TurnServer::start(config).await.map_err(io::Error::other)?;
    print_addresses("udp", server.udp_addrs());
    print_addresses("tcp", server.tcp_addrs());
    print_addresses("tls", server.tls_addrs());
    print_addresses("metrics", server.metrics_addr().as_slice());
    if nobody {
        print_line("STUN only: without --user or --secret nobody may relay");
    }
    print_line("ready");
    stop.asked(&format!(
        "stopping: no new allocations, {} seconds for the others",
        args.drain
    ))
    .await;
    server.stop().await;
    Ok(())
}

fn print_addresses(transport: &str, addrs: &[SocketAddr]) {
    for addr in addrs {
        print_line(format_args!("{transport} {addr}"));
    }
}

fn wrong(flag: &str, why: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{flag}: {why}"))
}

fn config(args: &TurnArgs) -> io::Result<TurnServerConfig> {
    let mut config = TurnServerConfig::new(&args.realm);
    for user in &args.users {
        let (name, password) = user
            .split_once(':')
            .ok_or_else(|| wrong("--user", "NAME:PASSWORD is meant"))?;
        config = config.user(name, password);
    }
    config.listen.clone_from(&args.listen);
    config.tcp = !args.no_tcp;
    config.tls_listen.clone_from(&args.tls_listen);
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        let read = |file: &std::path::Path| std::fs::read(file).map_err(|e| wrong(&file.display().to_string(), e));
        config.identity = Some(TlsIdentity::from_pem(read(certificate)?, read(key)?));
    }
    config.relay = relay_addresses(args)?;
    config.relay_ports = args.relay_ports.0..=args.relay_ports.1;
    config.metrics = args.metrics;
    config.drain = Duration::from_secs(args.drain);
    config.max_connections = args.max_connections;
    config.server.policy = PeerPolicy {
        allow_loopback: args.allow_loopback_peers,
        allow_private: args.allow_private_peers,
        denied: args.denied_peers.clone(),
    };
    let limits = &args.limits;
    config.server.max_allocations = limits.max_allocations;
    config.server.max_allocations_per_user = limits.max_allocations_per_user;
    config.server.max_allocations_per_address = limits.max_allocations_per_address;
    config.server.max_age = limits.max_age.map(Duration::from_secs);
    config.server.stranger_rate = Rate {
        per_second: limits.stranger_rate,
        burst: limits.stranger_rate.saturating_mul(2),
    };
    config.server.failure_rate = Rate {
        per_second: limits.failure_rate,
        burst: limits.failure_rate.saturating_mul(10),
    };
    config.server.max_bps_allocation = limits.max_bps_allocation;
    config.server.max_bps_user = limits.max_bps_user;
    config.server.max_bps_total = limits.max_bps_total;
    config.alternate = args.alternate_listen;
    config.server.whole_discovery = args.whole_discovery;
    if let Some(secret) = &args.secret {
        config = config.shared_secret(secret);
    }
    Ok(config)
}

/// `--relay-ip` and `--external-ip`, matched by family.
fn relay_addresses(args: &TurnArgs) -> io::Result<Vec<RelayAddress>> {
    let mut relays: Vec<RelayAddress> = Vec::new();
    for &bind in &args.relay_ips {
        if relays.iter().any(|known| known.bind.is_ipv4() == bind.is_ipv4()) {
            return Err(wrong("--relay-ip", "one address of each family at most"));
        }
        relays.push(RelayAddress { bind, external: bind });
    }
    for &external in &args.external_ips {
        let same = relays
            .iter_mut()
            .find(|relay| relay.bind.is_ipv4() == external.is_ipv4());
        match same {
            Some(relay) => relay.external = external,
            None => {
                return Err(wrong(
                    "--external-ip",
                    "needs a --relay-ip of the same family: the machine's own address",
                ));
            }
        }
    }
    Ok(relays)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn parsed(flags: &[&str]) -> TurnArgs {
        let all = ["antiphon", "turn"].iter().chain(flags);
        match Args::parse_from(all).command {
            Some(Command::Turn(turn)) => *turn,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_a_configuration() {
        let args = parsed(&[
            "--listen",
            "127.0.0.1:0",
            "--realm",
            "r",
            "--user",
            "alice:a:b",
            "--relay-ip",
            "10.0.0.1",
            "--external-ip",
            "198.51.100.1",
            "--relay-ports",
            "50000-50010",
            "--secret",
            "north",
            "--stranger-rate",
            "7",
            "--deny-peer",
            "10.0.0.0/8",
            "--deny-peer",
            "2001:db8::1",
            "--alternate-listen",
            "127.0.0.2:3479",
            "--whole-discovery",
        ]);
        let config = config(&args).unwrap();
        assert_eq!(config.listen, ["127.0.0.1:0".parse().unwrap()]);
        assert_eq!(config.relay_ports, 50_000..=50_010);
        assert_eq!(config.relay.len(), 1);
        assert_eq!(
            config.relay[0].external,
            "198.51.100.1".parse::<std::net::IpAddr>().unwrap()
        );
        assert_eq!(
            config.server.policy.denied,
            [("10.0.0.0".parse().unwrap(), 8), ("2001:db8::1".parse().unwrap(), 128)]
        );
        assert_eq!(config.server.users.len(), 1);
        assert!(config.server.time_limited.is_some());
        assert!(config.server.whole_discovery && !self::config(&parsed(&[])).unwrap().server.whole_discovery);
        assert_eq!(
            (
                config.server.stranger_rate.per_second,
                config.server.stranger_rate.burst
            ),
            (7, 14)
        );
    }

    #[test]
    fn mend20_caps_on_bandwidth_are_flags() {
        let args = parsed(&[
            "--max-bps-allocation",
            "500k",
            "--max-bps-user",
            "4M",
            "--max-bps-total",
            "1G",
            "--failure-rate",
            "3",
        ]);
        let server = config(&args).unwrap().server;
        assert_eq!(
            (server.max_bps_allocation, server.max_bps_user, server.max_bps_total),
            (Some(500_000), Some(4_000_000), Some(1_000_000_000))
        );
        assert_eq!((server.failure_rate.per_second, server.failure_rate.burst), (3, 30));
        let server = config(&parsed(&[])).unwrap().server;
        assert_eq!(
            (server.max_bps_allocation, server.max_bps_user, server.max_bps_total),
            (None, None, None)
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for flags in [
            &["--relay-ports", "2-1"][..],
            &["--relay-ports", "0-9"],
            &["--relay-ports", "x"],
            &["--deny-peer", "10.0.0.0/33"],
            &["--tls-listen", "127.0.0.1:0"],
            &["--whole-discovery"],
            &["--max-bps-user", "0"],
            &["--max-bps-user", "4m"],
            &["--max-bps-total", "99999999999G"],
        ] {
            let all = ["antiphon", "turn"].iter().chain(flags);
            assert!(Args::try_parse_from(all).is_err(), "{flags:?}");
        }
        assert!(config(&parsed(&["--user", "nameonly"])).is_err());
        assert!(config(&parsed(&["--external-ip", "198.51.100.1"])).is_err());
    }
}

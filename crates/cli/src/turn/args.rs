//! The flags of `antiphon turn`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// What `antiphon turn --help` ends with.
pub(crate) const EXAMPLES: &str = "Examples:
  antiphon turn --user alice:secret --relay-ip 203.0.113.5
  antiphon turn --user alice:secret --relay-ip 10.0.0.5 --external-ip 203.0.113.5   behind a 1:1 NAT (cloud)
  antiphon turn --user alice:secret --tls-listen 0.0.0.0:5349 --tls-cert chain.pem --tls-key key.pem
  antiphon turn --secret KEY --realm example.org                                    credentials that expire
  antiphon turn --listen 127.0.0.1:3478 --user a:b --allow-loopback-peers           a test on one machine

Then, in RTCPeerConnection's iceServers:
  {urls: [\"turn:HOST:3478?transport=udp\", \"turn:HOST:3478?transport=tcp\"], username: \"alice\", credential: \"secret\"}

SIGINT or SIGTERM ends it: allocations have --drain seconds to finish, a second signal ends it at once.
Each bound address is printed on a line of its own (\"udp 127.0.0.1:3478\"), then \"ready\".
RUST_LOG=antiphon::turn_server=debug tells more; no log holds a password.";

/// Flags of `turn`.
#[derive(Clone, Debug, clap::Args)]
pub struct TurnArgs {
    /// Where UDP is served, and TCP on the same port. 0.0.0.0 or `[::]`: on every address of this machine. Repeatable.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:3478")]
    pub listen: Vec<SocketAddr>,
    /// UDP only on --listen.
    #[arg(long)]
    pub no_tcp: bool,
    /// Where TLS is served (turns:). Repeatable.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "tls_cert")]
    pub tls_listen: Vec<SocketAddr>,
    /// PEM file with the certificate chain for TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The realm of the credentials: usually the domain of the service.
    #[arg(long, value_name = "REALM", default_value = "antiphon")]
    pub realm: String,
    /// A user who may relay. Repeatable; in the environment separate users by commas. Others can read command lines.
    #[arg(
        long = "user",
        value_name = "NAME:PASSWORD",
        env = "ANTIPHON_TURN_USERS",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub users: Vec<String>,
    /// Takes credentials that expire ("TURN REST API"): username EXPIRY:NAME in seconds of Unix time, password
    /// Base64(HMAC-SHA1(SECRET, username)). Web services make them for their users.
    #[arg(long, value_name = "SECRET", env = "ANTIPHON_TURN_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// A second address and port for NAT behaviour discovery (RFC 5780); both must differ from the first --listen, and neither
    /// address may be a wildcard. Answers stay within 2.2 times the length of their request, so short requests do not hear every
    /// address that RFC 5780 speaks of: over IPv4 OTHER-ADDRESS always, RESPONSE-ORIGIN from 28 bytes on; over IPv6 from 32 and 44.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub alternate_listen: Option<SocketAddr>,
    /// Every answer has all of RFC 5780's attributes, however short the request: up to 3.4 times its length, over IPv6 5.8. Whoever
    /// forges source addresses then sends others that many times what it sends here.
    #[arg(long, requires = "alternate_listen")]
    pub whole_discovery: bool,
    /// This machine's address on which relayed sockets are opened, one of each family. Default: what --listen says, or the
    /// address of the default route.
    #[arg(long = "relay-ip", value_name = "ADDRESS")]
    pub relay_ips: Vec<IpAddr>,
    /// The address that peers see instead of --relay-ip, when a 1:1 NAT lies between (as in most clouds).
    #[arg(long = "external-ip", value_name = "ADDRESS")]
    pub external_ips: Vec<IpAddr>,
    /// The ports of relayed sockets.
    #[arg(long, value_name = "FIRST-LAST", default_value = "49152-65535", value_parser = port_range)]
    pub relay_ports: (u16, u16),
    /// Relay to loopback addresses: for tests. Whoever may relay then reaches every service of this machine.
    #[arg(long)]
    pub allow_loopback_peers: bool,
    /// Relay to private networks (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7): for servers inside such a network.
    #[arg(long)]
    pub allow_private_peers: bool,
    /// A network or address to which is not relayed, besides those that never are. Repeatable.
    #[arg(long = "deny-peer", value_name = "ADDRESS[/BITS]", value_parser = network)]
    pub denied_peers: Vec<(IpAddr, u8)>,
    /// How much of it all one client, one user and everybody may have.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// TCP and TLS connections at a time.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub max_connections: usize,
    /// Where Prometheus reads figures: http://ADDRESS:PORT/metrics.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<SocketAddr>,
    /// How long allocations may go on after the first SIGINT or SIGTERM.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub drain: u64,
}

/// Flags of `turn` that say how much is too much.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitArgs {
    /// Allocations at a time.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub max_allocations: usize,
    /// Allocations of one user at a time.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub max_allocations_per_user: usize,
    /// Allocations from one address (of IPv6: from one /64) at a time.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub max_allocations_per_address: usize,
    /// How long an allocation may live in all, however often its client refreshes it. Default: no limit.
    #[arg(long, value_name = "SECONDS")]
    pub max_age: Option<u64>,
    /// Answers a second to strangers (Binding, challenges), for each address; bursts of twice as many.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub stranger_rate: u32,
    /// Failed logins a second that are answered, for each address; bursts of ten times as many. Beyond that, nobody new logs in from
    /// there until the failures end; users who logged in from there within a day still do, and so does everybody with --secret.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub failure_rate: u32,
    /// The most that one allocation may relay, both directions together, in bits a second; what is over is dropped and counted.
    /// k, M and G stand for thousands, millions and billions: 4M suffices for a video call. Default: no limit.
    #[arg(long, value_name = "BITS", value_parser = bits)]
    pub max_bps_allocation: Option<u64>,
    /// The most that all allocations of one user may relay together. Default: no limit.
    #[arg(long, value_name = "BITS", value_parser = bits)]
    pub max_bps_user: Option<u64>,
    /// The most that the server may relay in all: keep some of your line for other things. Default: no limit.
    #[arg(long, value_name = "BITS", value_parser = bits)]
    pub max_bps_total: Option<u64>,
}

fn port_range(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok((first, last)),
        _ => Err("FIRST-LAST, from 1 to 65535".to_owned()),
    }
}

/// `4M`: how much in a second.
fn bits(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.char_indices().next_back() {
        Some((at, 'k')) => (&text[..at], 1_000),
        Some((at, 'M')) => (&text[..at], 1_000_000),
        Some((at, 'G')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let number: Option<u64> = number.parse().ok();
    let bits = number.and_then(|number| number.checked_mul(factor));
    bits.filter(|bits| *bits > 0)
        .ok_or_else(|| "a number of bits a second above 0, such as 500k, 4M or 1G".to_owned())
}

fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
    let ip: IpAddr = ip.parse().map_err(|e| format!("{e}"))?;
    let width = if ip.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(width), str::parse).map_err(|e| format!("{e}"))?;
    if bits > width {
        return Err(format!("at most {width} bits"));
    }
    Ok((ip, bits))
}

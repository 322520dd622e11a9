//! Connections, handshakes and WebSockets that come from one address and come to nothing, while a guest from another one asks for the page.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::memory::{calm, memory};
use crate::live::Server;
use crate::report::Report;
use crate::shell::run_within;

/// The strangers' address, and the guest's.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));
const GUEST: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// How long the guest may wait for the page.
const PAGE: Duration = Duration::from_secs(1);
/// The guest asks so often during each siege; the slowest answer counts.
const VISITS: usize = 10;
/// The part of a siege that comes first.
const WARMING: usize = 4;
/// The descriptors that the strangers need here.
const DESCRIPTORS: u64 = 4096;
/// Bounds for a broken run.
const PATIENCE: Duration = Duration::from_secs(30);

/// What strangers open, and hold.
struct Siege {
    what: &'static str,
    over_tls: bool,
    /// How many of each kind, and what each says.
    waves: &'static [(usize, &'static [u8])],
}

const SILENCE: &[u8] = b"";
const HALF_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
const HALF_BODY: &[u8] =
    b"POST /whip HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\nContent-Length: 200000\r\n\r\nv=0\r\n";
/// The header of a TLS record with a ClientHello, whose rest never comes.
const HALF_HANDSHAKE: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
const WEBSOCKET: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const SIEGES: [Siege; 6] = [
    Siege {
        what: "3000 silent connections",
        over_tls: false,
        waves: &[(3000, SILENCE)],
    },
    Siege {
        what: "3000 half requests",
        over_tls: false,
        waves: &[(1500, HALF_HEAD), (1500, HALF_BODY)],
    },
    Siege {
        what: "64 idle WebSockets",
        over_tls: false,
        waves: &[(64, WEBSOCKET)],
    },
    Siege {
        what: "both, and 3000 silent ones",
        over_tls: false,
        waves: &[(64, WEBSOCKET), (200, HALF_BODY), (3000, SILENCE)],
    },
    Siege {
        what: "200 half TLS handshakes",
        over_tls: true,
        waves: &[(200, HALF_HANDSHAKE)],
    },
    Siege {
        what: "those, and 3000 silent ones",
        over_tls: true,
        waves: &[(200, HALF_HANDSHAKE), (3000, SILENCE)],
    },
];

/// Every siege of the table.
pub(super) fn run(report: &mut Report) {
    let ready = || -> Result<_, String> {
        #[cfg(unix)]
        rlimit::increase_nofile_limit(DESCRIPTORS).map_err(|e| format!("descriptors: {e}"))?;
        Ok((
            Server::start("under siege", &[])?,
            Server::start("under siege, TLS", &["--tls"])?,
        ))
    };
    let (plain, secure) = match ready() {
        Ok(servers) => servers,
        Err(why) => return report.fail("set up the sieges", &why),
    };
    println!(
        "\n| siege from one address | page for another, slowest of {VISITS} | memory before, during, after |\n|---|---|---|"
    );
    for siege in SIEGES {
        let server = if siege.over_tls { &secure } else { &plain };
        let began = Instant::now();
        match lay(&siege, server) {
            Ok((figures, true)) => report.pass(siege.what, &figures, began.elapsed()),
            Ok((figures, false)) => report.fail(siege.what, &figures),
            Err(why) => report.fail(siege.what, &why),
        }
    }
}

/// One siege: its figures, and whether they are good enough.
fn lay(siege: &Siege, server: &Server) -> Result<(String, bool), String> {
    let (_, address) = server.url.split_once("://").ok_or("the server has no address")?;
    let address: SocketAddr = address.parse().map_err(|e| format!("{address}: {e}"))?;
    let visit = || visit(address, siege.over_tls);
    let wave = |part: usize| {
        let mut held = Vec::new();
        for (count, says) in siege.waves {
            for _ in 0..count / part {
                // One that is turned away or closed is none of the stranger's successes, and he goes on.
                if let Ok(mut stream) = connect(STRANGER, address) {
                    _ = stream.write_all(says);
                    held.push(stream);
                }
            }
        }
        held
    };
    // The first guests and strangers warm the server up: what the allocator keeps for the next ones is no leak.
    drop(wave(WARMING));
    for _ in 0..VISITS {
        visit()?;
    }
    let process = server.id();
    let before = memory(process)?;
    let held = wave(1);
    let mut slowest = Duration::ZERO;
    for _ in 0..VISITS {
        slowest = slowest.max(visit()?);
    }
    let during = memory(process)?;
    drop(held);
    let (after, back) = calm(process, before)?;
    let page = format!("{} ms", slowest.as_millis());
    let memory = format!("{before}, {during}, {after} KiB");
    println!("| {} | {page} | {memory} |", siege.what);
    Ok((format!("page in {page}, memory {memory}"), back && slowest < PAGE))
}

/// Fetches the page as a guest; how long that took.
fn visit(address: SocketAddr, over_tls: bool) -> Result<Duration, String> {
    let began = Instant::now();
    if over_tls {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--insecure",
            "--fail",
            "--output",
            "/dev/null",
            "--interface",
        ]);
        curl.args([&GUEST.to_string(), &format!("https://{address}/")]);
        let output = run_within(PATIENCE, "page over TLS", &mut curl)?;
        return if output.success {
            Ok(output.took)
        } else {
            Err(output.text)
        };
    }
    let broken = |e: std::io::Error| format!("no page: {e}");
    let mut stream = connect(GUEST, address).map_err(broken)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(broken)?;
    let mut page = String::new();
    stream.read_to_string(&mut page).map_err(broken)?;
    if page.starts_with("HTTP/1.1 200") {
        Ok(began.elapsed())
    } else {
        Err(format!("no page, but {:?}", page.lines().next()))
    }
}

fn connect(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    Ok(socket.into())
}

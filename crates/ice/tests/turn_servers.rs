//! What an agent does about TURN servers that refuse, send it elsewhere, have no room or do not answer.

mod checked;

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_ice::{Config, Event, GatheringState, IceServer, IoEvent, IoRequest, TcpCandidates};
use antiphon_netsim::{Checked, Machine};
use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Rng, TransmitBuf};
use antiphon_stun::{AttributeType, Class, Message, MessageBuilder, Method};
use checked::AgentMachine;

/// One agent and a server that says what a test wants; each answer is made from the request.
fn scripted(
    url: &str,
    answer: &mut dyn FnMut(SocketAddr, SocketAddr, &Message<'_>, &mut MessageBuilder<'_>),
) -> (Checked<AgentMachine>, Vec<Event>) {
    scripted_over(url, &[0], answer)
}

/// The same, with pauses in seconds. Every name has the addresses 192.0.2.1 to 192.0.2.3.
fn scripted_over(
    url: &str,
    pauses: &[u64],
    answer: &mut dyn FnMut(SocketAddr, SocketAddr, &Message<'_>, &mut MessageBuilder<'_>),
) -> (Checked<AgentMachine>, Vec<Event>) {
    let mut now = antiphon_netsim::start();
    let config = Config {
        servers: vec![IceServer {
            urls: vec![url.parse().unwrap()],
            username: "alice".into(),
            credential: "secret".into(),
        }],
        tcp: TcpCandidates::OFF,
        ..Config::default()
    };
    let mut agent = checked::agent(config, Rng::from_u64(1));
    let mut sockets: Vec<(Local, SocketAddr)> = Vec::new();
    let mut events = Vec::new();
    agent.gather(now);
    for round in 0..50 * pauses.len() {
        if round % 50 == 0 {
            now += Duration::from_secs(pauses[round / 50]);
            agent.handle_timeout(now);
        }
        while let Some(request) = agent.poll_io() {
            let count = sockets.len() as u16;
            let answer = match request {
                IoRequest::ListInterfaces { .. } => IoEvent::Interfaces(vec!["10.0.1.1".parse().unwrap()]),
                IoRequest::BindUdp { request, addr, .. } => {
                    let (local, addr) = (Local::Socket(count.into()), SocketAddr::new(addr.ip(), 5000 + count));
                    sockets.push((local, addr));
                    IoEvent::UdpBound { request, local, addr }
                }
                IoRequest::ConnectTcp { request, from, .. } => {
                    let (local, addr) = (Local::Tcp(count.into()), SocketAddr::new(from, 5000 + count));
                    sockets.push((local, addr));
                    IoEvent::TcpConnected { request, local, addr }
                }
                IoRequest::Resolve { request, .. } => {
                    let addrs = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|ip| ip.parse().unwrap());
                    IoEvent::Resolved {
                        request,
                        addrs: addrs.to_vec(),
                    }
                }
                IoRequest::Close(_) => continue,
                other => unreachable!("{other:?}"),
            };
            agent.handle_io(now, answer);
        }
        let mut out = TransmitBuf::new(8192, 1300);
        while let Some(transmit) = agent.poll_transmit(now, &mut out) {
            let request = out.bytes(transmit.range.clone()).to_vec();
            out.clear();
            let request = Message::parse(&request).unwrap();
            let from = sockets
                .iter()
                .find(|(local, _)| *local == transmit.path.local)
                .unwrap()
                .1;
            let mut buffer = [0; 1000];
            let id = request.transaction_id();
            let mut builder = MessageBuilder::new(&mut buffer, Class::Error, request.method(), id);
            answer(from, transmit.path.remote, &request, &mut builder);
            let len = builder.finish().unwrap();
            let datagram = Datagram {
                path: transmit.path,
                ecn: Ecn::NotEct,
                data: BytesMut::from(&buffer[..len]),
            };
            agent.handle_datagram(now, datagram);
        }
        events.extend(std::iter::from_fn(|| agent.poll_event()));
        agent.drained();
    }
    (agent, events)
}

fn error_codes(events: &[Event]) -> Vec<u16> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::CandidateError { code, .. } => Some(*code),
            _ => None,
        })
        .collect()
}

#[test]
fn another_server_is_asked_and_never_twice() {
    for url in ["turn:192.0.2.1", "turn:192.0.2.1?transport=tcp", "turns:192.0.2.1"] {
        // Each server names the next one, and the fourth the first.
        let mut asked = Vec::new();
        let (agent, events) = scripted(url, &mut |_, server, request, builder| {
            assert_eq!(request.method(), Method::ALLOCATE);
            asked.push(server.ip().to_string());
            let n: u8 = server.ip().to_string()[8..].parse().unwrap();
            let next = SocketAddr::from(([192, 0, 2, n % 4 + 1], server.port()));
            builder
                .error_code(300, "Try Alternate")
                .address(AttributeType::ALTERNATE_SERVER, next);
        });
        assert_eq!(asked, ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"], "{url}");
        assert_eq!(error_codes(&events), [300]);
        assert_eq!(agent.gathering_state(), GatheringState::Complete);
    }
    // Where it would be something else than a server.
    for target in [
        "127.0.0.1:3478",
        "[2001:db8::1]:3478",
        "0.0.0.0:3478",
        "192.0.2.9:0",
        "192.0.2.1:3478",
    ] {
        let (_, events) = scripted("turn:192.0.2.1", &mut |_, _, _, builder| {
            builder
                .error_code(300, "Try Alternate")
                .address(AttributeType::ALTERNATE_SERVER, target.parse().unwrap());
        });
        assert_eq!(error_codes(&events), [300], "{target}");
    }
}

#[test]
fn a_mismatch_is_tried_again_from_other_ports() {
    for url in ["turn:192.0.2.1", "turn:192.0.2.1?transport=tcp"] {
        let mut ports = Vec::new();
        let (agent, events) = scripted(url, &mut |from, _, _, builder| {
            ports.push(from.port());
            builder.error_code(437, "Allocation Mismatch");
        });
        assert_eq!(ports.len(), 4, "RFC 8656 §7.4: it ends at some time");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 4, "each from another port");
        assert_eq!(error_codes(&events), [437]);
        assert_eq!(agent.gathering_state(), GatheringState::Complete);
    }
    // Others are not, or not at once: an allocation quota is not emptied by asking again.
    for (code, reason) in [
        (486, "Allocation Quota Reached"),
        (508, "Insufficient Capacity"),
        (403, "Forbidden"),
    ] {
        let mut requests = 0;
        let (_, events) = scripted("turn:192.0.2.1", &mut |_, _, _, builder| {
            requests += 1;
            builder.error_code(code, reason);
        });
        assert_eq!((requests, error_codes(&events)), (1, vec![code]));
    }
}

#[test]
fn a_server_without_room_is_asked_after_a_minute_and_other_addresses_of_its_name_at_once() {
    for (transport, code) in [("udp", 486), ("udp", 508), ("tcp", 508)] {
        let mut asked = Vec::new();
        let url = format!("turn:turn.example.org?transport={transport}");
        let (agent, events) = scripted_over(&url, &[0, 59, 2, 300], &mut |_, server, _, builder| {
            asked.push(server.ip().to_string());
            // No words: the agent has its own.
            builder.error_code(code, "");
        });
        // Each address, then the last one once more: what is tried again is tried three times in all.
        assert_eq!(asked, ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.3"], "{url}");
        assert_eq!(error_codes(&events), [code; 4]);
        let reason = match code {
            486 => "Allocation Quota Reached",
            _ => "Insufficient Capacity",
        };
        let worded = |event: &&Event| matches!(event, Event::CandidateError { text, .. } if text == reason);
        assert_eq!(events.iter().filter(worded).count(), 4);
        assert_eq!(agent.gathering_state(), GatheringState::Complete);
        assert_eq!(agent.poll_timeout(), None, "{url}: nothing waits any more");
    }
    // By one address: three times, a minute apart, and not before.
    let mut asked = 0;
    let pauses = [0, 59, 2, 59, 2, 59, 2, 300];
    let (_, events) = scripted_over("turn:192.0.2.1", &pauses, &mut |_, _, _, builder| {
        asked += 1;
        builder.error_code(508, "Insufficient Capacity");
    });
    assert_eq!((asked, error_codes(&events)), (4, vec![508; 4]));
    let complete = |event: &&Event| matches!(event, Event::GatheringState(GatheringState::Complete));
    assert_eq!(events.iter().filter(complete).count(), 4);
}

#[test]
fn an_address_that_does_not_answer_is_left_for_the_next_of_its_name() {
    let mut asked = Vec::new();
    let (agent, events) = scripted_over(
        "turn:turn.example.org",
        &[0, 1, 1, 2, 4, 8, 8],
        &mut |_, server, _, builder| {
            asked.push(server.ip().to_string());
            // An error without a code is none.
            if !server.ip().to_string().ends_with(".1") {
                builder.error_code(403, "Forbidden");
            }
        },
    );
    asked.dedup();
    assert_eq!(asked, ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(error_codes(&events), [701, 403], "what is forbidden is so everywhere");
    assert_eq!(agent.gathering_state(), GatheringState::Complete);
}

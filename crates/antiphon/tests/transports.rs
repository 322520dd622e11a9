//! Two handles over loopback by the less travelled ways: TCP candidates, TURN servers, and addresses hidden behind multicast
//! names.

use std::time::Duration;

use antiphon::turn_server::{PeerPolicy, TlsIdentity, TurnServer, TurnServerConfig};
use antiphon::{
    Api, DataChannel, Event, Message, PeerConnection, PeerHandle, RtcConfiguration, RtcDataChannelInit,
    RtcIceTransportPolicy,
};
use tokio::sync::mpsc;

/// Keeps a broken run finite; nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the offerer saw.
struct Seen {
    /// Every candidate that either side told the other.
    candidates: Vec<String>,
    /// The descriptions that either side told the other.
    descriptions: Vec<String>,
    /// The pair in use, as the offerer tells it.
    pair: String,
}

enum Report {
    Candidate(String),
    Pair(String),
    Channel(DataChannel),
}

fn run(mut pc: PeerConnection, other: PeerHandle, offers: bool, reports: mpsc::UnboundedSender<Report>) {
    tokio::spawn(async move {
        while let Some(event) = pc.next_event().await {
            match event {
                Event::IceCandidate(candidate) => {
                    if let Some(candidate) = &candidate {
                        let _ = reports.send(Report::Candidate(candidate.candidate.clone()));
                    }
                    let _ = other.add_ice_candidate(candidate).await;
                }
                Event::SelectedCandidatePairChange { local, remote } if offers => {
                    let _ = reports.send(Report::Pair(format!("{local} | {remote}")));
                }
                Event::DataChannel(channel) => _ = reports.send(Report::Channel(channel)),
                _ => {}
            }
        }
    });
}

async fn connect(api_a: &Api, api_b: &Api, configuration: RtcConfiguration) -> Seen {
    let a = api_a.peer_connection(configuration.clone()).await.unwrap();
    let b = api_b.peer_connection(configuration).await.unwrap();
    let (alice, bob) = (a.handle(), b.handle());
    let mut channel = alice
        .create_data_channel("test", RtcDataChannelInit::default())
        .await
        .unwrap();
    let (reports, mut reported) = mpsc::unbounded_channel();
    run(a, bob.clone(), true, reports.clone());
    run(b, alice.clone(), false, reports);
    alice.set_local_description(None).await.unwrap();
    let offer = alice.local_description().await.unwrap().unwrap();
    bob.set_remote_description(offer.clone()).await.unwrap();
    bob.set_local_description(None).await.unwrap();
    let answer = bob.local_description().await.unwrap().unwrap();
    alice.set_remote_description(answer.clone()).await.unwrap();

    let (mut candidates, mut pair, mut theirs) = (Vec::new(), None, None);
    let gathered = async {
        while pair.is_none() || theirs.is_none() {
            match reported.recv().await.expect("both live") {
                Report::Candidate(candidate) => candidates.push(candidate),
                Report::Pair(now) => pair = Some(now),
                Report::Channel(channel) => theirs = Some(channel),
            }
        }
    };
    tokio::time::timeout(PATIENCE, gathered).await.expect("a connection");
    let mut theirs = theirs.unwrap();
    tokio::time::timeout(PATIENCE, async {
        channel.opened().await.unwrap();
        let sender = channel.sender();
        tokio::spawn(async move {
            for n in 0..32u8 {
                sender.send(Message::binary(vec![n; 50_000])).await.unwrap();
            }
        });
        for n in 0..32u8 {
            assert_eq!(theirs.recv().await.unwrap(), Message::binary(vec![n; 50_000]));
        }
        theirs.send_text("back").await.unwrap();
        assert_eq!(channel.recv().await.unwrap(), Message::text("back"));
    })
    .await
    .expect("messages both ways");
    alice.close().await;
    bob.close().await;
    Seen {
        candidates,
        descriptions: vec![offer.sdp, answer.sdp],
        pair: pair.unwrap(),
    }
}

fn over_tcp() -> RtcConfiguration {
    let mut configuration = RtcConfiguration::default();
    let ice = &mut configuration.settings.ice;
    (ice.network_types.udp4, ice.network_types.udp6) = (false, false);
    ice.tcp.passive = true;
    configuration
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_with_listeners_of_their_own() {
    let api = Api::builder().loopback(true).build().unwrap();
    let seen = connect(&api, &api, over_tcp()).await;
    assert!(
        seen.candidates.iter().all(|c| c.contains(" tcp ")),
        "{:?}",
        seen.candidates
    );
    assert!(seen.pair.contains(" tcp "), "{}", seen.pair);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_many_peers_share_a_listener() {
    let server = Api::builder().loopback(true).one_port(0).build().unwrap();
    let client = Api::builder().loopback(true).build().unwrap();
    for n in 0..4 {
        let seen = if n % 2 == 0 {
            connect(&client, &server, over_tcp()).await
        } else {
            connect(&server, &client, over_tcp()).await
        };
        assert!(seen.pair.contains(" tcp "), "{}", seen.pair);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_hidden_addresses() {
    let api = Api::builder().loopback(true).build().unwrap();
    let mut configuration = RtcConfiguration::default();
    configuration.settings.ice.hide_host_addresses = true;
    let seen = connect(&api, &api, configuration).await;
    assert!(seen.candidates.len() >= 2);
    for candidate in &seen.candidates {
        let address = candidate.split(' ').nth(4).unwrap();
        assert!(address.ends_with(".local"), "{candidate}");
    }
    let told: Vec<&String> = seen.candidates.iter().chain(&seen.descriptions).collect();
    for interface in if_addrs::get_if_addrs().unwrap() {
        let address = interface.ip().to_string();
        // The loopback addresses appear in o= and c= lines, which name nobody.
        if !interface.is_loopback() {
            assert!(
                told.iter().all(|text| !text.contains(&address)),
                "{address} is in {told:?}"
            );
        }
    }
}

/// Each packet grows on its way: ChannelData is padded over a stream, whatever size the path was found to carry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_turn_server_over_udp_and_tcp() {
    let mut config = TurnServerConfig::new("example.org").user("alice", "secret");
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.server.policy = PeerPolicy {
        allow_loopback: true,
        ..PeerPolicy::default()
    };
    let server = TurnServer::start(config).await.unwrap();
    let api = Api::builder().loopback(true).build().unwrap();
    for (transport, at) in [("udp", server.udp_addrs()[0]), ("tcp", server.tcp_addrs()[0])] {
        let mut configuration = RtcConfiguration {
            ice_transport_policy: RtcIceTransportPolicy::Relay,
            ..RtcConfiguration::default()
        };
        configuration.ice_servers.push(antiphon::RtcIceServer {
            urls: vec![format!("turn:{at}?transport={transport}")],
            username: "alice".into(),
            credential: "secret".into(),
        });
        let seen = connect(&api, &api, configuration).await;
        assert!(
            seen.candidates.iter().all(|c| c.contains(" relay ")),
            "{:?}",
            seen.candidates
        );
        assert_eq!(seen.pair.matches(" relay").count(), 2, "{}", seen.pair);
    }
}

/// `stuns:` asks from the very ports that listen, over TLS, and closes when the pair is there. On loopback the answer is an address that
/// is known already: that it came is what the server counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stun_server_over_tls_is_asked_from_the_ports_that_listen() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let mut config = TurnServerConfig::new("example.org");
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.tls_listen = config.listen.clone();
    config.identity = Some(TlsIdentity::from_pem(made.cert.pem(), made.signing_key.serialize_pem()));
    let server = TurnServer::start(config).await.unwrap();
    let mut configuration = over_tcp();
    configuration.settings.ice.tcp.simultaneous_open = true;
    configuration.ice_servers.push(antiphon::RtcIceServer {
        urls: vec![format!("stuns:{}", server.tls_addrs()[0])],
        ..antiphon::RtcIceServer::default()
    });
    let api = Api::builder()
        .loopback(true)
        .trusted_certificates_pem(made.cert.pem().as_bytes())
        .unwrap()
        .build()
        .unwrap();
    let seen = connect(&api, &api, configuration.clone()).await;
    assert!(seen.pair.contains(" tcp "), "{}", seen.pair);
    let done = async {
        loop {
            let stats = server.stats().await.unwrap();
            // Two ports of each end.
            if stats.counters.bindings == 4 && stats.connections == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, done)
        .await
        .expect("asked, answered, closed");
    // Whoever does not trust the certificate asks nothing, and is told why.
    let wary = Api::builder().loopback(true).build().unwrap();
    let url = configuration.ice_servers[0].urls[0].clone();
    let (told, code, text) = first_error(&wary, configuration).await;
    assert_eq!((told, code), (url, 701));
    assert!(text.contains("certificate"), "{text}");
    assert_eq!(server.stats().await.unwrap().counters.bindings, 4);
}

/// The first error while a peer gathers.
async fn first_error(api: &Api, configuration: RtcConfiguration) -> (String, u16, String) {
    let mut pc = api.peer_connection(configuration).await.unwrap();
    pc.create_data_channel("test", RtcDataChannelInit::default())
        .await
        .unwrap();
    pc.set_local_description(None).await.unwrap();
    let error = async {
        loop {
            if let Event::IceCandidateError { url, code, text, .. } = pc.next_event().await.unwrap() {
                return (url, code, text);
            }
        }
    };
    tokio::time::timeout(PATIENCE, error).await.expect("an error")
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let api = Api::builder().loopback(true).build().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut configuration = RtcConfiguration::default();
    configuration.ice_servers.push(antiphon::RtcIceServer {
        urls: vec![format!("turn:{closed}?transport=tcp")],
        username: "user".into(),
        credential: "password".into(),
    });
    let (url, code, text) = first_error(&api, configuration).await;
    assert_eq!((url, code), (format!("turn:{closed}?transport=tcp"), 701));
    assert!(text.contains("refused"), "{text}");
}

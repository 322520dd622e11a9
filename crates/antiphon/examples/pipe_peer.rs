//! A peer whose signalling goes over standard input and output, and which counts: `pipe_peer offer|answer [flags]`.
//!
//! Connect two of them by passing each one's `signal` lines to the other, in whatever way. Both then send numbered messages over
//! a data channel every 10 ms, and each checks that the other's come in order and that none is missing. `cargo xtask test --only
//! netns` runs them behind real NATs, and takes their addresses away in mid-call.
//!
//! Flags: `--ice-server URL` (repeatable), `--turn-user NAME`, `--turn-password PASSWORD`, `--relay-only`, `--hide-addresses`.
//!
//! On standard output: `signal ...` for the other peer; `state STATE`; `pair LOCAL | REMOTE`; `error WHY`; `got N` for every 50th
//! message; `sent N` and `end N` when all is over. On standard input: `signal ...` of the other peer, and `stop`.

use std::time::Duration;

use antiphon::{
    Api, DataChannel, DataChannelSender, Event, PeerConnection, PeerHandle, RtcConfiguration, RtcDataChannelInit,
    RtcIceCandidateInit, RtcIceServer, RtcIceTransportPolicy, RtcSessionDescription,
};
use tokio::sync::{mpsc, watch};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const INTERVAL: Duration = Duration::from_millis(10);

/// Lines cannot hold line breaks; descriptions are full of them.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\r', "\\r")
        .replace('\n', "\\n")
        .replace('\t', "\\t")
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('r') => out.push('\r'),
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => {}
            },
            other => out.push(other),
        }
    }
    out
}

async fn signal_description(peer: &PeerHandle) -> Result<(), Failure> {
    let description = peer.local_description().await?.ok_or("no description was set")?;
    println!("signal {} {}", description.sdp_type, escape(&description.sdp));
    Ok(())
}

/// Takes one line of the other peer.
async fn take_signal(peer: &PeerHandle, line: &str) -> Result<(), Failure> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    match kind {
        "offer" => {
            peer.set_remote_description(RtcSessionDescription::offer(unescape(rest)))
                .await?;
            peer.set_local_description(None).await?;
            signal_description(peer).await?;
        }
        "answer" => {
            peer.set_remote_description(RtcSessionDescription::answer(unescape(rest)))
                .await?
        }
        "candidate" => {
            let mut fields = rest.split('\t').map(unescape);
            let mut next = || fields.next().filter(|field| !field.is_empty());
            let candidate = RtcIceCandidateInit {
                candidate: next().unwrap_or_default(),
                sdp_mid: next(),
                username_fragment: next(),
                ..RtcIceCandidateInit::default()
            };
            peer.add_ice_candidate(Some(candidate)).await?;
        }
        "end-of-candidates" => peer.add_ice_candidate(None).await?,
        other => return Err(format!("unknown signal {other:?}").into()),
    }
    Ok(())
}

async fn count_up(sender: DataChannelSender, mut stop: watch::Receiver<bool>) {
    let mut sent = 0u64;
    let mut pace = tokio::time::interval(INTERVAL);
    while !*stop.borrow_and_update() {
        tokio::select! {
            _ = pace.tick() => {}
            _ = stop.changed() => continue,
        }
        if let Err(error) = sender.send(antiphon::Message::text(sent.to_string())).await {
            println!("error cannot send message {sent}: {error}");
            return;
        }
        sent += 1;
    }
    let end = antiphon::Message::text(format!("end {sent}"));
    match sender.send(end).await {
        Ok(()) => println!("sent {sent}"),
        Err(error) => println!("error cannot send the end: {error}"),
    }
}

async fn check(mut channel: DataChannel) {
    let mut expected = 0u64;
    while let Some(message) = channel.recv().await {
        let text = String::from_utf8_lossy(&message.data).into_owned();
        if text == expected.to_string() {
            expected += 1;
            if expected.is_multiple_of(50) {
                println!("got {expected}");
            }
        } else if text == format!("end {expected}") {
            println!("end {expected}");
        } else {
            println!("error expected message {expected}, got {text:?}");
            return;
        }
    }
    println!("error the channel closed after {expected} messages");
}

async fn report(mut pc: PeerConnection, stop: watch::Receiver<bool>) {
    while let Some(event) = pc.next_event().await {
        match event {
            Event::IceCandidate(Some(candidate)) => println!(
                "signal candidate {}\t{}\t{}",
                escape(&candidate.candidate),
                escape(&candidate.sdp_mid.unwrap_or_default()),
                escape(&candidate.username_fragment.unwrap_or_default()),
            ),
            Event::IceCandidate(None) => println!("signal end-of-candidates"),
            Event::IceCandidateError { url, code, text, .. } => println!("note {url}: {code} {text}"),
            Event::ConnectionStateChange(state) => println!("state {state}"),
            Event::SelectedCandidatePairChange { local, remote } => println!("pair {local} | {remote}"),
            Event::DataChannel(channel) => {
                tokio::spawn(count_up(channel.sender(), stop.clone()));
                tokio::spawn(check(channel));
            }
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut configuration = RtcConfiguration::default();
    let (mut urls, mut username, mut credential) = (Vec::new(), String::new(), String::new());
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next().ok_or("offer or answer?")?;
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--ice-server" => urls.push(value()?),
            "--turn-user" => username = value()?,
            "--turn-password" => credential = value()?,
            "--relay-only" => configuration.ice_transport_policy = RtcIceTransportPolicy::Relay,
            "--hide-addresses" => configuration.settings.ice.hide_host_addresses = true,
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    if !urls.is_empty() {
        configuration.ice_servers.push(RtcIceServer {
            urls,
            username,
            credential,
        });
    }
    let pc = Api::new()?.peer_connection(configuration).await?;
    let peer = pc.handle();
    let (stopping, stop) = watch::channel(false);
    if role == "offer" {
        let mut channel = peer
            .create_data_channel("numbers", RtcDataChannelInit::default())
            .await?;
        tokio::spawn(report(pc, stop.clone()));
        peer.set_local_description(None).await?;
        signal_description(&peer).await?;
        tokio::spawn(async move {
            if let Err(error) = channel.opened().await {
                println!("error the channel did not open: {error}");
                return;
            }
            tokio::spawn(count_up(channel.sender(), stop));
            check(channel).await;
        });
    } else {
        tokio::spawn(report(pc, stop));
    }
    // Standard input has no waiting that ends early: a thread of its own reads it.
    let (read, mut lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if read.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        match line.split_once(' ') {
            Some(("signal", rest)) => {
                if let Err(error) = take_signal(&peer, rest).await {
                    println!("error {error}");
                }
            }
            _ if line == "stop" => _ = stopping.send_replace(true),
            _ => println!("error unknown line {line:?}"),
        }
    }
    peer.close().await;
    Ok(())
}

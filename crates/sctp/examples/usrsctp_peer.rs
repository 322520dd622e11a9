//! An association with usrsctp, the stack of older browsers, over UDP on loopback: who connects, DATA and I-DATA, sizes
//! of messages, order, both kinds of partial reliability each way, stream resets, the end. Prints one line per case.
//!
//! `cargo run -p antiphon-sctp --example usrsctp_peer -- PATH_TO_PEER`, where the peer is
//! `conformance/live/usrsctp_peer.c` compiled with `cc usrsctp_peer.c -o PATH_TO_PEER -lusrsctp -lpthread`. `cargo
//! xtask test --only usrsctp` does both.

// A crate that knows no socket and no clock meets a program that does: this file is the driver.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, missing_docs)]

use std::error::Error;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use antiphon_sansio::{Bytes, BytesMut, Ecn, Packet, Rng, TransmitBuf};
use antiphon_sctp::{Association, Config, Event, Message, SendOptions};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What the peer makes of a payload protocol identifier.
const ECHO: u32 = 51;
const COUNTED: u32 = 60;
const COMMAND: u32 = 70;
const REPLY: u32 = 71;

/// The stream of commands; the others are for what is tried.
const CONTROL: u16 = 0;
/// Keeps a broken run finite; nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(30);
const MIB: usize = 1 << 20;
const SIZES: [usize; 8] = [1, 3, 1_200, 16_384, 65_536, 262_144, MIB, 16 * MIB];
/// Messages of one round of partial reliability.
const ROUND: u32 = 200;
/// How long nothing comes through while messages with a shorter life are sent.
const BLACKOUT: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    We,
    They,
    Both,
}

/// What the link does to datagrams, of 1000.
#[derive(Clone, Copy, Default)]
struct Loss {
    out: u64,
    back: u64,
}

const NONE: Loss = Loss { out: 0, back: 0 };

struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Our association, its socket and the link between.
struct Link {
    socket: UdpSocket,
    association: Association,
    out: TransmitBuf,
    rng: Rng,
    loss: Loss,
    lost: u64,
    events: Vec<Event>,
    _peer: Peer,
}

impl Link {
    fn open(program: &str, opening: Opening, interleaving: bool, seed: u64) -> Outcome<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut command = Command::new(program);
        command
            .arg(socket.local_addr()?.port().to_string())
            .arg(if opening == Opening::We { "listen" } else { "connect" })
            .arg(if interleaving { "idata" } else { "data" });
        let mut peer = Peer(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        BufReader::new(peer.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let port: u16 = line
            .trim()
            .strip_prefix("port ")
            .ok_or("the peer does not run")?
            .parse()?;
        socket.connect((Ipv4Addr::LOCALHOST, port))?;
        let config = Config {
            interleaving,
            // There is no DTLS here that would protect the bytes.
            zero_checksum: false,
            max_receive_message: 16 * MIB,
            send_buffer: 40 * MIB,
            receive_buffer: 20 * MIB,
            // What the peer grants.
            streams: 256,
            ..Config::default()
        };
        let rng = Rng::from_u64(seed);
        let association = Association::new(config, Instant::now(), rng.fork("association"));
        let mut link = Self {
            socket,
            association,
            out: TransmitBuf::new(1500, 1500),
            rng,
            loss: NONE,
            lost: 0,
            events: Vec::new(),
            _peer: peer,
        };
        if opening == Opening::Both {
            // Before its INIT is out, its socket would refuse ours; ours goes before its is looked at.
            link.socket.set_read_timeout(Some(PATIENCE))?;
            link.socket.peek(&mut [0])?;
        }
        if opening != Opening::They {
            link.association.connect(Instant::now());
        }
        link.until("connect", |link| link.take(&Event::Connected))?;
        Ok(link)
    }

    fn chance(&mut self, of_1000: u64) -> bool {
        of_1000 > 0 && u64::from(self.rng.below(1000)) < of_1000
    }

    /// Sends what there is to send, waits for a datagram or a timeout, takes in what has come.
    fn step(&mut self) -> Outcome<()> {
        let mut now = Instant::now();
        while self.association.poll_transmit(now, &mut self.out).is_some() {
            let range = self.out.finish();
            if self.chance(self.loss.out) {
                self.lost += 1;
            } else {
                // A full socket buffer is loss, which SCTP mends.
                let _ = self.socket.send(self.out.bytes(range));
            }
            self.out.clear();
        }
        let due = self
            .association
            .poll_timeout()
            .map(|due| due.saturating_duration_since(now));
        let wait = due
            .unwrap_or(PATIENCE)
            .clamp(Duration::from_millis(1), Duration::from_millis(50));
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(Some(wait))?;
        let mut packet = [0; 2048];
        for _ in 0..64 {
            match self.socket.recv(&mut packet) {
                Ok(length) => {
                    now = Instant::now();
                    if self.chance(self.loss.back) {
                        self.lost += 1;
                    } else {
                        let data = BytesMut::from(&packet[..length]);
                        let packet = Packet { ecn: Ecn::NotEct, data };
                        self.association.handle_packet(now, packet);
                    }
                    self.socket.set_nonblocking(true)?;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.association.handle_timeout(Instant::now());
        while let Some(event) = self.association.poll_event() {
            match event {
                Event::Failed(error) => return Err(error.into()),
                Event::Readable(_) => {}
                event => self.events.push(event),
            }
        }
        Ok(())
    }

    /// Takes one such event out of those that came.
    fn take(&mut self, wanted: &Event) -> bool {
        let at = self.events.iter().position(|event| event == wanted);
        at.map(|at| self.events.remove(at)).is_some()
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) -> Outcome<()> {
        let started = Instant::now();
        while !done(self) {
            if started.elapsed() > PATIENCE {
                return Err(format!(
                    "{what}: nothing within {} s, {:?}",
                    PATIENCE.as_secs(),
                    self.association.stats()
                )
                .into());
            }
            self.step()?;
        }
        Ok(())
    }

    fn during(&mut self, time: Duration) -> Outcome<()> {
        let started = Instant::now();
        while started.elapsed() < time {
            self.step()?;
        }
        Ok(())
    }

    fn send(&mut self, stream: u16, ppid: u32, data: impl Into<Bytes>, options: SendOptions) -> Outcome<()> {
        Ok(self
            .association
            .send(Instant::now(), stream, ppid, data.into(), options)?)
    }

    fn receive(&mut self, what: &str, stream: u16) -> Outcome<Message> {
        let mut message = None;
        self.until(what, |link| {
            message = link.association.read(Instant::now(), stream);
            message.is_some()
        })?;
        message.ok_or_else(|| "no message".into())
    }

    fn command(&mut self, text: &str) -> Outcome<()> {
        self.send(CONTROL, COMMAND, text.to_owned(), SendOptions::default())
    }

    /// A command, and the reply to it.
    fn ask(&mut self, text: &str) -> Outcome<String> {
        self.ask_on(CONTROL, text)
    }

    /// The same, after all that was sent on the stream.
    fn ask_on(&mut self, stream: u16, text: &str) -> Outcome<String> {
        self.send(stream, COMMAND, text.to_owned(), SendOptions::default())?;
        let reply = self.receive(text, stream)?;
        if reply.ppid != REPLY {
            return Err(format!("{text}: no reply but {}", reply.ppid).into());
        }
        Ok(String::from_utf8(reply.data.to_vec())?)
    }
}

fn noise(rng: &mut Rng, length: usize) -> Bytes {
    let mut data = vec![0; length];
    for piece in data.chunks_mut(8) {
        piece.copy_from_slice(&rng.u64().to_le_bytes()[..piece.len()]);
    }
    data.into()
}

/// Every size there and back, a few at a time.
fn echoes(link: &mut Link, stream: u16, unordered: bool) -> Outcome<String> {
    let options = SendOptions {
        unordered,
        ..SendOptions::default()
    };
    let mut bytes = 0;
    for size in SIZES {
        let sent = noise(&mut link.rng, size);
        link.send(stream, ECHO, sent.clone(), options)?;
        let back = link.receive("echo", stream)?;
        if back.data != sent || back.ppid != ECHO || back.unordered != unordered {
            return Err(format!("{size} bytes came back as {} others", back.data.len()).into());
        }
        bytes += size;
    }
    // Many at once, under loss: ordered ones come back in order, the others each once.
    link.loss = Loss { out: 20, back: 20 };
    let mut sent: Vec<Bytes> = (0..ROUND).map(|_| noise(&mut link.rng, 700)).collect();
    for data in &sent {
        link.send(stream, ECHO, data.clone(), options)?;
        bytes += data.len();
    }
    let mut back = Vec::new();
    for _ in 0..ROUND {
        back.push(link.receive("many echoes", stream)?.data);
    }
    link.loss = NONE;
    if unordered {
        sent.sort();
        back.sort();
    }
    if sent == back {
        Ok(format!("{bytes} bytes there and back, 1 B to 16 MiB"))
    } else {
        Err("what came back is not what went".into())
    }
}

/// How messages are given up.
#[derive(Clone, Copy)]
enum Policy {
    Retransmissions,
    Lifetime,
}

impl Policy {
    /// Chunks lost once are given up; messages live too short to outlast the blackout.
    const LIFETIME: Duration = Duration::from_millis(60);

    fn options(self, unordered: bool) -> SendOptions {
        let (max_retransmits, lifetime) = match self {
            Self::Retransmissions => (Some(0), None),
            Self::Lifetime => (None, Some(Self::LIFETIME)),
        };
        SendOptions {
            unordered,
            max_retransmits,
            lifetime,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Retransmissions => "rtx 0".to_owned(),
            Self::Lifetime => format!("ttl {}", Self::LIFETIME.as_millis()),
        }
    }
}

/// We send, and give up what is lost; what comes after still comes.
fn given_up_by_us(link: &mut Link, stream: u16, policy: Policy, unordered: bool) -> Outcome<String> {
    let before = link.association.stats().messages_abandoned;
    link.loss.out = match policy {
        Policy::Retransmissions => 200,
        Policy::Lifetime => 1000,
    };
    for n in 0..ROUND {
        let mut data = n.to_be_bytes().to_vec();
        data.resize(500, 7);
        link.send(stream, COUNTED, data, policy.options(unordered))?;
    }
    if matches!(policy, Policy::Lifetime) {
        link.during(BLACKOUT)?;
        link.loss = NONE;
    }
    link.until("all is settled", |link| {
        link.association.buffered_total() == 0 && link.association.stats().in_flight == 0
    })?;
    link.loss = NONE;
    let abandoned = link.association.stats().messages_abandoned - before;
    // Ordered messages are counted once a question behind them on their stream is answered. Not so for unordered ones:
    // usrsctp 0.9.5 takes the number of an unordered message that is skipped for that of an ordered one (RFC 8260
    // §2.3.1 tells them apart), and aborts when an ordered one comes. Data channels are one or the other, after their
    // first message.
    let said = link.ask_on(if unordered { CONTROL } else { stream }, "count")?;
    let mut words = said.split(' ').skip(1);
    let arrived: u64 = words.next().ok_or("no count")?.parse()?;
    let in_order = words.next() == Some("ordered");
    // What was given up may have arrived all the same, with its acknowledgement lost; never the other way round.
    if abandoned == 0
        || arrived + abandoned < u64::from(ROUND)
        || arrived >= u64::from(ROUND)
        || !(in_order || unordered)
    {
        return Err(format!("{said} of {ROUND}, {abandoned} given up").into());
    }
    Ok(format!("{arrived} of {ROUND} arrived, {abandoned} given up"))
}

/// The peer sends, and gives up what is lost.
fn given_up_by_them(link: &mut Link, stream: u16, policy: Policy, unordered: bool) -> Outcome<String> {
    // The command arrives before the link turns bad.
    link.ask("stats")?;
    link.command(&format!(
        "send {ROUND} 500 {stream} {} {}",
        u8::from(unordered),
        policy.words()
    ))?;
    link.loss.back = match policy {
        Policy::Retransmissions => 200,
        Policy::Lifetime => 1000,
    };
    if matches!(policy, Policy::Lifetime) {
        link.during(BLACKOUT)?;
        link.loss = NONE;
    }
    let mut numbers = Vec::new();
    loop {
        let message = link.receive("what is left", stream)?;
        if message.ppid == REPLY {
            break;
        }
        let number = message.data.first_chunk::<4>().ok_or("too short")?;
        numbers.push(u32::from_be_bytes(*number));
        if message.unordered != unordered || message.data.len() != 500 {
            return Err("a message has changed on its way".into());
        }
    }
    // Unordered ones may come after the reply; whoever asks again has them all before him.
    link.loss = NONE;
    link.ask("stats")?;
    while let Some(message) = link.association.read(Instant::now(), stream) {
        numbers.push(u32::from_be_bytes(*message.data.first_chunk::<4>().ok_or("too short")?));
    }
    let rising = numbers.is_sorted_by(|a, b| a < b);
    let arrived = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.len() != arrived || arrived >= ROUND as usize || !(rising || unordered) {
        return Err(format!("{arrived} of {ROUND} arrived, {} of them different", numbers.len()).into());
    }
    Ok(format!("{arrived} of {ROUND} arrived"))
}

/// A stream is reset by one end, then by the other in return, and used again: its numbers begin anew.
fn resets(link: &mut Link, stream: u16, we_begin: bool) -> Outcome<String> {
    for round in 0..3 {
        link.send(stream, ECHO, "before", SendOptions::default())?;
        link.receive("echo before the reset", stream)?;
        let (ours, theirs) = (Event::OutgoingReset { stream, ok: true }, Event::IncomingReset(stream));
        if we_begin {
            link.association.reset_stream(stream);
        } else {
            link.command(&format!("reset {stream}"))?;
            link.until("their reset", |link| link.take(&theirs))?;
            link.association.reset_stream(stream);
        }
        link.until("our reset", |link| link.take(&ours))?;
        if we_begin {
            link.until("their reset in return", |link| link.take(&theirs))?;
        }
        let text = format!("after reset {round}");
        link.send(stream, ECHO, text.clone(), SendOptions::default())?;
        if link.receive("echo after the reset", stream)?.data != text.as_bytes() {
            return Err("another message came".into());
        }
    }
    Ok("3 times, the stream used again".to_owned())
}

/// One association, from the handshake to its end; a line for each case.
fn session(program: &str, opening: Opening, interleaving: bool, table: &mut Table) {
    let who = match opening {
        Opening::We => "we connect",
        Opening::They => "it connects",
        Opening::Both => "both connect",
    };
    let what = format!("{who}, {}", if interleaving { "I-DATA" } else { "DATA" });
    let mut link = match Link::open(program, opening, interleaving, u64::from(interleaving) + 7) {
        Ok(link) => link,
        Err(error) => return table.line(&what, "handshake", Err(error)),
    };
    let chunks = link.ask("stats").and_then(|said| {
        let theirs = said == "interleaving 1";
        if theirs == interleaving && link.association.is_interleaved() == interleaving {
            Ok(format!("both ends say {}", if theirs { "I-DATA" } else { "DATA" }))
        } else {
            Err(format!("it says {said:?}, we {:?}", link.association.is_interleaved()).into())
        }
    });
    table.line(&what, "handshake", chunks);
    // What the collision leads to is the same association; it need not be tried twice.
    if opening != Opening::Both {
        type Case = fn(&mut Link) -> Outcome<String>;
        use Policy::{Lifetime, Retransmissions};
        let cases: [(&str, Case); 12] = [
            ("reliable", |link| echoes(link, 1, false)),
            ("unordered", |link| echoes(link, 2, true)),
            ("we retransmit 0 times", |link| {
                given_up_by_us(link, 3, Retransmissions, false)
            }),
            ("we, unordered", |link| given_up_by_us(link, 4, Retransmissions, true)),
            ("we give up after 60 ms", |link| {
                given_up_by_us(link, 3, Lifetime, false)
            }),
            ("we, unordered", |link| given_up_by_us(link, 4, Lifetime, true)),
            ("it retransmits 0 times", |link| {
                given_up_by_them(link, 5, Retransmissions, false)
            }),
            ("it, unordered", |link| given_up_by_them(link, 6, Retransmissions, true)),
            ("it gives up after 60 ms", |link| {
                given_up_by_them(link, 5, Lifetime, false)
            }),
            ("it, unordered", |link| given_up_by_them(link, 6, Lifetime, true)),
            ("we reset a stream", |link| resets(link, 8, true)),
            ("it resets a stream", |link| resets(link, 9, false)),
        ];
        for (name, case) in cases {
            let outcome = case(&mut link);
            let broken = outcome.is_err();
            table.line(&what, name, outcome);
            link.loss = NONE;
            if broken && link.association.has_ended() {
                return;
            }
        }
    }
    let end = if opening == Opening::They {
        link.command("shutdown")
    } else {
        link.association.close(Instant::now());
        Ok(())
    };
    let end = end.and_then(|()| link.until("the end", |link| link.take(&Event::Closed)));
    let by = if opening == Opening::They { "it" } else { "us" };
    table.line(&what, "shutdown", end.map(|()| format!("orderly, begun by {by}")));
}

#[derive(Default)]
struct Table {
    passed: usize,
    failed: usize,
}

impl Table {
    fn line(&mut self, what: &str, case: &str, outcome: Outcome<String>) {
        match outcome {
            Ok(text) => {
                self.passed += 1;
                println!("| {what} | {case} | {text} |");
            }
            Err(error) => {
                self.failed += 1;
                println!("| {what} | {case} | FAILED: {error} |");
            }
        }
    }
}

fn main() -> Outcome<()> {
    let program = std::env::args().nth(1).ok_or("usage: usrsctp_peer PATH_TO_PEER")?;
    let mut table = Table::default();
    println!("| association | case | result |\n|---|---|---|");
    for interleaving in [false, true] {
        for opening in [Opening::We, Opening::They, Opening::Both] {
            session(&program, opening, interleaving, &mut table);
        }
    }
    println!("{} of {} cases passed", table.passed, table.passed + table.failed);
    if table.failed == 0 {
        Ok(())
    } else {
        Err("usrsctp disagrees".into())
    }
}

//! str0m with a socket and a thread for each end, as its examples have it: who waits for datagrams waits no longer than until the next
//! thing is due, and a millisecond at least. Where there is something to do it takes all that came.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use str0m::bwe::Bitrate;
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::{Received, STREAMS, Schedule, payload};

/// What the estimate begins with, in bits a second, and what its user would send; the other stacks have as much.
const BITRATE: u64 = 50_000_000;
/// The least and the longest time that a thread waits.
const WAITS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(100)];
/// Whoever has not connected by then has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The streams that an end sends.
struct Streams {
    mids: Vec<Mid>,
    payload_type: Pt,
    /// The number of each one's next packet.
    numbers: Vec<u64>,
}

/// What is sent in one window.
struct Window {
    schedule: Schedule,
    sent: u64,
    tell: Sender<u64>,
}

struct End {
    rtc: Rtc,
    socket: UdpSocket,
    received: Arc<Received>,
    buffer: Vec<u8>,
}

impl End {
    fn new(now: Instant, paced: bool, received: &Arc<Received>) -> Self {
        let mut config = Rtc::builder().set_rtp_mode(true);
        if paced {
            config = config.enable_bwe(Some(Bitrate::bps(BITRATE)));
        }
        let mut rtc = config.build(now);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let candidate = Candidate::host(socket.local_addr().unwrap(), "udp").unwrap();
        rtc.add_local_candidate(candidate).unwrap();
        Self {
            rtc,
            socket,
            received: received.clone(),
            buffer: vec![0; 2000],
        }
    }

    /// Takes all that it has to say; when it is to be told the time again.
    fn poll(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => return at,
                Output::Transmit(transmit) => {
                    _ = self.socket.send_to(&transmit.contents, transmit.destination).unwrap();
                }
                Output::Event(Event::RtpPacket(packet)) => self.received.note(&packet.payload),
                Output::Event(_) => {}
            }
        }
    }

    /// Waits for a datagram, no longer than until `until`, and takes what came.
    fn wait(&mut self, until: Instant) {
        let [least, most] = WAITS;
        let wait = until.saturating_duration_since(Instant::now()).clamp(least, most);
        self.socket.set_read_timeout(Some(wait)).unwrap();
        if let Ok((len, source)) = self.socket.recv_from(&mut self.buffer) {
            let destination = self.socket.local_addr().unwrap();
            if let Ok(received) = Receive::new(Protocol::Udp, source, destination, &self.buffer[..len]) {
                self.rtc.handle_input(Input::Receive(Instant::now(), received)).unwrap();
            }
        }
        self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
    }

    /// Writes the packets that are due; when the next one is, if there is one.
    fn write(&mut self, streams: &mut Streams, window: &mut Window) -> Option<Instant> {
        let now = Instant::now();
        while let Some(stream) = window.schedule.take_due(now) {
            streams.numbers[stream] += 1;
            let number = streams.numbers[stream];
            let time = (number / 10 * 3000) as u32;
            let packet = RtpWrite::new(streams.payload_type, number.into(), time, now, payload());
            let mut direct = self.rtc.direct_api();
            let sender = direct.stream_tx_by_mid(streams.mids[stream], None).unwrap();
            sender.write_rtp(packet.marker(number % 10 == 9).nackable(true));
            window.sent += 1;
            self.rtc.handle_input(Input::Timeout(now)).unwrap();
            self.poll();
        }
        window.schedule.next()
    }

    /// Runs for ever. What is to be sent comes by `windows`.
    fn run(mut self, mut streams: Option<Streams>, windows: &Receiver<Window>) {
        let mut window: Option<Window> = None;
        loop {
            let mut until = self.poll();
            if window.is_none() {
                window = match windows.try_recv() {
                    Ok(window) => Some(window),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                };
            }
            if let Some((open, streams)) = window.as_mut().zip(streams.as_mut()) {
                match self.write(streams, open) {
                    Some(at) => until = until.min(at),
                    None => {
                        _ = open.tell.send(open.sent);
                        window = None;
                    }
                }
            }
            self.wait(until);
        }
    }
}

pub struct Pair {
    windows: Sender<Window>,
    received: Arc<Received>,
    _idle: Sender<Window>,
}

impl Pair {
    pub fn connect(paced: bool) -> Self {
        let now = Instant::now();
        let received = Arc::new(Received::default());
        let mut ends = [End::new(now, paced, &received), End::new(now, paced, &received)];
        let mut changes = ends[0].rtc.sdp_api();
        let mids = (0..STREAMS)
            .map(|_| changes.add_media(MediaKind::Video, Direction::SendOnly, None, None, None))
            .collect();
        let (offer, pending) = changes.apply().unwrap();
        let answer = ends[1].rtc.sdp_api().accept_offer(offer).unwrap();
        ends[0].rtc.sdp_api().accept_answer(pending, answer).unwrap();
        while !ends.iter().all(|end| end.rtc.is_connected()) {
            assert!(now.elapsed() < PATIENCE, "they do not connect");
            for end in &mut ends {
                let until = end.poll();
                end.wait(until.min(Instant::now()));
            }
        }
        ends[0]
            .rtc
            .bwe()
            .set_bitrate(Bitrate::bps(BITRATE), Bitrate::bps(BITRATE));
        let vp8 = ends[0].rtc.codec_config().find(|p| p.spec().codec == Codec::Vp8);
        let streams = Streams {
            mids,
            payload_type: vp8.unwrap().pt(),
            numbers: vec![1000; STREAMS],
        };
        let [sender, receiver] = ends;
        let (windows, to_sender) = channel();
        let (idle, to_receiver) = channel();
        std::thread::spawn(move || sender.run(Some(streams), &to_sender));
        std::thread::spawn(move || receiver.run(None, &to_receiver));
        Self {
            windows,
            received,
            _idle: idle,
        }
    }

    pub fn received(&self) -> &Received {
        &self.received
    }

    pub fn send(&self, window: Duration) -> u64 {
        let (tell, told) = channel();
        let window = Window {
            schedule: Schedule::new(window),
            sent: 0,
            tell,
        };
        self.windows.send(window).expect("the thread runs");
        told.recv().expect("it tells")
    }
}

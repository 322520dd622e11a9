//! str0m with one thread and one port for all, as its example of a forwarder has it: each datagram is for the connection that accepts it.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use str0m::bwe::Bitrate;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc};

/// What the estimate begins with, in bits a second; the other stacks have as much.
const BITRATE: u64 = 50_000_000;
/// The longest time that the thread waits, and between two looks at everybody's timers.
const WAIT: Duration = Duration::from_millis(5);

enum Ask {
    Offer(bool),
    Answer(String),
}

struct Seat {
    rtc: Rtc,
    mid: Mid,
    sends: bool,
    due: Instant,
    number: u64,
}

/// The thread's.
struct Room {
    socket: UdpSocket,
    seats: Vec<Seat>,
    pending: Option<SdpPendingOffer>,
    came: Vec<RtpPacket>,
    buffer: Vec<u8>,
}

impl Seat {
    /// Takes all that it has to say.
    fn poll(&mut self, socket: &UdpSocket, came: &mut Vec<RtpPacket>) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.due = at;
                    return;
                }
                // What the system does not take now is lost, as on any path.
                Output::Transmit(transmit) => _ = socket.send_to(&transmit.contents, transmit.destination),
                Output::Event(Event::RtpPacket(packet)) => came.push(packet),
                Output::Event(_) => {}
            }
        }
    }

    fn pt(&self) -> Pt {
        let vp8 = self.rtc.codec_config().find(|p| p.spec().codec == Codec::Vp8);
        vp8.unwrap().pt()
    }
}

impl Room {
    fn offer(&mut self, sends: bool) -> String {
        let now = Instant::now();
        let config = Rtc::builder().set_rtp_mode(true).enable_bwe(Some(Bitrate::bps(BITRATE)));
        let mut rtc = config.build(now);
        let candidate = Candidate::host(self.socket.local_addr().unwrap(), "udp").unwrap();
        rtc.add_local_candidate(candidate).unwrap();
        let direction = if sends { Direction::SendOnly } else { Direction::RecvOnly };
        let mut changes = rtc.sdp_api();
        let mid = changes.add_media(MediaKind::Video, direction, None, None, None);
        let (offer, pending) = changes.apply().unwrap();
        rtc.bwe().set_bitrate(Bitrate::bps(BITRATE), Bitrate::bps(BITRATE));
        self.pending = Some(pending);
        self.seats.push(Seat {
            rtc,
            mid,
            sends,
            due: now,
            number: 1000,
        });
        offer.to_sdp_string()
    }

    fn answer(&mut self, sdp: &str) {
        let (seat, pending) = (self.seats.last_mut().unwrap(), self.pending.take().unwrap());
        let answer = SdpAnswer::from_sdp_string(sdp).unwrap();
        seat.rtc.sdp_api().accept_answer(pending, answer).unwrap();
        seat.due = Instant::now();
    }

    /// A datagram, if one comes within the time.
    fn receive(&mut self) {
        let Ok((len, source)) = self.socket.recv_from(&mut self.buffer) else {
            return;
        };
        let destination = self.socket.local_addr().unwrap();
        let Ok(received) = Receive::new(Protocol::Udp, source, destination, &self.buffer[..len]) else {
            return;
        };
        let input = Input::Receive(Instant::now(), received);
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.rtc.accepts(&input)) {
            seat.rtc.handle_input(input).unwrap();
            seat.poll(&self.socket, &mut self.came);
        }
    }

    /// What came goes to everybody.
    fn forward(&mut self) {
        let Self {
            socket, seats, came, ..
        } = self;
        for packet in std::mem::take(came) {
            let (now, payload): (_, Arc<[u8]>) = (Instant::now(), packet.payload.into());
            for seat in seats.iter_mut().filter(|seat| seat.sends && seat.rtc.is_connected()) {
                seat.number += 1;
                let (pt, mid, number) = (seat.pt(), seat.mid, seat.number);
                let mut direct = seat.rtc.direct_api();
                let Some(stream) = direct.stream_tx_by_mid(mid, None) else {
                    continue;
                };
                let header = &packet.header;
                let written = RtpWrite::new(pt, number.into(), header.timestamp, now, payload.clone());
                stream.write_rtp(written.marker(header.marker).nackable(true));
                // It sends nothing before it is told the time.
                seat.rtc.handle_input(Input::Timeout(now)).unwrap();
                seat.poll(socket, &mut self.came);
            }
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        for seat in self.seats.iter_mut().filter(|seat| seat.due <= now) {
            seat.rtc.handle_input(Input::Timeout(now)).unwrap();
            seat.poll(&self.socket, &mut self.came);
        }
    }

    fn run(mut self, asks: &Receiver<Ask>, tell: &Sender<String>) {
        self.socket.set_read_timeout(Some(WAIT)).unwrap();
        let mut looked = Instant::now();
        loop {
            match asks.try_recv() {
                Ok(Ask::Offer(sends)) => {
                    let offer = self.offer(sends);
                    tell.send(offer).unwrap();
                }
                Ok(Ask::Answer(sdp)) => self.answer(&sdp),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            self.receive();
            self.forward();
            if looked.elapsed() >= WAIT {
                looked = Instant::now();
                self.expire();
            }
        }
    }
}

pub struct Forwarder {
    asks: Sender<Ask>,
    told: Receiver<String>,
}

impl Forwarder {
    pub fn new() -> Self {
        let (asks, asked) = channel();
        let (tell, told) = channel();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sizes = socket2::SockRef::from(&socket);
        // As much as the others have, or what the system grants of it.
        for size in [1 << 20, 4 << 20] {
            _ = sizes.set_recv_buffer_size(size);
            _ = sizes.set_send_buffer_size(size);
        }
        let room = Room {
            socket,
            seats: Vec::new(),
            pending: None,
            came: Vec::new(),
            buffer: vec![0; 2000],
        };
        std::thread::spawn(move || room.run(&asked, &tell));
        Self { asks, told }
    }
}

impl super::Server for Forwarder {
    fn offer(&mut self, sends: bool) -> String {
        self.asks.send(Ask::Offer(sends)).expect("the thread runs");
        self.told.recv().expect("it tells")
    }

    fn answer(&mut self, sdp: String) {
        self.asks.send(Ask::Answer(sdp)).expect("the thread runs");
    }
}

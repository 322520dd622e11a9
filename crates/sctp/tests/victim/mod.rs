//! An association whose peer is written by hand, chunk by chunk.
#![allow(dead_code, unreachable_pub)]

use std::time::Instant;

use antiphon_sansio::{self as sansio, BytesMut, Ecn, Rng, Serial16, Serial32, TransmitBuf};
use antiphon_sctp::chunk::{
    Chunk, Data, Init, InterleavedData, Parameters, Reset, ResetResult, kind, parameter_kind, put_parameter,
};
use antiphon_sctp::packet::{Packet, seal, write_header};
use antiphon_sctp::{Association, Config, Event, Message, State};

pub const PEER_TAG: u32 = 0x1234_5678;
pub const PEER_TSN: u32 = 0xffff_fff0;

pub struct Victim {
    pub association: Association,
    pub now: Instant,
    pub tag: u32,
    pub tsn: u32,
    /// How the packets to the victim are marked.
    pub mark: Ecn,
    /// The mark that the victim wanted for its last packet.
    pub wanted: Ecn,
    out: TransmitBuf,
}

impl Victim {
    pub fn new(config: Config) -> Self {
        let now = antiphon_netsim::start();
        Self {
            association: Association::new(config, now, Rng::from_u64(1)),
            now,
            tag: 0,
            tsn: 0,
            mark: Ecn::NotEct,
            wanted: Ecn::NotEct,
            out: TransmitBuf::new(2000, 1500),
        }
    }

    /// An association that is up, its handshake answered by hand.
    pub fn connected(config: Config) -> Self {
        Self::connected_to(config, &[kind::RE_CONFIG, kind::FORWARD_TSN, 0, 0], false)
    }

    /// The same with a peer that knows I-DATA.
    pub fn interleaving(config: Config) -> Self {
        let extensions = [kind::RE_CONFIG, kind::FORWARD_TSN, kind::I_DATA, kind::I_FORWARD_TSN];
        Self::connected_to(config, &extensions, false)
    }

    /// The same with a peer that knows RFC 9260 and nothing more.
    pub fn bare(config: Config) -> Self {
        Self::connected_to(config, &[], false)
    }

    /// The same with a peer that knows ECN.
    pub fn with_ecn(config: Config) -> Self {
        Self::connected_to(config, &[kind::RE_CONFIG, kind::FORWARD_TSN, 0, 0], true)
    }

    /// The same with a peer that lists these extensions.
    pub fn knowing(config: Config, extensions: &[u8]) -> Self {
        Self::connected_to(config, extensions, false)
    }

    fn connected_to(config: Config, extensions: &[u8], ecn: bool) -> Self {
        let mut victim = Self::new(config);
        victim.association.connect(victim.now);
        let packets = victim.packets();
        let init = Packet::parse(&packets[0]).unwrap().chunks().next();
        let Some(Ok(Chunk::Init(init))) = init else {
            panic!("no INIT")
        };
        (victim.tag, victim.tsn) = (init.initiate_tag, init.initial_tsn.get());
        let mut parameters = Vec::new();
        put_parameter(&mut parameters, parameter_kind::STATE_COOKIE, &[b"cookie"]);
        put_parameter(&mut parameters, parameter_kind::FORWARD_TSN_SUPPORTED, &[]);
        if ecn {
            put_parameter(&mut parameters, parameter_kind::ECN_CAPABLE, &[]);
        }
        put_parameter(&mut parameters, parameter_kind::SUPPORTED_EXTENSIONS, &[extensions]);
        victim.give(&[Chunk::InitAck(victim.init(&parameters))]);
        assert_eq!(victim.packets().len(), 1, "COOKIE ECHO");
        victim.give(&[Chunk::CookieAck]);
        assert_eq!(victim.association.poll_event(), Some(Event::Connected));
        victim
    }

    pub fn init<'a>(&self, parameters: &'a [u8]) -> Init<'a> {
        Init {
            initiate_tag: PEER_TAG,
            a_rwnd: 1_000_000,
            outbound_streams: 65_535,
            inbound_streams: 65_535,
            initial_tsn: Serial32::new(PEER_TSN),
            parameters: Parameters::new(parameters),
        }
    }

    pub fn packets(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        loop {
            self.out.clear();
            let Some(outgoing) = self.association.poll_transmit(self.now, &mut self.out) else {
                return packets;
            };
            self.wanted = outgoing.ecn;
            let range = self.out.finish();
            packets.push(self.out.bytes(range).to_vec());
            assert!(packets.len() < 10_000, "a hot loop");
        }
    }

    pub fn give_tagged(&mut self, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let mut packet = Vec::new();
        write_header(&mut packet, 5000, 5000, tag);
        write(&mut packet);
        seal(&mut packet);
        self.handle(&packet);
    }

    /// Gives it a packet as it is.
    pub fn handle(&mut self, packet: &[u8]) {
        let (ecn, data) = (self.mark, BytesMut::from(packet));
        self.association.handle_packet(self.now, sansio::Packet { ecn, data });
    }

    pub fn read(&mut self, stream: u16) -> Option<Message> {
        self.association.read(self.now, stream)
    }

    pub fn give_raw(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.give_tagged(self.tag, write);
    }

    pub fn give(&mut self, chunks: &[Chunk<'_>]) {
        self.give_raw(|out| chunks.iter().for_each(|chunk| chunk.write(out)));
    }

    pub fn give_data(&mut self, offset: u32, flags: u8, stream: u16, ssn: u16, payload: &[u8]) {
        self.give(&[Chunk::Data(Data {
            flags,
            tsn: Serial32::new(PEER_TSN.wrapping_add(offset)),
            stream,
            ssn: Serial16::new(ssn),
            ppid: 53,
            payload,
        })]);
    }

    /// `flags` and `fsn` of an I-DATA chunk; a first fragment has PPID 53.
    pub fn give_interleaved(&mut self, offset: u32, flags: u8, stream: u16, id: u32, fsn: u32, payload: &[u8]) {
        self.give(&[Chunk::InterleavedData(InterleavedData {
            flags,
            tsn: Serial32::new(PEER_TSN.wrapping_add(offset)),
            stream,
            reserved: 0,
            message_id: Serial32::new(id),
            ppid_or_fsn: if flags & Data::BEGIN != 0 { 53 } else { fsn },
            payload,
        })]);
    }

    pub fn responses(&mut self) -> Vec<ResetResult> {
        let packets = self.packets();
        let chunks = packets
            .iter()
            .flat_map(|p| Packet::parse(p).unwrap().chunks().flatten());
        let mut results = Vec::new();
        for chunk in chunks {
            if let Chunk::ReConfig(re_config) = chunk {
                results.extend(re_config.resets().flatten().filter_map(|reset| match reset {
                    Reset::Response { result, .. } => Some(result),
                    _ => None,
                }));
            }
        }
        results
    }

    pub fn ask_reset(&mut self, number: u32, last: u32, stream: u16) {
        let mut value = Vec::new();
        let fixed = [number, 0, last].map(|n| PEER_TSN.wrapping_add(n).to_be_bytes());
        put_parameter(
            &mut value,
            parameter_kind::OUTGOING_RESET,
            &[fixed.as_flattened(), &stream.to_be_bytes()],
        );
        self.give(&[Chunk::Unknown {
            kind: kind::RE_CONFIG,
            flags: 0,
            value: &value,
        }]);
    }

    /// Any RE-CONFIG request that is a number, and what comes behind it.
    pub fn ask(&mut self, parameter: u16, number: u32, rest: &[u8]) {
        let mut value = Vec::new();
        let number = PEER_TSN.wrapping_add(number).to_be_bytes();
        put_parameter(&mut value, parameter, &[&number, rest]);
        self.give(&[Chunk::Unknown {
            kind: kind::RE_CONFIG,
            flags: 0,
            value: &value,
        }]);
    }

    pub fn is_well(&self) -> bool {
        self.association.state() == State::Established
    }
}

//! Reads packet captures into UDP datagrams, and into the packets that TCP carries between lengths.

mod datagram;
mod framed;

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etherparse::defrag::IpDefragPool;
use etherparse::{EtherType, IpNumber, NetSlice, SlicedPacket, TransportSlice, UdpSlice};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

pub use self::datagram::Datagram;
use self::framed::Connections;

/// Why a capture could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file cannot be opened.
    #[error("cannot open the capture: {0}")]
    Open(#[from] std::io::Error),
    /// It is no pcap or pcapng file, or not one from some place on.
    #[error("not a capture file, or not to its end: {0}")]
    Format(String),
}

/// The folder with the committed captures and descriptions.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// All UDP datagrams of a pcap or pcapng file, in file order, and among them the packets of TCP connections that frame them as
/// RFC 4571 does. IP fragments are put together; all else is left out.
///
/// # Errors
/// If the file cannot be opened, or is no pcap or pcapng file to its end. That its last packet is cut short is no error.
pub fn read(file: &Path) -> Result<Vec<Datagram>, CaptureError> {
    let mut datagrams = Vec::new();
    let mut fragments = IpDefragPool::<(), ()>::new();
    let mut connections = Connections::default();
    for (at, link, bytes) in frames(file)? {
        let Some(packet) = sliced(link, &bytes) else { continue };
        let (source, destination): (IpAddr, IpAddr) = match &packet.net {
            Some(NetSlice::Ipv4(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            Some(NetSlice::Ipv6(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            _ => continue,
        };
        let datagram = |source_port, destination_port, payload: &[u8]| Datagram {
            at,
            source: SocketAddr::new(source, source_port),
            destination: SocketAddr::new(destination, destination_port),
            payload: payload.to_vec(),
        };
        let udp = |udp: &UdpSlice<'_>| datagram(udp.source_port(), udp.destination_port(), udp.payload());
        match fragments.process_sliced_packet(&packet, (), ()) {
            Ok(Some(whole)) if whole.ip_number == IpNumber::UDP => {
                datagrams.extend(UdpSlice::from_slice(&whole.payload).ok().map(|slice| udp(&slice)));
            }
            Ok(None) if !packet.is_ip_payload_fragmented() => match &packet.transport {
                Some(TransportSlice::Udp(slice)) => datagrams.push(udp(slice)),
                Some(TransportSlice::Tcp(tcp)) => {
                    let segment = datagram(tcp.source_port(), tcp.destination_port(), tcp.payload());
                    connections.take(segment, tcp.sequence_number(), tcp.syn(), &mut datagrams);
                }
                _ => {}
            },
            _ => {}
        }
    }
    Ok(datagrams)
}

/// The headers of a frame, if it is one of IP.
fn sliced(link: Linktype, bytes: &[u8]) -> Option<SlicedPacket<'_>> {
    match link {
        Linktype::ETHERNET => SlicedPacket::from_ethernet(bytes),
        Linktype::RAW | Linktype(12) | Linktype::IPV4 | Linktype::IPV6 => SlicedPacket::from_ip(bytes),
        // Four bytes of address family before the IP packet, in the byte order of whoever captured it.
        Linktype::NULL | Linktype::LOOP => SlicedPacket::from_ip(bytes.get(4..)?),
        Linktype::LINUX_SLL => SlicedPacket::from_linux_sll(bytes),
        // The second form of Linux's "any": the protocol comes first, in a header of 20 bytes.
        Linktype::LINUX_SLL2 => {
            let kind = EtherType(u16::from_be_bytes(*bytes.first_chunk()?));
            SlicedPacket::from_ether_type(kind, bytes.get(20..)?)
        }
        _ => return None,
    }
    .ok()
}

/// All frames of a capture with the link type that says how they begin. SCTP dumps (link type 248) hold bare SCTP packets.
///
/// # Errors
/// If the file cannot be opened, or is no pcap or pcapng file to its end. That its last frame is cut short, as when whoever wrote
/// it was stopped, is no error: the frames before it are whole.
pub fn frames(file: &Path) -> Result<Vec<(Duration, Linktype, Vec<u8>)>, CaptureError> {
    let mut reader = create_reader(1 << 20, File::open(file)?).map_err(|e| CaptureError::Format(e.to_string()))?;
    let mut frames = Vec::new();
    // The link type of each interface, and its ticks a second.
    let mut interfaces = Vec::new();
    let mut nanoseconds = false;
    loop {
        match reader.next() {
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => {
                        nanoseconds = header.is_nanosecond_precision();
                        interfaces = vec![(header.network, 1_000_000_000)];
                    }
                    PcapBlockOwned::Legacy(packet) => {
                        let fraction = if nanoseconds {
                            packet.ts_usec
                        } else {
                            packet.ts_usec.saturating_mul(1000)
                        };
                        let at = Duration::new(u64::from(packet.ts_sec), fraction);
                        frames.extend(interfaces.first().map(|(link, _)| (at, *link, packet.data.to_vec())));
                    }
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                        interfaces.push((
                            interface.linktype,
                            interface.ts_resolution().unwrap_or(1_000_000).max(1),
                        ));
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let data = &packet.data[..(packet.caplen as usize).min(packet.data.len())];
                        if let Some((link, resolution)) = interfaces.get(packet.if_id as usize) {
                            let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                            let fraction = u128::from(ticks % resolution) * 1_000_000_000 / u128::from(*resolution);
                            let at = Duration::new(ticks / resolution, fraction as u32);
                            frames.push((at, *link, data.to_vec()));
                        }
                    }
                    // Without a time.
                    PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                        if let Some((link, _)) = interfaces.first() {
                            let len = (packet.origlen as usize).min(packet.data.len());
                            frames.push((Duration::ZERO, *link, packet.data[..len].to_vec()));
                        }
                    }
                    PcapBlockOwned::NG(_) => {}
                }
                reader.consume(used);
            }
            Err(PcapError::Eof | PcapError::UnexpectedEof) => return Ok(frames),
            Err(PcapError::Incomplete(_)) => reader.refill().map_err(|e| CaptureError::Format(format!("{e:?}")))?,
            Err(error) => return Err(CaptureError::Format(format!("{error:?}"))),
        }
    }
}

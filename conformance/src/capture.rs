//! Reads packet captures into UDP datagrams.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etherparse::defrag::IpDefragPool;
use etherparse::{IpNumber, NetSlice, SlicedPacket, TransportSlice, UdpSlice};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

/// One UDP datagram of a capture.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// When it was captured, by the capture's own clock.
    pub at: Duration,
    /// The address of who sent it.
    pub source: SocketAddr,
    /// The address that it was sent to.
    pub destination: SocketAddr,
    /// The UDP payload, owned.
    pub payload: Vec<u8>,
}

/// Why a capture could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file cannot be opened.
    #[error("cannot open the capture: {0}")]
    Open(#[from] std::io::Error),
    /// It is no pcap or pcapng file, or is cut short.
    #[error("not a whole capture file: {0}")]
    Format(String),
}

/// The folder with the committed captures and descriptions.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// All UDP datagrams of a pcap or pcapng file, in file order. IP fragments are put together; what is not UDP over IP is left
/// out.
///
/// # Errors
/// If the file cannot be opened, or is no whole pcap or pcapng file.
pub fn read(file: &Path) -> Result<Vec<Datagram>, CaptureError> {
    let mut datagrams = Vec::new();
    let mut fragments = IpDefragPool::<(), ()>::new();
    for (at, link, bytes) in frames(file)? {
        let parsed = match link {
            Linktype::ETHERNET => SlicedPacket::from_ethernet(&bytes),
            Linktype::RAW | Linktype(12) | Linktype::IPV4 | Linktype::IPV6 => SlicedPacket::from_ip(&bytes),
            Linktype::LINUX_SLL => SlicedPacket::from_linux_sll(&bytes),
            _ => continue,
        };
        let Ok(packet) = parsed else { continue };
        let (source, destination): (IpAddr, IpAddr) = match &packet.net {
            Some(NetSlice::Ipv4(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            Some(NetSlice::Ipv6(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            _ => continue,
        };
        let datagram = |udp: &UdpSlice<'_>| Datagram {
            at,
            source: SocketAddr::new(source, udp.source_port()),
            destination: SocketAddr::new(destination, udp.destination_port()),
            payload: udp.payload().to_vec(),
        };
        match fragments.process_sliced_packet(&packet, (), ()) {
            Ok(Some(whole)) if whole.ip_number == IpNumber::UDP => {
                if let Ok(udp) = UdpSlice::from_slice(&whole.payload) {
                    datagrams.push(datagram(&udp));
                }
            }
            Ok(None) if !packet.is_ip_payload_fragmented() => {
                if let Some(TransportSlice::Udp(udp)) = &packet.transport {
                    datagrams.push(datagram(udp));
                }
            }
            _ => {}
        }
    }
    Ok(datagrams)
}

/// All frames of a capture with the link type that says how they begin. SCTP dumps (link type 248) hold bare SCTP packets.
///
/// # Errors
/// If the file cannot be opened, or is no whole pcap or pcapng file.
pub fn frames(file: &Path) -> Result<Vec<(Duration, Linktype, Vec<u8>)>, CaptureError> {
    let mut reader = create_reader(1 << 20, File::open(file)?).map_err(|e| CaptureError::Format(e.to_string()))?;
    let mut frames = Vec::new();
    let mut links = Vec::new();
    let mut nanoseconds = false;
    loop {
        match reader.next() {
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => {
                        nanoseconds = header.is_nanosecond_precision();
                        links = vec![header.network];
                    }
                    PcapBlockOwned::Legacy(packet) => {
                        let fraction = if nanoseconds {
                            packet.ts_usec
                        } else {
                            packet.ts_usec.saturating_mul(1000)
                        };
                        let at = Duration::new(u64::from(packet.ts_sec), fraction);
                        frames.push((at, links[0], packet.data.to_vec()));
                    }
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => links.clear(),
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => links.push(interface.linktype),
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let micros = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                        let Some(link) = links.get(packet.if_id as usize) else {
                            continue;
                        };
                        let data = &packet.data[..(packet.caplen as usize).min(packet.data.len())];
                        frames.push((Duration::from_micros(micros), *link, data.to_vec()));
                    }
                    PcapBlockOwned::NG(_) => {}
                }
                reader.consume(used);
            }
            Err(PcapError::Eof) => return Ok(frames),
            Err(PcapError::Incomplete(_)) => reader.refill().map_err(|e| CaptureError::Format(format!("{e:?}")))?,
            Err(error) => return Err(CaptureError::Format(format!("{error:?}"))),
        }
    }
}

//! Questions and answers for one name.

use std::io;
use std::net::IpAddr;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

/// How long an answer may be kept: RFC 6762 §10 for host names, §6.7 for askers that are no multicast resolvers.
pub(super) const TTL: u32 = 120;
pub(super) const LEGACY_TTL: u32 = 10;

/// A question for both families. `unicast` asks for an answer to us alone (RFC 6762 §5.4).
pub(super) fn query(name: &str, unicast: bool) -> io::Result<Vec<u8>> {
    let name = Name::new(name).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let mut packet = Packet::new_query(0);
    for kind in [TYPE::A, TYPE::AAAA] {
        packet.questions.push(Question::new(
            name.clone(),
            QTYPE::TYPE(kind),
            QCLASS::CLASS(CLASS::IN),
            unicast,
        ));
    }
    packet.build_bytes_vec().map_err(io::Error::other)
}

/// The addresses that an answer gives for `name`.
pub(super) fn addresses(answer: &[u8], name: &str) -> Vec<IpAddr> {
    let Ok(packet) = Packet::parse(answer) else {
        return Vec::new();
    };
    if !packet.has_flags(PacketFlag::RESPONSE) {
        return Vec::new();
    }
    let records = packet.answers.iter().chain(&packet.additional_records);
    records
        .filter(|record| record.ttl > 0 && record.name.to_string().eq_ignore_ascii_case(name))
        .filter_map(|record| address(&record.rdata))
        .collect()
}

/// The address of an A or AAAA record.
pub(super) fn address(rdata: &RData<'_>) -> Option<IpAddr> {
    match rdata {
        RData::A(a) => Some(IpAddr::V4(a.address.into())),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.address.into())),
        _ => None,
    }
}

/// The record that says that `name` has `address`.
fn record(name: &str, address: IpAddr, ttl: u32) -> io::Result<ResourceRecord<'_>> {
    let name = Name::new(name).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let rdata = match address {
        IpAddr::V4(v4) => RData::A(v4.into()),
        IpAddr::V6(v6) => RData::AAAA(v6.into()),
    };
    Ok(ResourceRecord::new(name, CLASS::IN, ttl, rdata))
}

/// An answer to all who listen; with a TTL of 0 it takes the name back (RFC 6762 §10.1).
pub(super) fn announcement(name: &str, address: IpAddr, ttl: u32) -> io::Result<Vec<u8>> {
    let mut packet = Packet::new_reply(0);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    // RFC 6762 §10.2: nobody else has this name.
    packet.answers.push(record(name, address, ttl)?.with_cache_flush(true));
    packet.build_bytes_vec().map_err(io::Error::other)
}

/// An answer to one asker alone. Who asks from another port than 5353 gets it as from a unicast server (RFC 6762 §6.7).
pub(super) fn answer(asked: &Packet<'_>, name: &str, address: IpAddr, legacy: bool) -> io::Result<Vec<u8>> {
    if !legacy {
        return announcement(name, address, TTL);
    }
    let mut packet = Packet::new_reply(asked.id());
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    packet.questions.extend(
        asked
            .questions
            .iter()
            .filter(|q| q.qname.to_string().eq_ignore_ascii_case(name))
            .take(2)
            .map(|q| Question::new(q.qname.clone(), q.qtype, q.qclass, false)),
    );
    packet.answers.push(record(name, address, LEGACY_TTL)?);
    packet.build_bytes_vec().map_err(io::Error::other)
}

/// Whether `question` wants an address of this family.
pub(super) fn wants(question: &Question<'_>, address: IpAddr) -> bool {
    let kind = match address {
        IpAddr::V4(_) => TYPE::A,
        IpAddr::V6(_) => TYPE::AAAA,
    };
    let class = matches!(question.qclass, QCLASS::ANY | QCLASS::CLASS(CLASS::IN));
    class && (question.qtype == QTYPE::ANY || question.qtype == QTYPE::TYPE(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const NAME: &str = "0e2c3fcb-0ab5-4b9c-a3a7-8d8b4d3fd0b5.local";

    #[test]
    fn takes_the_named_address_only() {
        let mut packet = Packet::new_reply(0);
        for (name, last) in [("abc.local", 1), ("other.local", 2)] {
            let address = IpAddr::from([192, 0, 2, last]);
            packet.answers.push(record(name, address, TTL).unwrap());
        }
        let bytes = packet.build_bytes_vec().unwrap();
        assert_eq!(addresses(&bytes, "ABC.local"), [IpAddr::from([192, 0, 2, 1])]);
        assert!(addresses(&bytes[..bytes.len() - 1], "abc.local").is_empty());
        assert!(addresses(b"nonsense", "abc.local").is_empty());
    }

    #[test]
    fn a_query_asks_for_both_families_and_answers_nothing() {
        let bytes = query(NAME, true).unwrap();
        assert_eq!(Packet::parse(&bytes).unwrap().questions.len(), 2);
        assert!(addresses(&bytes, NAME).is_empty());
    }

    #[test]
    fn answers_are_read_as_they_were_meant() {
        for address in [
            IpAddr::from(Ipv4Addr::new(192, 0, 2, 7)),
            "2001:db8::7".parse().unwrap(),
        ] {
            let asked = query(NAME, true).unwrap();
            let asked = Packet::parse(&asked).unwrap();
            assert_eq!(asked.questions.iter().filter(|q| wants(q, address)).count(), 1);
            for legacy in [false, true] {
                let bytes = answer(&asked, NAME, address, legacy).unwrap();
                assert_eq!(addresses(&bytes, NAME), [address]);
                assert_eq!(
                    Packet::parse(&bytes).unwrap().questions.len(),
                    if legacy { 2 } else { 0 }
                );
            }
            let goodbye = announcement(NAME, address, 0).unwrap();
            assert!(addresses(&goodbye, NAME).is_empty());
        }
    }
}

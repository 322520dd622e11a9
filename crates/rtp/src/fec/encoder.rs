//! Makes the repair packets of one stream, by a plan.

use std::collections::VecDeque;

use antiphon_sansio::Writer;

use super::format::Format;
use super::hop;
use super::parity::Parity;
use super::repair::{Protected, Repair};
use crate::extension::Map;
use crate::packet::HEADER_LEN;

/// Most packets of a group, by what the shortest mask spans.
pub const MAX_GROUP: u8 = 48;
/// Most sums that wait to be written; the oldest is given up.
const MAX_READY: usize = 64;

/// How a stream is protected: each group of so many packets gets so many repair packets, and packet `i` of the group is protected
/// by repair `i` modulo their number. So a burst as long as there are repairs can be recovered whole.
///
/// One repair to a group is a row in the words of RFC 8627; several are the columns of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    group: u8,
    repairs: u8,
}

impl Plan {
    /// `repairs` for each `group` packets: a group of 1 to [`MAX_GROUP`], and at least one repair, at most one for each packet.
    /// What is outside becomes the nearest that is not.
    pub fn new(group: u8, repairs: u8) -> Self {
        let group = group.clamp(1, MAX_GROUP);
        Self {
            group,
            repairs: repairs.clamp(1, group),
        }
    }

    /// About this many repairs for a hundred packets, 1 to 100: groups of ten and more, as a small number of repairs asks for.
    pub fn percent(percent: u8) -> Self {
        let percent = u16::from(percent.clamp(1, 100));
        if percent < 10 {
            return Self::new((100 / percent).min(u16::from(MAX_GROUP)) as u8, 1);
        }
        Self::new(10, ((percent + 5) / 10) as u8)
    }

    /// Packets of a group.
    pub fn group(self) -> u8 {
        self.group
    }

    /// Repair packets of a group.
    pub fn repairs(self) -> u8 {
        self.repairs
    }
}

/// The sum of the packets that one repair packet protects.
#[derive(Clone, Debug, Default)]
struct Column {
    base: u16,
    mask: u128,
    parity: Parity,
}

/// Makes the repair packets of one stream. Its memory is used again: nothing is allocated for a packet once a group has been
/// as large as any.
#[derive(Clone, Debug)]
pub struct Encoder {
    format: Format,
    ssrc: u32,
    plan: Plan,
    /// The sums of the group, as many as the plan has repairs.
    columns: Vec<Column>,
    /// Packets of the group so far.
    taken: u8,
    ready: VecDeque<Column>,
    spare: Vec<Column>,
    /// Sums that nobody has written.
    given_up: u64,
}

impl Encoder {
    /// The protection of the stream `ssrc`.
    pub fn new(format: Format, ssrc: u32, plan: Plan) -> Self {
        Self {
            format,
            ssrc,
            plan,
            columns: Vec::new(),
            taken: 0,
            ready: VecDeque::new(),
            spare: Vec::new(),
            given_up: 0,
        }
    }

    /// Protects more or less from the next group on.
    pub fn set_plan(&mut self, plan: Plan) {
        if plan != self.plan {
            self.end_group();
            self.plan = plan;
        }
    }

    /// How the stream is protected.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Sums that were given up because nobody wrote them.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Adds a whole packet of the stream, in the order of sending. `map` says which extensions are counted as zeros.
    pub fn protect(&mut self, packet: &[u8], map: &Map) {
        let Some(header) = packet.first_chunk::<HEADER_LEN>() else {
            return;
        };
        let sequence = u16::from_be_bytes([header[2], header[3]]);
        let first = self.columns.first().map(|column| column.base);
        let ahead = |base: u16| sequence.wrapping_sub(base);
        if first.is_some_and(|base| !(1..self.format.max_span()).contains(&ahead(base))) {
            self.end_group();
        }
        let at = usize::from(self.taken % self.plan.repairs);
        if at == self.columns.len() {
            let mut column = self.spare.pop().unwrap_or_default();
            column.base = sequence;
            column.mask = 0;
            column.parity.clear();
            self.columns.push(column);
        }
        if let Some(column) = self.columns.get_mut(at) {
            column.mask |= 1 << (sequence.wrapping_sub(column.base) % 128);
            column.parity.add(packet);
            for part in hop::parts(packet, map) {
                column.parity.blank(packet, part);
            }
        }
        self.taken += 1;
        if self.taken >= self.plan.group {
            self.end_group();
        }
    }

    /// Protects what came of the group, without waiting for the rest of it.
    pub fn end_group(&mut self) {
        self.taken = 0;
        for column in self.columns.drain(..) {
            if self.ready.len() >= MAX_READY
                && let Some(oldest) = self.ready.pop_front()
            {
                self.given_up += 1;
                self.spare.push(oldest);
            }
            self.ready.push_back(column);
        }
    }

    /// Packets of the group that is not ended.
    pub fn pending(&self) -> u8 {
        self.taken
    }

    /// Repair packets that wait to be written.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Bytes of the next repair packet's payload at most, if there is one to be written.
    pub fn next_len(&self) -> Option<usize> {
        let column = self.ready.front()?;
        Some(self.format.max_header() + column.parity.body.len())
    }

    /// Writes the payload of the next repair packet; `false`: there is none, or it has no room and is given up.
    pub fn write(&mut self, out: &mut Writer<'_>) -> bool {
        let Some(column) = self.ready.pop_front() else {
            return false;
        };
        let written = self.format.write(
            &Repair {
                ssrc: Some(self.ssrc),
                protected: Protected::Mask {
                    base: column.base,
                    mask: column.mask,
                },
                sums: column.parity.sums,
                body: &column.parity.body,
            },
            out,
        );
        self.spare.push(column);
        self.given_up += u64::from(written.is_err());
        written.is_ok()
    }
}

use std::collections::{BTreeMap, VecDeque};

use antiphon_sansio::Serial16;
use bytes::{Bytes, BytesMut};

use crate::Message;
use crate::chunk::{Data, SkippedStream};

/// What a message or a fragment out of order costs against the receive window besides its bytes: our bookkeeping. Without it
/// a peer could fill memory with messages of one byte.
pub(crate) const OVERHEAD: usize = 64;
/// Payloads below this are copied out, so that they do not pin the packet (or the whole batch) that they came in.
const COPY_BELOW: usize = 256;

/// A DATA chunk on its way in: the extended TSN and the packet that the payload is cut from.
pub(crate) struct Fragment<'a> {
    pub(crate) tsn: u64,
    pub(crate) data: Data<'a>,
    pub(crate) packet: &'a Bytes,
}

impl Fragment<'_> {
    #[inline]
    fn bytes(&self) -> Bytes {
        if self.data.payload.len() < COPY_BELOW {
            Bytes::copy_from_slice(self.data.payload)
        } else {
            self.packet.slice_ref(self.data.payload)
        }
    }

    #[inline]
    fn has(&self, flag: u8) -> bool {
        self.data.flags & flag != 0
    }
}

/// The message is larger than we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Fragments with consecutive TSNs of one message (RFC 9260 §6.9: a message's TSNs are consecutive).
#[derive(Debug)]
struct Run {
    /// The TSN after the last one.
    next: u64,
    begin: bool,
    end: bool,
    stream: u16,
    ssn: Serial16,
    ppid: u32,
    unordered: bool,
    bytes: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// The run has its beginning: its bytes are where they will be handed out from. The one copy.
    Assembled(BytesMut),
    /// The run waits for what comes before it.
    Pieces(VecDeque<Bytes>),
}

impl Run {
    fn new(fragment: &Fragment<'_>, expected_len: usize) -> Self {
        let data = &fragment.data;
        let begin = fragment.has(Data::BEGIN);
        let content = if begin {
            let mut assembled = BytesMut::with_capacity(expected_len.max(data.payload.len()));
            assembled.extend_from_slice(data.payload);
            Content::Assembled(assembled)
        } else {
            Content::Pieces(VecDeque::from([fragment.bytes()]))
        };
        Self {
            next: fragment.tsn + 1,
            begin,
            end: fragment.has(Data::END),
            stream: data.stream,
            ssn: data.ssn,
            ppid: data.ppid,
            unordered: fragment.has(Data::UNORDERED),
            bytes: data.payload.len(),
            content,
        }
    }

    fn is_kin(&self, fragment: &Fragment<'_>) -> bool {
        let unordered = fragment.has(Data::UNORDERED);
        self.stream == fragment.data.stream
            && self.unordered == unordered
            && (unordered || self.ssn == fragment.data.ssn)
    }

    fn cost(&self) -> usize {
        self.bytes
            + match &self.content {
                Content::Assembled(_) => OVERHEAD,
                Content::Pieces(pieces) => OVERHEAD * pieces.len(),
            }
    }

    fn push(&mut self, fragment: &Fragment<'_>) {
        match &mut self.content {
            Content::Assembled(assembled) => assembled.extend_from_slice(fragment.data.payload),
            Content::Pieces(pieces) => pieces.push_back(fragment.bytes()),
        }
        self.bytes += fragment.data.payload.len();
        self.next = fragment.tsn + 1;
        self.end |= fragment.has(Data::END);
    }

    /// Appends the run that follows.
    fn join(&mut self, right: Self) {
        let Content::Pieces(mut pieces) = right.content else {
            unreachable!("only runs without a beginning follow another");
        };
        match &mut self.content {
            Content::Assembled(assembled) => pieces.iter().for_each(|piece| assembled.extend_from_slice(piece)),
            // The smaller side moves: hostile arrival orders stay cheap.
            Content::Pieces(left) if left.len() >= pieces.len() => left.append(&mut pieces),
            Content::Pieces(left) => {
                while let Some(piece) = left.pop_back() {
                    pieces.push_front(piece);
                }
                *left = pieces;
            }
        }
        self.bytes += right.bytes;
        self.next = right.next;
        self.end = right.end;
    }
}

#[derive(Debug, Default)]
struct Stream {
    /// The next sequence number to hand out, extended.
    next_ssn: u64,
    /// Whole messages that wait for earlier ones.
    waiting: BTreeMap<u64, Message>,
    ready: VecDeque<Message>,
    /// A `Readable` event waits in the queue.
    announced: bool,
}

/// Puts messages together and holds them until they are read.
#[derive(Debug)]
pub(crate) struct Reassembly {
    streams: BTreeMap<u16, Stream>,
    /// Incomplete messages by the TSN of their first fragment that is here.
    runs: BTreeMap<u64, Run>,
    max_message: usize,
    /// Everything that counts against the receive window.
    held: usize,
    /// Whole messages that wait for earlier ones, in all streams.
    waiting: usize,
    /// The last fragmented message's size: the next one's buffer is made for it.
    expected_len: usize,
    /// Streams that gained messages and are not announced yet.
    newly_readable: VecDeque<u16>,
    bytes_received: u64,
    dropped: u64,
}

impl Reassembly {
    pub(crate) fn new(max_message: usize) -> Self {
        Self {
            streams: BTreeMap::new(),
            runs: BTreeMap::new(),
            max_message,
            held: 0,
            waiting: 0,
            expected_len: 0,
            newly_readable: VecDeque::new(),
            bytes_received: 0,
            dropped: 0,
        }
    }

    /// Bytes that count against the receive window.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn bytes_received(&self) -> u64 {
        self.bytes_received
    }

    /// Chunks and messages dropped because they broke a rule.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether something is held that cannot be read yet.
    pub(crate) fn has_incomplete(&self) -> bool {
        !self.runs.is_empty() || self.waiting > 0
    }

    /// Takes a new TSN's chunk.
    pub(crate) fn insert(&mut self, fragment: &Fragment<'_>) -> Result<(), TooLarge> {
        if fragment.has(Data::BEGIN) && fragment.has(Data::END) {
            if fragment.data.payload.len() > self.max_message {
                return Err(TooLarge);
            }
            let message = Message {
                stream: fragment.data.stream,
                ppid: fragment.data.ppid,
                data: fragment.bytes(),
                unordered: fragment.has(Data::UNORDERED),
            };
            self.held += message.data.len() + OVERHEAD;
            self.deliver(message, fragment.data.ssn);
            return Ok(());
        }
        let (tsn, begin, end) = (fragment.tsn, fragment.has(Data::BEGIN), fragment.has(Data::END));
        let left = self.runs.range_mut(..tsn).next_back();
        let left = left.filter(|(_, run)| run.next == tsn && !run.end && !begin && run.is_kin(fragment));
        let first = match left {
            Some((first, run)) => {
                self.held -= run.cost();
                run.push(fragment);
                self.held += run.cost();
                *first
            }
            None => {
                let run = Run::new(fragment, if begin { self.expected_len } else { 0 });
                self.held += run.cost();
                self.runs.insert(tsn, run);
                tsn
            }
        };
        let joins = |run: &Run| !run.begin && !end && run.is_kin(fragment);
        if self.runs.get(&(tsn + 1)).is_some_and(joins) {
            let right = self.runs.remove(&(tsn + 1)).expect("just seen");
            let left = self.runs.get_mut(&first).expect("just made");
            self.held -= left.cost() + right.cost();
            left.join(right);
            self.held += left.cost();
        }
        let run = &self.runs[&first];
        if run.bytes > self.max_message {
            return Err(TooLarge);
        }
        if run.begin && run.end {
            let run = self.runs.remove(&first).expect("just seen");
            self.held = self.held - run.cost() + run.bytes + OVERHEAD;
            self.expected_len = run.bytes;
            let Content::Assembled(assembled) = run.content else {
                unreachable!("a run with a beginning is assembled");
            };
            let message = Message {
                stream: run.stream,
                ppid: run.ppid,
                data: assembled.freeze(),
                unordered: run.unordered,
            };
            self.deliver(message, run.ssn);
        }
        Ok(())
    }

    /// Drops fragments that can never become a message. An honest peer has at most one incomplete message that begins at or
    /// below the cumulative TSN, and it ends there.
    #[inline]
    pub(crate) fn sweep(&mut self, cumulative: u64) {
        while let Some(entry) = self.runs.first_entry() {
            let hopeful = *entry.key() > cumulative || (entry.get().begin && entry.get().next > cumulative);
            if hopeful {
                return;
            }
            self.held -= entry.remove().cost();
            self.dropped += 1;
        }
    }

    fn deliver(&mut self, message: Message, ssn: Serial16) {
        let id = message.stream;
        let stream = self.streams.entry(id).or_default();
        if message.unordered {
            self.bytes_received += message.data.len() as u64;
            stream.ready.push_back(message);
        } else {
            let distance = ssn.distance_from(Serial16::new(stream.next_ssn as u16));
            if distance > 0 {
                let extended = stream.next_ssn + u64::from(distance as u16);
                match stream.waiting.insert(extended, message) {
                    None => self.waiting += 1,
                    Some(same) => {
                        self.held -= same.data.len() + OVERHEAD;
                        self.dropped += 1;
                    }
                }
                return;
            }
            if distance < 0 {
                self.held -= message.data.len() + OVERHEAD;
                self.dropped += 1;
                return;
            }
            self.bytes_received += message.data.len() as u64;
            stream.ready.push_back(message);
            stream.next_ssn += 1;
            stream.release_waiting(&mut self.waiting, &mut self.bytes_received);
        }
        self.announce(id);
    }

    fn announce(&mut self, id: u16) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.announced
            && !stream.ready.is_empty()
        {
            stream.announced = true;
            self.newly_readable.push_back(id);
        }
    }

    /// A stream to announce as readable.
    #[inline]
    pub(crate) fn poll_readable(&mut self) -> Option<u16> {
        self.newly_readable.pop_front()
    }

    /// The announcement has been handed over: the next message makes a new one.
    pub(crate) fn announced(&mut self, id: u16) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.announced = false;
        }
    }

    /// The stream's next message. It counts until [`Self::release`].
    pub(crate) fn take(&mut self, id: u16) -> Option<Message> {
        self.streams.get_mut(&id)?.ready.pop_front()
    }

    pub(crate) fn release(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes + OVERHEAD);
    }

    /// The peer has given up everything up to `cumulative` (RFC 3758 §3.6).
    pub(crate) fn forward(&mut self, cumulative: u64, skipped: impl Iterator<Item = SkippedStream>) {
        while let Some(entry) = self.runs.first_entry()
            && *entry.key() <= cumulative
        {
            self.held -= entry.remove().cost();
        }
        for SkippedStream { stream: id, ssn } in skipped {
            let stream = self.streams.entry(id).or_default();
            let distance = ssn.distance_from(Serial16::new(stream.next_ssn as u16));
            if distance < 0 {
                continue;
            }
            let next = stream.next_ssn + u64::from(distance as u16) + 1;
            // What has arrived whole below the skipped number is still good.
            while let Some(entry) = stream.waiting.first_entry()
                && *entry.key() < next
            {
                let message = entry.remove();
                self.waiting -= 1;
                self.bytes_received += message.data.len() as u64;
                stream.ready.push_back(message);
            }
            stream.next_ssn = next;
            stream.release_waiting(&mut self.waiting, &mut self.bytes_received);
            self.announce(id);
        }
    }

    /// The peer starts the stream's numbers anew (RFC 6525 §5.2.2).
    pub(crate) fn reset(&mut self, id: u16) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.next_ssn = 0;
            for (_, message) in std::mem::take(&mut stream.waiting) {
                self.waiting -= 1;
                self.held -= message.data.len() + OVERHEAD;
                self.dropped += 1;
            }
        }
    }

    pub(crate) fn reset_all(&mut self) -> Vec<u16> {
        let ids: Vec<u16> = self.streams.keys().copied().collect();
        ids.iter().for_each(|id| self.reset(*id));
        ids
    }
}

impl Stream {
    /// Hands out what has become next.
    fn release_waiting(&mut self, waiting: &mut usize, bytes_received: &mut u64) {
        while let Some(entry) = self.waiting.first_entry()
            && *entry.key() == self.next_ssn
        {
            let message = entry.remove();
            *waiting -= 1;
            *bytes_received += message.data.len() as u64;
            self.ready.push_back(message);
            self.next_ssn += 1;
        }
    }
}

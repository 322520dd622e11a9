//! Many messages to many addresses in one system call (Linux).

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};

use super::run::{Run, Sent};

/// Messages of one call at most.
const MAX_MESSAGES: usize = 64;
/// Control messages that a message may carry: its mark, and the size of its segments.
const MAX_CONTROL: usize = 2;

thread_local! {
    static HEADERS: RefCell<Headers> = RefCell::new(Headers::new());
}

/// What is written anew for each call; all sockets of the thread share it.
struct Headers {
    /// By how many control messages they have room for: the kernel takes no room that is left empty.
    by_control: [MultiHeaders<SockaddrStorage>; MAX_CONTROL + 1],
    addresses: Vec<Option<SockaddrStorage>>,
    together: Together,
}

impl Headers {
    fn new() -> Self {
        Self {
            by_control: [
                MultiHeaders::preallocate(MAX_MESSAGES, None),
                MultiHeaders::preallocate(MAX_MESSAGES, Some(nix::cmsg_space!(u32))),
                MultiHeaders::preallocate(MAX_MESSAGES, Some(nix::cmsg_space!(u32, u32))),
            ],
            addresses: Vec::with_capacity(MAX_MESSAGES),
            together: Together::default(),
        }
    }
}

/// Sends several messages in one call, from where `sent` stands, and says in `sent` how far it came; `next_part` says what goes into
/// one message. `false`: only one message would go, which is the caller's.
///
/// # Errors
/// What the kernel says of the first message.
pub(super) fn send_together(
    socket: &impl AsRawFd,
    runs: &[Run],
    buffer: &[u8],
    sent: &mut Sent,
    next_part: impl Fn(&Sent) -> Run,
) -> io::Result<bool> {
    if sent.runs + 1 >= runs.len() {
        return Ok(false);
    }
    HEADERS.with_borrow_mut(|headers| {
        let Headers {
            by_control,
            addresses,
            together,
        } = headers;
        together.collect(runs, *sent, next_part);
        let parts = &together.parts;
        let [first, _, ..] = &parts[..] else {
            return Ok(false);
        };
        let bits = first.ecn.bits();
        let (tos, traffic_class) = (bits, i32::from(bits));
        let mark = if first.remote.is_ipv4() {
            ControlMessage::Ipv4Tos(&tos)
        } else {
            ControlMessage::Ipv6TClass(&traffic_class)
        };
        let mut control = [mark; MAX_CONTROL];
        // A socket's own mark is none.
        let mut count = usize::from(bits != 0);
        if let Some(segment) = &together.segment {
            control[count] = ControlMessage::UdpGsoSegments(segment);
            count += 1;
        }
        addresses.clear();
        addresses.extend(parts.iter().map(|part| Some(SockaddrStorage::from(part.remote))));
        let slices: [[IoSlice<'_>; 1]; MAX_MESSAGES] = std::array::from_fn(|n| {
            let bytes = parts.get(n).map_or(&[][..], |part| &buffer[part.range.clone()]);
            [IoSlice::new(bytes)]
        });
        let results = sendmmsg(
            socket.as_raw_fd(),
            &mut by_control[count],
            &slices[..parts.len()],
            &addresses[..],
            &control[..count],
            MsgFlags::empty(),
        );
        match results {
            Ok(results) => {
                for part in &parts[..results.count()] {
                    sent.pass(runs, part);
                }
                Ok(true)
            }
            Err(Errno::EAGAIN) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
        }
    })
}

/// Parts of runs that fit one call: they carry one mark, and those of several datagrams have one segment size, for the control
/// messages are the same for all.
#[derive(Default)]
struct Together {
    parts: Vec<Run>,
    /// The segment size, if any of them has several datagrams.
    segment: Option<u16>,
    /// The longest of those that are one datagram.
    longest: usize,
}

impl Together {
    /// Collects what goes together, from where `sent` stands.
    fn collect(&mut self, runs: &[Run], mut sent: Sent, next_part: impl Fn(&Sent) -> Run) {
        self.parts.clear();
        (self.segment, self.longest) = (None, 0);
        while sent.runs < runs.len() && self.parts.len() < MAX_MESSAGES {
            let part = next_part(&sent);
            if !self.takes(&part) {
                break;
            }
            sent.pass(runs, &part);
            self.parts.push(part);
        }
    }

    /// Whether this part can go with those before it.
    fn takes(&mut self, part: &Run) -> bool {
        if let Some(first) = self.parts.first()
            && (first.ecn != part.ecn || first.remote.is_ipv4() != part.remote.is_ipv4())
        {
            return false;
        }
        let Ok(segment) = u16::try_from(part.segment) else {
            return false;
        };
        if part.is_many() {
            // A single datagram that is longer would be cut.
            if self.segment.is_some_and(|own| own != segment) || self.longest > part.segment {
                return false;
            }
            self.segment = Some(segment);
        } else {
            if self.segment.is_some_and(|own| usize::from(own) < part.range.len()) {
                return false;
            }
            self.longest = self.longest.max(part.range.len());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use antiphon_sansio::Ecn;

    use super::*;

    fn run(remote: &str, ecn: Ecn, len: usize, segment: usize) -> Run {
        Run {
            remote: remote.parse::<SocketAddr>().unwrap(),
            ecn,
            range: 0..len,
            segment,
        }
    }

    fn together(runs: &[Run]) -> (usize, Option<u16>) {
        let mut together = Together::default();
        let whole = |sent: &Sent| runs[sent.runs].clone();
        together.collect(runs, Sent::default(), whole);
        (together.parts.len(), together.segment)
    }

    #[test]
    fn what_shares_mark_family_and_segment_goes_in_one_call() {
        let v4 = |len, segment| run("192.0.2.1:9", Ecn::NotEct, len, segment);
        assert_eq!(
            together(&[v4(100, 100), v4(900, 900)]),
            (2, None),
            "single ones, whatever their length"
        );
        assert_eq!(
            together(&[v4(2400, 1200), v4(3500, 1200), v4(300, 300)]),
            (3, Some(1200))
        );
        assert_eq!(
            together(&[v4(300, 300), v4(2400, 1200), v4(2000, 1000)]),
            (2, Some(1200)),
            "another size"
        );
        assert_eq!(
            together(&[v4(1300, 1300), v4(2400, 1200)]),
            (1, None),
            "the first would be cut"
        );
        assert_eq!(
            together(&[v4(2400, 1200), v4(1300, 1300)]),
            (1, Some(1200)),
            "the second would be cut"
        );
        let marked = run("192.0.2.1:9", Ecn::Ect0, 100, 100);
        assert_eq!(together(&[v4(100, 100), marked]).0, 1, "another mark");
        let v6 = run("[2001:db8::1]:9", Ecn::NotEct, 100, 100);
        assert_eq!(together(&[v4(100, 100), v6]).0, 1, "another family");
        assert_eq!(together(&vec![v4(100, 100); 100]).0, MAX_MESSAGES);
    }
}

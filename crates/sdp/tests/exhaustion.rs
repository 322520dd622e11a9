//! V20: however large a description is and however it is made, reading it takes what its length takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use antiphon_sdp::{Attribute, SessionDescription};

struct Counting;

thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system allocator unchanged; counting touches a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.with(|bytes| bytes.set(bytes.get() + layout.size()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
const MEDIA: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n";

/// Everything that can be asked of it; how many answers there were.
fn read_all(description: &SessionDescription) -> usize {
    let mut answers = 0;
    let sections = description.media.iter().map(|media| &media.section);
    for section in sections.chain([&description.session]) {
        answers += section.attributes().count();
        answers += section.candidates().count() + section.groups().map(|group| group.mids().count()).sum::<usize>();
        answers += section.rtcp_feedback().count() + section.extmaps().count() + section.ssrcs().count();
        answers += section
            .simulcast()
            .map_or(0, |simulcast| format!("{simulcast:?}").len());
        for fmtp in section.fmtps() {
            answers += format!("{fmtp:?}").len();
        }
        answers += usize::from(section.mid().is_some()) + usize::from(section.direction().is_some());
    }
    for media in &description.media {
        answers += media.line.payload_types().count();
        answers += usize::from(media.rtpmap(127).is_some());
    }
    answers
}

#[test]
fn v20_mend21_a_hundred_thousand_of_anything_take_ten_times_what_ten_thousand_take() {
    let many = |n: usize, one: &dyn Fn(usize) -> String| (0..n).map(one).collect::<String>();
    type Make<'a> = (&'a str, &'a dyn Fn(usize) -> String);
    let kinds: [Make<'_>; 9] = [
        ("m-lines", &|n| many(n, &|_| MEDIA.to_owned())),
        ("m-lines with a mid", &|n| many(n, &|n| format!("{MEDIA}a=mid:{n}\r\n"))),
        ("formats", &|n| {
            format!("m=audio 9 UDP/TLS/RTP/SAVPF{}\r\n", many(n, &|n| format!(" {n}")))
        }),
        ("attributes", &|n| {
            MEDIA.to_owned() + &many(n, &|n| format!("a=x-{n}:y\r\n"))
        }),
        ("rtpmaps", &|n| {
            MEDIA.to_owned() + &many(n, &|n| format!("a=rtpmap:{} opus/48000/2\r\n", n % 200))
        }),
        ("mids in a group", &|n| {
            format!("a=group:BUNDLE{}\r\n", many(n, &|n| format!(" {n}")))
        }),
        ("parameters", &|n| {
            format!("{MEDIA}a=fmtp:0 {}\r\n", many(n, &|n| format!("p{n}=1;")))
        }),
        ("simulcast streams", &|n| {
            format!("{MEDIA}a=simulcast:send 1{}\r\n", many(n, &|n| format!(";{n},~{n}")))
        }),
        ("candidates", &|n| {
            MEDIA.to_owned() + &many(n, &|n| format!("a=candidate:1 1 udp {n} 192.0.2.1 9 typ host\r\n"))
        }),
    ];
    for (what, make) in kinds {
        let cost = |n: usize| {
            let text = format!("{HEAD}{}", make(n));
            let before = BYTES.with(Cell::get);
            let description = SessionDescription::parse(&text).unwrap();
            let answers = read_all(&description);
            let bytes = BYTES.with(Cell::get) - before;
            assert_eq!(description.to_text(), text, "{what}");
            (bytes, text.len(), answers)
        };
        let (small, large) = (cost(10_000), cost(100_000));
        // Vectors double, so twice the ratio of the lengths at most; a quadratic part would take ten times it.
        let ratio = large.1.div_ceil(small.1) * 2;
        assert!(large.0 <= small.0 * ratio, "{what}: {small:?}, {large:?}");
        assert!(large.0 <= large.1 * 100, "{what}: {large:?}: memory for a byte of text");
        assert!(large.2 >= small.2, "{what}");
    }
}

#[test]
fn v20_mend21_payload_types_above_127_are_none() {
    let text = format!(
        "{HEAD}m=audio 9 UDP/TLS/RTP/SAVPF 0 127 128 255 256 65536 4294967296 -1 x\r\na=rtpmap:128 opus/48000/2\r\n"
    );
    let description = SessionDescription::parse(&text).unwrap();
    let types: Vec<u8> = description.media[0].line.payload_types().collect();
    assert_eq!(types, [0, 127]);
    assert_eq!(description.media[0].rtpmap(128), None);
    let attribute = description.media[0].section.attributes().next().unwrap();
    assert!(
        matches!(attribute, Attribute::Malformed { .. } | Attribute::Other { .. }),
        "{attribute:?}"
    );
    assert_eq!(description.to_text(), text, "and lost it is not");
}

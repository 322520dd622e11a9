//! What an offer asks for, read before it is answered.

use antiphon_jsep::{Direction, MediaKind, OfferedContent, OfferedSection};

#[test]
fn mend11_an_offer_says_section_by_section_what_it_wants() {
    let text = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=recvonly\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 0 111\r\na=mid:a\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 stereo=1\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\na=sendonly\r\na=rtpmap:96 H264/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=rtpmap:98 theora/90000\r\na=rtcp-fb:96 nack pli\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
        m=text 9 UDP/TLS/RTP/SAVPF 98\r\n";
    let sections = OfferedSection::read(text).unwrap();
    let [audio, video, unused, data, unknown] = &sections[..] else {
        panic!("{sections:?}")
    };
    assert_eq!(audio.content, OfferedContent::Media(MediaKind::Audio));
    assert_eq!(
        (audio.label.as_str(), audio.direction),
        ("a", Direction::RecvOnly),
        "inherited from the session"
    );
    let names = |section: &OfferedSection| {
        section
            .codecs
            .iter()
            .map(|codec| codec.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(audio), ["PCMU", "opus"], "static payload types too");
    assert_eq!(audio.codecs[1].parameters, "stereo=1");
    assert_eq!((video.label.as_str(), video.direction), ("#1", Direction::SendOnly));
    assert_eq!(names(video), ["H264", "theora"], "known or not, and no retransmissions");
    assert_eq!(video.codecs[0].rtx.as_ref().map(|rtx| rtx.payload_type), Some(97));
    assert!(video.codecs[0].has_feedback("nack pli"));
    assert!(unused.rejected && !video.rejected);
    assert_eq!(
        [data.content, unknown.content],
        [OfferedContent::Data, OfferedContent::Unknown]
    );
    assert!(OfferedSection::read("hello").is_err());
}

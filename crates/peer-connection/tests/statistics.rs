//! The members of webrtc-stats over a whole call: which are there, which move, and whether they are true.

use std::collections::BTreeMap;
use std::time::Duration;

use antiphon_netsim::LinkConfig;
use antiphon_peer_connection::stats::{AudioPlayoutFigures, InboundRtpStats, OutboundRtpStats};
use antiphon_peer_connection::{
    Congestion, CongestionFeedbackPolicy, DecoderFigures, EncoderFigures, Error, QualityLimitation, RtcConfiguration,
    RtcStats, RtcStatsReport, StatValue,
};

use crate::media::Call;
use crate::support::Pair;

/// A call with marks of L4S, so that everything about them has something to count.
fn call(seed: u64, loss: f64) -> Call {
    let link = LinkConfig {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(if loss > 0.0 { 4 } else { 0 }),
        loss,
        ..LinkConfig::default()
    };
    let configuration = || {
        let mut own = RtcConfiguration::default();
        own.settings.media.congestion_feedback = CongestionFeedbackPolicy::Negotiate;
        own.settings.media.congestion = Congestion::Scream;
        own
    };
    Call::with(Pair::with(seed, link, configuration), 0, 0)
}

fn reports(call: &Call) -> [RtcStatsReport; 2] {
    let now = call.pair.net.now();
    [0, 1].map(|at| call.pair.pc(at).get_stats(now))
}

/// The members of the one entry of this type and kind.
fn members(report: &RtcStatsReport, stat_type: &str, kind: &str) -> BTreeMap<&'static str, StatValue> {
    let of_kind = |entry: &&RtcStats| {
        let kind = StatValue::Text(kind.to_owned());
        entry.stat_type() == stat_type && entry.members().contains(&("kind", kind))
    };
    let mut entries = report.entries.iter().filter(of_kind);
    let found = entries.next().unwrap_or_else(|| panic!("no {stat_type} of {kind}"));
    assert!(entries.next().is_none(), "one {stat_type} of {kind}");
    found.members().into_iter().collect()
}

fn moved(value: &StatValue) -> bool {
    match value {
        StatValue::Bool(set) => *set,
        StatValue::Number(number) => *number > 0.0,
        StatValue::Text(text) => !text.is_empty(),
        StatValue::Record(numbers) => numbers.iter().any(|(_, number)| *number > 0.0),
        _ => false,
    }
}

const STREAM: &str = "ssrc kind transportId codecId";

/// Each entry of a call, and the members that have moved when it has lasted.
const TABLE: [(usize, &str, &str, &str); 10] = [
    (
        0,
        "outbound-rtp",
        "video",
        "mid mediaSourceId remoteId rtxSsrc active packetsSent packetsSentWithEct1 bytesSent headerBytesSent \
         retransmittedPacketsSent retransmittedBytesSent framesSent keyFramesSent framesEncoded keyFramesEncoded \
         hugeFramesSent framesPerSecond frameWidth frameHeight nackCount totalPacketSendDelay targetBitrate \
         totalEncodedBytesTarget qualityLimitationReason qualityLimitationDurations qpSum totalEncodeTime \
         encoderImplementation powerEfficientEncoder scalabilityMode qualityLimitationResolutionChanges",
    ),
    (
        0,
        "outbound-rtp",
        "audio",
        "mid mediaSourceId remoteId active packetsSent packetsSentWithEct1 bytesSent headerBytesSent framesSent \
         targetBitrate",
    ),
    (
        1,
        "inbound-rtp",
        "video",
        "trackIdentifier mid remoteId rtxSsrc packetsReceived packetsReceivedWithEct1 bytesReceived headerBytesReceived \
         lastPacketReceivedTimestamp jitter retransmittedPacketsReceived retransmittedBytesReceived nackCount \
         framesReceived keyFramesReceived framesPerSecond frameWidth frameHeight framesAssembledFromMultiplePackets \
         totalAssemblyTime jitterBufferDelay jitterBufferEmittedCount totalInterFrameDelay \
         totalSquaredInterFrameDelay framesDecoded keyFramesDecoded framesRendered qpSum totalDecodeTime \
         decoderImplementation powerEfficientDecoder",
    ),
    (
        1,
        "inbound-rtp",
        "audio",
        "trackIdentifier mid remoteId playoutId packetsReceived packetsReceivedWithEct1 bytesReceived headerBytesReceived \
         lastPacketReceivedTimestamp packetsLost jitter framesReceived jitterBufferDelay jitterBufferEmittedCount \
         totalSamplesDuration totalSamplesReceived",
    ),
    (
        0,
        "remote-inbound-rtp",
        "video",
        "localId packetsReceived packetsReceivedWithEct1 packetsReportedAsLost fractionLost jitter roundTripTime \
         totalRoundTripTime roundTripTimeMeasurements",
    ),
    (
        0,
        "remote-inbound-rtp",
        "audio",
        "localId packetsReceived packetsReceivedWithEct1 packetsReportedAsLost packetsLost jitter roundTripTime \
         totalRoundTripTime roundTripTimeMeasurements",
    ),
    (
        1,
        "remote-outbound-rtp",
        "video",
        "localId packetsSent bytesSent reportsSent remoteTimestamp",
    ),
    (
        0,
        "media-source",
        "video",
        "trackIdentifier kind width height frames framesPerSecond",
    ),
    (0, "media-source", "audio", "trackIdentifier kind totalSamplesDuration"),
    (
        1,
        "media-playout",
        "audio",
        "kind synthesizedSamplesDuration synthesizedSamplesEvents totalSamplesDuration totalPlayoutDelay \
         totalSamplesCount",
    ),
];

#[test]
fn what_should_move_moves() {
    let mut call = call(41, 0.05);
    let video = call.video;
    call.set_max_bitrate(100_000_000);
    call.play(Duration::from_secs(3));
    let ssrc = reports(&call)[1]
        .inbound_rtp()
        .find(|own| own.kind == "video")
        .unwrap()
        .ssrc;
    let encoder = EncoderFigures {
        qp_sum: Some(900),
        encode_time: Some(Duration::from_millis(300)),
        limited_by: Some(QualityLimitation::Cpu),
        resolution_changes: Some(1),
        scalability_mode: Some("L1T1".into()),
        implementation: Some("vp8enc".into()),
        power_efficient: Some(true),
    };
    let decoder = DecoderFigures {
        frames_decoded: Some(70),
        key_frames_decoded: Some(1),
        frames_rendered: Some(69),
        frames_dropped: Some(1),
        qp_sum: Some(800),
        decode_time: Some(Duration::from_millis(100)),
        implementation: Some("vp8dec".into()),
        power_efficient: Some(true),
    };
    let playout = AudioPlayoutFigures {
        synthesized: Duration::from_millis(10),
        synthesized_events: 1,
        played: Duration::from_secs(3),
        delay: Duration::from_secs(9000),
        samples: 144_000,
    };
    call.pair
        .call(0, |pc, now| pc.report_encoder(now, video, encoder))
        .unwrap();
    call.pair.call(1, |pc, _| pc.report_decoder(ssrc, decoder)).unwrap();
    call.pair.call(1, |pc, _| pc.report_playout(playout)).unwrap();
    let unknown = call
        .pair
        .call(1, |pc, _| pc.report_decoder(1, DecoderFigures::default()));
    assert!(matches!(unknown, Err(Error::Media(_))), "{unknown:?}");
    call.want_key_frame();
    call.play(Duration::from_secs(9));
    let reports = reports(&call);
    for (end, stat_type, kind, names) in TABLE {
        let members = members(&reports[end], stat_type, kind);
        let names = names.split(' ').filter(|name| !name.is_empty());
        let common = STREAM.split(' ').filter(|_| stat_type.ends_with("rtp"));
        let still: Vec<_> = names
            .chain(common)
            .filter(|name| !members.get(name).is_some_and(moved))
            .collect();
        assert!(still.is_empty(), "{stat_type} {kind}: {still:?} in {members:?}");
    }
    let sent = members(&reports[0], "outbound-rtp", "video");
    assert_eq!(sent["qualityLimitationReason"], StatValue::Text("cpu".into()));
    // What nobody told is not there: nothing is made up.
    for (end, stat_type, name) in [
        (0, "outbound-rtp", "qpSum"),
        (0, "outbound-rtp", "framesEncoded"),
        (0, "outbound-rtp", "frameWidth"),
        (0, "media-source", "audioLevel"),
        (1, "inbound-rtp", "framesDecoded"),
        (1, "inbound-rtp", "freezeCount"),
        (1, "inbound-rtp", "concealedSamples"),
        (1, "inbound-rtp", "audioLevel"),
    ] {
        let members = members(&reports[end], stat_type, "audio");
        assert_eq!(members.get(name), None, "{stat_type} {name}");
    }
}

fn streams<'a>(reports: &'a [RtcStatsReport; 2], kind: &str) -> (&'a OutboundRtpStats, &'a InboundRtpStats) {
    let sent = reports[0].outbound_rtp().find(|own| own.kind == kind).unwrap();
    let received = reports[1].inbound_rtp().find(|own| own.ssrc == sent.ssrc).unwrap();
    (sent, received)
}

#[test]
fn what_one_end_counts_the_other_counts_too() {
    let mut call = call(42, 0.0);
    call.play(Duration::from_secs(10));
    let before = call.pair.net.now();
    call.pair.run_for(Duration::from_secs(2));
    let reports = reports(&call);
    for (kind, frames, of_several) in [("audio", 500, 0), ("video", 250, 250)] {
        let (sent, received) = streams(&reports, kind);
        assert_eq!((sent.frames_sent, received.frames_received), (frames, frames), "{kind}");
        // Padding takes numbers, and its receiver counts it with the rest where it is one of the stream's own packets.
        let media = sent.packets_sent - sent.padding_packets_sent;
        assert_eq!(received.packets_received, media, "{kind}");
        assert_eq!(
            received.packets_received_with_ect1 + received.packets_received_with_ce,
            media
        );
        assert_eq!(sent.packets_sent_with_ect1, sent.packets_sent);
        assert_eq!(received.packets_lost, 0);
        assert_eq!(received.frames_assembled_from_multiple_packets.unwrap_or(0), of_several);
        let remote = reports[0].get(sent.remote_id.as_deref().unwrap());
        let Some(RtcStats::RemoteInboundRtp(remote)) = remote else {
            panic!("{remote:?}")
        };
        assert_eq!(remote.packets_received, media, "{kind}");
        assert_eq!((remote.packets_lost, remote.fraction_lost), (0, 0.0));
        assert_eq!(remote.packets_with_bleached_ect1_marking, Some(0));
        let rtt = remote.total_round_trip_time / remote.round_trip_time_measurements as u32;
        assert!((40..60).contains(&rtt.as_millis()), "{rtt:?}");
        let remote = reports[1].get(received.remote_id.as_deref().unwrap());
        let Some(RtcStats::RemoteOutboundRtp(remote)) = remote else {
            panic!("{remote:?}")
        };
        assert_eq!(u64::from(remote.packets_sent), media, "{kind}");
        assert_eq!(u64::from(remote.bytes_sent), received.bytes_received);
        let last = received.last_packet_received_timestamp.unwrap();
        let reported = reports[1].timestamp.as_secs_f64() * 1000.0;
        let silence = (call.pair.net.now() - before).as_secs_f64() * 1000.0;
        assert!(
            (reported - last - silence).abs() < 60.0,
            "{} {silence}",
            reported - last
        );
        assert!(remote.remote_timestamp < reported && remote.remote_timestamp > reported - 3000.0);
    }
    let (sent, received) = streams(&reports, "video");
    assert_eq!((sent.frame_width, sent.frame_height), (Some(640), Some(360)));
    assert_eq!((received.frame_width, received.frame_height), (Some(640), Some(360)));
    assert_eq!(
        (sent.frames_per_second, received.frames_per_second),
        (Some(0.0), Some(0.0))
    );
    assert_eq!((sent.frames_encoded, sent.key_frames_encoded), (Some(250), Some(1)));
    assert_eq!(
        (received.key_frames_received, received.freeze_count),
        (Some(1), Some(0))
    );
    assert_eq!(received.jitter_buffer_emitted_count, 250);
    assert!((received.total_inter_frame_delay.unwrap() - 249.0 * 0.04).abs() < 0.05);
    // 500 packets of 20 ms, of which the first is not seen to last.
    let (_, received) = streams(&reports, "audio");
    assert_eq!(received.total_samples_received, Some(499 * 960));
    assert!((received.total_samples_duration.unwrap() - 9.98).abs() < 1e-6);
}

#[test]
fn what_keeps_pictures_down_is_told() {
    let mut call = call(43, 0.0);
    let reason = |call: &Call| {
        let reports = reports(call);
        let (sent, _) = streams(&reports, "video");
        let durations: Vec<_> = sent
            .quality_limitation_durations
            .iter()
            .flatten()
            .map(|own| own.1)
            .collect();
        (sent.quality_limitation_reason, durations)
    };
    call.play(Duration::from_secs(2));
    assert_eq!(reason(&call), (None, vec![]), "nobody has said how much it could use");
    call.set_max_bitrate(50_000);
    call.play(Duration::from_secs(3));
    assert_eq!(reason(&call).0, Some("none"));
    call.set_max_bitrate(1_000_000_000);
    call.play(Duration::from_secs(2));
    let (now, durations) = reason(&call);
    assert_eq!(now, Some("bandwidth"));
    let [none, cpu, bandwidth, other] = durations[..] else {
        panic!("{durations:?}")
    };
    assert!(
        (none - 3.0).abs() < 0.3 && (bandwidth - 2.0).abs() < 0.3,
        "{durations:?}"
    );
    assert_eq!((cpu, other), (0.0, 0.0));
}

#[test]
fn one_sender_or_receiver_has_a_report_of_its_own() {
    let mut call = call(44, 0.0);
    call.play(Duration::from_secs(3));
    let (now, audio, video) = (call.pair.net.now(), call.audio, call.video);
    let types = |report: &RtcStatsReport| {
        let mut types: Vec<_> = report.entries.iter().map(RtcStats::stat_type).collect();
        types.sort_unstable();
        types.dedup();
        types
    };
    for (id, kind) in [(audio, "audio"), (video, "video")] {
        let report = call.pair.pc(0).get_sender_stats(now, id).unwrap();
        assert_eq!(report.outbound_rtp().map(|own| own.kind).collect::<Vec<_>>(), [kind]);
        let expected = [
            "candidate-pair",
            "certificate",
            "codec",
            "local-candidate",
            "media-source",
            "outbound-rtp",
            "remote-candidate",
            "remote-inbound-rtp",
            "transport",
        ];
        assert_eq!(types(&report), expected);
        let sources = report
            .entries
            .iter()
            .filter(|entry| entry.stat_type() == "media-source");
        assert_eq!(sources.count(), 1);
        assert_eq!(call.pair.pc(0).get_receiver_stats(now, id).unwrap().entries, []);
    }
    let there = call
        .pair
        .pc(1)
        .transceivers()
        .find(|own| own.kind().as_str() == "video")
        .unwrap()
        .id();
    let report = call.pair.pc(1).get_receiver_stats(now, there).unwrap();
    assert_eq!(report.inbound_rtp().map(|own| own.kind).collect::<Vec<_>>(), ["video"]);
    assert!(types(&report).contains(&"remote-outbound-rtp"));
    call.pair.call(1, |pc, _| pc.stop_transceiver(there)).unwrap();
}

//! `getStats` of streams of RTP: from what `media` counts to entries.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use antiphon_media::{InboundRtp, Kind, OutboundRtp, Played, Resolution};

use super::collect::TRANSPORT;
use crate::connection::PeerConnection;
use crate::stats::{
    AudioPlayoutStats, AudioSourceStats, CodecStats, InboundRtpStats, OutboundRtpStats, RemoteInboundRtpStats,
    RemoteOutboundRtpStats, RtcStats, VideoSourceStats,
};
use crate::transceivers::Encoding;

/// The id of the entry of where sound is played.
const PLAYOUT: &str = "AP";
/// Seconds from 1900, where NTP begins, to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Audio => "audio",
        Kind::Video => "video",
    }
}

/// Milliseconds since 1970 of an NTP time. RFC 4330 §3: what is before 1968 is after 2036, where NTP begins anew.
fn unix_milliseconds(ntp: u64) -> f64 {
    let era = if ntp >> 63 == 0 { 1 << 32 } else { 0 };
    let seconds = (ntp >> 32) + era - NTP_TO_UNIX;
    seconds as f64 * 1000.0 + (ntp & 0xffff_ffff) as f64 * 1000.0 / (1u64 << 32) as f64
}

fn size(resolution: Option<Resolution>) -> (Option<u32>, Option<u32>) {
    (resolution.map(|size| size.width), resolution.map(|size| size.height))
}

/// The id of the entry of what a section sends.
fn source_id(own: Kind, mid: &str) -> String {
    format!("S{}{mid}", if own == Kind::Video { 'V' } else { 'A' })
}

/// What is played now, by the peer's clock, in milliseconds since 1970.
fn playing(last: Played, now: Instant) -> f64 {
    unix_milliseconds(last.ntp) + now.saturating_duration_since(last.at).as_secs_f64() * 1000.0
}

/// A stream that we receive.
fn inbound(from: InboundRtp, now: Instant, last_packet: Option<f64>) -> InboundRtpStats {
    let video = from.kind == Kind::Video;
    let (frame_width, frame_height) = size(from.frames.resolution);
    let sound = from.sound.unwrap_or_default();
    let decoder = from.decoder.unwrap_or_default();
    let playout = from.playout;
    let buffered = Some(playout).filter(|own| own.target_delay > Duration::ZERO);
    let played = buffered.filter(|_| !video);
    let shown = Some(playout).filter(|own| video && own.jitter_buffer_emitted_count > 0);
    InboundRtpStats {
        id: format!("IT{}", from.ssrc),
        track_identifier: None,
        ssrc: from.ssrc,
        kind: kind(from.kind),
        transport_id: TRANSPORT.into(),
        codec_id: None,
        mid: from.mid,
        rid: from.rid,
        rtx_ssrc: from.rtx_ssrc,
        fec_ssrc: from.fec_ssrc,
        remote_id: from.remote.map(|_| format!("ROA{}", from.ssrc)),
        playout_id: None,
        packets_received: from.packets_received,
        packets_received_with_ect1: from.marks.ect1,
        packets_received_with_ce: from.marks.ce,
        bytes_received: from.bytes_received,
        header_bytes_received: from.header_bytes_received,
        last_packet_received_timestamp: last_packet,
        packets_lost: from.packets_lost,
        jitter: from.jitter,
        retransmitted_packets_received: from.repaired.retransmitted_packets_received,
        retransmitted_bytes_received: from.repaired.retransmitted_bytes_received,
        fec_packets_received: from.repaired.fec_packets_received,
        fec_bytes_received: from.repaired.fec_bytes_received,
        fec_packets_discarded: from.repaired.fec_packets_discarded,
        packets_recovered: from.repaired.packets_recovered,
        packets_recovered_by_red: from.repaired.recovered_by_red,
        packets_recovered_by_ulpfec: from.repaired.recovered_by_ulpfec,
        packets_recovered_by_flexfec: from.repaired.recovered_by_flexfec,
        nack_count: from.nack_count,
        pli_count: from.pli_count,
        fir_count: from.fir_count,
        frames_received: from.frames.received,
        key_frames_received: video.then_some(from.frames.key_frames),
        frames_dropped: from.frames.dropped + decoder.frames_dropped.unwrap_or(0),
        frames_per_second: from.frames.rate.per_second(now).filter(|_| video),
        frame_width,
        frame_height,
        frames_assembled_from_multiple_packets: video.then_some(from.frames.of_several_packets),
        total_assembly_time: video.then_some(from.frames.assembly_time),
        jitter_buffer_delay: playout.jitter_buffer_delay,
        jitter_buffer_emitted_count: playout.jitter_buffer_emitted_count,
        jitter_buffer_target_delay: buffered.map(|own| own.jitter_buffer_target_delay),
        jitter_buffer_minimum_delay: buffered.map(|own| own.jitter_buffer_minimum_delay),
        estimated_playout_timestamp: playout.played.map(|played| playing(played, now)),
        concealed_samples: played.map(|own| own.concealed_samples),
        silent_concealed_samples: played.map(|own| own.silent_concealed_samples),
        concealment_events: played.map(|own| own.concealment_events),
        inserted_samples_for_deceleration: played.map(|own| own.inserted_samples_for_deceleration),
        removed_samples_for_acceleration: played.map(|own| own.removed_samples_for_acceleration),
        total_inter_frame_delay: shown.map(|own| own.total_inter_frame_delay),
        total_squared_inter_frame_delay: shown.map(|own| own.total_squared_inter_frame_delay),
        freeze_count: shown.map(|own| own.freeze_count),
        total_freezes_duration: shown.map(|own| own.total_freezes_duration),
        pause_count: shown.map(|own| own.pause_count),
        total_pauses_duration: shown.map(|own| own.total_pauses_duration),
        packets_discarded: from.packets_discarded,
        audio_level: sound.level,
        total_audio_energy: sound.energy,
        total_samples_duration: (!video).then_some(sound.duration),
        total_samples_received: (!video).then(|| played.map_or(sound.samples, |own| own.total_samples_received)),
        frames_decoded: decoder.frames_decoded,
        key_frames_decoded: decoder.key_frames_decoded,
        frames_rendered: decoder.frames_rendered,
        qp_sum: decoder.qp_sum,
        total_decode_time: decoder.decode_time,
        decoder_implementation: decoder.implementation,
        power_efficient_decoder: decoder.power_efficient,
    }
}

/// What the peer says of its sending.
fn remote_outbound(from: &InboundRtp, codec_id: Option<String>) -> Option<RemoteOutboundRtpStats> {
    let remote = from.remote?;
    Some(RemoteOutboundRtpStats {
        id: format!("ROA{}", from.ssrc),
        ssrc: from.ssrc,
        kind: kind(from.kind),
        transport_id: TRANSPORT.into(),
        codec_id,
        local_id: format!("IT{}", from.ssrc),
        packets_sent: remote.packets_sent,
        bytes_sent: remote.bytes_sent,
        reports_sent: remote.reports_sent,
        remote_timestamp: unix_milliseconds(remote.ntp),
        ntp_timestamp: remote.ntp,
        rtp_timestamp: remote.rtp_timestamp,
        round_trip_time: remote.round_trip_time,
        total_round_trip_time: remote.total_round_trip_time,
        round_trip_time_measurements: remote.round_trip_time_measurements,
    })
}

/// A stream that we send.
fn outbound(from: OutboundRtp, now: Instant) -> OutboundRtpStats {
    let video = from.kind == Kind::Video;
    let (frame_width, frame_height) = size(from.frames.resolution);
    let limited = from.limitations.durations(now).map(|durations| {
        let seconds = durations.map(|(reason, length)| (reason.as_str(), length.as_secs_f64()));
        seconds.to_vec()
    });
    let encoder = from.encoder.unwrap_or_default();
    OutboundRtpStats {
        id: format!("OT{}", from.ssrc),
        ssrc: from.ssrc,
        kind: kind(from.kind),
        transport_id: TRANSPORT.into(),
        codec_id: None,
        mid: from.mid,
        rid: from.rid,
        media_source_id: None,
        encoding_index: None,
        rtx_ssrc: from.rtx_ssrc,
        remote_id: from.remote.map(|_| format!("RIA{}", from.ssrc)),
        active: from.active,
        packets_sent: from.packets_sent,
        packets_sent_with_ect1: from.packets_sent_with_ect1,
        bytes_sent: from.bytes_sent,
        header_bytes_sent: from.header_bytes_sent,
        retransmitted_packets_sent: from.repairs.retransmitted_packets_sent,
        retransmitted_bytes_sent: from.repairs.retransmitted_bytes_sent,
        retransmissions_refused: from.repairs.retransmissions_refused,
        fec_packets_sent: from.repairs.fec_packets_sent,
        fec_bytes_sent: from.repairs.fec_bytes_sent,
        padding_packets_sent: from.repairs.padding_packets_sent,
        padding_bytes_sent: from.repairs.padding_bytes_sent,
        frames_sent: from.frames.sent,
        key_frames_sent: video.then_some(from.frames.key_frames),
        huge_frames_sent: video.then_some(from.frames.huge),
        frames_encoded: from.frames.encoded.filter(|_| video),
        key_frames_encoded: from.frames.key_frames_encoded.filter(|_| video),
        frames_per_second: from.frames.rate.per_second(now).filter(|_| video),
        frame_width,
        frame_height,
        frames_refused: from.frames.refused,
        packets_too_large: from.packets_too_large,
        nack_count: from.nack_count,
        pli_count: from.pli_count,
        fir_count: from.fir_count,
        total_packet_send_delay: from.total_packet_send_delay,
        circuit_breaker_trips: from.circuit_breaker_trips,
        target_bitrate: from.target_bitrate,
        total_encoded_bytes_target: from.frames.encoded.filter(|_| video).map(|_| from.frames.target_bytes),
        quality_limitation_reason: from.limitations.reason().map(|reason| reason.as_str()),
        quality_limitation_durations: limited,
        quality_limitation_resolution_changes: encoder.resolution_changes,
        scalability_mode: encoder.scalability_mode,
        qp_sum: encoder.qp_sum,
        total_encode_time: encoder.encode_time,
        encoder_implementation: encoder.implementation,
        power_efficient_encoder: encoder.power_efficient,
    }
}

/// What the peer says of its receiving.
fn remote_inbound(from: &OutboundRtp, codec_id: Option<String>) -> Option<RemoteInboundRtpStats> {
    let remote = from.remote?;
    let feedback = remote.feedback;
    Some(RemoteInboundRtpStats {
        id: format!("RIA{}", from.ssrc),
        ssrc: from.ssrc,
        kind: kind(from.kind),
        transport_id: TRANSPORT.into(),
        codec_id,
        local_id: format!("OT{}", from.ssrc),
        packets_received: remote.packets_received,
        packets_received_with_ect1: feedback.map(|told| told.with_ect1),
        packets_received_with_ce: feedback.map(|told| told.with_ce),
        packets_with_bleached_ect1_marking: feedback.map(|told| told.bleached),
        packets_reported_as_lost: feedback.map(|told| told.lost),
        packets_reported_as_lost_but_recovered: feedback.map(|told| told.recovered),
        packets_lost: remote.packets_lost,
        fraction_lost: remote.fraction_lost,
        jitter: remote.jitter,
        round_trip_time: remote.round_trip_time,
        total_round_trip_time: remote.total_round_trip_time,
        round_trip_time_measurements: remote.round_trip_time_measurements,
    })
}

/// What the streams of one section are made from: the frames that the application hands over.
fn source(id: String, track: Option<&str>, streams: &[&OutboundRtp], now: Instant) -> Option<RtcStats> {
    let given = |from: &&&OutboundRtp| from.frames.encoded.is_some();
    let first = streams.first()?;
    let handed_over = streams.iter().any(|from| given(&from));
    if track.is_none() && !handed_over {
        return None;
    }
    let track_identifier = track.map(str::to_owned);
    if first.kind == Kind::Audio {
        let sound = first.sound;
        return Some(RtcStats::AudioSource(AudioSourceStats {
            id,
            track_identifier,
            kind: "audio",
            audio_level: sound.and_then(|sound| sound.level),
            total_audio_energy: sound.and_then(|sound| sound.energy),
            total_samples_duration: sound.map(|sound| sound.duration),
        }));
    }
    let area = |from: &&&OutboundRtp| {
        let size = from.frames.resolution;
        size.map_or(0, |size| u64::from(size.width) * u64::from(size.height))
    };
    let largest = streams.iter().filter(given).max_by_key(area);
    let (width, height) = size(largest.and_then(|from| from.frames.resolution));
    Some(RtcStats::VideoSource(VideoSourceStats {
        id,
        track_identifier,
        kind: "video",
        width,
        height,
        frames: largest.and_then(|from| from.frames.encoded),
        frames_per_second: largest.and_then(|from| from.frames.rate.per_second(now)),
    }))
}

impl PeerConnection {
    pub(super) fn media_stats(&self, now: Instant, stats: &antiphon_media::Stats, entries: &mut Vec<RtcStats>) {
        let mut codecs = BTreeMap::new();
        for from in &stats.inbound {
            let payload_type = from.codec.as_ref().map(|codec| codec.payload_type);
            let codec_id = self.codec(&mut codecs, false, &from.mid, payload_type);
            let last_packet = from
                .last_packet_received
                .map(|at| self.anchor.unix(at).as_secs_f64() * 1000.0);
            let transceiver = self.transceivers.by_receiver.get(&from.receiver);
            let row = transceiver.and_then(|id| self.transceivers.row(*id).ok());
            entries.push(RtcStats::InboundRtp(InboundRtpStats {
                track_identifier: row.and_then(|row| row.remote_track.as_deref().map(str::to_owned)),
                codec_id: codec_id.clone(),
                playout_id: (from.kind == Kind::Audio && self.playout.is_some()).then(|| PLAYOUT.to_owned()),
                ..inbound(from.clone(), now, last_packet)
            }));
            entries.extend(remote_outbound(from, codec_id).map(RtcStats::RemoteOutboundRtp));
        }
        let mut sections: BTreeMap<&str, Vec<&OutboundRtp>> = BTreeMap::new();
        for from in &stats.outbound {
            sections.entry(&from.mid).or_default().push(from);
        }
        for (mid, streams) in sections {
            let transceiver = self.transceivers().find(|own| own.mid() == Some(mid));
            let row = transceiver.and_then(|own| self.transceivers.row(own.id()).ok());
            let track = row.and_then(|row| row.track());
            let id = streams.first().map(|first| source_id(first.kind, mid));
            let source = id.clone().and_then(|id| source(id, track, &streams, now));
            let media_source_id = id.filter(|_| source.is_some());
            entries.extend(source);
            for from in streams {
                let payload_type = from.codec.as_ref().map(|codec| codec.payload_type);
                let codec_id = self.codec(&mut codecs, true, mid, payload_type);
                let is_it = |own: &Encoding| own.sender == Some(from.sender);
                let encoding_index = row.and_then(|row| row.encodings.iter().position(is_it));
                let encoding = row.zip(encoding_index).and_then(|(row, at)| row.encodings.get(at));
                let own = outbound(from.clone(), now);
                let wished = encoding.and_then(|own| own.wishes.scalability_mode.clone());
                entries.push(RtcStats::OutboundRtp(OutboundRtpStats {
                    codec_id: codec_id.clone(),
                    media_source_id: media_source_id.clone(),
                    encoding_index,
                    scalability_mode: own.scalability_mode.clone().or(wished),
                    ..own
                }));
                entries.extend(remote_inbound(from, codec_id).map(RtcStats::RemoteInboundRtp));
            }
        }
        entries.extend(codecs.into_values().map(RtcStats::Codec));
        entries.extend(self.playout.as_deref().map(|from| {
            RtcStats::AudioPlayout(AudioPlayoutStats {
                id: PLAYOUT.into(),
                kind: "audio",
                synthesized_samples_duration: from.synthesized,
                synthesized_samples_events: from.synthesized_events,
                total_samples_duration: from.played,
                total_playout_delay: from.delay,
                total_samples_count: from.samples,
            })
        }));
    }

    /// The id of the entry of a codec in use, which is made if it is new.
    fn codec(
        &self,
        codecs: &mut BTreeMap<String, CodecStats>,
        outbound: bool,
        mid: &str,
        payload_type: Option<u8>,
    ) -> Option<String> {
        let payload_type = payload_type?;
        let transceiver = self.transceivers().find(|own| own.mid() == Some(mid))?;
        let list = if outbound {
            &transceiver.send()?.codecs
        } else {
            &transceiver.receive()?.codecs
        };
        let codec = list.iter().find(|codec| codec.payload_type == payload_type)?;
        let id = format!("C{}{mid}_{payload_type}", if outbound { 'O' } else { 'I' });
        codecs.entry(id.clone()).or_insert_with(|| CodecStats {
            id: id.clone(),
            payload_type,
            transport_id: TRANSPORT.into(),
            mime_type: format!("{}/{}", transceiver.kind(), codec.name),
            clock_rate: codec.clock_rate,
            channels: codec.channels,
            sdp_fmtp_line: (!codec.parameters.is_empty()).then(|| codec.parameters.clone()),
        });
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_is_told_in_the_time_of_the_world() {
        assert_eq!(unix_milliseconds(NTP_TO_UNIX << 32), 0.0);
        assert_eq!(unix_milliseconds((NTP_TO_UNIX + 1) << 32 | 1 << 31), 1500.0);
        // February 2036.
        assert_eq!(unix_milliseconds(0), 2_085_978_496_000.0);
    }
}

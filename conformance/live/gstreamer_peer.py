"""GStreamer's webrtcbin (Debian's gstreamer1.0-plugins-bad) as a peer of foreign.mjs: /usr/bin/python3 gstreamer_peer.py

One command of JSON a line on standard input, one event a line on standard output (foreign_pipe.mjs has the words).
It encodes and decodes VP8 by itself; sound it counts by packets.
"""

import base64
import json
import re
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

Gst.init(None)

# The payloaders make packets of 1400 bytes, if nobody says otherwise, and nobody does.
PICTURES = "videotestsrc is-live=true pattern=snow ! video/x-raw,width=320,height=240,framerate=15/1 ! queue ! "
SOURCES = {
    "VP8": PICTURES + "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15 target-bitrate=600000 ! rtpvp8pay name=pay",
    "H264": PICTURES + "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 bitrate=600 ! "
    "video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 aggregate-mode=zero-latency name=pay",
    "OPUS": "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! queue ! opusenc ! rtpopuspay name=pay",
}
DEPAYLOADERS = {"VP8": "rtpvp8depay ! vp8dec ! ", "H264": "rtph264depay ! openh264dec ! ", "OPUS": ""}
RATES = {"video": 90000, "audio": 48000}
BUFFERED = 256 * 1024


def say(event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class Peer:
    def __init__(self):
        self.pipeline = Gst.Pipeline.new("peer")
        self.webrtc = Gst.ElementFactory.make("webrtcbin", "webrtc")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.webrtc)
        self.channels = {}
        self.counts = {}
        self.numbers = {"video": 0, "audio": 0}
        self.sources = {"video": 0, "audio": 0}
        self.payload_types = {"video": 96, "audio": 111}
        self.codec = "VP8"
        # Promises and their replies live as long as the peer: Python frees them under GStreamer's hands otherwise.
        self.kept = []
        self.webrtc.connect("on-ice-candidate", self.candidate_found)
        self.webrtc.connect("notify::connection-state", self.state_changed)
        self.webrtc.connect("on-data-channel", lambda _, channel: self.serve(channel))
        self.webrtc.connect("pad-added", self.track_came)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.trouble)
        self.pipeline.set_state(Gst.State.PLAYING)

    def trouble(self, _, message):
        error, detail = message.parse_error()
        print(f"gstreamer: {error.message}: {detail}", file=sys.stderr, flush=True)
        # Applications end at the first: an association that was aborted is such an error, and nothing else tells of it.
        say({"event": "trouble", "message": detail.splitlines()[-1] if detail else error.message})

    def candidate_found(self, _, line, candidate):
        if candidate:
            say({"event": "candidate", "candidate": {"candidate": candidate, "sdpMLineIndex": line}})

    def state_changed(self, webrtc, _):
        state = webrtc.get_property("connection-state").value_nick
        say({"event": "state", "state": state})

    def serve(self, channel):
        label = channel.get_property("label")
        self.channels[label] = channel
        channel.connect("on-open", lambda _: say({"event": "open", "label": label}))
        channel.connect("on-close", lambda _: say({"event": "shut", "label": label}))
        channel.connect("on-error", lambda _, error: print(f"gstreamer: channel {label}: {error.message}", file=sys.stderr))
        channel.connect("on-message-string", lambda _, text: say({"event": "message", "label": label, "text": text or ""}))
        channel.connect("on-message-data", lambda _, data: say(self.message(label, data)))
        if channel.get_property("ready-state") == GstWebRTC.WebRTCDataChannelState.OPEN:
            say({"event": "open", "label": label})

    @staticmethod
    def message(label, data):
        data = data.get_data() if data else b""
        return {"event": "message", "label": label, "data": base64.b64encode(data).decode()}

    def track_came(self, _, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        caps = pad.get_current_caps() or pad.query_caps(None)
        kind = caps.get_structure(0).get_string("media")
        key = f"{kind}{self.numbers[kind]}"
        self.numbers[kind] += 1
        self.counts[key] = 0
        decoder = DEPAYLOADERS[caps.get_structure(0).get_string("encoding-name")]
        sink = Gst.parse_bin_from_description(f"queue ! {decoder}fakesink name=sink sync=false async=false signal-handoffs=true", True)
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        sink.get_by_name("sink").connect("handoff", lambda *_: self.count(key))
        pad.link(sink.get_static_pad("sink"))

    def count(self, key):
        self.counts[key] += 1

    def media(self, kind, direction="sendrecv"):
        codec = self.codec if kind == "video" else "OPUS"
        source = Gst.parse_bin_from_description(SOURCES[codec] + " ! capsfilter name=caps", True)
        number = self.payload_types[kind]
        source.get_by_name("pay").set_property("pt", number)
        caps = f"application/x-rtp,media={kind},encoding-name={codec},clock-rate={RATES[kind]},payload={number}"
        caps = Gst.Caps.from_string(caps)
        source.get_by_name("caps").set_property("caps", caps)
        self.pipeline.add(source)
        pad = self.webrtc.request_pad(self.webrtc.get_pad_template("sink_%u"), None, caps)
        pad.get_property("transceiver").set_property("direction", getattr(GstWebRTC.WebRTCRTPTransceiverDirection, direction.upper()))
        source.get_static_pad("src").link(pad)
        source.sync_state_with_parent()
        self.sources[kind] += 1

    def described(self, signal, argument, promised, done):
        """Has a description made and set; `done` gets its text."""

        def made(promise, *_):
            reply = promise.get_reply()
            self.kept.append((promise, reply))
            description = reply.get_value(promised)
            self.kept.append(description)
            text = description.sdp.as_text()
            settle = Gst.Promise.new_with_change_func(lambda *_: GLib.idle_add(done, text), None)
            self.kept.append(settle)
            self.webrtc.emit("set-local-description", description, settle)

        promise = Gst.Promise.new_with_change_func(made, None)
        self.kept.append(promise)
        self.webrtc.emit(signal, argument, promise)

    def take_remote(self, kind, sdp, done):
        _, message = GstSdp.SDPMessage.new_from_text(sdp)
        description = GstWebRTC.WebRTCSessionDescription.new(kind, message)
        def changed(promise, *_):
            reply = promise.get_reply()
            self.kept.append((promise, reply))
            error = reply.get_value("error").message if reply and reply.has_field("error") else None
            GLib.idle_add(done, error)
        promise = Gst.Promise.new_with_change_func(changed, None)
        self.kept += [promise, description, message]
        self.webrtc.emit("set-remote-description", description, promise)

    def answer(self, sdp, reply):
        for kind, name in (("video", self.codec), ("audio", "OPUS")):
            found = re.search(rf"^a=rtpmap:(\d+) {name}/", sdp, re.MULTILINE | re.IGNORECASE)
            if found:
                self.payload_types[kind] = int(found.group(1))

        def taken(error):
            if error:
                reply({"error": error})
                return
            for kind in ("video", "audio"):
                while self.sources[kind] < len(re.findall(rf"^m={kind} ", sdp, re.MULTILINE)):
                    self.media(kind)
            self.described("create-answer", None, "answer", lambda text: reply({"sdp": text}))

        self.take_remote(GstWebRTC.WebRTCSDPType.OFFER, sdp, taken)

    def offer(self, complete, reply):
        # Sections have their codecs when the encoders have said what they make.
        waiting = [pad for pad in self.webrtc.sinkpads if not pad.has_current_caps()]
        if waiting:
            GLib.timeout_add(20, lambda: self.offer(complete, reply))
        else:
            done = self.gathered if complete else lambda text, reply: reply({"sdp": text})
            self.described("create-offer", None, "offer", lambda text: done(text, reply))
        return False

    def gathered(self, _, reply):
        if self.webrtc.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.timeout_add(20, lambda: self.gathered(None, reply))
        else:
            description = self.webrtc.get_property("local-description")
            self.kept.append(description)
            reply({"sdp": description.sdp.as_text()})
        return False

    def send(self, channel, command, reply):
        if channel.get_property("buffered-amount") > BUFFERED:
            GLib.timeout_add(1, lambda: self.send(channel, command, reply))
            return False
        if command.get("text") is not None:
            channel.emit("send-string", command["text"])
        else:
            channel.emit("send-data", GLib.Bytes.new(base64.b64decode(command["data"])))
        reply({})
        return False

    def perform(self, command):
        def reply(fields):
            say({"event": "reply", "id": command["id"], **fields})

        do = command["do"]
        if do == "media":
            self.codec = command["codec"]
            self.media(command["kind"], command["direction"])
            reply({})
        elif do == "channel":
            self.serve(self.webrtc.emit("create-data-channel", command["label"], None))
            reply({})
        elif do == "offer":
            self.offer(command["complete"], reply)
        elif do == "answer":
            self.answer(command["sdp"], reply)
        elif do == "accept":
            self.take_remote(GstWebRTC.WebRTCSDPType.ANSWER, command["sdp"], lambda error: reply({"error": error} if error else {}))
        elif do == "candidate":
            candidate = command["candidate"]
            self.webrtc.emit("add-ice-candidate", candidate.get("sdpMLineIndex") or 0, candidate["candidate"])
            reply({})
        elif do == "send":
            self.send(self.channels[command["label"]], command, reply)
        elif do == "counts":
            reply({"counts": dict(self.counts)})
        elif do == "close":
            self.pipeline.set_state(Gst.State.NULL)
            reply({})
        else:
            reply({"error": f"unknown command {do}"})
        return False


def main():
    peer = Peer()
    loop = GLib.MainLoop()

    def read():
        for line in sys.stdin:
            GLib.idle_add(peer.perform, json.loads(line))
        GLib.idle_add(loop.quit)

    threading.Thread(target=read, daemon=True).start()
    loop.run()


main()

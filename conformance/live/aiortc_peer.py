"""aiortc against `antiphon serve`: python aiortc_peer.py http://127.0.0.1:8080

As offerer and as answerer: video frames decoded, audio energy, messages echoed with equal hash; in both DTLS roles.
"""

import asyncio
import hashlib
import json
import os
import sys
import traceback

import aiohttp
import numpy
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

PEER = "aiortc"
WATCH_SECONDS = 6
MESSAGE_BYTES = 32 * 1024
MESSAGES = 32
# As in kinds.mjs; aiortc takes and announces messages of at most 64 KiB.
SIZES = (1, 1200, 16384, 65535)
KINDS = {
    "reliable": {},
    "unordered": {"ordered": False},
    "maxRetransmits": {"ordered": False, "maxRetransmits": 5},
    "maxPacketLifeTime": {"maxPacketLifeTime": 20_000},
}


def cell(role, feature, value, ok):
    print(json.dumps({"peer": PEER, "role": role, "feature": feature, "value": value, "ok": bool(ok)}), flush=True)


async def kinds(pc, role):
    for kind, init in KINDS.items():
        channel = pc.createDataChannel(kind, **init)
        opened, echoed = asyncio.Event(), asyncio.Queue()
        channel.on("open", opened.set)
        channel.on("message", echoed.put_nowait)
        await asyncio.wait_for(opened.wait(), 20)
        equal = True
        for size in SIZES:
            sent = os.urandom(size)
            channel.send(sent)
            equal &= await asyncio.wait_for(echoed.get(), 20) == sent
        channel.close()
        cell(role, kind, f"1 B to 64 KiB {'equal' if equal else 'UNEQUAL'}", equal)


class Seen:
    """What the decoders gave us."""

    def __init__(self):
        self.frames, self.size, self.energy = 0, "", 0.0

    async def take(self, track):
        try:
            while True:
                frame = await track.recv()
                if track.kind == "video":
                    self.frames += 1
                    self.size = f"{frame.width}x{frame.height}"
                else:
                    samples = frame.to_ndarray().astype(numpy.float64) / 32768
                    self.energy += float(numpy.mean(samples**2))
        except Exception:  # the track ended
            return


def security(role, active_offers, server):
    client = (role == "answers") != active_offers
    ok = server["dtls"] == "DTLS 1.2" and server["group"] and server["srtp"]
    ok = ok and server["dtls_role"] == ("server" if client else "client")
    value = f"{server['dtls']}, {server['group']}, {server['cipher']}, {server['srtp']}"
    cell(role, f"DTLS {'client' if client else 'server'}", value, ok)


async def session(url, role, active_offers, relay):
    """With active_offers whoever answers sees a=setup:active instead of actpass, and becomes the DTLS server.

    With relay, the name of a way through a TURN server, nothing but the messages and the server's address is looked at.
    """

    def edit(kind, sdp):
        if kind == "offer" and active_offers:
            return sdp.replace("a=setup:actpass", "a=setup:active")
        return sdp

    pc = RTCPeerConnection()
    report, secured = {}, asyncio.Event()
    seen = Seen()
    takers = []
    pc.on("track", lambda track: takers.append(asyncio.ensure_future(seen.take(track))))
    channel_open = asyncio.get_running_loop().create_future()

    async with aiohttp.ClientSession() as http, http.ws_connect(url + "/ws", max_msg_size=0) as ws:

        async def describe(description):
            await pc.setLocalDescription(description)
            local = pc.localDescription
            await ws.send_json({"type": local.type, "sdp": edit(local.type, local.sdp)})

        async def listen():
            async for message in ws:
                data = json.loads(message.data)
                if data["type"] in ("offer", "answer"):
                    sdp = edit(data["type"], data["sdp"])
                    await pc.setRemoteDescription(RTCSessionDescription(sdp, data["type"]))
                    if data["type"] == "offer":
                        await describe(await pc.createAnswer())
                elif data["type"] == "candidate" and data.get("candidate"):
                    init = data["candidate"]
                    if not init.get("candidate"):
                        continue
                    candidate = candidate_from_sdp(init["candidate"].removeprefix("candidate:"))
                    candidate.sdpMid = init.get("sdpMid")
                    candidate.sdpMLineIndex = init.get("sdpMLineIndex")
                    await pc.addIceCandidate(candidate)
                elif data["type"] == "stats":
                    report.update(data["stats"])
                    if report.get("group"):
                        secured.set()
                elif data["type"] == "error":
                    print("server:", data, file=sys.stderr)

        async def listening():
            try:
                await listen()
            except Exception:
                traceback.print_exc()

        listener = asyncio.ensure_future(listening())
        if role == "offers":
            pc.addTransceiver("video", direction="recvonly")
            pc.addTransceiver("audio", direction="recvonly")
            channel = pc.createDataChannel("echo")
            channel.on("open", lambda: channel_open.set_result(channel))
            await describe(await pc.createOffer())
        else:

            @pc.on("datachannel")
            def incoming(channel):
                if channel.label == "echo":
                    channel_open.set_result(channel)

            await ws.send_json({"type": "start", "mode": "watch", "offerer": "server"})
        channel = await asyncio.wait_for(channel_open, 30)

        sent, received, done = [], [], asyncio.Event()

        @channel.on("message")
        def message(data):
            received.append(hashlib.sha256(data).hexdigest())
            if len(received) == MESSAGES:
                done.set()

        for _ in range(MESSAGES):
            data = os.urandom(MESSAGE_BYTES)
            sent.append(hashlib.sha256(data).hexdigest())
            channel.send(data)
        await asyncio.wait_for(done.wait(), 60)

        await asyncio.wait_for(secured.wait(), 30)
        if relay:
            equal = sent == received
            value = f"{report['local']}, {MESSAGES * MESSAGE_BYTES} bytes {'equal' if equal else 'UNEQUAL'}"
            cell(role, relay, value, equal and report["local"].startswith("relay"))
        else:
            security(role, active_offers, report)
        # The media is measured once.
        if not active_offers and not relay:
            await kinds(pc, role)
            cell(role, "chunks", report["sctp"], report["sctp"] == "DATA")
            frames, energy = seen.frames, seen.energy
            await asyncio.sleep(WATCH_SECONDS)
            frames, energy = seen.frames - frames, seen.energy - energy
            cell(role, "video", f"{frames} frames of {seen.size} in {WATCH_SECONDS} s", frames >= 60)
            cell(role, "audio", f"energy {energy:.2f}", energy > 0.01)
            equal = sent == received
            cell(role, "data", f"{MESSAGES * MESSAGE_BYTES} bytes, {'equal' if equal else 'UNEQUAL'} hash", equal)
        listener.cancel()
        for taker in takers:
            taker.cancel()
        await pc.close()


async def main():
    failed = False
    for role in ("offers", "answers"):
        relay = sys.argv[2] if len(sys.argv) > 2 else None
        for active_offers in (False,) if relay else (False, True):
            try:
                await session(sys.argv[1], role, active_offers, relay)
            except Exception:
                traceback.print_exc()
                failed = True
    sys.exit(1 if failed else 0)


asyncio.run(main())

"""A bad link between two network namespaces, without netem, which not every kernel has:

    python3 lossy_link.py NAMESPACE NAMESPACE LOSS_PERCENT LATE_PERCENT

Makes the interface "link" in both and prints "ready". Of the UDP packets (of IPv4) that go through, a part is lost and another
part comes late, behind others that were sent after them. Commands on standard input: "cut" (nothing comes through any more),
"mend", "count" (prints "passed PACKETS BYTES lost PACKETS late PACKETS", of both directions). Ends with its input.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
UDP = 17
DELAY, LATE = 0.005, 0.010
# What waits beyond this is dropped, as by any router.
MAX_WAITING = 4096
BATCH = 64

libc = ctypes.CDLL(None, use_errno=True)


def tun(namespace):
    with open(f"/run/netns/{namespace}", "rb") as room:
        if libc.setns(room.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"link", IFF_TUN | IFF_NO_PI))
    return fd


def main():
    ends = [tun(name) for name in sys.argv[1:3]]
    loss, late = (float(word) / 100 for word in sys.argv[3:5])
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    chance = random.Random(20).random
    waiting, number, cut = [], 0, False
    passed = passed_bytes = lost = delayed = 0
    poll = select.poll()
    for fd in (*ends, 0):
        poll.register(fd, select.POLLIN)
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, out, packet = heapq.heappop(waiting)
            try:
                os.write(out, packet)
                passed += 1
                passed_bytes += len(packet)
            except OSError:
                # The interface is not up yet, or no more.
                lost += 1
        wait = max(waiting[0][0] - now, 0) * 1000 if waiting else None
        for fd, _ in poll.poll(wait):
            if fd == 0:
                heard = os.read(0, 1024)
                if not heard:
                    return
                # A word and the end of its line may come one after the other.
                for word in heard.decode().split():
                    if word == "count":
                        print(f"passed {passed} {passed_bytes} lost {lost} late {delayed}", flush=True)
                    else:
                        cut = word == "cut"
                continue
            now = time.monotonic()
            for _ in range(BATCH):
                try:
                    packet = os.read(fd, 65536)
                except BlockingIOError:
                    break
                udp = packet[0] >> 4 == 4 and packet[9] == UDP
                if cut or len(waiting) >= MAX_WAITING or (udp and chance() < loss):
                    lost += 1
                    continue
                due = now + DELAY
                if udp and chance() < late:
                    due += LATE * chance()
                    delayed += 1
                number += 1
                heapq.heappush(waiting, (due, number, other[fd], packet))


main()

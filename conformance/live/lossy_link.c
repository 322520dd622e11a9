/*
 * A bad link between two network namespaces, without netem, which not every kernel has:
 *
 *   lossy_link NAMESPACE NAMESPACE LOSS_PERCENT LATE_PERCENT
 *
 * Makes the interface "link" in both and prints "ready". Everything takes 5 ms; of the UDP packets (of IPv4) a part is lost, and
 * another part comes up to 10 ms late, behind others that were sent after them. Commands on standard input: "cut" (nothing comes
 * through any more), "mend", "count" (prints "passed PACKETS BYTES lost PACKETS late PACKETS full PACKETS", of both directions;
 * those that found too many waiting are among the lost). Ends with its input.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define DELAY 5000000
#define LATE 10000000
/* What waits beyond this is dropped, as by any router. */
#define MAX_WAITING 8192
#define MTU 2048
#define BATCH 64
/* Packets leave in order of these times: a wheel of lists, in nanoseconds a slot. */
#define SLOT 50000
#define SLOTS 4096

struct packet {
	struct packet *next;
	int out;
	ssize_t len;
	unsigned char bytes[MTU];
};

static struct packet packets[MAX_WAITING], *unused;
static struct {
	struct packet *first, **last;
} wheel[SLOTS];
static unsigned waiting;
static unsigned long long passed, passed_bytes, lost, late, full;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* From 0 to 1 (xorshift64*). */
static double chance(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15;
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (double)((state * 0x2545f4914f6cdd1dULL) >> 11) / 9007199254740992.0;
}

static int tun(const char *namespace)
{
	char path[256];
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	snprintf(path, sizeof path, "/run/netns/%s", namespace);
	int room = open(path, O_RDONLY | O_CLOEXEC);
	if (room < 0 || setns(room, CLONE_NEWNET) != 0)
		fail(path);
	close(room);
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	strcpy(request.ifr_name, "link");
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
		fail("/dev/net/tun");
	return fd;
}

/* Lets out what is due before `slot`. */
static void let_out(int64_t *done, int64_t slot)
{
	for (; *done < slot; ++*done) {
		struct packet *packet = wheel[*done % SLOTS].first;
		while (packet) {
			struct packet *next = packet->next;
			if (write(packet->out, packet->bytes, packet->len) == packet->len) {
				passed++;
				passed_bytes += packet->len;
			} else {
				/* The interface is not up yet, or no more. */
				lost++;
			}
			packet->next = unused;
			unused = packet;
			waiting--;
			packet = next;
		}
		wheel[*done % SLOTS].first = NULL;
		wheel[*done % SLOTS].last = &wheel[*done % SLOTS].first;
		if (!waiting)
			*done = slot - 1;
	}
}

int main(int count, char **words)
{
	if (count != 5) {
		fprintf(stderr, "usage: lossy_link NAMESPACE NAMESPACE LOSS_PERCENT LATE_PERCENT\n");
		return 2;
	}
	int ends[2] = {tun(words[1]), tun(words[2])}, cut = 0;
	double loss = atof(words[3]) / 100, lateness = atof(words[4]) / 100;
	for (int i = 0; i < MAX_WAITING; i++) {
		packets[i].next = unused;
		unused = &packets[i];
	}
	for (int i = 0; i < SLOTS; i++)
		wheel[i].last = &wheel[i].first;
	struct pollfd polled[3] = {
		{.fd = ends[0], .events = POLLIN}, {.fd = ends[1], .events = POLLIN}, {.fd = 0, .events = POLLIN}};
	int64_t done = now() / SLOT;
	puts("ready");
	fflush(stdout);
	for (;;) {
		let_out(&done, now() / SLOT);
		/* The slot after the next one is whole: no more than two slots late, and not a wake-up for each. */
		struct timespec slot = {.tv_nsec = 2 * SLOT};
		if (ppoll(polled, 3, waiting ? &slot : NULL, NULL) < 0 && errno != EINTR)
			fail("poll");
		if (polled[2].revents) {
			char text[256], *rest = text;
			ssize_t len = read(0, text, sizeof text - 1);
			if (len <= 0)
				return 0;
			text[len] = 0;
			/* A word and the end of its line may come one after the other. */
			for (char *word; (word = strsep(&rest, " \n"));) {
				if (strcmp(word, "count") == 0) {
					printf("passed %llu %llu lost %llu late %llu full %llu\n", passed, passed_bytes, lost, late, full);
					fflush(stdout);
				} else if (*word) {
					cut = strcmp(word, "cut") == 0;
				}
			}
		}
		int64_t at = now();
		if (!waiting)
			done = at / SLOT;
		for (int end = 0; end < 2; end++) {
			if (!(polled[end].revents & POLLIN))
				continue;
			for (int i = 0; i < BATCH; i++) {
				unsigned char spilled[MTU];
				unsigned char *bytes = unused ? unused->bytes : spilled;
				ssize_t len = read(ends[end], bytes, MTU);
				if (len <= 0)
					break;
				int udp = len >= 20 && bytes[0] >> 4 == 4 && bytes[9] == IPPROTO_UDP;
				if (!unused)
					full++;
				if (cut || !unused || (udp && chance() < loss)) {
					lost++;
					continue;
				}
				int64_t due = at + DELAY;
				if (udp && chance() < lateness) {
					due += (int64_t)(LATE * chance());
					late++;
				}
				struct packet *packet = unused;
				unused = packet->next;
				packet->next = NULL;
				packet->out = ends[1 - end];
				packet->len = len;
				int place = due / SLOT % SLOTS;
				*wheel[place].last = packet;
				wheel[place].last = &packet->next;
				waiting++;
			}
		}
	}
}

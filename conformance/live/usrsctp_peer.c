/*
 * usrsctp behind one UDP socket on loopback, told what to do by messages: the foreign end of
 * crates/sctp/examples/usrsctp_peer.rs.
 *
 *   usrsctp_peer OUR_PORT connect|listen data|idata
 *
 * Prints "port N" once its socket is bound. What comes in is treated by its payload protocol identifier:
 *   51  echoed: same stream, same identifier, same order
 *   60  counted (a number in four bytes, most significant first, then padding)
 *   70  a command in text; replies have 71:
 *       send COUNT SIZE STREAM UNORDERED none|rtx|ttl VALUE   then a reply "sent" on that stream, reliable and ordered
 *       count     "count N ordered|disordered" of what was counted so far; forgets it
 *       stats     "interleaving 0|1"
 *       reset N   resets our side of stream N
 *       shutdown  closes
 * A stream that the other end resets is reset in return, as data channels do (RFC 8831 section 6.7).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <usrsctp.h>

#define SCTP_PORT 5000
#define ECHO 51
#define COUNTED 60
#define COMMAND 70
#define REPLY 71
#define MAX_MESSAGE (17u << 20)
#define BUFFER (40 << 20)
#define STREAMS 256

/* Known to the library, and to <netinet/sctp.h> of FreeBSD, but not to its installed header. */
#define INTERLEAVING_SUPPORTED 0x00001206

struct assembly {
	char *data;
	size_t length, room;
};

static int udp;
static struct assembly assemblies[STREAMS][2];
static uint32_t counted, newest;
static int disordered, interleaving;
/* Streams whose reset began here: the other end's in return wants no answer. */
static char began[STREAMS];

static void die(const char *what)
{
	fprintf(stderr, "usrsctp_peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int on_packet_out(void *address, void *packet, size_t length, uint8_t tos, uint8_t df)
{
	(void)address, (void)tos, (void)df;
	/* A full socket buffer is loss, which SCTP mends. */
	(void)!send(udp, packet, length, 0);
	return 0;
}

static void *packets_in(void *unused)
{
	static char packet[65536];
	for (;;) {
		ssize_t length = recv(udp, packet, sizeof packet, 0);
		if (length > 0)
			usrsctp_conninput(&udp, packet, (size_t)length, 0);
		else if (length < 0 && errno != ECONNREFUSED && errno != EINTR)
			return unused;
	}
}

static void option(struct socket *socket, int level, int name, const void *value, socklen_t length, const char *what)
{
	if (usrsctp_setsockopt(socket, level, name, value, length) < 0)
		die(what);
}

static void prepare(struct socket *socket, int with_interleaving)
{
	int size = BUFFER, one = 1, level = 2;
	option(socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof size, "SO_SNDBUF");
	option(socket, SOL_SOCKET, SO_RCVBUF, &size, sizeof size, "SO_RCVBUF");
	option(socket, IPPROTO_SCTP, SCTP_NODELAY, &one, sizeof one, "SCTP_NODELAY");
	option(socket, IPPROTO_SCTP, SCTP_RECVRCVINFO, &one, sizeof one, "SCTP_RECVRCVINFO");
	option(socket, IPPROTO_SCTP, SCTP_FRAGMENT_INTERLEAVE, &level, sizeof level, "SCTP_FRAGMENT_INTERLEAVE");

	struct sctp_initmsg init = {.sinit_num_ostreams = STREAMS, .sinit_max_instreams = STREAMS};
	option(socket, IPPROTO_SCTP, SCTP_INITMSG, &init, sizeof init, "SCTP_INITMSG");
	struct sctp_rtoinfo rto = {.srto_initial = 300, .srto_min = 100, .srto_max = 1000};
	option(socket, IPPROTO_SCTP, SCTP_RTOINFO, &rto, sizeof rto, "SCTP_RTOINFO");
	struct sctp_assoc_value reset = {.assoc_value = 1};
	option(socket, IPPROTO_SCTP, SCTP_ENABLE_STREAM_RESET, &reset, sizeof reset, "SCTP_ENABLE_STREAM_RESET");
	struct sctp_assoc_value interleave = {.assoc_value = (uint32_t)with_interleaving};
	option(socket, IPPROTO_SCTP, INTERLEAVING_SUPPORTED, &interleave, sizeof interleave, "SCTP_INTERLEAVING_SUPPORTED");
	for (size_t n = 0; n < 2; n++) {
		struct sctp_event event = {
			.se_assoc_id = SCTP_ALL_ASSOC,
			.se_type = n ? SCTP_STREAM_RESET_EVENT : SCTP_ASSOC_CHANGE,
			.se_on = 1,
		};
		option(socket, IPPROTO_SCTP, SCTP_EVENT, &event, sizeof event, "SCTP_EVENT");
	}
}

static void give(struct socket *socket, const void *data, size_t length, uint16_t stream, uint32_t ppid, int unordered,
		 uint16_t policy, uint32_t value)
{
	struct sctp_sendv_spa how;
	memset(&how, 0, sizeof how);
	how.sendv_flags = SCTP_SEND_SNDINFO_VALID;
	how.sendv_sndinfo.snd_sid = stream;
	how.sendv_sndinfo.snd_ppid = htonl(ppid);
	how.sendv_sndinfo.snd_flags = unordered ? SCTP_UNORDERED : 0;
	if (policy != SCTP_PR_SCTP_NONE) {
		how.sendv_flags |= SCTP_SEND_PRINFO_VALID;
		how.sendv_prinfo.pr_policy = policy;
		how.sendv_prinfo.pr_value = value;
	}
	if (usrsctp_sendv(socket, data, length, NULL, 0, &how, sizeof how, SCTP_SENDV_SPA, 0) < 0)
		die("usrsctp_sendv");
}

static void reply(struct socket *socket, uint16_t stream, const char *text)
{
	give(socket, text, strlen(text), stream, REPLY, 0, SCTP_PR_SCTP_NONE, 0);
}

static void reset(struct socket *socket, uint16_t stream)
{
	size_t length = sizeof(struct sctp_reset_streams) + sizeof stream;
	struct sctp_reset_streams *request = calloc(1, length);
	if (!request)
		die("calloc");
	request->srs_flags = SCTP_STREAM_RESET_OUTGOING;
	request->srs_number_streams = 1;
	request->srs_stream_list[0] = stream;
	/* Only one request may be under way: try again until it is this one's turn. */
	for (int tries = 0; usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_RESET_STREAMS, request, (socklen_t)length) < 0; tries++) {
		if ((errno != EALREADY && errno != EAGAIN && errno != EBUSY) || tries == 200)
			die("SCTP_RESET_STREAMS");
		usleep(10000);
	}
	free(request);
}

static void command(struct socket *socket, char *text, uint16_t from)
{
	unsigned count, size, stream, unordered, value;
	char policy[8], line[64];
	if (sscanf(text, "send %u %u %u %u %7s %u", &count, &size, &stream, &unordered, policy, &value) == 6 && size >= 4) {
		uint16_t how = !strcmp(policy, "rtx") ? SCTP_PR_SCTP_RTX : !strcmp(policy, "ttl") ? SCTP_PR_SCTP_TTL : SCTP_PR_SCTP_NONE;
		unsigned char *data = calloc(1, size);
		if (!data)
			die("calloc");
		for (uint32_t n = 0; n < count; n++) {
			uint32_t number = htonl(n);
			memcpy(data, &number, sizeof number);
			give(socket, data, size, (uint16_t)stream, COUNTED, (int)unordered, how, value);
		}
		free(data);
		reply(socket, (uint16_t)stream, "sent");
	} else if (!strcmp(text, "count")) {
		snprintf(line, sizeof line, "count %u %s", counted, disordered ? "disordered" : "ordered");
		counted = 0, disordered = 0;
		reply(socket, from, line);
	} else if (!strcmp(text, "stats")) {
		snprintf(line, sizeof line, "interleaving %d", interleaving);
		reply(socket, from, line);
	} else if (sscanf(text, "reset %u", &stream) == 1 && stream < STREAMS) {
		began[stream] = 1;
		reset(socket, (uint16_t)stream);
	} else if (!strcmp(text, "shutdown")) {
		usrsctp_shutdown(socket, SHUT_WR);
	} else {
		fprintf(stderr, "usrsctp_peer: no such command: %s\n", text);
		exit(1);
	}
}

static void notification(struct socket *socket, const union sctp_notification *note)
{
	if (note->sn_header.sn_type == SCTP_ASSOC_CHANGE) {
		const struct sctp_assoc_change *change = &note->sn_assoc_change;
		if (change->sac_state == SCTP_COMM_UP || change->sac_state == SCTP_RESTART) {
			size_t features = change->sac_length - sizeof *change;
			for (size_t n = 0; n < features; n++)
				interleaving |= change->sac_info[n] == SCTP_ASSOC_SUPPORTS_INTERLEAVING;
		}
	} else if (note->sn_header.sn_type == SCTP_STREAM_RESET_EVENT) {
		const struct sctp_stream_reset_event *event = &note->sn_strreset_event;
		size_t streams = (event->strreset_length - sizeof *event) / sizeof(uint16_t);
		if (event->strreset_flags & (SCTP_STREAM_RESET_DENIED | SCTP_STREAM_RESET_FAILED)) {
			fprintf(stderr, "usrsctp_peer: a reset was refused\n");
			exit(1);
		}
		for (size_t n = 0; n < streams && (event->strreset_flags & SCTP_STREAM_RESET_INCOMING_SSN); n++) {
			uint16_t stream = event->strreset_stream_list[n];
			if (stream < STREAMS && began[stream])
				began[stream] = 0;
			else
				reset(socket, stream);
		}
	}
}

static void message(struct socket *socket, struct assembly *whole, uint16_t stream, uint32_t ppid, int unordered)
{
	if (ppid == ECHO) {
		give(socket, whole->data, whole->length, stream, ECHO, unordered, SCTP_PR_SCTP_NONE, 0);
	} else if (ppid == COUNTED && whole->length >= 4) {
		uint32_t number;
		memcpy(&number, whole->data, sizeof number);
		number = ntohl(number);
		disordered |= counted > 0 && number <= newest;
		newest = number;
		counted++;
	} else if (ppid == COMMAND) {
		char text[128] = "";
		memcpy(text, whole->data, whole->length < sizeof text ? whole->length : sizeof text - 1);
		command(socket, text, stream);
	}
	whole->length = 0;
}

static void serve(struct socket *socket)
{
	static char piece[1 << 16];
	for (;;) {
		struct sctp_rcvinfo info;
		socklen_t info_length = sizeof info, from_length = sizeof(struct sockaddr_conn);
		struct sockaddr_conn from;
		unsigned int kind = 0;
		int flags = 0;
		ssize_t length = usrsctp_recvv(socket, piece, sizeof piece, (struct sockaddr *)&from, &from_length, &info,
					       &info_length, &kind, &flags);
		if (length <= 0)
			return;
		if (flags & MSG_NOTIFICATION) {
			notification(socket, (const union sctp_notification *)piece);
			continue;
		}
		if (kind != SCTP_RECVV_RCVINFO || info.rcv_sid >= STREAMS)
			die("a message without a stream");
		int unordered = (info.rcv_flags & SCTP_UNORDERED) != 0;
		struct assembly *whole = &assemblies[info.rcv_sid][unordered];
		if (whole->length + (size_t)length > MAX_MESSAGE)
			die("too large a message");
		if (whole->length + (size_t)length > whole->room) {
			whole->room = 2 * (whole->length + (size_t)length);
			if (!(whole->data = realloc(whole->data, whole->room)))
				die("realloc");
		}
		memcpy(whole->data + whole->length, piece, (size_t)length);
		whole->length += (size_t)length;
		if (flags & MSG_EOR)
			message(socket, whole, info.rcv_sid, ntohl(info.rcv_ppid), unordered);
	}
}

int main(int count, char **words)
{
	if (count != 4) {
		fprintf(stderr, "usage: usrsctp_peer OUR_PORT connect|listen data|idata\n");
		return 2;
	}
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in there = here;
	there.sin_port = htons((uint16_t)atoi(words[1]));
	int size = 4 << 20;
	socklen_t length = sizeof here;
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	if (udp < 0 || bind(udp, (struct sockaddr *)&here, sizeof here) < 0 ||
	    getsockname(udp, (struct sockaddr *)&here, &length) < 0 || connect(udp, (struct sockaddr *)&there, sizeof there) < 0)
		die("UDP socket");
	setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);

	usrsctp_init(0, on_packet_out, NULL);
	usrsctp_sysctl_set_sctp_ecn_enable(0);
	usrsctp_register_address(&udp);
	struct socket *socket = usrsctp_socket(AF_CONN, SOCK_STREAM, IPPROTO_SCTP, NULL, NULL, 0, NULL);
	if (!socket)
		die("usrsctp_socket");
	prepare(socket, !strcmp(words[3], "idata"));
	struct sockaddr_conn address = {.sconn_family = AF_CONN, .sconn_port = htons(SCTP_PORT), .sconn_addr = &udp};
	if (usrsctp_bind(socket, (struct sockaddr *)&address, sizeof address) < 0)
		die("usrsctp_bind");
	int listens = !strcmp(words[2], "listen");
	if (listens && usrsctp_listen(socket, 1) < 0)
		die("usrsctp_listen");
	pthread_t reader;
	if (pthread_create(&reader, NULL, packets_in, NULL) != 0)
		die("pthread_create");
	printf("port %d\n", ntohs(here.sin_port));
	fflush(stdout);

	struct socket *association = socket;
	if (listens)
		association = usrsctp_accept(socket, NULL, NULL);
	else if (usrsctp_connect(socket, (struct sockaddr *)&address, sizeof address) < 0)
		die("usrsctp_connect");
	if (!association)
		die("usrsctp_accept");
	serve(association);
	return 0;
}

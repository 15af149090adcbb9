/* The floor: answers UDP tracker requests (BEP 15) with what never changes, as fast as the kernel lets it.
 *
 *     udp_floor PORT      listens on 127.0.0.1
 *
 * No tracker behind a socket can do it with less: it reads and sends 64 datagrams at once, looks at two bytes
 * of each, and copies. Its announce responses hold 38 peers. The socket is as the tracker's is.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, PEERS = 38, REQUEST_SIZE = 1496, RECEIVE_BUFFER = 8 << 20, LEAST_REQUEST = 16 };
enum { CONNECT, ANNOUNCE, SCRAPE };
enum { CONNECT_SIZE = 16, ANNOUNCE_SIZE = 20 + 6 * PEERS, INFO_HASH_SIZE = 20, COUNTS_SIZE = 12 };
enum { MOST_SCRAPED = 74, SCRAPE_SIZE = 8 + COUNTS_SIZE * MOST_SCRAPED, RESPONSE_SIZE = SCRAPE_SIZE };

static struct sockaddr_in clients[BATCH];
static uint8_t requests[BATCH][REQUEST_SIZE], responses[BATCH][RESPONSE_SIZE];
static struct iovec request_pieces[BATCH], response_pieces[BATCH];
static struct mmsghdr in[BATCH], out[BATCH];
static uint8_t connect_response[CONNECT_SIZE], announce_response[ANNOUNCE_SIZE], scrape_response[SCRAPE_SIZE];

static int fail(const char *what) {
    perror(what);
    return 1;
}

static int open_socket(int port) {
    int sock = socket(AF_INET, SOCK_DGRAM, 0), size = RECEIVE_BUFFER, discover = IP_PMTUDISC_PROBE;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
        setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(sock, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof discover);
    return bind(sock, (void *)&address, sizeof address) ? -1 : sock;
}

static void write_responses(void) {
    memset(connect_response, 1, sizeof connect_response);
    memset(announce_response, 1, sizeof announce_response);
    memset(scrape_response, 1, sizeof scrape_response);
}

static void prepare_batches(void) {
    for (int i = 0; i < BATCH; i++) {
        request_pieces[i] = (struct iovec){requests[i], REQUEST_SIZE};
        response_pieces[i] = (struct iovec){responses[i], 0};
        in[i].msg_hdr = (struct msghdr){&clients[i], sizeof clients[i], &request_pieces[i], 1, 0, 0, 0};
    }
}

/* The bytes of the response, 0 for none. */
static int answer(const uint8_t *request, int size, uint8_t *response) {
    const uint8_t *fixed;
    int length;
    if (size < LEAST_REQUEST) return 0;
    switch (request[11]) {
    case CONNECT: fixed = connect_response; length = CONNECT_SIZE; break;
    case ANNOUNCE: fixed = announce_response; length = ANNOUNCE_SIZE; break;
    case SCRAPE:
        fixed = scrape_response;
        length = 8 + (size - LEAST_REQUEST) / INFO_HASH_SIZE * COUNTS_SIZE;
        break;
    default: return 0;
    }
    memcpy(response, request + 8, 8); /* action and transaction id */
    memcpy(response + 8, fixed + 8, length - 8);
    return length;
}

/* How many responses there are for the datagrams that were received. */
static int answer_batch(int received) {
    int answered = 0;
    for (int i = 0; i < received; i++) {
        int size = answer(requests[i], in[i].msg_len, responses[answered]);
        if (!size) continue;
        response_pieces[answered].iov_len = size;
        out[answered].msg_hdr = (struct msghdr){
            &clients[i], sizeof clients[i], &response_pieces[answered], 1, 0, 0, 0};
        answered++;
    }
    return answered;
}

static void send_batch(int sock, int answered) {
    for (int done = 0; done < answered;) {
        int sent = sendmmsg(sock, out + done, answered - done, 0);
        done += sent > 0 ? sent : 1; /* one that cannot be sent never costs the others */
    }
}

static void serve(int sock) {
    for (;;) {
        int received = recvmmsg(sock, in, BATCH, MSG_WAITFORONE, 0);
        if (received > 0) send_batch(sock, answer_batch(received));
    }
}

int main(int count, char **words) {
    int sock;
    if (count != 2) {
        fprintf(stderr, "usage: udp_floor PORT\n");
        return 2;
    }
    if ((sock = open_socket(atoi(words[1]))) < 0) return fail("bind");
    write_responses();
    prepare_batches();
    serve(sock);
}

/* A load generator for UDP trackers (BEP 15) on this host: many clients on one thread, each response checked.
 *
 *     udp_load fill    --port N [options]      announce every peer once
 *     udp_load close   --port N [options]      keep --outstanding requests under way for --seconds
 *     udp_load pace    --port N [options]      send --rate requests a second for --seconds, measure latency
 *     udp_load list    [options]               print the info hashes, one a line
 *
 * Peers are spread over torrents by Zipf's law (exponent 1) or evenly (--even), over --addresses clients at
 * 127.1.x.y. A run of the same --seed, --torrents and --peers speaks of the same peers, so that it knows
 * whether a peer of a response is one of the torrent; one of each response is looked up, unless the server
 * gives what it likes (--any-peers). --server PID also measures the CPU time of that process.
 *
 * Prints one JSON object: what was sent, answered, lost (no answer in --patience seconds, half a one unless
 * told) and wrong, seconds, CPU nanoseconds of the server, latency in microseconds from when a request was due, mean
 * peers of a response, how many came late (after a tenth of a second), and the latest.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "load.h"

enum { BATCH = 64, REQUEST_SIZE = 128, RESPONSE_SIZE = 2048, MAX_OUTSTANDING = 1 << 15 };
enum { CONNECT, ANNOUNCE, SCRAPE, ERROR, KINDS };
enum { NO_EVENT, COMPLETED, STARTED, STOPPED };
enum { SCRAPED = 3, FIRST_ADDRESS = 0x7F010001 };

static int any_peers;
static double rate = 20000, patience = 0.5;
static struct { uint32_t connects, announces, scrapes; } mix = {5, 90, 5};

struct request { uint64_t due_ns; uint32_t transaction, torrent; uint8_t kind; };

static struct request under_way[MAX_OUTSTANDING];
static uint64_t *connection_ids;
static uint64_t answered[KINDS];
static uint16_t free_slots[MAX_OUTSTANDING];
static int free_count;

/* --- peers */

static int client_of(uint32_t peer) { return peer % option.addresses; }

static uint32_t port_of(uint32_t peer) { return FIRST_PORT + peer / option.addresses; }

static uint32_t address_of(int client) { return htonl(FIRST_ADDRESS + client); }

/* --- sockets */

static int sock;
static struct sockaddr_in tracker;
static struct mmsghdr out[BATCH], in[BATCH];
static struct iovec out_pieces[BATCH], in_pieces[BATCH];
static uint8_t requests[BATCH][REQUEST_SIZE], responses[BATCH][RESPONSE_SIZE];
static struct {
    _Alignas(struct cmsghdr) uint8_t bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
} sources[BATCH]; /* which client a request comes from */
static int queued;

static void open_socket(void) {
    int size = 16 << 20;
    struct sockaddr_in any = {.sin_family = AF_INET};
    sock = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
        setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (bind(sock, (void *)&any, sizeof any)) fail("bind");
    tracker = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(option.port)};
    tracker.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static void prepare_batches(void) {
    for (int i = 0; i < BATCH; i++) {
        out_pieces[i].iov_base = requests[i];
        in_pieces[i] = (struct iovec){responses[i], RESPONSE_SIZE};
        in[i].msg_hdr = (struct msghdr){0, 0, &in_pieces[i], 1, 0, 0, 0};
        out[i].msg_hdr = (struct msghdr){
            &tracker, sizeof tracker, &out_pieces[i], 1, &sources[i], sizeof sources[i], 0};
        *CMSG_FIRSTHDR(&out[i].msg_hdr) = (struct cmsghdr){
            CMSG_LEN(sizeof(struct in_pktinfo)), IPPROTO_IP, IP_PKTINFO};
    }
}

static void flush_requests(void) {
    int done = 0;
    while (done < queued) {
        int n = sendmmsg(sock, out + done, queued - done, 0);
        if (n > 0) done += n;
        else if (errno == EAGAIN || errno == ENOBUFS) poll(&(struct pollfd){sock, POLLOUT, 0}, 1, 1);
        else if (errno != ECONNREFUSED) fail("sendmmsg");
    }
    sent += queued;
    queued = 0;
}

/* --- requests */

static void put32(uint8_t *at, uint32_t value) {
    value = htonl(value);
    memcpy(at, &value, 4);
}

static uint32_t get32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return ntohl(value);
}

/* The rest of the request is written already. */
static void queue_request(int client, struct request asked, int size) {
    static uint32_t counter;
    struct in_pktinfo source = {.ipi_spec_dst.s_addr = address_of(client)};
    uint32_t slot = free_slots[--free_count];
    uint8_t *request = requests[queued];
    asked.transaction = (counter++ << 15) | slot;
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&out[queued].msg_hdr)), &source, sizeof source);
    out_pieces[queued].iov_len = size;
    put32(request + 8, asked.kind);
    put32(request + 12, asked.transaction);
    under_way[slot] = asked;
    if (++queued == BATCH) flush_requests();
}

static void ask_connect(int client, uint64_t due_ns) {
    memcpy(requests[queued], "\0\0\4\x17\x27\x10\x19\x80", 8);
    queue_request(client, (struct request){.due_ns = due_ns, .kind = CONNECT}, 16);
}

static void ask_announce(uint32_t peer, int event, uint64_t due_ns) {
    uint8_t *request = requests[queued];
    int seeds = is_seeder(peer) || event == COMPLETED;
    memset(request, 0, 98);
    memcpy(request, &connection_ids[client_of(peer)], 8);
    write_info_hash(request + 16, torrent_of[peer]);
    memcpy(request + 36, "-XX0001-", 8);
    put32(request + 44, peer);
    put32(request + 68, seeds ? 0 : 1 << 20);
    put32(request + 80, event);
    put32(request + 92, option.num_want);
    put32(request + 96, port_of(peer) << 16);
    queue_request(client_of(peer), (struct request){due_ns, 0, torrent_of[peer], ANNOUNCE}, 98);
}

static void ask_scrape(int client, uint64_t due_ns) {
    uint8_t *request = requests[queued];
    memcpy(request, &connection_ids[client], 8);
    for (int i = 0; i < SCRAPED; i++) write_info_hash(request + 16 + 20 * i, torrent_of[below(option.peers)]);
    queue_request(client, (struct request){.due_ns = due_ns, .kind = SCRAPE}, 16 + 20 * SCRAPED);
}

static int random_event(void) {
    uint32_t fate = below(100);
    return fate == 0 ? STOPPED : fate == 1 ? COMPLETED : NO_EVENT;
}

static void ask_any(uint64_t due_ns) {
    uint32_t kind = below(mix.connects + mix.announces + mix.scrapes);
    if (kind < mix.connects) ask_connect(below(option.addresses), due_ns);
    else if (kind < mix.connects + mix.announces)
        ask_announce(below(option.peers), random_event(), due_ns);
    else ask_scrape(below(option.addresses), due_ns);
}

/* --- responses */

static int is_of_torrent(const uint8_t *endpoint, uint32_t torrent) {
    uint32_t client = get32(endpoint) - FIRST_ADDRESS, port = endpoint[4] << 8 | endpoint[5];
    uint64_t peer = (uint64_t)(port - FIRST_PORT) * option.addresses + client;
    return client < (uint32_t)option.addresses && port >= FIRST_PORT && peer < option.peers
        && torrent_of[peer] == torrent;
}

static int is_right_announce(const uint8_t *response, int size, uint32_t torrent) {
    uint32_t peers = size < 20 ? 0 : (size - 20) / 6;
    if (size < 20 || (size - 20) % 6 || get32(response + 8) == 0) return 0;
    if (peers > (uint32_t)option.num_want || peers > get32(response + 12) + get32(response + 16)) return 0;
    peers_received += peers;
    return peers == 0 || any_peers || is_of_torrent(response + 20 + 6 * below(peers), torrent);
}

static int is_right(const uint8_t *response, int size, const struct request *asked) {
    if (size < 8 || get32(response) != asked->kind) return 0;
    if (asked->kind == CONNECT) return size == 16;
    if (asked->kind == SCRAPE) return size == 8 + 12 * SCRAPED;
    return is_right_announce(response, size, asked->torrent);
}

static void count_wrong(const uint8_t *response, int size, const struct request *asked) {
    if (wrong++) return; /* the first one is enough to look at */
    fprintf(stderr, "wrong answer to action %u: %d bytes, %.*s\n", asked->kind, size,
            size > 8 && get32(response) == ERROR ? size - 8 : 0, response + 8);
}

static void free_slot(uint32_t slot) {
    under_way[slot].due_ns = 0;
    free_slots[free_count++] = slot;
}

static void check_response(const uint8_t *response, int size, uint64_t now) {
    uint32_t transaction = size >= 8 ? get32(response + 4) : 0, slot = transaction & (MAX_OUTSTANDING - 1);
    struct request *asked = &under_way[slot];
    if (asked->due_ns == 0 || asked->transaction != transaction) {
        if (transaction == 0 || (int)(asked->transaction - transaction) < 0) wrong++; /* never asked for */
        return;
    }
    if (is_right(response, size, asked)) answered[asked->kind]++;
    else count_wrong(response, size, asked);
    note_latency(now - asked->due_ns);
    free_slot(slot);
}

/* How many responses came. */
static int receive(void) {
    int all = 0, n;
    do {
        n = recvmmsg(sock, in, BATCH, MSG_DONTWAIT, 0);
        uint64_t now = now_ns();
        for (int i = 0; i < n; i++) check_response(responses[i], in[i].msg_len, now);
        if (n > 0) all += n;
    } while (n == BATCH);
    return all;
}

static void give_up_lost(void) {
    uint64_t now = now_ns();
    for (int slot = 0; slot < option.outstanding; slot++) {
        if (under_way[slot].due_ns == 0 || now < under_way[slot].due_ns + (uint64_t)(patience * 1e9)) continue;
        lost++;
        free_slot(slot);
    }
}

static void wait_for_responses(int ms) { poll(&(struct pollfd){sock, POLLIN, 0}, 1, ms); }

static void free_all_slots(void) {
    memset(under_way, 0, sizeof under_way);
    for (free_count = 0; free_count < option.outstanding; free_count++) free_slots[free_count] = free_count;
}

static void wait_for_the_last(void) {
    flush_requests();
    while (free_count < option.outstanding) {
        wait_for_responses(5);
        receive();
        give_up_lost();
    }
}

/* --- runs */

static int connect_client(int client) {
    free_all_slots();
    ask_connect(client, now_ns());
    flush_requests();
    wait_for_responses(500);
    if (recvmmsg(sock, in, 1, MSG_DONTWAIT, 0) != 1 || in[0].msg_len != 16) return 0;
    memcpy(&connection_ids[client], responses[0] + 8, 8);
    return 1;
}

static void connect_clients(void) {
    connection_ids = calloc(option.addresses, sizeof *connection_ids);
    for (int client = 0; client < option.addresses; client++) {
        int tries = 5;
        while (tries && !connect_client(client)) tries--;
        if (!tries) {
            fprintf(stderr, "no answer to a connect\n");
            exit(2);
        }
    }
    free_all_slots();
    sent = 0;
}

static void take_responses(void) {
    flush_requests();
    wait_for_responses(20);
    if (!receive()) give_up_lost();
}

static void fill(void) {
    for (uint32_t peer = 0; peer < option.peers; take_responses())
        while (peer < option.peers && free_count) ask_announce(peer++, STARTED, now_ns());
    wait_for_the_last();
}

static void keep_outstanding(void) {
    uint64_t end = now_ns() + (uint64_t)(option.seconds * 1e9);
    for (uint64_t now = now_ns(); now < end; now = now_ns()) {
        while (free_count) ask_any(now);
        take_responses();
    }
    wait_for_the_last();
}

static void keep_pace(void) {
    uint64_t start = now_ns(), gap = (uint64_t)(1e9 / rate), due = start;
    uint64_t end = start + (uint64_t)(option.seconds * 1e9);
    while (due < end) {
        uint64_t now = now_ns();
        for (; due <= now && due < end; due += gap) {
            if (!free_count) give_up_lost();
            if (free_count) ask_any(due);
            else lost++;
        }
        flush_requests();
        receive();
    }
    wait_for_the_last();
}

/* --- results */

static void print_info_hashes(void) {
    for (uint32_t torrent = 0; torrent < option.torrents; torrent++) {
        uint8_t info_hash[24];
        write_info_hash(info_hash, torrent);
        for (int i = 0; i < 20; i++) printf("%02x", info_hash[i]);
        putchar('\n');
    }
}

static int run(void (*requests_of_run)(void)) {
    spread_peers();
    open_socket();
    prepare_batches();
    connect_clients();
    uint64_t start = now_ns(), cpu_start = server_ns();
    requests_of_run();
    print_results(answered[CONNECT] + answered[ANNOUNCE] + answered[SCRAPE], answered[ANNOUNCE],
                  now_ns() - start, server_ns() - cpu_start);
    return 0;
}

/* --- the command line */

static int set_option(const char *name, const char *value) {
    if (!strcmp(name, "--rate")) rate = atof(value);
    else if (!strcmp(name, "--patience")) patience = atof(value);
    else if (!strcmp(name, "--mix"))
        return sscanf(value, "%u/%u/%u", &mix.connects, &mix.announces, &mix.scrapes) == 3;
    else return set_common_option(name, value);
    return 1;
}

static int is_sensible(void) {
    return option.outstanding > 0 && option.outstanding <= MAX_OUTSTANDING && rate > 0
        && option.addresses > 0 && option.addresses <= 1 << 16 && option.torrents > 0
        && option.peers >= option.torrents && option.peers / option.addresses < PORTS
        && mix.connects + mix.announces + mix.scrapes > 0;
}

static int read_options(int count, char **words) {
    for (int i = 2; i < count; i++) {
        if (!strcmp(words[i], "--even")) option.even = 1;
        else if (!strcmp(words[i], "--any-peers")) any_peers = 1;
        else if (i + 1 == count || !set_option(words[i], words[i + 1])) return 0;
        else i++;
    }
    return is_sensible();
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    chance_state = now_ns();
    if (read_options(count, words)) {
        if (!strcmp(what, "list")) return print_info_hashes(), 0;
        if (!strcmp(what, "fill")) return run(fill);
        if (!strcmp(what, "close")) return run(keep_outstanding);
        if (!strcmp(what, "pace")) return option.outstanding = MAX_OUTSTANDING, run(keep_pace);
    }
    fprintf(stderr, "usage: udp_load fill|close|pace|list --port N [options], see its source\n");
    return 2;
}

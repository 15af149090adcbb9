/* A load generator for HTTP trackers (BEP 3, 23) on this host, where wrk cannot: one connection each, over
 * TCP or TLS 1.3, and connections that stay. One thread; each response is checked.
 *
 *     http_load fill    --port N [options]     announce every peer once
 *     http_load each    --port N [options]     keep --outstanding connections under way for --seconds, each
 *                                              of which makes one announce
 *     http_load pace    --port N [options]     make --rate connections a second for --seconds, as `each` does;
 *                                              --outstanding at most, of which the rest counts as lost
 *     http_load hold    --port N [options]     make --connections that announce and then stay open; print
 *                                              `held`, and close them when the standard input ends
 *     http_load list    [options]              print each peer's torrent and its request over a connection
 *                                              that stays, one a line, with `|` for the ends of its lines
 *
 * Peers are spread over torrents by Zipf's law (exponent 1) or evenly (--even), and are all at 127.0.0.1, as
 * --addresses 1 says; or, with --forwarded, at addresses of their own in X-Forwarded-For. A run of the same
 * --seed, --torrents and --peers speaks of the same peers. Unless it fills, it expects that all are there: a
 * response has to count them, to hold as many peers as were asked for and there are, and one of these, by
 * chance, has to be of the torrent. With --page any page of `openssl s_server -www` will do instead.
 *
 * --path is where announces go; --tls makes a new session for each connection, --resume resumes the newest.
 * --server PID also measures the CPU time of that process.
 *
 * Prints one JSON object, as udp_load does. A request is lost if it has no answer in five seconds; it is
 * wrong if its answer is, or if there is none when the connection ends. The exit status is 1 if any was.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

enum { REQUEST_SIZE = 1024, RESPONSE_SIZE = 16384, EVENTS = 64, ENDPOINT_SIZE = 6 };
enum { TICKET_SIZE = 16384 };
enum { MOST_CONNECTIONS = 1 << 20 };
enum { FORWARDED_NET = 0x0A010000 /* 10.1.0.0 */ };
enum { AGAIN = -1, ENDED = 0 };
enum { FREE, UNDER_WAY, HELD };
static const uint64_t LOST_AFTER_NS = 5000000000u, SECOND_NS = 1000000000u;

static double rate = 8000;
static int connections = 10000, forwarded, tls, resume, page;
static int fills, stays; /* what the mode is */
static const char *path = "/announce";

struct connection {
    int file, state, request_size, request_sent, received;
    uint32_t peer;
    uint64_t begun_ns;
    SSL *session;
    char request[REQUEST_SIZE], response[RESPONSE_SIZE + 1];
};

static struct connection *all;
static int made, *unused, unused_count, under_way;
static uint32_t *peers_of; /* of each torrent */
static uint64_t answered;
static int events;
static SSL_CTX *context;
static uint8_t ticket[TICKET_SIZE]; /* the newest session, written down: OpenSSL uses an object of it once */
static int ticket_size;

/* --- requests */

static uint32_t address_of(uint32_t peer) { return forwarded ? FORWARDED_NET + peer : INADDR_LOOPBACK; }

static void count_peers(void) {
    peers_of = calloc(option.torrents, sizeof *peers_of);
    for (uint32_t peer = 0; peer < option.peers; peer++) peers_of[torrent_of[peer]]++;
}

static void write_quoted(char *out, const uint8_t *bytes, int size) {
    for (int i = 0; i < size; i++) out += sprintf(out, isalnum(bytes[i]) ? "%c" : "%%%02X", bytes[i]);
}

/* How long it is. */
static int write_request(char *out, uint32_t peer) {
    uint8_t info_hash[24];
    char quoted[61], client[64] = "";
    struct in_addr address = {htonl(address_of(peer))};
    write_info_hash(info_hash, torrent_of[peer]);
    write_quoted(quoted, info_hash, 20);
    if (forwarded) snprintf(client, sizeof client, "X-Forwarded-For: %s\r\n", inet_ntoa(address));
    return snprintf(out, REQUEST_SIZE,
                    "GET %s?info_hash=%s&peer_id=-XX0001-%012u&port=%u&uploaded=0&downloaded=0&left=%d"
                    "&corrupt=0&key=%08X&numwant=%d&compact=1&no_peer_id=1&supportcrypto=1&redundant=0"
                    " HTTP/1.1\r\n"
                    "Host: 127.0.0.1:%d\r\nUser-Agent: Load/1.0\r\nAccept-Encoding: gzip\r\n%s%s\r\n",
                    path, quoted, peer, FIRST_PORT + peer, is_seeder(peer) ? 0 : 1 << 20,
                    (uint32_t)mixed(peer), option.num_want, option.port, client,
                    stays ? "" : "Connection: close\r\n");
}

static void print_requests(void) {
    char request[REQUEST_SIZE];
    for (uint32_t peer = 0; peer < option.peers; peer++) {
        printf("%u ", torrent_of[peer]);
        int size = write_request(request, peer);
        for (int i = 0; i < size; i++)
            if (request[i] != '\r') putchar(request[i] == '\n' ? '|' : request[i]);
        putchar('\n');
    }
}

/* --- responses */

/* The number behind `key` in the body, and in `end` where it ends; -1 without it. */
static long number_behind(const char *key, const char *body, int size, char **end) {
    const char *at = memmem(body, size, key, strlen(key));
    return at && isdigit((uint8_t)at[strlen(key)]) ? strtol(at + strlen(key), end, 10) : -1;
}

static int is_of_torrent(const uint8_t *endpoint, uint32_t torrent) {
    uint32_t peer = (endpoint[4] << 8 | endpoint[5]) - FIRST_PORT, address;
    memcpy(&address, endpoint, 4);
    return peer < option.peers && ntohl(address) == address_of(peer) && torrent_of[peer] == torrent;
}

static int is_right_announce(const char *body, int size, uint32_t torrent) {
    char *end = 0;
    long seeders = number_behind("8:completei", body, size, &end);
    long leechers = number_behind("10:incompletei", body, size, &end);
    long bytes = number_behind("5:peers", body, size, &end), count = bytes / ENDPOINT_SIZE;
    long there = seeders + leechers, expected = there - 1 < option.num_want ? there - 1 : option.num_want;
    if (size < 2 || body[0] != 'd' || body[size - 1] != 'e') return 0;
    if (seeders < 0 || leechers < 0 || bytes < 0 || *end++ != ':') return 0;
    if (bytes % ENDPOINT_SIZE || bytes >= body + size - end) return 0;
    if (count > option.num_want || count > there || there > peers_of[torrent]) return 0;
    if (!fills && (there != peers_of[torrent] || count < expected)) return 0;
    peers_received += count;
    return count == 0 || is_of_torrent((uint8_t *)end + ENDPOINT_SIZE * below(count), torrent);
}

/* The body, and in `rest` how many bytes of it are missing; null as long as the head is not whole. */
static const char *body_of(const struct connection *c, int *size, long *rest) {
    static const char field[] = "\ncontent-length:";
    const char *body = strstr(c->response, "\r\n\r\n"), *length = strcasestr(c->response, field);
    if (!body) return 0;
    body += 4;
    *size = c->response + c->received - body;
    *rest = length && length < body ? atol(length + strlen(field)) - *size : 0;
    return body;
}

static int is_right(const struct connection *c) {
    int size = 0;
    long rest = 0;
    const char *body = body_of(c, &size, &rest);
    if (!body || rest || strncmp(c->response, "HTTP/1.", 7) || strncmp(c->response + 8, " 200", 4)) return 0;
    if (tls && SSL_version(c->session) != TLS1_3_VERSION) return 0;
    if (tls && SSL_session_reused(c->session) != resume) return 0;
    if (page) return memmem(body, size, "</BODY></HTML>", 14) != 0;
    return is_right_announce(body, size, torrent_of[c->peer]);
}

static void count_wrong(const struct connection *c) {
    if (wrong++) return; /* the first one is enough to look at */
    const char *session = !c->session ? "" : SSL_session_reused(c->session) ? " (resumed)" : " (not resumed)";
    fprintf(stderr, "wrong answer%s, %d bytes: %s\n", session, c->received, c->response);
    if (c->session && ERR_peek_last_error()) ERR_print_errors_fp(stderr);
}

/* --- connections */

static int open_socket(void) {
    int file = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(option.port)};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (file < 0) fail("socket");
    setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(file, (void *)&server, sizeof server) && errno != EINPROGRESS) fail("connect");
    return file;
}

static void resume_newest(SSL *session) {
    const uint8_t *at = ticket;
    SSL_SESSION *kept = d2i_SSL_SESSION(0, &at, ticket_size);
    SSL_set_session(session, kept);
    SSL_SESSION_free(kept);
}

static SSL *open_session(int file) {
    SSL *session = SSL_new(context);
    SSL_set_fd(session, file);
    SSL_set_connect_state(session);
    if (resume) resume_newest(session);
    return session;
}

static void close_connection(struct connection *c) {
    if (c->session) {
        SSL_shutdown(c->session);
        SSL_free(c->session);
        c->session = 0;
    }
    close(c->file);
    under_way -= c->state == UNDER_WAY;
    c->state = FREE;
    unused[unused_count++] = c - all;
}

/* The response is whole, or the connection has ended. */
static void finish(struct connection *c) {
    uint64_t now = now_ns();
    if (is_right(c)) {
        answered++;
        note_latency(now - c->begun_ns);
    } else {
        count_wrong(c);
    }
}

/* How many bytes were read or written: AGAIN if none can be yet, ENDED if none will be. */
static int transfer(struct connection *c, char *bytes, int size, int writes) {
    if (!c->session) {
        ssize_t n = writes ? send(c->file, bytes, size, 0) : recv(c->file, bytes, size, 0);
        return n > 0 ? n : n < 0 && (errno == EAGAIN || errno == ENOTCONN) ? AGAIN : ENDED;
    }
    ERR_clear_error();
    int n = writes ? SSL_write(c->session, bytes, size) : SSL_read(c->session, bytes, size);
    if (n > 0) return n;
    int error = SSL_get_error(c->session, n);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? AGAIN : ENDED;
}

/* ENDED if the connection cannot be written to. */
static int send_request(struct connection *c) {
    while (c->request_sent < c->request_size) {
        int n = transfer(c, c->request + c->request_sent, c->request_size - c->request_sent, 1);
        if (n <= 0) return n;
        c->request_sent += n;
    }
    return 1;
}

/* ENDED when no more comes, or there is no room for it. */
static int receive_response(struct connection *c) {
    int n;
    while ((n = transfer(c, c->response + c->received, RESPONSE_SIZE - c->received, 0)) > 0) {
        c->received += n;
        c->response[c->received] = 0;
    }
    return n;
}

static int is_whole(const struct connection *c) {
    int size;
    long rest;
    return body_of(c, &size, &rest) && rest <= 0;
}

/* Do what can be done now. */
static void advance(struct connection *c) {
    if (c->state == FREE) return;
    int ended = send_request(c) == ENDED;
    if (!ended && c->request_sent == c->request_size) ended = receive_response(c) == ENDED;
    if (c->state == HELD) {
        if (!ended) return;
        lost++;
        close_connection(c);
    } else if (ended) {
        finish(c);
        close_connection(c);
    } else if (stays && is_whole(c)) {
        finish(c);
        c->state = HELD;
        under_way--;
    }
}

/* `due_ns`: when it should have begun. */
static void begin_at(uint32_t peer, uint64_t due_ns) {
    struct connection *c = &all[unused[--unused_count]];
    struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLET, {.ptr = c}};
    c->file = open_socket();
    c->session = tls ? open_session(c->file) : 0;
    c->state = UNDER_WAY;
    c->peer = peer;
    c->request_size = write_request(c->request, peer);
    c->request_sent = c->received = c->response[0] = 0;
    c->begun_ns = due_ns;
    under_way++;
    made++;
    sent++;
    advance(c);
    if (c->state != FREE && epoll_ctl(events, EPOLL_CTL_ADD, c->file, &event)) fail("epoll_ctl");
}

static void begin(uint32_t peer) { begin_at(peer, now_ns()); }

static void give_up_lost(void) {
    static uint64_t looked_ns;
    uint64_t now = now_ns();
    if (now < looked_ns + SECOND_NS) return;
    looked_ns = now;
    for (int i = 0; i < connections; i++) {
        if (all[i].state != UNDER_WAY || now < all[i].begun_ns + LOST_AFTER_NS) continue;
        lost++;
        close_connection(&all[i]);
    }
}

static int take_events(int ms) {
    struct epoll_event came[EVENTS];
    int count = epoll_wait(events, came, EVENTS, ms);
    for (int i = 0; i < count; i++) advance(came[i].data.ptr);
    give_up_lost();
    return count;
}

static void wait_for_the_last(void) {
    while (under_way) take_events(100);
}

/* --- TLS */

static int keep_ticket(SSL *session, SSL_SESSION *newest) {
    uint8_t *at = ticket;
    (void)session;
    if (i2d_SSL_SESSION(newest, 0) <= TICKET_SIZE) ticket_size = i2d_SSL_SESSION(newest, &at);
    return 0; /* it is not kept itself */
}

static void prepare_tls(void) {
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_ticket);
}

/* So that there is a session to resume. */
static void make_first_session(void) {
    resume = 0;
    begin(0);
    wait_for_the_last();
    resume = 1;
    if (!ticket_size || wrong || lost) {
        fprintf(stderr, "the server gives no sessions to resume\n");
        exit(2);
    }
    answered = sent = latency_count = peers_received = 0;
}

/* --- runs */

static void fill(void) {
    for (uint32_t peer = 0; peer < option.peers; take_events(100))
        while (peer < option.peers && under_way < option.outstanding) begin(peer++);
    wait_for_the_last();
}

static void keep_outstanding(void) {
    uint64_t end = now_ns() + (uint64_t)(option.seconds * 1e9);
    while (now_ns() < end) {
        if (under_way < option.outstanding) begin(below(option.peers));
        else take_events(100);
    }
    wait_for_the_last();
}

static void keep_pace(void) {
    uint64_t start = now_ns(), gap = (uint64_t)(1e9 / rate), due = start;
    uint64_t end = start + (uint64_t)(option.seconds * 1e9);
    while (due < end) {
        for (uint64_t now = now_ns(); due <= now && due < end; due += gap) {
            if (under_way < option.outstanding) begin_at(below(option.peers), due);
            else lost++;
        }
        take_events(0);
    }
    wait_for_the_last();
}

static void hold(void) {
    while (made < connections || under_way) {
        while (made < connections && under_way < option.outstanding) begin(made % option.peers);
        take_events(100);
    }
    puts("held");
    fflush(stdout);
    for (char byte; read(STDIN_FILENO, &byte, 1) > 0;) continue;
    while (take_events(0) > 0) continue; /* those that the server has closed meanwhile */
}

static void make_room(void) {
    struct rlimit files = {0, 0};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    all = calloc(connections, sizeof *all);
    unused = malloc(connections * sizeof *unused);
    if (!all || !unused) fail("malloc");
    for (unused_count = 0; unused_count < connections; unused_count++)
        unused[unused_count] = connections - 1 - unused_count;
}

static int run(void (*requests_of_run)(void)) {
    signal(SIGPIPE, SIG_IGN);
    if (!stays) connections = option.outstanding;
    make_room();
    events = epoll_create1(0);
    if (tls) prepare_tls();
    if (resume) make_first_session();
    uint64_t start = now_ns(), cpu_start = server_ns();
    requests_of_run();
    print_results(answered, answered, now_ns() - start, server_ns() - cpu_start);
    return wrong > 0;
}

/* --- the command line */

static int set_option(const char *name, const char *value) {
    if (!strcmp(name, "--connections")) connections = atoi(value);
    else if (!strcmp(name, "--path")) path = value;
    else if (!strcmp(name, "--rate")) rate = atof(value);
    else return set_common_option(name, value);
    return 1;
}

static int is_sensible(void) {
    return option.outstanding > 0 && option.outstanding <= MOST_CONNECTIONS && connections > 0
        && connections <= MOST_CONNECTIONS && rate > 0 && option.addresses == 1 && option.torrents > 0
        && option.peers >= option.torrents && option.peers <= PORTS && strlen(path) < REQUEST_SIZE / 2;
}

static int read_options(int count, char **words) {
    for (int i = 2; i < count; i++) {
        if (!strcmp(words[i], "--even")) option.even = 1;
        else if (!strcmp(words[i], "--forwarded")) forwarded = 1;
        else if (!strcmp(words[i], "--page")) page = 1;
        else if (!strcmp(words[i], "--tls")) tls = 1;
        else if (!strcmp(words[i], "--resume")) tls = resume = 1;
        else if (i + 1 == count || !set_option(words[i], words[i + 1])) return 0;
        else i++;
    }
    return is_sensible();
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    chance_state = now_ns();
    fills = !strcmp(what, "fill");
    stays = !strcmp(what, "hold") || !strcmp(what, "list");
    if (read_options(count, words)) {
        spread_peers();
        count_peers();
        if (!strcmp(what, "list")) return print_requests(), 0;
        if (!strcmp(what, "fill")) return run(fill);
        if (!strcmp(what, "each")) return run(keep_outstanding);
        if (!strcmp(what, "pace")) return run(keep_pace);
        if (!strcmp(what, "hold")) return run(hold);
    }
    fprintf(stderr, "usage: http_load fill|each|pace|hold|list --addresses 1 [options], see its source\n");
    return 2;
}

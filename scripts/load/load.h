/* What the load generators share: options, chance and time, the peers of a data set, and the results. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIRST_PORT = 1024, PORTS = 64000, SEEDERS = 30 /* of 100 peers */, LATENCIES = 8 << 20 };
enum { LATE_US = 100000 };

static struct {
    int port, addresses, num_want, outstanding, even, server;
    uint32_t torrents, peers;
    double seconds;
    uint64_t seed;
} option = {.addresses = 256, .num_want = 50, .outstanding = 128, .torrents = 10000, .peers = 200000,
            .seconds = 1.5, .seed = 1};

static uint32_t *torrent_of;
static uint64_t sent, lost, wrong, peers_received;
static uint32_t latencies[LATENCIES]; /* tenths of a microsecond */
static uint64_t latency_count;

static void fail(const char *what) {
    perror(what);
    exit(2);
}

static int set_common_option(const char *name, const char *value) {
    if (!strcmp(name, "--port")) option.port = atoi(value);
    else if (!strcmp(name, "--server")) option.server = atoi(value);
    else if (!strcmp(name, "--addresses")) option.addresses = atoi(value);
    else if (!strcmp(name, "--num-want")) option.num_want = atoi(value);
    else if (!strcmp(name, "--outstanding")) option.outstanding = atoi(value);
    else if (!strcmp(name, "--torrents")) option.torrents = strtoul(value, 0, 10);
    else if (!strcmp(name, "--peers")) option.peers = strtoul(value, 0, 10);
    else if (!strcmp(name, "--seconds")) option.seconds = atof(value);
    else if (!strcmp(name, "--seed")) option.seed = strtoull(value, 0, 10);
    else return 0;
    return 1;
}

/* --- chance and time */

static uint64_t chance_state;

static uint64_t mixed(uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

static uint32_t below(uint32_t bound) {
    chance_state += 0x9E3779B97F4A7C15u;
    return (uint32_t)((mixed(chance_state) >> 32) * bound >> 32);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + now.tv_nsec;
}

static uint64_t task_ns(const char *task) {
    char path[300];
    unsigned long ns = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", option.server, task);
    FILE *file = fopen(path, "r");
    if (!file) return 0; /* it has ended */
    if (fscanf(file, "%lu", &ns) != 1) ns = 0;
    fclose(file);
    return ns;
}

/* What all threads of the server have run. */
static uint64_t server_ns(void) {
    char path[40];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", option.server);
    DIR *tasks = option.server ? opendir(path) : 0;
    if (!tasks) return 0;
    for (struct dirent *task; (task = readdir(tasks));)
        if (task->d_name[0] != '.') sum += task_ns(task->d_name);
    closedir(tasks);
    return sum;
}

/* --- torrents and peers */

static void write_info_hash(uint8_t *out, uint32_t torrent) {
    for (int i = 0; i < 3; i++) {
        uint64_t word = mixed(option.seed * 0x10001 + torrent * 3ull + i);
        memcpy(out + 8 * i, &word, i < 2 ? 8 : 4);
    }
}

/* The first of the torrents, whose weights are summed up in `until`, that reaches `at`. */
static uint32_t torrent_at(const double *until, double at) {
    uint32_t low = 0, high = option.torrents - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (until[middle] < at) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* Each torrent has one peer at least; chance gives it the others. */
static void spread_peers(void) {
    double *until = malloc(option.torrents * sizeof *until), sum = 0;
    torrent_of = malloc(option.peers * sizeof *torrent_of);
    for (uint32_t t = 0; t < option.torrents; t++) until[t] = sum += option.even ? 1.0 : 1.0 / (t + 1);
    for (uint32_t p = 0; p < option.peers; p++) {
        double share = (mixed(option.seed + p * 0x2545F4914F6CDD1Du) >> 11) * 0x1p-53;
        torrent_of[p] = p < option.torrents ? p : torrent_at(until, share * sum);
    }
    free(until);
}

static int is_seeder(uint32_t peer) { return mixed(peer) % 100 < SEEDERS; }

/* --- results */

static void note_latency(uint64_t ns) {
    if (latency_count < LATENCIES) latencies[latency_count++] = ns / 100;
}

static int ascending(const void *a, const void *b) {
    return (*(uint32_t *)a > *(uint32_t *)b) - (*(uint32_t *)a < *(uint32_t *)b);
}

static double percentile_us(double share) {
    return latency_count ? latencies[(uint64_t)(share * (latency_count - 1))] / 10.0 : 0;
}

/* How many of the latencies, which are sorted, are above LATE_US. */
static uint64_t count_late(void) {
    uint64_t late = 0;
    while (late < latency_count && latencies[latency_count - 1 - late] > LATE_US * 10) late++;
    return late;
}

static void print_results(uint64_t answered, uint64_t announced, uint64_t ns, uint64_t cpu_ns) {
    qsort(latencies, latency_count, sizeof *latencies, ascending);
    printf("{\"sent\": %lu, \"answered\": %lu, \"lost\": %lu, \"wrong\": %lu, \"seconds\": %.4f, "
           "\"server_ns\": %lu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"mean_peers\": %.2f, \"late\": %lu, \"latest_us\": %.1f}\n",
           sent, answered, lost, wrong, ns / 1e9, cpu_ns, percentile_us(0.5), percentile_us(0.99),
           percentile_us(0.999), announced ? (double)peers_received / announced : 0.0,
           count_late(), percentile_us(1));
}

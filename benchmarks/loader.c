/* A load generator for servers that speak RESP, and for etcd: one thread, many connections, a fixed number of requests in
 * flight on each.
 *
 *   loader HOST OP CONNECTIONS PIPELINE SECONDS KEYS VALUE_BYTES PORT[:FIRST-LAST[,FIRST-LAST...]] ...
 *
 * OP is `set`, `get`, `setwait` (every burst of PIPELINE SETs is followed by a WAIT 1 0 that counts as no request), `etcd`
 * (the key is put with a POST to /v3/kv/put, etcd's JSON gateway, over HTTP/1.1 connections that stay open), or `fill`: every
 * key is SET once, and the run ends when that is done, however many SECONDS it takes. A port may be given ranges of slots:
 * then its connections use keys of these slots only, as a cluster client would. Keys have 16 bytes. A connection sends a burst
 * of PIPELINE requests, waits for all of their replies, and sends the next one.
 *
 * Prints a line of JSON at the end, which SIGTERM can bring before its time, and one at each SIGUSR1 for the time since the
 * last: requests, seconds, errors, misses, percentiles of the time from a burst to its last reply in microseconds, and the CPU
 * seconds of the loader itself.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KEY_BYTES 16
#define PORTS_MAX 64
#define BUCKETS 2000000 /* of a microsecond each; the last one holds the rest */
#define WARM_SECONDS 0.5
#define HTTP_BYTES_MAX 256 /* of a request, besides key and value */

typedef struct {
    int port;
    long *keys; /* numbers of its keys */
    long key_count;
    long filled;
} Port;

typedef struct {
    int fd;
    Port *port;
    char *out, *in;
    size_t out_bytes, sent, in_bytes;
    long left;  /* replies that are still to come */
    long burst; /* requests sent at once */
    double begun;
} Connection;

static const char *op, *host;
static long connections, pipeline, keys, value_bytes;
static char *value;
static int http;
static char *value_text; /* in base64 */
static size_t in_size, out_size;
static uint64_t seed = 88172645463325252ULL;
static long latencies[BUCKETS];
static long requests, errors, misses;
static int counting;
static long busy; /* connections that have something to do */
static volatile sig_atomic_t asked, ended; /* SIGUSR1 and SIGTERM */
static uint16_t crc_table[256];

static uint64_t chance(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what) {
    fprintf(stderr, "loader: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void noticed(int number) {
    if (number == SIGUSR1) asked = 1;
    else ended = 1;
}

static void make_crc_table(void) {
    for (int byte = 0; byte < 256; byte++) {
        uint16_t crc = (uint16_t)(byte << 8);
        for (int bit = 0; bit < 8; bit++) crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
        crc_table[byte] = crc;
    }
}

static int slot_of(const char *key) {
    uint16_t crc = 0;
    for (int i = 0; i < KEY_BYTES; i++) crc = (uint16_t)(crc << 8 ^ crc_table[crc >> 8 ^ (uint8_t)key[i]]);
    return crc & 16383;
}

static void name_key(char *into, long number) {
    memcpy(into, "key:", 4);
    for (int i = KEY_BYTES - 1; i >= 4; i--, number /= 10) into[i] = (char)('0' + number % 10);
}

/* Writes `count` bytes as base64; returns where it ends. */
static char *base64(char *into, const char *from, long count) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (long i = 0; i < count; i += 3) {
        long left = count - i;
        uint32_t bits = (uint32_t)(uint8_t)from[i] << 16;
        if (left > 1) bits |= (uint32_t)(uint8_t)from[i + 1] << 8;
        if (left > 2) bits |= (uint8_t)from[i + 2];
        *into++ = digits[bits >> 18];
        *into++ = digits[bits >> 12 & 63];
        *into++ = left > 1 ? digits[bits >> 6 & 63] : '=';
        *into++ = left > 2 ? digits[bits & 63] : '=';
    }
    return into;
}

static Port read_port(char *argument) {
    Port port = {0};
    char *ranges = strchr(argument, ':');
    unsigned char served[16384];
    memset(served, ranges == NULL, sizeof served);
    port.port = atoi(argument);
    for (char *range = ranges ? strtok(ranges + 1, ",") : NULL; range; range = strtok(NULL, ",")) {
        int first, last;
        if (sscanf(range, "%d-%d", &first, &last) != 2 || first < 0 || last > 16383) {
            fprintf(stderr, "loader: %s is no range of slots\n", range);
            exit(1);
        }
        memset(served + first, 1, (size_t)(last - first + 1));
    }
    port.keys = malloc(sizeof(long) * (size_t)keys);
    for (long number = 0; number < keys; number++) {
        char key[KEY_BYTES];
        name_key(key, number);
        if (served[slot_of(key)]) port.keys[port.key_count++] = number;
    }
    return port;
}

static void connect_to(Connection *connection, Port *port, int epoll) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port->port)};
    int one = 1;
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) fail("the host is no IPv4 address");
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address)) fail("cannot connect");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    connection->port = port;
    connection->out = malloc(out_size);
    connection->in = malloc(in_size);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event);
}

static void write_more(Connection *connection, int epoll) {
    while (connection->sent < connection->out_bytes) {
        ssize_t count = write(connection->fd, connection->out + connection->sent, connection->out_bytes - connection->sent);
        if (count < 0 && errno == EAGAIN) break;
        if (count < 0) fail("cannot write");
        connection->sent += (size_t)count;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (connection->sent < connection->out_bytes) event.events |= EPOLLOUT;
    epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
}

/* Writes a SET or GET; returns where it ends. */
static char *resp_request(char *at, long number) {
    if (op[0] != 'g') {
        at += sprintf(at, "*3\r\n$3\r\nSET\r\n$%d\r\n", KEY_BYTES);
        name_key(at, number);
        at += KEY_BYTES;
        at += sprintf(at, "\r\n$%ld\r\n", value_bytes);
        memcpy(at, value, (size_t)value_bytes);
        at += value_bytes;
    } else {
        at += sprintf(at, "*2\r\n$3\r\nGET\r\n$%d\r\n", KEY_BYTES);
        name_key(at, number);
        at += KEY_BYTES;
    }
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

/* Writes a put for etcd; returns where it ends. */
static char *http_request(char *at, long number) {
    char key[KEY_BYTES], text[KEY_BYTES * 2];
    name_key(key, number);
    int key_size = (int)(base64(text, key, KEY_BYTES) - text);
    size_t body = strlen("{\"key\":\"\",\"value\":\"\"}") + (size_t)key_size + strlen(value_text);
    at += sprintf(at, "POST /v3/kv/put HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                  host, body);
    return at + sprintf(at, "{\"key\":\"%.*s\",\"value\":\"%s\"}", key_size, text, value_text);
}

static void begin(Connection *connection, int epoll) {
    char *at = connection->out;
    Port *port = connection->port;
    int fills = op[0] == 'f';
    long count = fills && port->key_count - port->filled < pipeline ? port->key_count - port->filled : pipeline;
    if (!count) {
        busy--;
        return;
    }
    for (long i = 0; i < count; i++) {
        long number = port->keys[fills ? port->filled++ : (long)(chance() % (uint64_t)port->key_count)];
        at = http ? http_request(at, number) : resp_request(at, number);
    }
    connection->left = connection->burst = count;
    if (!strcmp(op, "setwait")) {
        at += sprintf(at, "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n");
        connection->left++;
    }
    connection->out_bytes = (size_t)(at - connection->out);
    connection->sent = 0;
    connection->begun = now();
    ssize_t written = write(connection->fd, connection->out, connection->out_bytes);
    if (written < 0 && errno != EAGAIN) fail("cannot write");
    connection->sent = written > 0 ? (size_t)written : 0;
    if (connection->sent < connection->out_bytes) write_more(connection, epoll);
}

static void count_error(const char *text, size_t size) {
    if (!errors++) fprintf(stderr, "loader: %.*s\n", (int)size, text);
}

/* The size of the reply at `start`, of which `left` bytes are there; 0 if that is not all of it. */
static size_t resp_reply(const char *start, size_t left) {
    const char *end = memchr(start, '\n', left);
    if (!end) return 0;
    size_t size = (size_t)(end - start) + 1;
    if (*start == '$') {
        long length = atol(start + 1);
        if (length >= 0) {
            size += (size_t)length + 2;
            if (size > left) return 0;
        } else if (counting) {
            misses++;
        }
    } else if (*start == '-') {
        count_error(start, size - 2);
    }
    return size;
}

/* The same for HTTP. Anything but 200 is an error. */
static size_t http_reply(const char *start, size_t left) {
    static const char name[] = "\r\nContent-Length: ";
    const char *end = memmem(start, left, "\r\n\r\n", 4);
    if (!end) return 0;
    const char *length = memmem(start, (size_t)(end - start), name, sizeof name - 1);
    if (!length) {
        fprintf(stderr, "loader: a reply does not tell its length\n");
        exit(1);
    }
    size_t size = (size_t)(end - start) + 4 + strtoul(length + sizeof name - 1, NULL, 10);
    if (size > left) return 0;
    if (memcmp(start, "HTTP/1.1 200", 12)) count_error(start, size);
    return size;
}

/* Takes whole replies out of what was read. */
static void take(Connection *connection) {
    size_t at = 0;
    while (at < connection->in_bytes) {
        char *start = connection->in + at;
        size_t left = connection->in_bytes - at;
        size_t size = http ? http_reply(start, left) : resp_reply(start, left);
        if (!size) break;
        connection->left--;
        at += size;
    }
    memmove(connection->in, connection->in + at, connection->in_bytes - at);
    connection->in_bytes -= at;
}

static void received(Connection *connection, int epoll) {
    ssize_t count = read(connection->fd, connection->in + connection->in_bytes, in_size - connection->in_bytes);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) fail("the connection was lost");
    connection->in_bytes += (size_t)count;
    take(connection);
    if (connection->left) return;
    if (counting) {
        long microseconds = (long)((now() - connection->begun) * 1e6);
        latencies[microseconds < BUCKETS ? microseconds : BUCKETS - 1]++;
        requests += connection->burst;
    }
    begin(connection, epoll);
}

static long percentile(double share) {
    long total = 0, seen = 0;
    for (long i = 0; i < BUCKETS; i++) total += latencies[i];
    for (long i = 0; i < BUCKETS; i++) {
        seen += latencies[i];
        if (seen >= share * total) return i;
    }
    return BUCKETS;
}

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_utime.tv_usec / 1e6 + used.ru_stime.tv_sec + used.ru_stime.tv_usec / 1e6;
}

/* Prints what was counted in so many seconds, and begins anew. */
static void print_figures(double took, double cpu) {
    printf("{\"requests\": %ld, \"seconds\": %.6f, \"errors\": %ld, \"misses\": %ld, \"p50_us\": %ld, \"p99_us\": %ld, "
           "\"p999_us\": %ld, \"max_us\": %ld, \"loader_cpu_seconds\": %.3f}\n",
           requests, took, errors, misses, percentile(0.5), percentile(0.99), percentile(0.999), percentile(1.0), cpu);
    fflush(stdout);
    requests = errors = misses = 0;
    memset(latencies, 0, sizeof latencies);
}

int main(int count, char **arguments) {
    if (count < 9 || count > 8 + PORTS_MAX) {
        fprintf(stderr, "loader HOST set|get|setwait|etcd|fill CONNECTIONS PIPELINE SECONDS KEYS VALUE_BYTES PORT[:FIRST-LAST,...] ...\n");
        return 2;
    }
    host = arguments[1];
    op = arguments[2];
    connections = atol(arguments[3]);
    pipeline = atol(arguments[4]);
    double seconds = atof(arguments[5]);
    keys = atol(arguments[6]);
    value_bytes = atol(arguments[7]);
    value = malloc((size_t)value_bytes + 1);
    for (long i = 0; i < value_bytes; i++) value[i] = (char)('a' + i % 26);
    http = !strcmp(op, "etcd");
    value_text = calloc((size_t)value_bytes * 4 / 3 + 8, 1);
    base64(value_text, value, value_bytes);
    make_crc_table();
    out_size = (size_t)pipeline * (size_t)(http ? value_bytes * 4 / 3 + HTTP_BYTES_MAX : value_bytes + 128) + 256;
    in_size = (size_t)pipeline * (size_t)(value_bytes + 64) + 65536;
    Port ports[PORTS_MAX];
    long port_count = count - 8;
    for (long i = 0; i < port_count; i++) ports[i] = read_port(arguments[8 + i]);
    struct sigaction action = {.sa_handler = noticed, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    fputs("ready\n", stderr); /* before this, a signal would have ended it */
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int epoll = epoll_create1(0);
    Connection *all = calloc((size_t)connections, sizeof *all);
    for (long i = 0; i < connections; i++) connect_to(&all[i], &ports[i % port_count], epoll);
    busy = connections;
    for (long i = 0; i < connections; i++) begin(&all[i], epoll);
    int fills = op[0] == 'f';
    double counted_from = now() + (fills ? 0 : WARM_SECONDS), ends = counted_from + seconds;
    double cpu_before = 0;
    if (fills) counting = 1;
    struct epoll_event events[256];
    for (;;) {
        double moment = now();
        if (!counting && moment >= counted_from) {
            counting = 1;
            counted_from = moment;
            cpu_before = cpu_seconds();
        }
        if (asked && counting) {
            asked = 0;
            print_figures(moment - counted_from, cpu_seconds() - cpu_before);
            counted_from = now();
            cpu_before = cpu_seconds();
        }
        if (ended || (fills ? !busy : moment >= ends)) break;
        int ready = epoll_wait(epoll, events, 256, 100);
        for (int i = 0; i < ready; i++) {
            Connection *connection = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) write_more(connection, epoll);
            if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) received(connection, epoll);
        }
    }
    print_figures(counting ? now() - counted_from : 0, cpu_seconds() - cpu_before);
    return 0;
}

/* A load generator for servers that speak RESP: one thread, many connections, a fixed number of requests in flight on each.
 *
 *   loader HOST OP CONNECTIONS PIPELINE SECONDS KEYS VALUE_BYTES PORT[:FIRST-LAST[,FIRST-LAST...]] ...
 *
 * OP is `set`, `get`, `setwait` (every burst of PIPELINE SETs is followed by a WAIT 1 0 that counts as no request), or `fill`:
 * every key is SET once, and the run ends when that is done, however many SECONDS it takes. A port
 * may be given ranges of slots: then its connections use keys of these slots only, as a cluster client would. Keys have 16
 * bytes. A connection sends a burst of PIPELINE requests, waits for all of their replies, and sends the next one.
 *
 * Prints one line of JSON: requests, seconds, errors, misses, percentiles of the time from a burst to its last reply in
 * microseconds, and the CPU seconds of the loader itself.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
#define BUCKETS 200000 /* of a microsecond each; the last one holds the rest */
#define WARM_SECONDS 0.5

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
static size_t in_size, out_size;
static uint64_t seed = 88172645463325252ULL;
static long latencies[BUCKETS];
static long requests, errors, misses;
static int counting;
static long busy; /* connections that have something to do */

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

static int slot_of(const char *key) {
    uint16_t crc = 0;
    for (int i = 0; i < KEY_BYTES; i++) {
        crc ^= (uint16_t)((uint8_t)key[i] << 8);
        for (int bit = 0; bit < 8; bit++) crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc & 16383;
}

static void name_key(char *into, long number) {
    char text[KEY_BYTES + 16];
    snprintf(text, sizeof text, "key:%012ld", number);
    memcpy(into, text, KEY_BYTES);
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

/* Takes whole replies out of what was read. */
static void take(Connection *connection) {
    size_t at = 0;
    while (at < connection->in_bytes) {
        char *start = connection->in + at;
        char *end = memchr(start, '\n', connection->in_bytes - at);
        if (!end) break;
        size_t size = (size_t)(end - start) + 1;
        if (*start == '$') {
            long length = atol(start + 1);
            if (length >= 0) {
                size += (size_t)length + 2;
                if (at + size > connection->in_bytes) break;
            } else if (counting) {
                misses++;
            }
        } else if (*start == '-') {
            if (!errors++) fprintf(stderr, "loader: %.*s", (int)size, start);
        }
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

int main(int count, char **arguments) {
    if (count < 9 || count > 8 + PORTS_MAX) {
        fprintf(stderr, "loader HOST set|get|setwait|fill CONNECTIONS PIPELINE SECONDS KEYS VALUE_BYTES PORT[:FIRST-LAST,...] ...\n");
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
    out_size = (size_t)pipeline * (size_t)(value_bytes + 128) + 256;
    in_size = (size_t)pipeline * (size_t)(value_bytes + 64) + 65536;
    Port ports[PORTS_MAX];
    long port_count = count - 8;
    for (long i = 0; i < port_count; i++) ports[i] = read_port(arguments[8 + i]);
    int epoll = epoll_create1(0);
    Connection *all = calloc((size_t)connections, sizeof *all);
    for (long i = 0; i < connections; i++) connect_to(&all[i], &ports[i % port_count], epoll);
    busy = connections;
    for (long i = 0; i < connections; i++) begin(&all[i], epoll);
    int fills = op[0] == 'f';
    double counted_from = now() + (fills ? 0 : WARM_SECONDS), ends = counted_from + seconds;
    if (fills) counting = 1;
    struct epoll_event events[256];
    for (;;) {
        double moment = now();
        if (!counting && moment >= counted_from) {
            counting = 1;
            counted_from = moment;
        }
        if (fills ? !busy : moment >= ends) break;
        int ready = epoll_wait(epoll, events, 256, 100);
        for (int i = 0; i < ready; i++) {
            Connection *connection = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) write_more(connection, epoll);
            if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) received(connection, epoll);
        }
    }
    double took = now() - counted_from;
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = used.ru_utime.tv_sec + used.ru_utime.tv_usec / 1e6 + used.ru_stime.tv_sec + used.ru_stime.tv_usec / 1e6;
    printf("{\"requests\": %ld, \"seconds\": %.6f, \"errors\": %ld, \"misses\": %ld, \"p50_us\": %ld, \"p99_us\": %ld, "
           "\"p999_us\": %ld, \"max_us\": %ld, \"loader_cpu_seconds\": %.3f}\n",
           requests, took, errors, misses, percentile(0.5), percentile(0.99), percentile(0.999), percentile(1.0), cpu);
    return 0;
}

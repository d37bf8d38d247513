/*
 * Sink of the upload benchmarks: an HTTP server with the requests of OSS that multipart uploads need. It discards bodies
 * in the kernel (recv with MSG_TRUNC), so that the client is what is measured. It checks no signature and computes no
 * CRC-64. It stores number and size of each part for ListParts, and counts bytes and requests. One thread per connection.
 * Usage: sink; it prints the port. GET /stats returns "body_bytes requests", GET /reset sets both to zero, and
 * GET /latency/N delays every later response by N microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_PARTS 10000
#define HEAD_BYTES 16384
#define ETAG "\"0123456789ABCDEF0123456789ABCDEF\""

static atomic_ullong body_bytes, requests;
static atomic_uint latency_us;
static atomic_llong part_size[MAX_PARTS + 1];

static int answer(int fd, const char *status, const char *headers, const char *body, size_t length) {
    char head[1024];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %s\r\nServer: sink\r\nx-oss-request-id: 5C3D9778CC1C2AEDF85B0000\r\n"
                     "Date: Tue, 24 Nov 2026 00:00:00 GMT\r\nContent-Length: %zu\r\n%s\r\n",
                     status, length, headers);
    if (send(fd, head, n, MSG_NOSIGNAL | (length ? MSG_MORE : 0)) != n) return -1;
    while (length) {
        ssize_t sent = send(fd, body, length, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        body += sent;
        length -= sent;
    }
    return 0;
}

static int answer_text(int fd, const char *body) {
    return answer(fd, "200 OK", "Content-Type: application/xml\r\nETag: " ETAG "\r\n", body, strlen(body));
}

/* Objects that were put or completed, by path, for HeadObject. Written rarely, by one client at a time. */
static struct { char path[512]; long long size; } object[64];
static atomic_int objects;

static void remember_object(const char *target, long long size) {
    int at = objects++ % 64;
    snprintf(object[at].path, sizeof object[at].path, "%.*s", (int)strcspn(target, "?"), target);
    object[at].size = size;
}

static int answer_head(int fd, const char *target) {
    char head[512];
    for (int at = objects > 64 ? 63 : objects - 1; at >= 0; at--) {
        if (strcmp(object[at].path, target) || object[at].size < 0) continue;
        int n = snprintf(head, sizeof head,
                         "HTTP/1.1 200 OK\r\nServer: sink\r\nx-oss-request-id: 5C3D9778CC1C2AEDF85B0000\r\n"
                         "Content-Length: %lld\r\nETag: " ETAG "\r\n\r\n",
                         object[at].size);
        return send(fd, head, n, MSG_NOSIGNAL) == n ? 0 : -1;
    }
    return answer(fd, "404 Not Found", "", "", 0);
}

static long long parts_total(void) {
    long long total = 0;
    for (int number = 1; number <= MAX_PARTS; number++) total += part_size[number] > 0 ? part_size[number] : 0;
    return total;
}

static int list_parts(int fd, const char *target) {
    const char *at = strstr(target, "part-number-marker=");
    long marker = at ? atol(at + 19) : 0, last = marker;
    char *body = malloc(512 + 1000 * 256);
    char *to = body + sprintf(body, "<?xml version=\"1.0\"?><ListPartsResult>");
    int count = 0, more = 0;
    for (long number = marker + 1; number <= MAX_PARTS; number++) {
        long long size = part_size[number];
        if (size < 0) continue;
        if (count == 1000) { more = 1; break; }
        to += sprintf(to, "<Part><PartNumber>%ld</PartNumber><LastModified>2026-11-24T00:00:00.000Z</LastModified>"
                          "<ETag>" ETAG "</ETag><Size>%lld</Size></Part>", number, size);
        last = number;
        count++;
    }
    sprintf(to, "<UploadId>U</UploadId><NextPartNumberMarker>%ld</NextPartNumberMarker><MaxParts>1000</MaxParts>"
                "<IsTruncated>%s</IsTruncated></ListPartsResult>", last, more ? "true" : "false");
    int result = answer_text(fd, body);
    free(body);
    return result;
}

static void forget_parts(void) {
    for (int number = 0; number <= MAX_PARTS; number++) part_size[number] = -1;
}

static void remember_part(const char *target, long long size) {
    const char *at = strstr(target, "partNumber=");
    long number = at ? atol(at + 11) : 0;
    if (number >= 1 && number <= MAX_PARTS) part_size[number] = size;
}

static int respond(int fd, const char *method, const char *target, long long length, long long copied) {
    char text[256];
    if (!strcmp(target, "/stats") || !strcmp(target, "/reset")) {
        snprintf(text, sizeof text, "%llu %llu", (unsigned long long)body_bytes, (unsigned long long)requests);
        if (!strcmp(target, "/reset")) body_bytes = requests = objects = 0;
        return answer_text(fd, text);
    }
    if (!strncmp(target, "/latency/", 9)) {
        latency_us = atoi(target + 9);
        return answer_text(fd, "");
    }
    if (latency_us) usleep(latency_us);
    if (!strcmp(method, "PUT")) {
        if (copied >= 0) {
            remember_part(target, copied);
            return answer_text(fd, "<CopyPartResult><LastModified>2026-11-24T00:00:00.000Z</LastModified>"
                                   "<ETag>" ETAG "</ETag></CopyPartResult>");
        }
        if (strstr(target, "partNumber=")) remember_part(target, length);
        else remember_object(target, length);
        return answer(fd, "200 OK", "ETag: " ETAG "\r\n", "", 0);
    }
    if (!strcmp(method, "POST") && strstr(target, "uploads")) {
        forget_parts();
        return answer_text(fd, "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>U</UploadId>"
                               "</InitiateMultipartUploadResult>");
    }
    if (!strcmp(method, "POST")) {
        remember_object(target, parts_total());
        return answer_text(fd, "<CompleteMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><ETag>" ETAG "</ETag>"
                               "</CompleteMultipartUploadResult>");
    }
    if (!strcmp(method, "DELETE")) return answer(fd, "204 No Content", "", "", 0);
    if (!strcmp(method, "HEAD")) return answer_head(fd, target);
    if (strstr(target, "uploadId=")) return list_parts(fd, target);
    if (strstr(target, "uploads"))
        return answer_text(fd, "<ListMultipartUploadsResult><Bucket>b</Bucket><NextKeyMarker></NextKeyMarker>"
                               "<NextUploadIdMarker></NextUploadIdMarker><IsTruncated>false</IsTruncated>"
                               "</ListMultipartUploadsResult>");
    return answer_text(fd, "<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>");
}

static long long header_number(const char *head, const char *name) {
    const char *at = strcasestr(head, name);
    return at ? atoll(at + strlen(name)) : -1;
}

static long long copied_bytes(const char *head) {
    long long first, last;
    const char *at = strcasestr(head, "\r\nx-oss-copy-source-range:");
    if (!at || !(at = strchr(at, '='))) return -1;
    return sscanf(at + 1, "%lld-%lld", &first, &last) == 2 ? last - first + 1 : -1;
}

static int discard(int fd, long long left) {
    body_bytes += left;
    while (left > 0) {
        ssize_t taken = recv(fd, NULL, left > (16 << 20) ? (16 << 20) : left, MSG_TRUNC);
        if (taken <= 0) return -1;
        left -= taken;
    }
    return 0;
}

static void *serve(void *argument) {
    int fd = (int)(long)argument;
    char head[HEAD_BYTES + 1], method[16], target[4096];
    size_t have = 0;
    for (;;) {
        head[have] = 0;
        char *end = strstr(head, "\r\n\r\n");
        if (!end) {
            if (have == HEAD_BYTES) break;
            ssize_t got = recv(fd, head + have, HEAD_BYTES - have, 0);
            if (got <= 0) break;
            have += got;
            continue;
        }
        size_t head_length = end + 4 - head;
        char after = *(end + 4);
        *(end + 4) = 0;
        if (sscanf(head, "%15s %4095s", method, target) != 2) break;
        long long length = header_number(head, "\r\nContent-Length:"), copied = copied_bytes(head);
        *(end + 4) = after;
        if (length < 0) length = 0;
        long long there = (long long)(have - head_length) < length ? (long long)(have - head_length) : length;
        body_bytes += there;
        memmove(head, head + head_length + there, have - head_length - there);
        have -= head_length + there;
        requests++;
        if (discard(fd, length - there) || respond(fd, method, target, length, copied)) break;
    }
    close(fd);
    return NULL;
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 128)) return 1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    forget_parts();
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, (void *)(long)fd)) close(fd);
        else pthread_detach(thread);
    }
}

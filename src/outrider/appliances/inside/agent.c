// SPDX-License-Identifier: Apache-2.0
//
// The host's hand inside an appliance VM: reads requests from a virtio-serial port and answers each in one line.
//
//   request   VERB NUMBER LENGTH '\n' and LENGTH bytes          answer   NUMBER ' ' text '\n'
//   RULES     the bytes become the engine's rule file           OK
//   CALL      the bytes are one line for the engine's socket    the engine's line
//   UPTIME    none                                              seconds since the kernel started
//
// The program goes to the background when it has got its first rules: the script that starts the engine waits for
// that, so an engine never runs without rules. An engine that inspects nothing has no such port.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PORT_NAME "outrider.control"
#define RULES "/run/outrider/outrider.rules"
#define FRESH_RULES RULES ".fresh"
#define ENGINE "/run/outrider/suricata.sock"
#define LONGEST_BODY (256u << 20)
#define ENGINE_WITHIN_S 15

static int port;

static void pause_20ms(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 20 * 1000 * 1000 }, NULL);
}

// The device of the port with our name; waits until the driver has made it.
static int open_port(void)
{
	for (;;) {
		DIR *ports = opendir("/sys/class/virtio-ports");
		struct dirent *entry;
		while (ports && (entry = readdir(ports))) {
			char path[600], name[64] = "";
			snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
			FILE *file = fopen(path, "r");
			if (!file)
				continue;
			if (!fgets(name, sizeof name, file))
				name[0] = 0;
			fclose(file);
			name[strcspn(name, "\n")] = 0;
			if (strcmp(name, PORT_NAME))
				continue;
			snprintf(path, sizeof path, "/dev/%s", entry->d_name);
			int opened = open(path, O_RDWR | O_CLOEXEC);
			if (opened >= 0) {
				closedir(ports);
				return opened;
			}
		}
		if (ports)
			closedir(ports);
		pause_20ms();
	}
}

// Fills the buffer, or returns -1 when the host has gone in the middle.
static int read_all(int from, char *into, size_t length)
{
	while (length) {
		ssize_t got = read(from, into, length);
		if (got <= 0)
			return -1;
		into += got;
		length -= got;
	}
	return 0;
}

static int write_all(int to, const char *from, size_t length)
{
	while (length) {
		ssize_t put = write(to, from, length);
		if (put <= 0)
			return -1;
		from += put;
		length -= put;
	}
	return 0;
}

// One line without its end, at most `room` - 1 bytes; -1 when the other side has gone.
static int read_line(int from, char *line, size_t room)
{
	size_t length = 0;
	while (length < room - 1) {
		if (read_all(from, line + length, 1))
			return -1;
		if (line[length] == '\n')
			break;
		length++;
	}
	line[length] = 0;
	return 0;
}

static void answer(const char *number, const char *text, size_t length)
{
	write_all(port, number, strlen(number));
	write_all(port, " ", 1);
	write_all(port, text, length);
	write_all(port, "\n", 1);
}

static void answer_text(const char *number, const char *text)
{
	answer(number, text, strlen(text));
}

static int store_rules(const char *body, size_t length)
{
	int file = open(FRESH_RULES, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (file < 0)
		return -1;
	int failed = write_all(file, body, length);
	close(file);
	return failed || rename(FRESH_RULES, RULES);
}

static int connect_engine(void)
{
	int engine = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval within = { .tv_sec = ENGINE_WITHIN_S };
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = ENGINE };
	char greeting[256];
	setsockopt(engine, SOL_SOCKET, SO_RCVTIMEO, &within, sizeof within);
	if (!connect(engine, (struct sockaddr *)&address, sizeof address) &&
	    !write_all(engine, "{\"version\": \"0.2\"}\n", 19) && !read_line(engine, greeting, sizeof greeting))
		return engine;
	close(engine);
	return -1;
}

// Suricata hangs up on a line that comes in two pieces, so its end is written with it: `body` has room for it.
static void call_engine(const char *number, char *body, size_t length)
{
	static char line[1 << 20];
	int engine = connect_engine();
	body[length] = '\n';
	if (engine >= 0 && !write_all(engine, body, length + 1) &&
	    !read_line(engine, line, sizeof line))
		answer_text(number, line);
	else
		answer_text(number, "{\"return\": \"NOK\", \"message\": \"the engine does not answer on its socket\"}");
	if (engine >= 0)
		close(engine);
}

static void answer_uptime(const char *number)
{
	char text[64] = "";
	int file = open("/proc/uptime", O_RDONLY | O_CLOEXEC);
	ssize_t got = file < 0 ? 0 : read(file, text, sizeof text - 1);
	if (file >= 0)
		close(file);
	answer(number, text, got > 0 ? strcspn(text, " ") : 0);
}

// Serves one request. Returns 1 when it stored rules, 0 after anything else, -1 when the host has gone.
static int serve_one(void)
{
	char line[128], verb[16], number[32];
	unsigned length;
	if (read_line(port, line, sizeof line))
		return -1;
	if (sscanf(line, "%15s %31s %u", verb, number, &length) != 3 || length > LONGEST_BODY)
		return 0;
	char *body = malloc(length + 1);
	if (!body || read_all(port, body, length)) {
		free(body);
		return -1;
	}
	int stored = 0;
	if (!strcmp(verb, "RULES")) {
		stored = !store_rules(body, length);
		answer_text(number, stored ? "OK" : "the rule file cannot be written");
	} else if (!strcmp(verb, "CALL")) {
		call_engine(number, body, length);
	} else if (!strcmp(verb, "UPTIME")) {
		answer_uptime(number);
	} else {
		answer_text(number, "there is no such request");
	}
	free(body);
	return stored;
}

int main(void)
{
	int ready[2];
	char byte;
	if (pipe2(ready, O_CLOEXEC))
		return 1;
	pid_t child = fork();
	if (child < 0)
		return 1;
	if (child) {
		close(ready[1]);
		return read(ready[0], &byte, 1) == 1 ? 0 : 1;
	}
	close(ready[0]);
	setsid();
	port = open_port();
	for (;;) {
		int done = serve_one();
		if (done < 0)
			pause_20ms(); // no host is connected: the port reads as ended until one is
		if (done == 1 && ready[1] >= 0) {
			if (write(ready[1], "r", 1) != 1)
				return 1;
			close(ready[1]);
			ready[1] = -1;
		}
	}
}

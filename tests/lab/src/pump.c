// SPDX-License-Identifier: Apache-2.0
//
// Runs a command in a session of its own and copies its standard output and error to two devices, live.
// Pipes stand between, because a virtio port can be opened only once and programs reopen /dev/stderr.
// When the command ends, what it wrote is still copied; a process it left behind does not hold us up.
//
// Usage: pump OUT-DEVICE ERR-DEVICE COMMAND [ARG...]
// Exit:  the command's status, 128 + signal, 126 or 127 when it cannot be run, 125 on a failure of our own
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail(const char *what) {
    perror(what);
    return 125;
}

// Copies once; returns 0 at the end of the stream, -1 when there is nothing now.
static int copy(int from, int to) {
    char buf[32768];
    ssize_t n = read(from, buf, sizeof buf);
    if (n <= 0) return n == 0 ? 0 : -1;
    for (ssize_t done = 0; done < n;) {
        ssize_t w = write(to, buf + done, (size_t)(n - done));
        if (w < 0 && errno != EINTR) return 0;
        if (w > 0) done += w;
    }
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fputs("usage: pump OUT-DEVICE ERR-DEVICE COMMAND [ARG...]\n", stderr);
        return 125;
    }
    int dev[2], pipes[2][2];
    for (int i = 0; i < 2; i++) {
        dev[i] = open(argv[1 + i], O_WRONLY | O_CLOEXEC);
        if (dev[i] < 0) return fail(argv[1 + i]);
        if (pipe2(pipes[i], O_CLOEXEC) != 0) return fail("pipe2");
        fcntl(pipes[i][0], F_SETFL, O_NONBLOCK);
    }
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);
    int sig = signalfd(-1, &chld, SFD_CLOEXEC);
    if (sig < 0) return fail("signalfd");

    pid_t pid = fork();
    if (pid < 0) return fail("fork");
    if (pid == 0) {
        sigprocmask(SIG_UNBLOCK, &chld, NULL);
        setsid();
        dup2(pipes[0][1], 1);
        dup2(pipes[1][1], 2);
        execvp(argv[3], argv + 3);
        fprintf(stderr, "lab: cannot run %s: %s\n", argv[3], strerror(errno));
        _exit(errno == ENOENT ? 127 : 126);
    }
    close(pipes[0][1]);
    close(pipes[1][1]);

    struct pollfd p[3] = {{pipes[0][0], POLLIN, 0}, {pipes[1][0], POLLIN, 0}, {sig, POLLIN, 0}};
    int status = 0;
    for (;;) {
        if (poll(p, 3, -1) < 0 && errno != EINTR) return fail("poll");
        for (int i = 0; i < 2; i++)
            if (p[i].revents && copy(p[i].fd, dev[i]) == 0) p[i].fd = -1;
        if (p[2].revents) {
            struct signalfd_siginfo info;
            if (read(sig, &info, sizeof info) > 0 && waitpid(pid, &status, WNOHANG) == pid) break;
        }
    }
    for (int i = 0; i < 2; i++)
        while (p[i].fd >= 0 && copy(p[i].fd, dev[i]) > 0) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

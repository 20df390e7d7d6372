#define _GNU_SOURCE 1
#include "Terminal.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

_Static_assert(CASHER_PACKET_SETTINGS == TIOCPKT_IOCTL, "");

// What makes other bytes of a command's output. The real terminal does that; the bytes that come out of the
// pseudo-terminal are those that the command wrote, so that a replay can write the same.
static const tcflag_t output_changes =
    ONLCR | OCRNL | ONOCR | ONLRET | OLCUC | OFILL | OFDEL | NLDLY | CRDLY | TABDLY | BSDLY | VTDLY | FFDLY;

int casher_terminal_open(struct casher_terminal *terminal, int real, int *master, int *slave) {
  memset(terminal, 0, sizeof *terminal);
  if (tcgetattr(real, &terminal->real) < 0) return -1;
  *slave = -1;
  *master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*master < 0) return -1;
  int packets = 1;
  terminal->given = terminal->real;
  terminal->given.c_oflag &= ~output_changes;
  // The kernel tells the master of every change of settings only with EXTPROC (drivers/tty/pty.c).
  struct termios settings = terminal->given;
  settings.c_lflag |= EXTPROC;
  if (unlockpt(*master) < 0 || (*slave = ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0 ||
      tcsetattr(*slave, TCSANOW, &settings) < 0 || ioctl(*master, TIOCPKT, &packets) < 0 ||
      fcntl(*master, F_SETFL, O_RDWR | O_NONBLOCK) < 0) {
    if (*slave >= 0) close(*slave);
    close(*master);
    return -1;
  }
  casher_terminal_size(terminal, real, *master);
  return 0;
}

static int is_same(const struct termios *left, const struct termios *right) {
  return left->c_iflag == right->c_iflag && left->c_oflag == right->c_oflag &&
         (left->c_lflag | EXTPROC) == (right->c_lflag | EXTPROC) && memcmp(left->c_cc, right->c_cc, NCCS) == 0;
}

int casher_terminal_settings(struct casher_terminal *terminal, int real, int master) {
  struct termios now, wanted;
  // The master stands for the other end in this.
  if (tcgetattr(master, &now) < 0 || tcgetattr(real, &wanted) < 0) return -1;
  struct termios before = wanted;
  tcflag_t set = now.c_oflag & output_changes;
  if (set || !(now.c_lflag & EXTPROC)) {
    struct termios settings = now;
    settings.c_oflag &= ~output_changes;
    settings.c_lflag |= EXTPROC;
    if (tcsetattr(master, TCSANOW, &settings) < 0) return -1;
  }
  if (is_same(&now, &terminal->given)) {
    wanted = terminal->real;
  } else {
    wanted.c_iflag = now.c_iflag;
    wanted.c_lflag = now.c_lflag & ~(tcflag_t)EXTPROC;
    memcpy(wanted.c_cc, now.c_cc, NCCS);
    wanted.c_oflag = terminal->real.c_oflag | set;
    if (!(now.c_oflag & OPOST)) wanted.c_oflag &= ~(tcflag_t)OPOST;
    // Who does without the translation of input, as programs of the whole screen do, does without that of output.
    if ((terminal->given.c_iflag & ICRNL) && !(now.c_iflag & ICRNL)) wanted.c_oflag &= ~(output_changes & ~set);
  }
  return is_same(&wanted, &before) ? 0 : tcsetattr(real, TCSANOW, &wanted);
}

int casher_terminal_size(struct casher_terminal *terminal, int real, int master) {
  struct winsize size;
  if (ioctl(real, TIOCGWINSZ, &size) < 0) return 0;
  if (size.ws_row == terminal->rows && size.ws_col == terminal->columns) return 0;
  if (ioctl(master, TIOCSWINSZ, &size) < 0) return 0;
  terminal->rows = size.ws_row;
  terminal->columns = size.ws_col;
  return 1;
}

int casher_terminal_hold(int slave, int hold) { return tcflow(slave, hold ? TCOOFF : TCOON); }

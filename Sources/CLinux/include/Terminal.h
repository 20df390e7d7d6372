// Pseudo-terminals that carry a command's output to the terminal that it is meant for.
#pragma once
#include <sys/types.h>
#include <termios.h>

struct casher_terminal {
  // The settings of the real terminal when the pseudo-terminal was made, and what the command was given of them.
  struct termios real;
  struct termios given;
  // The real terminal's size as the command knows it.
  unsigned short rows, columns;
};

// Makes a pseudo-terminal with settings and size of the terminal `real`; its two ends are close-on-exec. The master is in
// packet mode (ioctl_tty(2), TIOCPKT). Returns -1 with errno.
int casher_terminal_open(struct casher_terminal *terminal, int real, int *master, int *slave);

// Brings the real terminal's settings in line with those that the command has made, and takes what is set on the
// pseudo-terminal to change output back. Returns -1 with errno.
int casher_terminal_settings(struct casher_terminal *terminal, int real, int master);

// Gives the pseudo-terminal the real one's size; 1 when it had another.
int casher_terminal_size(struct casher_terminal *terminal, int real, int master);

// Lets writers of the pseudo-terminal wait, or go on (tcflow(3)); `slave` is its end for the command.
int casher_terminal_hold(int slave, int hold);

// The control byte of a packet that says that the settings have changed (TIOCPKT_IOCTL).
enum { CASHER_PACKET_SETTINGS = 64 };

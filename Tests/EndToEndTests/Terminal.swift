import Foundation

/// Programs on a terminal, driven by Python: it has the terminal's other end.
///
/// A scenario is Python that uses `T(command...)`: a program on a terminal of 24 lines and 80 columns, whose standard
/// streams are the terminal. `expect` waits for a text, `send` types one, `resize` changes the size, `settings` are
/// those of the terminal, `end` waits for the program and gives all that is left of its output and its status. What
/// the scenario prints is the outcome's output.
enum Terminal {
  static func run(_ scenario: String, in place: Place, directory: String? = nil) throws -> Outcome {
    var environment = place.environment
    environment["TERM"] = "xterm"
    environment["PS1"] = "$ "
    return try EndToEndTests.run(
      "/usr/bin/env", ["timeout", "100", "python3", "-Ic", driver + scenario], in: directory ?? place.work,
      environment: environment)
  }

  private static let driver = #"""
    import fcntl, os, pty, select, struct, sys, termios, time
    class T:
      def __init__(self, *command):
        self.seen = b''
        self.process, self.end_ = pty.fork()
        if self.process == 0:
          fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
          os.execvp(command[0], command)
      def read(self):
        if not select.select([self.end_], [], [], 60)[0]: raise Exception('nothing comes after %r' % self.seen)
        try: data = os.read(self.end_, 65536)
        except OSError: data = b''
        self.seen += data
        return len(data) > 0
      def expect(self, text):
        text = text.encode()
        while text not in self.seen:
          if not self.read(): raise Exception('no %r in %r' % (text, self.seen))
        at = self.seen.index(text) + len(text)
        before, self.seen = self.seen[:at], self.seen[at:]
        return before.decode()
      def send(self, text): os.write(self.end_, text.encode())
      def resize(self, lines, columns):
        fcntl.ioctl(self.end_, termios.TIOCSWINSZ, struct.pack('HHHH', lines, columns, 0, 0))
      def settings(self): return termios.tcgetattr(self.end_)
      def end(self):
        while self.read(): pass
        return self.seen.decode(), os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
    def until(condition):
      while not condition(): time.sleep(0.01)

    """#
}
